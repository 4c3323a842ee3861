"""What networks are called and what they are: labels, short names, groups and plain siblings, the same everywhere."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.called import explained, group_in, short_names
from aliasing.cli import main
from aliasing.cli.completion import networks
from aliasing.depth.attribution import attribute
from aliasing.downsample import PADDINGS
from aliasing.errors import InputError, UsageError
from aliasing.kinds import OPERATORS
from aliasing.lineage import GROUPS, Original, group_of, original_of, sibling_of
from aliasing.models import Classifier
from aliasing.models.source import label_of
from aliasing.outputs.probabilities import Probabilities
from aliasing.report.words import glossary
from aliasing.surgery import save
from aliasing.surgery.finetune import Recipe, finetune
from aliasing.surgery.schemes import SCHEMES
from aliasing.tables import verdict
from tests.small_network import make

NAME = "module:tests.test_names:net"
HALF = (0.5, 0.5, 0.5)


def net(seed: int = 0) -> Classifier:
    """A network with random weights: for names and paths, never for numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stem = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        module = nn.Sequential(*stem, nn.Flatten(), nn.Linear(128, 5)).eval()
    return Classifier(module, "own", 16, HALF, HALF, "bilinear", resize_size=20, crop_share=0.8)


def pictures(count: int = 8) -> list[tuple[Any, int]]:
    random = np.random.default_rng(0)
    return [(random.integers(0, 256, (24, 30, 3), dtype=np.uint8), index % 5) for index in range(count)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index, (pixels, _) in enumerate(pictures(4)):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Classifier]:
    """Four versions of one network and a control, as they are made in Python."""
    folder = tmp_path_factory.mktemp("training")
    plain = net()
    converted = al.antialias(plain, taps="binomial3", scheme="all")
    recalibrated = al.recalibrate(converted, pictures())
    recipe = Recipe(1, 0.1, 4)
    return {
        "plain": plain,
        "converted": converted,
        "recalibrated": recalibrated,
        "fine-tuned": finetune(recalibrated, pictures(), folder / "tuned", recipe),
        "plain, fine-tuned": finetune(plain, pictures(), folder / "control", recipe),
    }


# --- labels ---------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_characters=":=", exclude_categories=["Z", "C"]), min_size=1), st.text(min_size=1))
def test_a_label_ends_at_the_first_equals_sign(label: str, name: str) -> None:
    assert label_of(f"{label}={name}") == (label, name)
    assert label_of(f"module:{label}={name}") == ("", f"module:{label}={name}")


@pytest.mark.parametrize("text", ["=resnet18", "tuned=", " =resnet18"])
def test_half_a_label_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected LABEL=NAME"):
        al.load_model(text)
    with pytest.raises(UsageError, match="no source 'b=module'"):
        al.load_model("a=b=module:tests.test_names:net")


def test_a_label_is_the_name_of_what_it_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "a=b.safetensors"
    save(al.antialias(net(), scheme="all"), path)
    name = f"file:{path}@{NAME}"
    unlabelled, labelled = al.load_model(name), al.load_model(f"my net={name}")
    assert (unlabelled.name, labelled.name, labelled.origin["loaded_as"]) == (name, "my net", name)
    assert unlabelled.identity == labelled.identity == al.load_model(name, name="other").identity
    assert al.load_model(f"my net={name}", name="other").name == "other"
    conversion = f"antialiased:binomial3,all:{NAME}"
    assert al.load_model(f"soft={conversion}").origin["loaded_as"] == conversion
    inside = al.load_model(f"antialiased:binomial3,all:soft={NAME}")
    assert (inside.name, inside.origin["loaded_as"]) == ("antialiased:binomial3,all:soft", conversion)


def test_a_pattern_has_no_label(images: Path) -> None:
    with pytest.raises(UsageError, match="a label names one network"):
        al.compare_networks("mine=pypi:*", images)


def test_labels_are_completed() -> None:
    assert list(networks("a b=pypi:efficientnet_lite1")) == ["a b=pypi:efficientnet_lite1"]
    assert "soft=antialiased:flc:" in networks("soft=antialiased:f")


