"""Each resampler is the library that it names, and the aliased ones alias."""

import json

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image

from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.kinds import RESAMPLERS
from aliasing.resamplers import resize

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_pil_is_pillow() -> None:
    expected = Image.fromarray(PHOTOGRAPH).resize((40, 30), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resize(PHOTOGRAPH, 30, 40, "bicubic", "pil"), np.asarray(expected))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_torch_is_torchvision(antialias: bool, interpolation: str) -> None:
    tensor = torch.from_numpy(PHOTOGRAPH).permute(2, 0, 1).float()
    mode = transforms.InterpolationMode(interpolation)
    expected = transforms.resize(tensor, [30, 40], mode, antialias=antialias).permute(1, 2, 0).clamp(0, 255).numpy()
    ours = resize(PHOTOGRAPH, 30, 40, interpolation, "torch" if antialias else "torch-aliased")
    # The same weights in float32: products of 255 with a rounding of 6e-8, and at most 36 of them a pixel.
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.parametrize(("resampler", "flag"), [("opencv-linear", cv2.INTER_LINEAR), ("opencv-area", cv2.INTER_AREA)])
def test_opencv_is_opencv(resampler: str, flag: int) -> None:
    expected = cv2.resize(PHOTOGRAPH.astype(np.float32), (40, 30), interpolation=flag)
    np.testing.assert_array_equal(resize(PHOTOGRAPH, 30, 40, "bicubic", resampler), expected)


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_a_fine_grating_vanishes_only_where_the_resampler_filters(resampler: str) -> None:
    """0.3 cycles per pixel, reduced by 4: above the new Nyquist frequency, so any contrast left is an alias.

    Linear interpolation between two pixels leaves cos(0.3 π) = 0.59 of it; the mean of four sin(1.2 π) / 4 sin(0.3 π),
    0.18; the wider triangle and cubic less.
    """
    grating = 128 + 100 * np.cos(2 * np.pi * 0.3 * np.arange(256))
    picture = np.repeat(np.tile(grating, (256, 1))[..., None], 3, axis=2).astype(np.uint8)
    contrast = resize(picture, 64, 64, "bilinear", resampler)[8:-8, 8:-8, 0].std() / grating.std()
    if RESAMPLERS[resampler].antialias:
        assert contrast < 0.2
    else:
        assert contrast > 0.5


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_the_same_size_is_the_same_picture(resampler: str) -> None:
    np.testing.assert_array_equal(resize(PHOTOGRAPH, 60, 80, "bilinear", resampler), PHOTOGRAPH)


def test_errors_name_the_choices() -> None:
    with pytest.raises(UsageError, match="unknown resampler 'magick'; choose one of pil"):
        resize(PHOTOGRAPH, 3, 4, "bicubic", "magick")
    with pytest.raises(UsageError, match="unknown interpolation 'cubic'"):
        resize(PHOTOGRAPH, 3, 4, "cubic")
    with pytest.raises(UsageError, match="torch cannot resize with 'lanczos'"):
        resize(PHOTOGRAPH, 3, 4, "lanczos", "torch")
    with pytest.raises(UsageError, match=r"unknown resampler 'opencv'; did you mean opencv-"):
        resize(PHOTOGRAPH, 3, 4, resampler="opencv")  # and not one of OpenCV's in silence


def test_old_names_work_and_name_the_new_ones() -> None:
    with pytest.warns(DeprecationWarning, match=r"aliasing\.resizers\.resize is aliasing\.resamplers\.resize now"):
        from aliasing.resizers import resize as old
    np.testing.assert_array_equal(
        old(PHOTOGRAPH, 30, 40, resizer="torch"), resize(PHOTOGRAPH, 30, 40, resampler="torch")
    )
    with pytest.warns(DeprecationWarning, match=r"is aliasing\.kinds\.RESAMPLERS"):
        from aliasing.resizers import RESIZERS, describe
    assert list(RESIZERS) == ["pil", "torch", "torch-aliased", "opencv-linear", "opencv-area"]
    assert set(describe("pil")) == {"name", "library", "version", "antialias"}


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resamplers", "--json"]) == 0
    rows = {row.pop("name"): row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(RESAMPLERS)
    assert rows["torch-aliased"]["antialias"] is False
    assert rows["pil"]["dtypes"] == ["uint8"]
    assert main(["resamplers"]) == 0
    assert "opencv-area" in capsys.readouterr().out
