"""Loaders, data sets and tensors: the pictures that they were made of, exactly, or a reason why not."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.images import Image, open_images

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PICTURES = torch.randint(0, 256, (12, 3, 16, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(12) % 5
NORMALISED = (PICTURES.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
SAID: dict[str, Any] = {"mean": MEAN, "std": STD}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(NORMALISED, LABELS, strict=True)


class Dicts(Dataset[Any]):
    """As Hugging Face's data sets give their rows."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return {"pixel_values": NORMALISED[index], "labels": int(LABELS[index])}


def collate(items: list[Any]) -> Any:
    return torch.stack([image for image, _ in items]), [label for _, label in items]


DATA_SET = TensorDataset(NORMALISED, LABELS)
FORMS: dict[str, Callable[[], Any]] = {
    "a loader": lambda: DataLoader(DATA_SET, batch_size=5),
    "a loader that shuffles": lambda: DataLoader(DATA_SET, batch_size=5, shuffle=True),
    "a loader with its own batches": lambda: DataLoader(DATA_SET, batch_size=5, collate_fn=collate),
    "a loader of a stream": lambda: DataLoader(Stream(), batch_size=5),
    "a loader of dicts": lambda: DataLoader(Dicts(), batch_size=5),
    "a loader of single items": lambda: DataLoader(Dicts(), batch_size=1),
    "a data set": lambda: DATA_SET,
    "tensors and labels": lambda: (NORMALISED, LABELS),
    "tensors and a list": lambda: (NORMALISED, LABELS.tolist()),
    "a part of a data set": lambda: Subset(DATA_SET, range(12)),
}


def expected() -> list[Image]:
    items = zip(PICTURES.permute(0, 2, 3, 1).numpy(), LABELS.tolist(), strict=True)
    return [entry.load() for entry in open_images(list(items))]  # type: ignore[misc]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_pictures_bit_for_bit(form: str) -> None:
    source = open_images(FORMS[form](), **SAID)
    for _ in range(2):  # a stream can begin again
        for entry, image in zip(source, expected(), strict=True):
            found = entry.load()
            assert isinstance(found, Image)
            assert np.array_equal(found.pixels, image.pixels)
            assert (found.identity, found.label, entry.identify()) == (image.identity, image.label, image.identity)
    assert source.preprocessing is not None
    assert source.preprocessing["input_size"] == (16, 20)
    assert source.description.endswith(f"normalised by mean {MEAN} and std {STD}")
    assert source.cautions == ()


def test_grey_tensors_and_one_number_for_all_channels() -> None:
    for pictures in (PICTURES[:, :1], PICTURES):
        source = open_images((pictures.float() / 255 - 0.5) / 0.25, mean=0.5, std=0.25)
        for entry, picture in zip(source, pictures, strict=True):
            found = entry.load()
            assert isinstance(found, Image)
            assert np.array_equal(found.pixels, picture.expand(3, 16, 20).permute(1, 2, 0).numpy())
        assert source.preprocessing is not None
        assert source.preprocessing["mean"] == (0.5,) * pictures.shape[1]


def test_a_sampler_says_which_images_belong_to_it() -> None:
    loader = DataLoader(DATA_SET, batch_size=2, sampler=SubsetRandomSampler([7, 2, 9]))
    assert [entry.name for entry in open_images(loader, **SAID)] == ["00002", "00007", "00009"]


@pytest.mark.parametrize("form", ["RandomSampler", "SubsetRandomSampler", "its own batches"])
def test_no_random_state_moves(form: str) -> None:
    generator = torch.Generator().manual_seed(3)
    loader: Any = {
        "RandomSampler": lambda: DataLoader(DATA_SET, shuffle=True, generator=generator),
        "SubsetRandomSampler": lambda: DataLoader(DATA_SET, sampler=SubsetRandomSampler([1, 2, 3], generator)),
        "its own batches": lambda: DataLoader(DATA_SET, shuffle=True, generator=generator, collate_fn=collate),
    }[form]()
    before, everywhere = generator.get_state(), torch.get_rng_state()
    al.measure_jitter(network(), loader, **SAID)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)


