"""A cure: the stages in order, a control that sees the same batches, resuming, honest sentences, and the command."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cifar_resnet import resnet20
from PIL import Image
from torch import nn

import aliasing as al
from aliasing import curing
from aliasing.cli import main
from aliasing.curing.candidates import choose
from aliasing.curing.forecast import Pace, Stage, _Line, assumed
from aliasing.curing.material import open_material
from aliasing.curing.verdict import sentences, succeeded
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate
from aliasing.images import open_images
from aliasing.report.cures import called
from aliasing.report.runs import Run

RECIPE = al.Recipe(epochs=2, learning_rate=0.05, batch_size=8)
OPTIONS: dict[str, Any] = {"candidates": ["binomial3,all", "binomial3,before,all"]}


def network() -> al.Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    module.extend((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    half = (0.5, 0.5, 0.5)
    return al.Classifier(module, "tiny", 16, half, half, "bilinear", resize_size=16, crop_share=1.0)


NAME = "module:test_cure:network"


def pictures(first: int, count: int) -> list[tuple[Any, int]]:
    """Noise, brighter in the second of two classes."""
    return [
        (
            np.random.default_rng(seed).integers(0, 156, (16, 16, 3)).astype(np.uint8) + np.uint8(80 * (seed % 2)),
            seed % 2,
        )
        for seed in range(first, first + count)
    ]


TRAIN, HELD_OUT = pictures(0, 32), pictures(100, 12)


def cured(out: Path, **options: Any) -> tuple[al.Classifier, curing.Cure]:
    found, result = al.cure(network(), TRAIN, HELD_OUT, out, RECIPE, **OPTIONS | options)
    return found, result


def numbers(result: curing.Cure) -> dict[str, Any]:
    summary = json.loads(json.dumps(result.summary()))
    return {key: value for key, value in summary.items() if key not in ("command", "versions", "digest")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, al.Classifier, curing.Cure]:
    """A cure from beginning to end."""
    out = tmp_path_factory.mktemp("cure") / "whole"
    found, result = cured(out)
    return out, found, result


def test_four_networks_are_measured_on_held_out_images(whole: tuple[Path, al.Classifier, curing.Cure]) -> None:
    _, found, result = whole
    summary = result.summary()
    assert list(summary["models"]) == ["plain", "control", "recalibrated", "cured"]
    pairs = [(row["first"], row["second"]) for row in summary["differences"]]
    assert pairs == [("plain", "control"), ("plain", "recalibrated"), ("plain", "cured"), ("control", "cured")]
    assert summary["models"]["plain"]["identity"] == network().identity
    assert summary["models"]["cured"]["identity"] == found.identity
    assert summary["settings"]["protocol"]["name"] == "pad"  # 16 pixels, like the network's input
    assert len(summary["verdict"]) == 3
    assert summary["cure"]["images"]["held_out"] == summary["models"]["cured"]["images"] == 12
    assert [len(summary["cure"]["training"][name]) for name in ("control", "cured")] == [2, 2]
    expected = result.jitter.difference("control", "cured").estimates()["mac"].as_dict()
    assert summary["differences"][-1]["mac"] == expected
    recalibrated = al.antialias(network(), **al.surgery.specification.parse(summary["cure"]["chosen"]))
    keys = list(recalibrated.module.state_dict())
    assert list(found.module.state_dict()) == keys == list(network().module.state_dict())


def test_what_is_written_opens_as_what_was_found(whole: tuple[Path, al.Classifier, curing.Cure]) -> None:
    out, found, result = whole
    opened: Any = al.open(out)
    assert isinstance(opened, curing.Cure)
    assert numbers(opened) == numbers(result)
    assert repr(opened) == repr(result)
    assert opened.table().equals(result.table())
    assert {"mac_minus_first", "mac_minus_control_low"} <= {*opened.table().column_names}
    assert result.summary()["verdict"][1] in repr(result)
    loaded = al.load_model(f"file:{out}/weights.safetensors@{NAME}")
    assert loaded.identity == found.identity
    opened.write(out.parent / "copy")
    assert numbers(al.open(out.parent / "copy")) == numbers(result)  # type: ignore[arg-type]


STAGES: dict[str, tuple[str, int]] = {
    "after plain": ("measure_jitter", 2),
    "in attribution": ("attribute", 1),
    "in a trial": ("finetune", 2),
    "in the control": ("finetune", 3),
    "in the cured": ("finetune", 4),
    "before the end": ("save", 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_anywhere_it_ends_as_it_would_have(
    stage: str, whole: tuple[Path, al.Classifier, curing.Cure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, number = STAGES[stage]
    function, calls = getattr(curing, name), [0]

    def stopping(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(curing, name, stopping)
    with pytest.raises(KeyboardInterrupt):
        cured(tmp_path)
    monkeypatch.undo()
    found, result = cured(tmp_path)
    assert found.identity == whole[1].identity
    assert numbers(result) == numbers(whole[2])


def test_the_control_sees_the_batches_of_the_cured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aliasing.surgery import finetune as module

    shown: list[list[str]] = []
    augment, epoch = module._augment, module._epoch

    def noting(*arguments: Any) -> Any:
        views = augment(*arguments)
        shown[-1].append(hashlib.sha256(views.tobytes()).hexdigest())
        return views

    def beginning(*arguments: Any) -> Any:
        shown.append([])
        return epoch(*arguments)

    monkeypatch.setattr(module, "_augment", noting)
    monkeypatch.setattr(module, "_epoch", beginning)
    cured(tmp_path)
    trials, control, cure = shown[:2], shown[2:4], shown[4:]
    assert len(shown) == 6
    assert trials[0] == trials[1]
    assert control == cure
    assert control[0] != control[1]


def test_training_images_are_divided_and_none_is_held_out(tmp_path: Path) -> None:
    material = open_material(open_images(TRAIN), open_images(HELD_OUT), tmp_path, 0)
    of = {name: {entry.identify() for entry in getattr(material, name)} for name in material.counts}
    assert material.counts == {
        "train": 32,
        "tried": 16,
        "statistics": 16,
        "compared": 16,
        "attributed": 16,
        "held_out": 12,
    }
    assert of["tried"].isdisjoint(of["compared"])
    assert of["tried"] | of["compared"] == of["train"]
    assert of["statistics"] <= of["tried"]
    assert of["attributed"] <= of["compared"]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda out: al.cure(network(), TRAIN, HELD_OUT + TRAIN[5:7], out),
            InputError,
            "2 of the held-out images are tr",
        ),
        (lambda out: al.cure(network(), TRAIN[:3], HELD_OUT, out), InputError, "holds 3 images; a cure learns from"),
        (
            lambda out: al.cure(al.antialias(network(), scheme="all"), TRAIN, HELD_OUT, out),
            UsageError,
            "already anti-al",
        ),
        (lambda out: al.cure(network(), TRAIN, HELD_OUT, out, candidates=["nearest"]), UsageError, "nearest"),
        (
            lambda out: al.cure(network(), [p for p, _ in TRAIN], HELD_OUT, out, RECIPE, **OPTIONS),
            InputError,
            "labelled",
        ),
        (lambda out: al.cure(network(), TRAIN, HELD_OUT, out, candidates=[]), UsageError, "no candidate"),
        (lambda out: al.cure(network(), TRAIN, HELD_OUT, out, device="gpu"), UsageError, "unknown device 'gpu'"),
        (lambda out: al.cure(network(), TRAIN, HELD_OUT, out, al.Recipe(epochs=0)), UsageError, "epochs 0, batch size"),
    ],
)
def test_what_cannot_be_cured_is_told_in_a_line(
    call: Callable[[Path], Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        call(tmp_path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # before anything was measured


def test_the_dry_run_counts_the_candidate_of_the_guilty_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(curing, "forecast", lambda plain, candidates, *given: made.extend(candidates.networks))
    curing.forecast_cure(network(), TRAIN, HELD_OUT, RECIPE)
    assert made == [*curing.CANDIDATES, "binomial3,sites=0"]


def test_another_cure_in_the_folder_is_refused(whole: tuple[Path, al.Classifier, curing.Cure]) -> None:
    with pytest.raises(UsageError, match=r"holds another cure \(images, seed differ\); choose another --out"):
        al.cure(network(), TRAIN, HELD_OUT[:5], whole[0], RECIPE, seed=1, **OPTIONS)


def test_what_was_assumed_is_told_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare network is taken to want 224 pixels; the caution is the one that a measurement ends with."""
    bare = al.load_model(network().module)
    [caution] = [
        text
        for text in al.measure_jitter(bare, HELD_OUT, limit=4).summary()["models"][bare.name]["cautions"]
        if "enlarged" in text
    ]
    told: list[str] = []
    monkeypatch.setattr(curing, "forecast", lambda *given: [])
    curing.forecast_cure(bare, TRAIN, HELD_OUT, RECIPE, tell=told.append, **OPTIONS)
    assert f"{bare.name}: {caution}" in told
    assert any("ImageNet's was assumed" in line for line in told)
    before = list(told)

    def interrupted(*given: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(curing, "measure_jitter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        al.cure(bare, TRAIN, HELD_OUT, tmp_path, RECIPE, tell=told.append, **OPTIONS)
    assert told[len(before) : 2 * len(before)] == before
    assert told[-1].startswith("1/6")


def named() -> al.Classifier:
    """A network whose factory names it."""
    return replace(network(), name="mine")


def test_the_name_that_a_factory_gives_is_that_of_the_page(tmp_path: Path) -> None:
    """The summary keeps the name under which a network loads, and beside it that of its factory."""
    torch.save(network().module.state_dict(), tmp_path / "net.pth")
    loaded = al.load_model(f"file:{tmp_path}/net.pth@module:test_cure:named")
    summary = al.measure_jitter(replace(loaded, name="plain"), HELD_OUT[:2], protocol="pad").summary()
    run = Run(tmp_path, "cure", {"cure": {"network": loaded.name}, "models": summary["models"]})
    assert called(run) == "The cure of mine"


def estimate(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
    ("change", "control", "accuracy", "expected"),
    [
        (
            (-0.05, 0.02),
            (-0.04, 0.02),
            (0.0, 0.02),
            ("makes the answer steadier", "No loss of accuracy is shown: 0.800; "),
        ),
        (
            (-0.05, 0.02),
            (-0.04, 0.02),
            (-0.01, 0.02),
            ("in the plain one (", "No loss of accuracy is shown: 0.790; "),
        ),
        (
            (-0.05, 0.02),
            (-0.01, 0.02),
            (0.03, 0.02),
            (
                "not shown to be the reason",
                "Filtering raises accuracy: 0.830; the control, which trained as long, has 0.800",
            ),
        ),
        ((-0.01, 0.02), (-0.01, 0.02), (-0.05, 0.02), ("No gain in P(top-1 change)", "It costs accuracy")),
        ((0.05, 0.02), (0.0, 0.02), (0.0, 0.02), ("This is no cure", "No loss of accuracy")),
        ((-0.05, 0.02), (-0.04, 0.02), None, ("makes the answer steadier", "unknown")),
    ],
)
def test_the_sentences_claim_what_the_intervals_show(
    change: tuple[float, float],
    control: tuple[float, float],
    accuracy: tuple[float, float] | None,
    expected: tuple[str, str],
) -> None:
    rows = [
        {"first": first, "second": "cured", "top1_change": estimate(*numbers)}
        | ({"accuracy": estimate(*accuracy)} if accuracy else {})
        for first, numbers in (("plain", change), ("control", control))
    ]
    models = {
        name: {"top1_change": estimate(0.1, 0.02), "accuracy": estimate(0.8 + moved, 0.02)}
        for name, moved in (("plain", 0.0), ("control", 0.0), ("cured", accuracy[0] if accuracy else 0.0))
    }
    cost = {"plain": {"multiply_adds": 100}, "cured": {"multiply_adds": 150}}
    facts = {"guilty": ["a", "b"], "sites": 3, "chosen": "flc,all", "cost": cost}
    facts["images"] = {"attributed": 20, "held_out": 100}
    guilty, gained, costs = sentences(facts, models, rows)
    assert "2 of the 3 downsampling sites are guilty: a, b" in guilty
    assert expected[0] in gained
    assert expected[1] in costs
    assert "1.50 times the multiply–adds" in costs
    assert succeeded(rows) == (change[0] + change[1] < 0 and control[0] + control[1] < 0)
    assert "cannot be told" in sentences(facts | {"guilty": []}, models, rows)[0]
    assert ("The next step: " in gained) == (not succeeded(rows))


def test_no_gain_names_what_is_clear_and_what_comes_next() -> None:
    """Half widths 4 and 2.4 times the difference: 16 times the images would show the less clear one, 1,600 → 2,000."""

    def gained(plain: float, mac: float, images: int = 100) -> str:
        rows = [
            {"first": first, "second": "cured", "top1_change": estimate(value, 0.04), "mac": estimate(mac, 0.02)}
            for first, value in (("plain", plain), ("control", -0.0166))
        ]
        models = {name: {"top1_change": estimate(0.1, 0.02)} for name in ("plain", "cured")}
        cost = {"plain": {"multiply_adds": 100}, "cured": {"multiply_adds": 150}}
        counts = {"attributed": 20, "held_out": images}
        return sentences({"guilty": [], "sites": 3, "images": counts, "chosen": "a", "cost": cost}, models, rows)[1]

    said = gained(-0.01, -0.03)
    assert "The mean absolute change is clearly lower: −0.030 [−0.050, −0.010] against plain, −0.030 [" in said
    assert "more held-out images (--images, --sample; about 2,000 would show" in said
    assert "clearly" not in gained(-0.01, -0.01)
    assert "about 600 would" in gained(-0.05, 0.0)  # plain is clear: the control alone counts
    for wrong in (0.01, 0.0, -1e-9):  # a difference written as 0 has no direction
        assert "held-out" not in gained(wrong, 0.0)
        assert "(--train, --train-sample) or epochs (--epochs)." in gained(wrong, 0.0)


def test_the_steadiest_of_the_accurate_is_chosen() -> None:
    """Of three, one changes least but is clearly less accurate; the better of the others is taken."""
    accuracy, change = {"a": 0.80, "b": 0.79, "c": 0.60}, {"a": 0.10, "b": 0.06, "c": 0.01}
    models = {
        name: {"accuracy": {"value": accuracy[name]}, "top1_change": {"value": change[name]}, "mac": {"value": 0.1}}
        for name in accuracy
    }

    def difference(half: float, best: str, name: str) -> Any:
        gap, more = accuracy[name] - accuracy[best], change[name] - change[best]
        wide = Estimate(more, more - half, more + half)
        found = {"accuracy": Estimate(gap, gap - 0.02, gap + 0.02), "top1_change": wide}
        return SimpleNamespace(estimates=lambda: found)

    said = {
        0.03: "clearly jitters more than b: P(top-1 change) +0.040 [+0.010, +0.070], paired",
        0.05: "not clearly steadier or less steady than b: P(top-1 change) +0.04 [−0.01, +0.09], paired",
    }
    for half, expected in said.items():
        reasons = {"c": "clearly less accurate than a: −0.200 [−0.220, −0.180], paired", "a": expected}
        trials: Any = SimpleNamespace(summary=lambda: {"models": models}, difference=partial(difference, half))
        assert choose(trials) == ("b", reasons)


def test_a_network_without_batch_norm_is_converted_and_not_recalibrated(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    plain = al.load_model(module, input_size=16)
    _, result = al.cure(plain, TRAIN, HELD_OUT, tmp_path, RECIPE, candidates=["binomial3,all"])
    assert list(result.jitter.models) == ["plain", "control", "converted", "cured"]


def test_a_bare_module_gives_a_module(tmp_path: Path) -> None:
    made: Any = network().module
    made.input_size = 16
    found, _ = al.cure(made, TRAIN, HELD_OUT, tmp_path, al.Recipe(epochs=1, batch_size=8), candidates=["flc,all"])
    assert type(found) is type(made)
    assert not hasattr(made, "antialiasing")
    assert hasattr(found, "antialiasing")


def test_a_line_through_two_timings() -> None:
    asked: list[int] = []
    line = _Line.of(asked.append, 9)
    assert asked == [2, 4, 8]
    assert line(100) >= line(10) >= 0


def test_what_is_left_follows_the_real_rate_and_not_what_was_done_before() -> None:
    pace = Pace([Stage(name, 1, seconds) for name, seconds in (("a", 10.0), ("b", 30.0), ("c", 20.0), ("d", 40.0))])
    assert pace.left == 100
    pace.finish(None)  # resumed: it took no time, which says nothing of the rate
    assert pace.left == 90
    pace.finish(90.0)
    assert pace.left == 3 * 60
    pace.finish(20.0)  # 110 seconds for what should have taken 50
    assert pace.left == pytest.approx(88)


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for load, busy in ((1.9, False), (5.25, True)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert ("(it is busy now: 5.3 tasks on 2 processors)" in assumed()) == busy


def write_images(root: Path) -> tuple[str, str]:
    """Training and held-out images in class folders."""
    for name, images in (("train", TRAIN), ("held-out", HELD_OUT)):
        for number, (pixels, label) in enumerate(images):
            folder = root / name / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return str(root / "train"), str(root / "held-out")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    return write_images(tmp_path)


def test_the_command_goes_the_whole_way(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, held_out = folders
    out = tmp_path / "cure"
    command = ["cure", NAME, "--train", train, "--images", held_out, "--epochs", "1", "--batch-size", "8"]
    command += ["--candidates", "binomial3,all"]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "fine-tune the control" in printed
    assert ", by the rate of the last few seconds on this machine" in printed
    assert "nothing was written" in printed
    assert not out.exists()
    assert main(command) == 2
    assert "give --out DIR" in capsys.readouterr().err
    assert main([*command, "--out", str(out)]) == 0
    printed, said = capsys.readouterr()
    assert "control: epoch 1 of 1: loss" in said
    assert len(re.findall(r"  took .+; about .+ left at the rate so far\n", said)) == 5  # of six, the last leaves none
    result: Any = al.open(out)
    assert all(sentence in printed for sentence in result.summary()["verdict"])
    weights = f"file:{out}/weights.safetensors@{NAME}"
    assert weights in printed
    assert al.load_model(weights).identity == result.summary()["models"]["cured"]["identity"]
    assert (out / "figure.png").stat().st_size > 5_000
    (advice,) = (line for line in printed.splitlines() if line.startswith("a page: "))
    assert main(advice.removeprefix("a page: aliasing ").split()) == 0
    page = (tmp_path / "cure.html").read_text("utf-8")
    assert "cured − control" in page
    capsys.readouterr()
    assert main([*command, "--out", str(out), "--json"]) == 0  # finished, it says the same again
    assert json.loads(capsys.readouterr().out)["verdict"] == result.summary()["verdict"]


def test_the_command_refuses_images_that_it_trains_on(
    folders: tuple[str, str], tmp_path: Path, complaint: Callable[..., str]
) -> None:
    train, _ = folders
    command = ["cure", NAME, "--train", train, "--images", train, "--out", str(tmp_path / "cure")]
    complaint(command, 1, "32 of the held-out images are training images too")


def test_jitter_subtracts_the_network_that_one_names(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["jitter", "--models", NAME, f"antialiased:binomial3,all:{NAME}", "--limit", "2", "--against"]
    assert main([*command, f"antialiased:binomial3,all:{NAME}", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["differences"]
    assert (row["first"], row["second"]) == (f"antialiased:binomial3,all:{NAME}", NAME)
    assert main([*command, "nobody"]) == 2
    assert "--against nobody: it is not measured; choose one of" in capsys.readouterr().err


@pytest.mark.slow
def test_a_cifar_resnet_is_cured(cifar10: Path, cifar10_resnets: Path, tmp_path: Path) -> None:
    """Acceptance: clearly steadier than plain and than the control, and not clearly less accurate."""
    plain = al.load_model(f"file:{cifar10_resnets}/resnet20.safetensors@module:cifar_resnet:resnet20")
    assert type(plain.module) is type(resnet20().module)
    _, result = al.cure(
        plain,
        cifar10 / "train.parquet",
        cifar10 / "test.parquet",
        tmp_path,
        al.Recipe(epochs=1),
        train_sample=4000,
    )
    assert result.cured


def test_a_bare_network_sees_tensors_as_they_are(tmp_path: Path) -> None:
    """As in `measure_jitter`; known before anything is trained, so it ends there."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels = torch.randint(0, 256, (20, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255
    train, held_out = ((part, torch.arange(10) % 4) for part in pixels.split(10))
    told = []

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("0/6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.cure(module, train, held_out, tmp_path, tell=tell)
    assert told[0].startswith("Sequential: as its tensors have it: input_size (16, 16), resize_size (16, 16)")
