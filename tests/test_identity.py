"""A number is always of this network and of these pictures: what a run is, and what it refuses to be."""

import copy
import json
import os
import shutil
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image as Pillow
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.depth.across import NetworkDepth, compare_depths
from aliasing.errors import InputError, UsageError
from aliasing.identity import identify
from aliasing.provenance import write_json
from aliasing.state import read_json
from aliasing.state import write_json as write_state
from aliasing.surgery.finetune import Recipe, finetune
from tests.small_network import NAME, make

HALF = (0.5, 0.5, 0.5)
EXAMPLE = torch.zeros(1, 3, 32, 32)
ANOTHER = "module:tests.small_network:another"


def small(pool: nn.Module | None = None) -> nn.Module:
    """Always the same weights, whatever the pool."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            pool or nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, 2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        ).eval()


def classifier(module: nn.Module, **changes: Any) -> al.Classifier:
    return replace(al.Classifier(module, "small", 32, HALF, HALF, "bilinear", 40, 0.8), **changes)


class Wired(nn.Module):
    """What a network may do beside its modules."""

    def __init__(self, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.after = small(), after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(x))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def _of_a_copy(x: Tensor, which: int) -> Tensor:
    copied = x.clone()
    copied.relu_()
    return (x, copied)[which] + 1


def _sparse(value: float) -> Tensor:
    return (value * torch.eye(5)).to_sparse()


def with_buffer(value: float) -> nn.Module:
    module = small()
    module.register_buffer("scale", torch.full((1,), value), persistent=False)
    module.register_forward_hook(lambda module, inputs, output: output * module.scale)
    return module


# Networks of one state_dict, no two of which compute the same.
COMPUTATIONS = {
    "max": lambda: small(),
    "average": lambda: small(nn.AvgPool2d(2)),
    "another window": lambda: small(nn.MaxPool2d(3, 2)),
    "padded": lambda: small(nn.MaxPool2d(2, padding=1)),
    "dilated": lambda: small(nn.MaxPool2d(2, dilation=2)),
    "blurred": lambda: small(al.layers.MaxBlurPool2d(2)),
    "three taps": lambda: small(al.layers.MaxBlurPool2d(2, taps="binomial3")),
    "another border": lambda: small(al.layers.MaxBlurPool2d(2, padding="circular")),
    "in Fourier's domain": lambda: small(al.layers.FourierPool2d(2)),
    "the largest phase": lambda: small(al.layers.PolyphasePool2d(2)),
    "every second": lambda: small(al.layers.Subsample2d(2)),
    "scaled": lambda: Wired(lambda x: x * 2),
    "scaled otherwise": lambda: Wired(lambda x: x * 3),
    "by a constant tensor": lambda: Wired(lambda x: x * torch.tensor([1.0, 2, 3, 4, 5])),
    "by another constant": lambda: Wired(lambda x: x * torch.tensor([1.0, 2, 3, 4, 6])),
    "an own function": lambda: Wired(lambda x: Doubled.apply(x, 2.5)),
    "an own function otherwise": lambda: Wired(lambda x: Doubled.apply(x, 3.5)),
    "softmax": lambda: Wired(lambda x: x.softmax(1)),
    "in place": lambda: Wired(lambda x: x.relu_()),
    "of what a copy was": lambda: Wired(lambda x: _of_a_copy(x, which=0)),
    "of the copy that was changed": lambda: Wired(lambda x: _of_a_copy(x, which=1)),
    "by sparse numbers": lambda: Wired(lambda x: torch.sparse.mm(_sparse(2.0), x.T).T),
    "by other sparse numbers": lambda: Wired(lambda x: torch.sparse.mm(_sparse(3.0), x.T).T),
    "leaky": lambda: Wired(lambda x: F.leaky_relu(x, 0.1)),
    "leakier": lambda: Wired(lambda x: F.leaky_relu(x, 0.2)),
    "a buffer that no state_dict holds": lambda: with_buffer(2),
    "another such buffer": lambda: with_buffer(3),
    **{
        f"converted by {name}": lambda given=given: al.antialias(
            small(), example_input=torch.zeros(1, 3, 32, 32), **given
        )
        for name, given in {
            "default": {},
            "all": {"scheme": "all"},
            "three taps": {"taps": "binomial3"},
            "numbers": {"taps": (1, 2, 2, 1)},
            "before": {"placement": "before", "scheme": "all"},
            "flc": {"operator": "flc"},
            "aps": {"operator": "aps"},
            "circular": {"padding": "circular"},
        }.items()
    },
}


def test_networks_that_compute_otherwise_with_the_same_weights_are_others() -> None:
    found = {name: identify(classifier(network())) for name, network in COMPUTATIONS.items()}
    names: dict[str, str] = {}
    for name, identity in found.items():
        assert names.setdefault(identity.computation, name) == name
    assert len({identity.weights for name, identity in found.items() if "converted" in name or name == "max"}) == 1


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_a_copy_a_name_a_mode_and_a_layout_do_not_change_what_a_network_is(name: str) -> None:
    network = COMPUTATIONS[name]()
    expected = classifier(network).identity
    modes = [module.training for module in network.modules()]
    assert classifier(network, name="otherwise", notes=("a note",)).identity == expected
    assert classifier(COMPUTATIONS[name](), origin={"source": "elsewhere", "version": "2"}).identity == expected
    assert [module.training for module in network.modules()] == modes
    assert classifier(copy.deepcopy(network).to(memory_format=torch.channels_last)).identity == expected
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert classifier(network).identity == expected


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.5, 0.5, 0.4)},
        {"std": (0.5, 0.5, 0.4)},
        {"interpolation": "bicubic"},
        {"resize_size": 41},
        {"input_size": 31},
        {"labels": tuple("abcde")},
    ],
)
def test_how_a_network_is_shown_a_picture_is_a_part_of_what_it_is(change: dict[str, Any]) -> None:
    assert classifier(small(), **change).identity != classifier(small()).identity


@settings(max_examples=15)
@given(st.data())
def test_any_weight_counts(data: st.DataObject) -> None:
    network = small()
    before = classifier(network).identity
    tensors = [value for value in network.state_dict().values() if value.is_floating_point()]
    tensor = data.draw(st.sampled_from(tensors)).view(-1)
    place = data.draw(st.integers(0, len(tensor) - 1))
    kept = tensor[place].clone()
    tensor[place] = torch.nextafter(kept, torch.tensor(torch.inf))
    assert classifier(network).identity != before
    tensor[place] = kept
    assert classifier(network).identity == before


def test_a_network_that_cannot_be_recorded_is_known_by_how_it_describes_itself() -> None:
    class Unrecorded(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise NotImplementedError("there is no rule for this operator")
            return super().forward(x)

    def network(stride: int) -> al.Classifier:
        torch.manual_seed(0)
        return classifier(Unrecorded(nn.Conv2d(3, 4, 3, stride), nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    assert network(2).identity == network(2).identity != network(3).identity


def test_a_network_that_fails_on_a_blank_picture_only_is_measured() -> None:
    class Particular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small()

        def forward(self, x: Tensor) -> Tensor:
            if not x.any():
                raise ValueError("nothing to see")
            return self.inner(x)

    found, expected = (
        al.measure_jitter(classifier(network), pictures(2)).summary()["models"]["small"]["mac"]["value"]
        for network in (Particular(), small())
    )
    assert found == pytest.approx(expected, rel=1e-4)  # its batch norm is not folded: roundings of 6e-8 in some 1e-3


def test_real_networks_have_one_identity_however_they_are_had() -> None:
    lite = al.load_model("pypi:efficientnet_lite0")
    converted = al.antialias(lite)
    assert lite.identity == al.load_model("pypi:efficientnet_lite0").identity != converted.identity
    assert al.restore(converted).identity == lite.identity
    assert al.load_model("antialiased:binomial4:pypi:efficientnet_lite0").identity == converted.identity


def test_recalibrated_and_fine_tuned_networks_say_so(tmp_path: Path) -> None:
    network, images = classifier(small()), pictures(8)
    recalibrated = al.recalibrate(network, images)
    tuned = finetune(network, [(image, k % 5) for k, image in enumerate(images)], tmp_path, Recipe(1, 0.1, 4))
    assert len({network.identity, recalibrated.identity, tuned.identity}) == 3
    assert len({model.weights["sha256"] for model in (network, recalibrated, tuned)}) == 3
    assert (recalibrated.name, tuned.name) == ("small, recalibrated", "small, fine-tuned")
    assert recalibrated.notes[-1] == "batch-norm statistics from 8 images"
    with torch.no_grad():
        recalibrated.module[0].weight += 1  # nothing is stored that could go stale
    assert recalibrated.identity != al.recalibrate(network, images).identity


# --- the inputs ----------------------------------------------------------------------------------------------------


def pictures(count: int, seed: int = 0) -> list[Any]:
    return [np.random.default_rng((seed, k)).integers(0, 256, (40, 40, 3), np.uint8) for k in range(count)]


def write(folder: Path, count: int = 3, seed: int = 0, labels: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, pixels in enumerate(pictures(count, seed)):
        Pillow.fromarray(pixels).save(folder / f"{k:03d}.png")
    if labels:
        rows = [f"{k:03d}.png,{k % 5}" for k in range(count)]
        (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return folder


def measure(out: Path, images: Any, model: Any = None, **options: Any) -> dict[str, Any]:
    summary = al.measure_jitter(model or make(), images, out=out, **options).summary()
    write_json(out / "summary.json", summary)
    return summary


def test_other_arrays_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    measure(tmp_path, pictures(3))
    measure(tmp_path, pictures(3))
    with pytest.raises(InputError, match=r"measured on other images: 00000 holds other bytes; choose another --out"):
        measure(tmp_path, pictures(3, seed=1))
    one_changed = pictures(3)
    one_changed[2][0, 0, 0] ^= 1
    with pytest.raises(InputError, match="00002 holds other bytes"):
        measure(tmp_path, one_changed)


def test_another_network_in_the_same_folder_is_refused_with_what_differs(tmp_path: Path) -> None:
    measure(tmp_path, pictures(2), classifier(small()))
    measure(tmp_path, pictures(2), classifier(small()))
    blurred = classifier(small(al.layers.MaxBlurPool2d(2)))
    with pytest.raises(InputError, match=r"other settings: computation was '\w+' and is now '\w+'; choose another"):
        measure(tmp_path, pictures(2), blurred)
    with pytest.raises(InputError, match=r"other settings: preprocessing was .*'mean'.* and is now"):
        measure(tmp_path, pictures(2), classifier(small(), mean=(0.4, 0.5, 0.5)))
    changed = small()
    with torch.no_grad():
        changed[0].bias[0] += 1
    with pytest.raises(InputError, match="other settings: weights was"):
        measure(tmp_path, pictures(2), classifier(changed))


@pytest.mark.parametrize("command", ["jitter", "depth", "attribute"])
def test_files_that_changed_are_told_and_no_old_number_is_given(
    command: str, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    images = write(tmp_path / "images")
    network = [NAME] if command == "attribute" else ["--models", NAME]
    words = [command, *network, "--images", str(images), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    kept = (tmp_path / "out" / "summary.json").read_bytes()
    assert main(words) == 0
    second, labels = images / "001.png", images / "labels.csv"

    def refused(expected: str) -> None:
        complaint(words, 1, expected)
        assert (tmp_path / "out" / "summary.json").read_bytes() == kept
        shutil.rmtree(images)
        write(images)

    write(images, seed=1)
    refused("000.png holds other bytes")
    labels.write_text("file,label\n000.png,0\n001.png,4\n002.png,2\n")
    refused("001.png had the label '1' and now has '4'")
    second.unlink()
    labels.write_text("file,label\n000.png,0\n002.png,2\n")
    refused("3 then, 2 now")
    second.rename(images / "003.png")
    labels.write_text("file,label\n000.png,0\n003.png,1\n002.png,2\n")
    refused("their names or their order")
    second.unlink()
    os.mkfifo(second)
    refused("001.png can no longer be read")
    assert main(words) == 0  # of the files as they were


def test_other_files_of_the_same_bytes_go_on(tmp_path: Path) -> None:
    images = write(tmp_path / "images")
    first = measure(tmp_path / "out", images)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(images, elsewhere)
    images.mkdir()
    for file in sorted(elsewhere.iterdir(), reverse=True):  # written in another order, at another time
        shutil.copy(file, images)
    again = measure(tmp_path / "out", images)
    assert again["images"] == first["images"]
    assert again["images"]["identity"] == measure(tmp_path / "new", images)["images"]["identity"]


def test_images_that_were_moved_go_on_and_those_that_are_turned_otherwise_do_not(tmp_path: Path) -> None:
    images = write(tmp_path / "images")
    first = measure(tmp_path / "out", images)
    part = next((tmp_path / "out").rglob("*.parquet"))
    written = part.stat().st_mtime_ns
    moved = shutil.move(images, tmp_path / "moved")
    again = measure(tmp_path / "out", moved)
    assert (again["models"], again["images"]["identity"]) == (first["models"], first["images"]["identity"])
    assert part.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="orientation was 'upright' and is now 'stored'"):
        measure(tmp_path / "out", al.images.open_images(moved, orientation="stored"))


def test_a_network_that_is_added_is_paired_on_the_same_pictures_only(tmp_path: Path) -> None:
    images = write(tmp_path / "images")
    measure(tmp_path / "out", images, al.load_model(NAME))
    write(images, seed=1)
    with pytest.raises(InputError, match=r"000\.png holds other bytes"):
        measure(tmp_path / "out", images, [NAME, ANOTHER])
    measure(tmp_path / "out", images, ANOTHER)  # by itself it has no pair
    from aliasing.jitter.result import Jitter, paired
    from aliasing.protocols import make_protocol
    from aliasing.records import Records

    both = Jitter({NAME: {}, ANOTHER: {}}, make_protocol("crop"), {}, Records(tmp_path / "out"))
    with pytest.raises(InputError, match=r"these networks were shown different images: 000\.png holds other bytes"):
        paired(both, NAME, both, ANOTHER)
    with pytest.raises(InputError, match="were shown different images"):
        both.summary()


def test_a_part_in_the_place_of_another_is_measured_again(tmp_path: Path) -> None:
    images = write(tmp_path / "images", 40, labels=False)
    whole = measure(tmp_path / "out", images, [NAME, ANOTHER])
    first, second = (sorted(folder.glob("*.parquet")) for folder in sorted((tmp_path / "out/records").iterdir()))
    good = {path: path.read_bytes() for path in (*first, *second)}
    for place, other in ((first[0], second[0]), (first[1], first[0]), (second[0], first[0])):
        place.write_bytes(good[other])
        with pytest.warns(UserWarning, match="it belongs to another run or another block"):
            again = measure(tmp_path / "out", images, [NAME, ANOTHER])
        assert again["models"] == whole["models"]
        assert {path: path.read_bytes() for path in good} == good


@pytest.mark.parametrize("command", ["jitter", "depth", "attribute", "compare"])
@pytest.mark.parametrize("out", ["", "results/first"])
def test_results_are_kept_apart_from_the_images(
    command: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write(tmp_path / "images")
    network = [NAME] if command == "attribute" else ["--models", NAME]
    assert main([command, *network, "--images", str(images), "--out", str(images / out)]) == 2
    assert "is inside the inputs' folder" in capsys.readouterr().err
    assert sorted(path.name for path in images.iterdir()) == ["000.png", "001.png", "002.png", "labels.csv"]


def test_results_are_kept_apart_from_each_of_several_folders_and_from_shards(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, labels=False) for name in ("a", "b")]
    for out in folders:
        with pytest.raises(UsageError, match="is inside the inputs' folder"):
            measure(out / "run", folders)
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "0.tar", "w") as archive:
        archive.add(folders[0] / "000.png", "0.png")
    with pytest.raises(UsageError, match="is inside the inputs' folder"):
        measure(shards / "run", shards)


def test_every_command_says_the_same_identities(tmp_path: Path) -> None:
    images = write(tmp_path / "images")
    for command in ("jitter", "compare", "depth", "attribute", "features"):
        network = [NAME] if command in ("attribute", "features") else ["--models", NAME]
        given = [str(images)] if command == "features" else ["--images", str(images)]
        assert main([command, *network, *given, "--out", str(tmp_path / command)]) == 0
    summaries = {
        folder.name: json.loads((folder / "summary.json").read_text())
        for folder in tmp_path.iterdir()
        if (folder / "summary.json").exists()
    }
    inputs = {name: found["images"]["identity"] for name, found in summaries.items() if name != "features"}
    assert len(inputs) == 4
    assert len({*inputs.values()}) == 1
    networks = [summaries[name]["models"][NAME]["identity"] for name in ("jitter", "compare", "depth")]
    networks += [summaries["attribute"]["variants"]["as it is"]["identity"], summaries["features"]["identity"]]
    assert {*networks} == {al.load_model(NAME).identity}
    depths = {NAME: NetworkDepth(3, 2, 4.0)}
    assert len(compare_depths([tmp_path / "compare"], depths=depths).groups) == 1


def test_two_networks_of_one_name_are_two(tmp_path: Path) -> None:
    images = pictures(2)
    blurred = classifier(small(al.layers.MaxBlurPool2d(2)))
    board = al.compare_networks([classifier(small()), classifier(small()), blurred], images)
    assert list(board.networks) == ["small"]
    assert board.unmeasured == {"small": "two networks are called small; give each its own name"}


def test_runs_are_set_side_by_side_by_their_pictures_and_protocol(tmp_path: Path) -> None:
    images = write(tmp_path / "images")
    depths = {name: NetworkDepth(3, 2, 4.0) for name in (NAME, ANOTHER)}
    measure(tmp_path / "a", images, NAME)
    measure(tmp_path / "b", images, ANOTHER)
    assert len(compare_depths([tmp_path / "a", tmp_path / "b"], depths=depths).groups) == 1
    measure(tmp_path / "c", images, ANOTHER, protocol="crop:span=4")
    assert len(compare_depths([tmp_path / "a", tmp_path / "c"], depths=depths).groups) == 2
    write(images, seed=1)
    measure(tmp_path / "d", images, ANOTHER)  # the same names under the same path
    assert len(compare_depths([tmp_path / "a", tmp_path / "d"], depths=depths).groups) == 2


def test_the_page_tells_networks_of_one_name_and_pictures_of_one_path_apart(tmp_path: Path) -> None:
    from aliasing.report import display_names, make_page, read_run

    images = write(tmp_path / "images")
    measure(tmp_path / "plain", images, classifier(small()))
    measure(tmp_path / "again", images, classifier(small()))
    measure(tmp_path / "blurred", images, classifier(small(al.layers.MaxBlurPool2d(2))))
    runs = [read_run(tmp_path / name) for name in ("plain", "again", "blurred")]
    names = display_names(runs)
    assert [called["small"] for called in names] == ["small (plain)", "small (plain)", "small (blurred)"]
    assert len({tuple(called.numbers.items()) for called in names}) == 1  # one colour a network
    measure(tmp_path / "renamed", images, classifier(small(), name="other"))
    blurred, plain, renamed = display_names([runs[2], runs[0], read_run(tmp_path / "renamed")])
    assert [blurred.series("small"), plain.series("small"), renamed.series("other")] == [0, 1, 1]
    (before, _) = display_names([runs[0], read_run(tmp_path / "renamed")])
    assert before.also_called("small")[0].startswith(
        "“small” is the network that other parts of this page call “other”"
    )
    page, cautions = make_page(runs)
    assert "small (blurred)" in page
    assert not cautions
    write(images, seed=1)
    measure(tmp_path / "others", images, classifier(small()))
    cautions = make_page([runs[0], read_run(tmp_path / "others")])[1]
    assert cautions == ["others was measured on different pictures than plain"]


def test_speed_is_of_the_network_that_was_timed(tmp_path: Path) -> None:
    images = pictures(2)
    al.compare_networks(classifier(small()), images, out=tmp_path)
    kept = read_json(tmp_path / "speed.json")
    assert kept["identities"] == {"small": classifier(small()).identity}
    kept["views_per_second"]["small"] = 1.0
    write_state(tmp_path / "speed.json", kept)
    assert al.compare_networks(classifier(small()), images, out=tmp_path).speed["views_per_second"] == {"small": 1.0}
    kept["identities"]["small"] = "another"
    write_state(tmp_path / "speed.json", kept)
    assert al.compare_networks(classifier(small()), images, out=tmp_path).speed["views_per_second"]["small"] > 1


# --- fine-tuning ---------------------------------------------------------------------------------------------------

RECIPE = Recipe(epochs=1, learning_rate=0.1, batch_size=4)


def labelled(seed: int = 0) -> list[Any]:
    return [(image, k % 5) for k, image in enumerate(pictures(8, seed))]


def test_a_folder_that_was_begun_with_other_images_is_not_gone_on_with(tmp_path: Path) -> None:
    network = classifier(small())
    finetune(network, labelled(), tmp_path, RECIPE)
    finetune(network, labelled(), tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"holds another run \(images differ\)"):
        finetune(network, labelled(seed=1), tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"holds another run \(images differ\)"):
        finetune(network, [(image, 4 - label) for image, label in labelled()], tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"holds another run \(computation differs\)"):
        finetune(classifier(small(al.layers.MaxBlurPool2d(2))), labelled(), tmp_path, RECIPE)


@pytest.mark.parametrize("file", ["checkpoint.pt", "images.npz"])
def test_a_file_of_another_run_is_refused(file: str, tmp_path: Path) -> None:
    network = classifier(small())
    finetune(network, labelled(), tmp_path / "a", RECIPE)
    finetune(network, labelled(seed=1), tmp_path / "b", RECIPE)
    shutil.copy(tmp_path / "b" / file, tmp_path / "a" / file)
    with pytest.raises(UsageError, match=f"{file} belongs to another run; delete it, or give another folder"):
        finetune(network, labelled(), tmp_path / "a", RECIPE)


def test_images_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    images = write(tmp_path / "images", 16)
    for k in range(15):
        (images / f"{k:03d}.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"trained on 1 of 16 images; 15 could not be used, 000.png first: not an"):
        tuned = finetune(classifier(small()), images, tmp_path / "out", RECIPE)
    assert tuned.notes[-1].startswith("trained on 1 of 16 images; 15 could not be used")
    with pytest.raises(InputError, match=r"at least two images; .*: 1 of 16 images; 15 could not be used"):
        al.recalibrate(classifier(small()), images)
    with pytest.raises(InputError, match="at least two images; 8 items: 1 image"):
        al.recalibrate(classifier(small()), pictures(8), limit=1)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_the_loss_is_of_the_probabilities_whatever_the_scale(end: nn.Module, tmp_path: Path) -> None:
    expected = finetune(classifier(small()), labelled(), tmp_path / "logits", RECIPE)
    found = finetune(classifier(nn.Sequential(small(), end)), labelled(), tmp_path / "end", RECIPE)
    for one, other in zip(expected.module.parameters(), found.module.parameters(), strict=True):
        # Two steps in float32; the softmax's gradient is computed by other sums, of some 10 roundings of 6e-8.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    several = classifier(small(), scale="multi-label logits")
    with pytest.raises(UsageError, match="multi-label logits; training needs one class per image"):
        finetune(several, labelled(), tmp_path / "several", RECIPE)


class Auxiliary(nn.Module):
    """Answers with two tensors in training, as GoogLeNet and Inception do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, x: Tensor) -> Any:
        scores = self.inner(x)
        return (scores, scores) if self.training else scores