@pytest.mark.parametrize("command", ["jitter", "compare", "depth"])
def test_labels_stay_on_every_command(
    command: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--models", f"old={NAME}", f"new=antialiased:binomial3,all:{NAME}", "--images", str(images)]
    assert main([command, *asked, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["models"]) == ["old", "new"]
    assert [model["group"] for model in summary["models"].values()] == ["plain", "converted"]
    assert summary["models"]["new"]["weights"]["loaded_as"] == f"antialiased:binomial3,all:{NAME}"
    assert "new" in printed
    assert NAME not in printed
    records = pa.concat_tables(map(pq.read_table, tmp_path.glob("records/*/*.parquet")))
    assert {*records["model"].to_pylist()} == {"old", "new"}
    if command == "compare":
        assert summary["models"]["new"]["sibling"] == "old"
    if command == "depth":
        rows = summary["across"]["groups"][0]["networks"]
        assert [row["family"] for row in rows] == ["net", "net, anti-aliased"]
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert ">new" in page
    assert f">antialiased:binomial3,all:{NAME}<" in page.replace("<wbr>", "")  # what the label stands for


@pytest.mark.parametrize("command", ["attribute", "features"])
def test_labels_stay_where_there_is_one_network(command: str, images: Path, tmp_path: Path) -> None:
    where = ["--images", str(images)] if command == "attribute" else [str(images)]
    assert main([command, f"mine={NAME}", *where, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["model"] == "mine"


# --- what a network is ----------------------------------------------------------------------------------------------


def test_groups_follow_from_the_network(versions: dict[str, Classifier], tmp_path: Path) -> None:
    assert {group: group_of(model) for group, model in versions.items()} == {group: group for group in versions}
    for group, model in versions.items():
        path = tmp_path / f"{group}.safetensors"
        save(model, path)
        kept = al.load_model(f"file:{path}@{NAME}")
        assert (group_of(kept), kept.identity) == (group, model.identity)
        assert group_of(al.load_model(f"x=file:{path}@{NAME}")) == group


def test_siblings_are_found_by_what_is_computed(versions: dict[str, Classifier]) -> None:
    """Two plain networks compute the same with other weights; each version belongs to the one with which it began."""
    models = {**versions, "another": net(1)}
    originals = {name: original_of(model) for name, model in models.items()}
    found = {name: sibling_of(name, group_of(model), originals, ["another", "plain"]) for name, model in models.items()}
    assert found == dict.fromkeys(versions, "plain") | {"plain": None, "another": None}
    stranger = originals["converted"].computation
    several = {**originals, "tuned elsewhere": Original(stranger, "unknown")}
    assert sibling_of("tuned elsewhere", "converted", several, ["another", "plain"]) is None
    assert sibling_of("tuned elsewhere", "converted", several, ["plain"]) == "plain"


def test_one_group_everywhere(versions: dict[str, Classifier], tmp_path: Path) -> None:
    from aliasing.report import make_page, read_run

    models = [al.load_model(model, name=f"v{number}") for number, model in enumerate(versions.values())]
    board = al.compare_networks(models, pictures())
    jitter = al.measure_jitter(models, pictures(), out=tmp_path)
    jitter.write(tmp_path)
    groups = [
        {name: model["group"] for name, model in result.summary()["models"].items()} for result in (board, jitter)
    ]
    assert groups[0] == groups[1] == dict(zip([model.name for model in models], versions, strict=True))
    assert {model["sibling"] for model in board.summary()["models"].values()} == {None, "v0"}
    page, _ = make_page([read_run(tmp_path)])
    assert all(f">{group}<" in " ".join(page.split()).replace("> ", ">").replace(" <", "<") for group in versions)


# --- short names ----------------------------------------------------------------------------------------------------


def test_four_versions_of_one_network_are_told_apart(versions: dict[str, Classifier], tmp_path: Path) -> None:
    names = list(versions)
    for name, model in versions.items():
        save(model, tmp_path / f"{name}.safetensors")
    models = [f"file:{tmp_path}/{name}.safetensors@{NAME}" for name in names]
    result = al.measure_jitter(models, pictures(2))
    summary = result.summary()["models"]
    drawn = [label.get_text().replace("\n", " ") for label in result.plot().axes[0].get_yticklabels()]
    assert drawn == list(short_names(models, summary).values())  # none is cut
    assert list(short_names(models, summary).values()) == [
        "own",
        "own, binomial3, all",
        "own, binomial3, all, recalibrated",
        "own, binomial3, all, recalibrated, fine-tuned",
        "own, fine-tuned",
    ]


_WORDS = st.sampled_from(["a", "b", "file", "timm", "x, recalibrated", "resnet18.a1", "p/a.pth", "q/a.pth", "@test"])
_NAMES = st.one_of(
    st.text(min_size=1, max_size=12),
    st.builds("{}:{}".format, st.sampled_from(["torchvision", "timm", "module:m", "own"]), _WORDS),
    st.builds("file:{}@torchvision:{}".format, _WORDS, _WORDS),
    st.builds("antialiased:{}:file:{}@timm:{}".format, st.sampled_from(["flc", "binomial3,all"]), _WORDS, _WORDS),
)


@given(st.lists(_NAMES, unique=True, max_size=8))
def test_short_names_are_unique(names: list[str]) -> None:
    short = short_names(names)
    assert list(short) == names
    assert len({*short.values()}) == len(names)
    assert all(short.values())


def test_a_local_file_has_no_name_of_official_weights() -> None:
    name = "file:my.pth@torchvision:resnet50.IMAGENET1K_V2"
    assert short_names([name]) == {name: "resnet50"}
    official = "torchvision:resnet50.IMAGENET1K_V2"
    assert short_names([official]) == {official: "resnet50.IMAGENET1K_V2"}


def test_summaries_of_before_are_read() -> None:
    assert group_in("antialiased:flc:resnet50, recalibrated", {}) == "recalibrated"
    assert group_in("file:a.pth@timm:resnet50, fine-tuned", {}) == "plain, fine-tuned"


# --- a label is no part of the identity -----------------------------------------------------------------------------


def test_a_run_is_resumed_under_another_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    once = al.measure_jitter(NAME, pictures(40), "crop", out=tmp_path)  # two blocks
    (last,) = tmp_path.glob("records/*/00001.parquet")
    last.unlink()
    monkeypatch.setattr("aliasing.jitter.measure_blocks", noted(shown))
    again = al.measure_jitter([f"mine={NAME}", f"another={NAME}"], pictures(40), "crop", out=tmp_path)
    assert shown == [8]  # of the block that was missing, for both labels
    first, other = (again.summary()["models"][label] for label in ("mine", "another"))
    before = once.summary()["models"][NAME]
    assert {key: value for key, value in first.items() if key not in ("weights",)} == {
        key: value for key, value in before.items() if key not in ("weights",)
    }
    assert first["top1_change"] == other["top1_change"]
    assert again.summary()["differences"][0]["mac"]["value"] == 0
    again.write(tmp_path)
    opened = al.open(tmp_path)
    assert opened.records["model"].to_pylist() == ["mine"] * 320 + ["another"] * 320
    again.write(tmp_path / "copy")
    assert {*al.open(tmp_path / "copy").records["model"].to_pylist()} == {"mine", "another"}
    assert al.measure_jitter(NAME, pictures(40), "crop", out=tmp_path).records.equals(once.records)


def noted(shown: list[int]) -> Any:
    from aliasing.jitter import measure_blocks

    def measure(blocks: Any, *others: Any, **named: Any) -> Any:
        def counted() -> Any:
            for index, entries in blocks:
                shown.append(len(entries))
                yield index, entries

        return measure_blocks(counted(), *others, **named)

    return measure


def test_a_label_of_another_network_is_refused(images: Path, tmp_path: Path) -> None:
    al.measure_jitter(f"mine={NAME}", images, out=tmp_path)
    with pytest.raises(InputError, match="holds a run of mine with other settings"):
        al.measure_jitter(f"mine=antialiased:flc,all:{NAME}", images, out=tmp_path)


def test_attribution_is_resumed_under_another_label(images: Path, tmp_path: Path) -> None:
    before = attribute(NAME, images, out=tmp_path)
    again = attribute(f"mine={NAME}", images, out=tmp_path)
    assert again.model == "mine"
    assert again.jitter.records.equals(before.jitter.records)


# --- one word, one number -------------------------------------------------------------------------------------------


def test_every_measure_of_class_probabilities_is_in_the_glossary() -> None:
    words = {word for heading in glossary() for word in heading.split(", ")}
    measures = Probabilities.measures
    assert {word for measure in measures for word in (measure.title, measure.called)} <= words
    assert {measure.title for measure in measures if measure.name == "worst_change"} == {"worst-case change"}
    assert {*GROUPS} == {text.lower() for text in re.findall(r"\*([^*]+)\*", glossary()["group"])}


def test_consistency_is_that_of_two_random_windows(images: Path, tmp_path: Path) -> None:
    models = [f"a={NAME}", f"b=antialiased:binomial3,all:{NAME}"]
    pages = {}
    for protocol in ("crop", "consistency:canvas=20,largest_shift=4,draws=1"):
        folder = tmp_path / protocol.partition(":")[0]
        result = al.measure_jitter(models, images, protocol, out=folder)
        result.write(folder)
        al.write_report(folder, tmp_path / "page.html")
        pages[protocol.partition(":")[0]] = (tmp_path / "page.html").read_text()
        assert "consistency" in result.summary()["models"]["a"]  # its key in files stays
    columns = {name: re.findall(r'<abbr title="[^"]*">([^<]*)</abbr>', page) for name, page in pages.items()}
    assert "consistency" not in columns["crop"]
    assert "consistency" in columns["consistency"]
    for page in pages.values():
        anchors = {*re.findall(r'id="(word-[^"]*)"', page)}
        assert {*re.findall(r'href="#(word-[^"]*)"', page)} <= anchors != set()


# --- numbers in English ---------------------------------------------------------------------------------------------


def test_every_number_of_a_depth_profile_knows_its_count(tmp_path: Path) -> None:
    summary = al.probe_depth(net(), pictures(12), "pad", limit=9).summary()["models"]["own"]
    assert {layer["images"] for layer in summary["layers"]} == {9}
    assert {site["images"] for site in summary["sites"]} == {2}  # every eighth
    assert summary["cautions"] == [
        "only 9 images: too few for narrow intervals; measure more images",
        "the sites were measured on 2 of the 9 images (--sites-every 8): too few for narrow intervals; --sites-every 1"
        " measures them on all",
    ]
    whole = al.probe_depth(net(), pictures(12), "pad", sites_every=1).summary()["models"]["own"]
    assert whole["cautions"] == []


def _attribution(**clear: tuple[bool, bool]) -> dict[str, Any]:
    estimate = {"mac": {"all": {"value": -0.5, "low": -0.75, "high": -0.25}}}
    opposite = {"mac": {"all": {"value": 0.5, "low": 0.25, "high": 0.75}}}
    sites = [
        {"name": name, "only": estimate, "all_but": opposite, "rank": rank, "rank_all_but": -rank}
        | {"clear": only, "clear_all_but": all_but}
        for rank, (name, (only, all_but)) in enumerate(clear.items(), 1)
    ]
    return {"sites": sites, "ranked_by": "mac", "variants": {"as it is": {"images": 1, "mac": {}}}, "settings": {}}


def test_short_words_of_conversions_are_explained_once_in_the_remarks() -> None:
    """Whatever stands in a name of a conversion: every operator, scheme, padding and placement has a meaning."""
    for word in (*OPERATORS, *SCHEMES, *PADDINGS, "binomial3", "after", "before", "1"):
        assert explained([word]).startswith(f"{word}: "), word
    assert len({kind.meaning for kind in OPERATORS.values()}) == len(OPERATORS)  # none has that of its base
    assert explained(["sites=a+b", "1-2-1"]) == explained([]) == ""
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    plain = make()
    two = [al.antialias(plain, scheme="all", operator=operator) for operator in ("blur", "flc")]
    for result in (al.measure_jitter([plain, *two], list(noise)), al.probe_depth([plain, *two], list(noise))):
        (said,) = [line for line in result.remarks() if "flc: " in line]
        assert said.startswith("(binomial4: low-pass filter")
        assert said.count("at every downsampling site") == 1
    assert not [line for line in al.measure_jitter(plain, list(noise)).remarks() if "low-pass" in line]


def test_the_verdict_is_one_sentence() -> None:
    found = verdict(_attribution(a=(True, True), b=(True, False), c=(False, True), d=(False, True), e=(False, False)))
    assert found == (
        "The jitter comes from a, b, d and c: filtering a alone lowers MAC by 0.50 [0.25, 0.75]; with every other site"
        " filtered, leaving d as it is raises MAC by 0.50 [0.25, 0.75]"
    )
    assert verdict(_attribution(a=(False, False))).startswith("No site can be told guilty by MAC on 1 image: ")
