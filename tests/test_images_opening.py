"""What can be opened: the sample, arrays and images in memory, and lists of any of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, open_images
from aliasing.images import sample as sample_module
from tests.image_files import PHOTO, PNG, loaded, write_tree, zip_bytes


def test_the_sample() -> None:
    images = loaded("sample")
    assert len(images) == 12
    assert {image.label for image in images} == {None}
    assert all(min(image.pixels.shape[:2]) >= 300 for image in images)
    assert [image.name for image in images] == sorted(image.name for image in images)
    assert len({image.identity for image in images}) == 12


def test_the_sample_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "aliasing\[offline\]"'):
        open_images("sample")


def test_things_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    items = [
        PHOTO,
        PHOTO[..., 0],
        PIL.Image.fromarray(PHOTO),
        (PHOTO, 5),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        PHOTO / 255.0,
        "text",
    ]
    with pytest.raises(InputError, match="does not exist"):
        open_images(items)
    source = open_images(items[:-1])
    entries = list(source)
    images = [entry.load() for entry in entries[:-1]]
    assert len({entry.name for entry in entries}) == len(entries)
    for index in (0, 2, 3, 4, 5):
        np.testing.assert_array_equal(images[index].pixels, PHOTO)  # type: ignore[union-attr]
    assert [image.label for image in images] == [None, None, None, 5, None, None]
    with pytest.raises(BadImage, match=r"array of float64 with shape \(13, 17, 3\); expected uint8"):
        entries[-1].load()


def test_generators_and_stacks() -> None:
    source = open_images(PHOTO for _ in range(3))
    assert len(list(source)) == len(list(source)) == 3
    assert len(list(open_images(np.stack([PHOTO, PHOTO])))) == 2
    assert len(list(open_images(PHOTO))) == 1
    assert open_images(source) is source


def test_arrays_of_the_same_bytes_but_another_shape_differ() -> None:
    a, b = loaded([np.zeros((4, 6), np.uint8), np.zeros((6, 4), np.uint8)])
    assert a.identity != b.identity


@pytest.mark.parametrize("thing", [None, 3, 2.5, object()])
def test_no_images_at_all(thing: Any) -> None:
    with pytest.raises(UsageError, match="images are a path"):
        open_images(thing)


def test_lists_of_folders_and_archives(tmp_path: Path) -> None:
    write_tree(tmp_path / "f", ["cat/1.png", "dog/2.png"])
    (tmp_path / "a.zip").write_bytes(zip_bytes({"cat/1.png": PNG, "dog/2.png": PNG}))
    source = open_images([tmp_path / "f", tmp_path / "a.zip"])
    assert [entry.label for entry in source] == ["cat", "dog", "cat", "dog"]
    assert len({entry.name for entry in source}) == 4


def test_importing_is_cheap() -> None:
    heavy = ("torch", "timm", "cv2", "pyarrow", "skimage", "matplotlib", "scipy")
    program = f"import sys, aliasing.images; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