def test_what_cannot_be_trained_is_refused_before_images_are_read(tmp_path: Path) -> None:
    missing = tmp_path / "nothing here"
    frozen = small().requires_grad_(False)
    for network, message in ((frozen, "is frozen"), (Auxiliary(), "answers with a tuple in training")):
        with pytest.raises(UsageError, match=message):
            finetune(classifier(network), missing, tmp_path / "out", RECIPE)


def test_a_loader_of_pictures_is_its_pictures_and_one_of_what_is_normalised_is_refused(tmp_path: Path) -> None:
    class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            return labelled()[index]

    loader = torch.utils.data.DataLoader(Pictures(), batch_size=4)
    network = classifier(small())
    tuned, expected = (
        finetune(network, images, tmp_path / name, RECIPE).identity
        for name, images in (("loader", loader), ("list", labelled()))
    )
    assert tuned == expected
    assert al.recalibrate(network, loader).identity == al.recalibrate(network, pictures(8)).identity
    normalised = torch.utils.data.DataLoader(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="so they were normalised: say how"):
        al.recalibrate(network, normalised)


def test_bare_modules_and_loaders_of_batches_work(tmp_path: Path) -> None:
    network = small()
    network[0].weight.requires_grad_(False)
    tuned = finetune(network, labelled(), tmp_path, RECIPE)
    assert isinstance(tuned, nn.Sequential)
    assert torch.equal(tuned[0].weight, network[0].weight)
    assert not torch.equal(tuned[8].weight, network[8].weight)
    batches = torch.utils.data.TensorDataset(torch.randn(6, 3, 32, 32), torch.arange(6))
    loader = torch.utils.data.DataLoader(batches, batch_size=3)
    expected = al.recalibrate(network, [batch for batch, _ in loader])
    for made in (al.recalibrate(network, loader), al.recalibrate(network.requires_grad_(False), loader)):
        assert torch.equal(made[1].running_mean, expected[1].running_mean)


def test_networks_whose_hooks_compute_weights_are_tuned_and_known(tmp_path: Path) -> None:
    def normed() -> nn.Module:
        module = small()
        torch.nn.utils.weight_norm(module[0])
        module(torch.zeros(1, 3, 32, 32))  # leaves a tensor with a history, which copy.deepcopy refuses
        return module

    network = classifier(normed())
    assert network.identity == classifier(normed()).identity != classifier(small()).identity
    tuned = finetune(network, labelled(), tmp_path, RECIPE)
    assert len({network.identity, tuned.identity, al.recalibrate(network, pictures(4)).identity}) == 3


def test_an_undisturbed_run_says_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            finetune(classifier(small()), labelled(), tmp_path / "tuned", RECIPE)
            measure(tmp_path / "jitter", pictures(3))


def test_a_single_number_that_was_cut_from_a_row_is_hashed() -> None:
    from aliasing.models.classifier import plain_bytes

    row = torch.arange(12.0).reshape(2, 6)
    assert bytes(plain_bytes(row[:1, 3])) == np.float32(3).tobytes()
    assert bytes(plain_bytes(row[:0, 3])) == b""
