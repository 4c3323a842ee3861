"""Hugging Face's data sets: the bytes and labels of their rows, streaming or not; one line where there is no hub."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import hugging_face, open_images
from aliasing.images.entries import hash_bytes
from tests.image_files import encode, loaded, outcome, pixels
from tests.small_network import make

datasets = pytest.importorskip("datasets")
CONTENTS = [pixels(value) for value in range(6)]
CLASSES = ["eel", "ray"]


def data_set(column: str = "image", label: str = "label", contents: list[Any] = CONTENTS) -> Any:
    features = datasets.Features({column: datasets.Image(), label: datasets.ClassLabel(names=CLASSES)})
    cells = [None if content is None else {"bytes": content, "path": None} for content in contents]
    return datasets.Dataset.from_dict({column: cells, label: [i % 2 for i in range(len(cells))]}, features=features)


FORMS = {
    "in memory": data_set,
    "streaming": lambda: data_set().to_iterable_dataset(num_shards=2),
    "as tensors": lambda: data_set().with_format("torch"),
    "streaming arrays": lambda: data_set().to_iterable_dataset().with_format("numpy"),
    "splits": lambda: datasets.DatasetDict(train=data_set(contents=CONTENTS[:1]), validation=data_set()),
    "streaming splits": lambda: datasets.IterableDatasetDict(validation=data_set().to_iterable_dataset()),
    "other names": lambda: data_set("picture", "species"),
    "a part": lambda: data_set(contents=[*CONTENTS, *CONTENTS]).select(range(6)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_bytes_and_the_labels(form: str) -> None:
    source = open_images(FORMS[form]())
    assert source.class_names == ("eel", "ray")
    for _ in range(2):  # a stream starts again
        images = loaded(source)
        assert [image.identity for image in images] == [hash_bytes(content) for content in CONTENTS]
        assert [image.label for image in images] == [0, 1] * 3
        assert [int(image.pixels[0, 0, 0]) for image in images] == list(range(6))
    assert [entry.identify() for entry in source] == [hash_bytes(content) for content in CONTENTS]


def test_the_description_says_where_the_labels_are_from() -> None:
    assert open_images(data_set()).description == "6 rows of Dataset, labels from its column label"
    assert (
        open_images(FORMS["splits"]()).description
        == "6 rows of split validation of DatasetDict, labels from its column label"
    )
    unlabelled = open_images(data_set().remove_columns("label"))
    assert unlabelled.description == "6 rows of Dataset, unlabelled"
    assert [image.label for image in loaded(unlabelled)] == [None] * 6


def test_an_orientation_is_still_in_the_bytes() -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    sideways = encode(np.zeros((4, 9, 3), np.uint8), "JPEG", exif=exif)
    source = data_set(contents=[sideways])
    assert [image.pixels.shape for image in loaded(source)] == [(9, 4, 3)]
    assert [e.load().pixels.shape for e in open_images(source, "stored")] == [(4, 9, 3)]  # type: ignore[union-attr]


def test_a_transform_of_the_user_is_what_is_measured() -> None:
    def halved(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"image": [image.resize((2, 2)) for image in batch["image"]], "label": batch["label"]}

    source = open_images(data_set().with_transform(halved))
    assert source.class_names == ("eel", "ray")
    images = loaded(source)
    assert [image.pixels.shape for image in images] == [(2, 2, 3)] * 6
    assert [image.label for image in images] == [0, 1] * 3


def test_a_stream_that_does_not_say_what_it_holds() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for value in range(3):
            yield {"img": PIL.Image.fromarray(np.full((4, 5, 3), value, np.uint8)), "label": value}

    source = open_images(datasets.IterableDataset.from_generator(rows))
    assert [(int(i.pixels[0, 0, 0]), i.label) for i in loaded(source)] == [(0, 0), (1, 1), (2, 2)]


def test_a_stream_that_fails_and_rows_that_hold_nothing() -> None:
    def fail(row: dict[str, Any], index: int) -> dict[str, Any]:
        if index == 4:
            raise OSError("connection reset")
        return row

    features = data_set().features
    found = outcome(data_set().to_iterable_dataset().map(fail, with_indices=True, features=features))
    assert list(found) == ["000000", "000001", "000002", "000003", "the rest"]
    assert found["the rest"] == "the data set fails on row 4: OSError: connection reset"
    found = outcome(data_set(contents=[CONTENTS[0], None, b"no image"]))
    assert list(found.values())[:2] == [None, "the row holds no image"]
    assert "not an image" in str(found["000002"])


def test_a_jitter_measurement_is_that_of_the_files(tmp_path: Path) -> None:
    contents = [encode(np.random.default_rng(i).integers(0, 256, (40, 44, 3), dtype=np.uint8)) for i in range(6)]
    for index, content in enumerate(contents):
        (tmp_path / f"{index}.png").write_bytes(content)
    found = [
        al.measure_jitter(make(), images, "circular").summary()["models"]["small"]
        for images in (data_set(contents=contents).to_iterable_dataset(), tmp_path)
    ]
    for measure in ("top1_change", "mac"):
        assert found[0][measure] == found[1][measure]


def test_datasets_is_not_imported_for_it() -> None:
    code = "import sys, numpy; from aliasing.images import open_images; open_images([numpy.zeros((4, 4, 3), 'uint8')])"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; print('datasets' in sys.modules)"], capture_output=True, text=True
    )
    assert run.stdout.strip() == "False", run.stderr


@pytest.mark.parametrize("spec", ["hf:", "hf:cifar10:test", "hf:cifar10:split=", "hf:cifar10:revision=3"])
def test_names_on_the_hub_that_make_no_sense(spec: str) -> None:
    with pytest.raises(UsageError, match="expected hf:NAME"):
        open_images(spec)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'hf:cifar10 needs the package datasets: pip install "aliasing\[hf\]"'):
        open_images("hf:cifar10")


@pytest.mark.parametrize("answers", [False, True])
def test_where_the_hub_does_not_answer(
    answers: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that nothing listens at, and one that takes the question and stays silent."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hugging_face, "ANSWER_SECONDS", 1.0)
        assert main(["jitter", "--models", "module:tests.small_network:make", "--images", "hf:cifar10"]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("aliasing jitter: hf:cifar10 cannot be had from the hub (")
    assert "\n" not in said


def test_a_name_on_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package asks for, without a hub."""
    asked: list[Any] = []

    def load(*given: Any, **options: Any) -> Any:
        asked.append((given, options))
        return data_set().to_iterable_dataset()

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    source = open_images("hf:somebody/fish:config=wild,split=test")
    assert asked == [(("somebody/fish", "wild"), {"split": "test", "streaming": True})]
    assert [image.label for image in loaded(source)] == [0, 1] * 3
    assert source.description == "hf:somebody/fish:config=wild,split=test, labels from its column label"