@pytest.mark.parametrize(
    ("tensors", "said", "says"),
    [
        (NORMALISED, {}, "hold numbers from −2 to 2.1, so they were normalised: say how, mean=(…), std=(…)"),
        (
            NORMALISED,
            {"mean": 0.5, "std": 0.5},
            "from −0.49 to 1.6 with mean (0.5,) and std (0.5,) undone; expected 0…1",
        ),
        (NORMALISED[:0], SAID, "without items"),
    ],
)
def test_what_cannot_be_told_is_asked(tensors: Tensor, said: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        open_images(DataLoader(TensorDataset(tensors)), **said)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (DATA_SET, {"mean": 0.5}),
        (DATA_SET, {"mean": 0.5, "std": 0}),
        (DATA_SET, {"mean": (0.5,) * 3, "std": (0.5,)}),
        (DATA_SET, {"mean": "grey", "std": 1}),
        ("sample", SAID),
        ([np.zeros((8, 8), np.uint8)], SAID),
    ],
)
def test_a_mean_and_a_std_that_make_no_sense(images: Any, said: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="mean"):
        open_images(images, **said)


def test_tensors_that_are_no_longer_pictures_of_8_bits() -> None:
    resized = torch.nn.functional.interpolate(PICTURES.float() / 255, (12, 12), mode="bilinear")
    assert "resized after they became tensors" in open_images(resized).cautions[0]
    other = open_images(NORMALISED / 4, mean=0.5, std=0.9)  # within 0…1, but not what it was
    assert "mean and std are not those that normalised them" in other.cautions[0]
    assert open_images(PICTURES.float() / 255).cautions == ()


def test_a_data_set_that_changes_its_pictures_is_told() -> None:
    class Noisy(Dicts):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(3, 8, 8), 1

    result = al.measure_jitter(network(), Noisy())
    assert any("another picture each time" in caution for caution in result.summary()["images"]["cautions"])
    assert "\ncaution: the data set gives another picture each time" in f"{result}"


def test_a_data_sets_classes_have_their_names() -> None:
    class Named(Dicts):
        classes = ("ant", "bee", "cat", "dog", "eel")

    for data_set in (Named(), Subset(Named(), [3, 4]), DataLoader(Named())):
        assert open_images(data_set, **SAID).class_names == Named.classes
    other_order = al.Classifier.of(network(), (16, 20), **SAID, labels=Named.classes[::-1])
    found = al.measure_jitter(other_order, Named(), **SAID).records
    assert sorted(set(found["label"].to_pylist())) == [0, 1, 2, 3, 4]
    assert found["label"].to_pylist() == [4 - int(label) for label in LABELS]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip


def test_a_bare_network_sees_its_tensors_as_they_are() -> None:
    """Its records are those of the arrays behind the tensors, to the bit: the same pictures, the same network."""
    net = network()
    found = al.measure_jitter(net, DataLoader(DATA_SET, batch_size=5), **SAID)
    pairs = list(zip(PICTURES.permute(0, 2, 3, 1).numpy(), LABELS.tolist(), strict=True))
    arrays = al.measure_jitter(al.Classifier.of(net, (16, 20), **SAID), pairs, "pad")
    assert found.records.equals(arrays.records)
    described = found.summary()["models"]["Sequential"]
    assert described["input_size"] == [16, 20]
    assert described["notes"][0].startswith("as its tensors have it: input_size (16, 20)")
    # What it is shown is what training shows it, but for the rounding of (x − mean) / std in float32.
    classifier = al.Classifier.of(net, (16, 20), **SAID)
    views = PICTURES.permute(0, 2, 3, 1).numpy().astype(np.float32)
    assert torch.allclose(classifier.normalize(views), NORMALISED, rtol=0, atol=2e-6)


def test_tensors_of_the_size_of_a_network_are_not_resized_for_it() -> None:
    """Even if it resizes photographs before it crops them; those of another size are."""
    net = network()
    plain = al.measure_jitter(al.Classifier.of(net, (16, 20), **SAID), DataLoader(DATA_SET), **SAID)
    roomy = al.Classifier.of(net, (16, 20), resize_size=(24, 30), **SAID)
    found = al.measure_jitter(roomy, DataLoader(DATA_SET), **SAID)
    assert found.records.equals(plain.records)
    assert roomy.resize_size == (24, 30)
    notes = found.summary()["models"]["Sequential"]["notes"]
    assert "as its tensors have it: resize_size (16, 20)" in notes
    smaller = al.Classifier.of(net, (12, 15), resize_size=(14, 18), **SAID)
    assert al.measure_jitter(smaller, DataLoader(DATA_SET), **SAID).summary()["models"]["Sequential"][
        "resize_size"
    ] == [14, 18]


def test_tensors_in_0_to_1_are_taken_as_they_are_with_a_note() -> None:
    found = al.measure_jitter(network(), (PICTURES.float() / 255, LABELS)).summary()["models"]["Sequential"]
    assert (found["mean"], found["std"]) == ([0.0] * 3, [1.0] * 3)
    assert any("its tensors lie in 0…1" in note for note in found["notes"])


def test_every_measurement_takes_a_loader() -> None:
    net, images = network().eval(), open_images(DataLoader(DATA_SET, batch_size=5), **SAID)
    assert al.measure_jitter(net, images).protocol.name == "pad"
    assert al.attribute(net, images).jitter.protocol.name == "pad"
    profile = al.probe_depth(net, images, "pad")
    assert profile.summary()["models"]["Sequential"]["input_size"] == [16, 20]
    board = al.compare_networks(net, images, "pad", "pad")
    assert board.summary()["models"]["Sequential"]["input_size"] == [16, 20]


def test_a_run_on_a_loader_resumes(tmp_path: Any) -> None:
    net, loader = network(), DataLoader(DATA_SET, batch_size=5, shuffle=True)
    before = al.measure_jitter(net, loader, out=tmp_path, **SAID).records
    (part,) = (tmp_path / "records").rglob("00000.parquet")
    part.unlink()
    assert al.measure_jitter(net, (NORMALISED, LABELS), out=tmp_path, **SAID).records.equals(before)
    changed = NORMALISED.roll(1, 3)
    with pytest.raises(InputError, match="was measured on other images"):
        al.measure_jitter(net, (changed, LABELS), out=tmp_path, **SAID)


def test_training_goes_on_as_if_nothing_had_been_measured() -> None:
    """The same weights to the bit, with and without; and modes, gradients and random states as they were."""

    def trained(measures: bool) -> dict[str, Tensor]:
        torch.manual_seed(1)
        net = network().train()
        net[4].eval()  # a mode of its own
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        loader = DataLoader(DATA_SET, batch_size=5, shuffle=True)
        for _ in range(3):
            for x, y in loader:
                nn.functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
                if measures:
                    modes = [module.training for module in net.modules()]
                    gradients = [parameter.grad for parameter in net.parameters()]
                    line, *cautions = f"{al.measure_jitter(net, loader, **SAID)}".splitlines()
                    assert line.startswith("Sequential: P(top-1 change) ")
                    assert line.endswith(" (12 images, pad)")
                    assert all(caution.startswith("  ") for caution in cautions)  # a dozen images are few
                    assert [module.training for module in net.modules()] == modes
                    assert all(a is b.grad for a, b in zip(gradients, net.parameters(), strict=True))
                    assert torch.is_grad_enabled()
                optimizer.step()
                optimizer.zero_grad()
        return net.state_dict()

    plain, measured = trained(False), trained(True)
    assert all(torch.equal(plain[key], measured[key]) for key in plain)


def test_jitter_per_epoch_on_cifar10(cifar10: Path) -> None:
    """A tiny network learns, and after each epoch its jitter is that of a plain loop in torch.

    The measured network's batch norms are folded, and its views are normalised once more in float32: the last bits of
    its answers differ, so the loop may count an image more or less for each near tie, which the summary counts.
    """

    def tensors(name: str, number: int) -> tuple[Tensor, Tensor]:
        loaded = [entry.load() for entry in islice(open_images(cifar10 / f"{name}.parquet"), 0, 4 * number, 4)]
        levels = torch.stack([torch.from_numpy(image.pixels).permute(2, 0, 1) for image in loaded])  # type: ignore[union-attr]
        labels = torch.tensor([int(str(image.label)) for image in loaded])
        return (levels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), labels

    train = DataLoader(TensorDataset(*tensors("train", 600)), batch_size=32, shuffle=True)
    held_out, truth = tensors("test", 120)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net.train()(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        result = al.measure_jitter(net, DataLoader(TensorDataset(held_out, truth), batch_size=7), **SAID)
        found = result.summary()["models"]["Sequential"]
        with torch.no_grad():
            net.eval()
            first, second = net(held_out), net(nn.functional.pad(held_out, (4, 4, 4, 4))[:, :, 3:35, 3:35])
        changes = int((first.argmax(1) != second.argmax(1)).sum())
        assert abs(120 * found["top1_change"]["value"] - changes) < 0.5 + found["near_ties"]
        assert found["accuracy"]["value"] == pytest.approx(
            float((first.argmax(1) == truth).float().mean()), abs=1 / 120
        )
        assert 0.15 < found["accuracy"]["value"] > found["top1_change"]["value"] > 0
