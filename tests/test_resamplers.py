"""Each resampler is the library that it names, and the aliased ones alias."""

import contextlib
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image
from scipy import ndimage, signal

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.kinds import RESAMPLERS
from aliasing.resamplers import Characteristics, characterise, resize
from aliasing.resamplers.characteristics import FREQUENCIES
from aliasing.resamplers.survey import survey

OLDEST = list(RESAMPLERS)[:5]  # that --resizer knew from the beginning
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


@pytest.mark.skipif("lanczos" not in RESAMPLERS["torch"].interpolations, reason="this torch has none")
def test_the_lanczos_of_torch_is_that_of_pillow() -> None:
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in PHOTOGRAPH.transpose(2, 0, 1)]
    expected = np.stack([np.asarray(plane.resize((40, 30), Image.Resampling.LANCZOS)) for plane in planes], -1)
    # Both in float32: products of 255 with a rounding of 6e-8, at most 12×12 of them a pixel.
    np.testing.assert_allclose(resize(PHOTOGRAPH, 30, 40, "lanczos", "torch"), expected.clip(0, 255), atol=3e-3)


def test_nearest_low_passes_in_no_library() -> None:
    rows = {row["name"]: row["antialias"] for row in survey(["pil"]).rows}
    assert rows == {f"pil {kernel}": kernel != "nearest" for kernel in RESAMPLERS["pil"].interpolations}


def test_area_repeats_pixels_when_it_enlarges() -> None:
    enlarged = resize(PHOTOGRAPH, 120, 160, "bilinear", "opencv-area")
    np.testing.assert_array_equal(enlarged, PHOTOGRAPH.repeat(2, 0).repeat(2, 1))


def test_a_summary_says_in_which_order_pillow_passes() -> None:
    newer = int(PIL.__version__.split(".")[0]) >= 13
    expected = "order of passes by shape" if newer else "horizontal pass first"
    assert RESAMPLERS["pil"].provenance()["conventions"] == expected
    first = []
    for shape, size in (((500, 375), (256, 256)), ((375, 500), (256, 256))):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        height, width = size
        by_rows = image.resize((width, shape[0]), Image.Resampling.BICUBIC).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        both = image.resize((width, height), Image.Resampling.BICUBIC)
        first.append(bool((np.asarray(both) == np.asarray(by_rows)).all()))
    assert first == [not newer, True]  # of a portrait the newer one shrinks the height first


@pytest.mark.parametrize(("resampler", "flag"), [("opencv-linear", cv2.INTER_LINEAR), ("opencv-area", cv2.INTER_AREA)])
def test_opencv_is_opencv(resampler: str, flag: int) -> None:
    expected = cv2.resize(PHOTOGRAPH.astype(np.float32), (40, 30), interpolation=flag)
    np.testing.assert_array_equal(resize(PHOTOGRAPH, 30, 40, "bicubic", resampler), expected)


@pytest.mark.parametrize("resampler", OLDEST)
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


@pytest.mark.parametrize("resampler", OLDEST)
def test_the_same_size_is_the_same_picture(resampler: str) -> None:
    np.testing.assert_array_equal(resize(PHOTOGRAPH, 60, 80, "bilinear", resampler), PHOTOGRAPH)


def test_errors_name_the_choices() -> None:
    with pytest.raises(UsageError, match="unknown resampler 'magick'; choose one of pil"):
        resize(PHOTOGRAPH, 3, 4, "bicubic", "magick")
    with pytest.raises(UsageError, match="unknown interpolation 'cubic'"):
        resize(PHOTOGRAPH, 3, 4, "cubic")
    with pytest.raises(UsageError, match="torch cannot resize with 'hamming'"):
        resize(PHOTOGRAPH, 3, 4, "hamming", "torch")
    with pytest.raises(UsageError, match=r"unknown resampler 'opencv'; did you mean opencv-"):
        resize(PHOTOGRAPH, 3, 4, resampler="opencv")  # and not one of OpenCV's in silence


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resamplers", "--json"]) == 0
    rows = {row.pop("name"): row for row in json.loads(capsys.readouterr().out)}
    assert set(OLDEST) <= {*rows} <= {*RESAMPLERS}
    assert rows["torch-aliased"]["antialias"] is False
    assert rows["pil"]["dtypes"] == ["uint8"]
    assert main(["resamplers"]) == 0
    assert "opencv-area" in capsys.readouterr().out


# --- the libraries --------------------------------------------------------------------------------------------------


def installed(*names: str) -> list[str]:
    """Those of some resamplers, or of all, whose library is there; the others are left out here, and so in CI."""
    found = []
    for name in names or RESAMPLERS:
        with contextlib.suppress(InputError):
            assert RESAMPLERS[name].name == name
            found.append(name)
    return found


def measured(name: str, interpolation: str = "", dtype: str | None = None, **asked: Any) -> Characteristics:
    resampler = RESAMPLERS[name]
    return characterise(
        lambda array, shape: resampler.function(array, shape, interpolation),
        asked.pop("reduction", 4),
        resampler.axes,
        dtype or resampler.dtypes[0],
        channels="last" if resampler.axes == 2 else None,
        positions=resampler.positions,
        **asked,
    )


def row(function: Callable[[Any], Any], reach: float, step: float = 1) -> Any:
    """The gain of a kernel of the distance in input samples, sampled every fourth from 1.5 on, at `FREQUENCIES`."""
    place = np.arange(4 * 40) - 79.5
    kernel = np.where(abs(place) < reach, function(abs(place) / step), 0)
    turns = np.exp(-2j * np.pi * np.array(FREQUENCIES)[:, None] * place)
    return abs(turns @ (kernel / kernel.sum()))


def keys(a: float) -> Callable[[Any], Any]:
    return lambda x: np.where(
        x < 1, (a + 2) * x**3 - (a + 3) * x**2 + 1, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0)
    )


def lanczos(lobes: int) -> Callable[[Any], Any]:
    return lambda x: np.sinc(x) * np.sinc(x / lobes) * (x < lobes)


def triangle(x: Any) -> Any:
    return np.maximum(1 - x, 0)


def mitchell(x: Any) -> Any:
    """The cubic of Mitchell and Netravali, B = C = 1/3."""
    inner, outer = 7 * x**3 - 12 * x**2 + 16 / 3, -7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3
    return np.where(x < 1, inner, np.where(x < 2, outer, 0)) / 6


BOX = row(np.ones_like, 2)
PICKED = np.ones(4)
# Documented kernels, reduced by 4. Without antialiasing a kernel keeps its width, so it sees pixels around 1.5.
DOCUMENTED = {
    ("pil", "bilinear"): row(triangle, 9, 4),
    ("pil", "bicubic"): row(keys(-0.5), 9, 4),
    ("pil", "lanczos"): row(lanczos(3), 13, 4),
    ("pil", "box"): BOX,
    ("pil", "hamming"): row(lambda x: np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)) * (x < 1), 9, 4),
    ("pil-reduce", ""): BOX,
    ("pil-draft", ""): BOX,
    ("torch", "bilinear"): row(triangle, 9, 4),
    ("torch", "bicubic"): row(keys(-0.5), 9, 4),
    ("torch-aliased", "bilinear"): row(triangle, 9),
    ("torch-aliased", "bicubic"): row(keys(-0.75), 9),
    ("torch-area", ""): BOX,
    ("torch-linear-1d", ""): row(triangle, 9),
    ("torch-trilinear", ""): row(triangle, 9),
    ("torch-area-3d", ""): BOX,
    ("torchvision", "bilinear"): row(triangle, 9, 4),
    ("torchvision-aliased", "bicubic"): row(keys(-0.75), 9),
    ("torchvision-pil", "bicubic"): row(keys(-0.5), 9, 4),
    ("torchvision-roi-align", ""): BOX,
    ("opencv-linear", ""): row(triangle, 9),
    ("opencv-linear-exact", ""): row(triangle, 9),
    ("opencv-blob", ""): row(triangle, 9),
    ("opencv-area", ""): BOX,
    ("opencv-cubic", ""): row(keys(-0.75), 9),
    ("opencv-lanczos4", ""): row(lanczos(4), 9),
    ("opencv-nearest", ""): PICKED,
    ("opencv-nearest-exact", ""): PICKED,
    ("numpy-slice", ""): PICKED,
    ("numpy-slice-1d", ""): PICKED,
    ("numpy-mean", ""): BOX,
    ("scipy-zoom-grid", ""): row(triangle, 9),
    ("skimage-resize-aliased", ""): row(triangle, 9),
    ("skimage-local-mean", ""): BOX,
    ("pandas-mean", ""): BOX,
    ("pandas-first", ""): PICKED,
    ("polars-mean", ""): BOX,
    ("kornia", ""): row(triangle, 9),
    ("albumentations", ""): row(triangle, 9),
    ("albumentations-area", ""): BOX,
    ("onnxruntime-linear", ""): row(triangle, 9),
    ("onnxruntime-linear-antialias", ""): row(triangle, 9, 4),
    ("onnxruntime-cubic", ""): row(keys(-0.75), 9),
    ("onnxruntime-cubic-antialias", ""): row(keys(-0.75), 9, 4),
    ("av-bilinear", ""): row(triangle, 9, 4),
    ("av-bicubic", ""): row(keys(-0.6), 9, 4),
    ("av-area", ""): BOX,
    ("av-lanczos", ""): row(lanczos(3), 13, 4),
    ("resize-right-linear", ""): row(triangle, 9, 4),
    ("resize-right-cubic", ""): row(keys(-0.5), 9, 4),
    ("resize-right-lanczos3", ""): row(lanczos(3), 13, 4),
    ("simpleitk", ""): row(triangle, 9),
    ("simpleitk-3d", ""): row(triangle, 9),
    ("simpleitk-shrink", ""): PICKED,
    ("simpleitk-binshrink", ""): BOX,
    ("pyvips-shrink", ""): BOX,
    ("jax-linear", ""): row(triangle, 9, 4),
    ("jax-linear-aliased", ""): row(triangle, 9),
    ("jax-cubic", ""): row(keys(-0.5), 9, 4),
    ("jax-lanczos3", ""): row(lanczos(3), 13, 4),
    ("tensorflow", ""): row(triangle, 9),
    ("tensorflow-antialias", ""): row(triangle, 9, 4),
    ("tensorflow-area", ""): BOX,
    ("tensorflow-cubic", ""): row(keys(-0.5), 9),
    ("monai-resize", ""): BOX,
    ("monai-resize-trilinear", ""): row(triangle, 9),
    ("torchio-resize", ""): row(triangle, 9),
    ("torchio-resample", ""): row(triangle, 9),
    ("soxr-qq", ""): PICKED,
    ("samplerate-linear", ""): PICKED,
    ("samplerate-zero-order-hold", ""): PICKED,
    ("openvino-linear-onnx", ""): row(triangle, 9),
    ("openvino-cubic", ""): row(keys(-0.75), 9),
    ("openvino-bilinear-pillow", ""): row(triangle, 9, 4),
    ("openvino-bicubic-pillow", ""): row(keys(-0.5), 9, 4),
    ("ncnn-pixels", ""): row(triangle, 9),
    ("ncnn-nearest", ""): PICKED,
    ("ncnn-bilinear", ""): row(triangle, 9),
    ("ncnn-bicubic", ""): row(keys(-0.75), 9),
    ("litert", ""): row(triangle, 9),
    ("mnn-linear", ""): row(triangle, 9),
    ("mnn-area", ""): PICKED,  # whatever it is called
    ("mnn-cubic", ""): PICKED,
    ("canvas-high", ""): BOX,
    ("skia-linear", ""): row(triangle, 9),
    ("skia-mipmaps", ""): BOX,
    ("skia-mitchell", ""): row(mitchell, 9),
    ("rasterio-nearest", ""): PICKED,
    ("rasterio-bilinear", ""): row(triangle, 9, 4),
    ("rasterio-cubic", ""): row(keys(-0.5), 9, 4),
    ("rasterio-lanczos", ""): row(lanczos(3), 13, 4),
    ("rasterio-average", ""): BOX,
    ("rasterio-gauss", ""): np.cos(np.pi * np.array(FREQUENCIES)) ** 4,  # 1 4 6 4 1, by four as well as by two
    ("keras-bilinear", ""): row(triangle, 9),
    ("keras-bilinear-antialias", ""): row(triangle, 9, 4),
    ("keras-bicubic-antialias", ""): row(keys(-0.5), 9, 4),
    ("kornia-rs-bilinear", ""): row(triangle, 9),
    ("kornia-rs-bicubic", ""): row(keys(-0.5), 9, 4),
    ("kornia-rs-lanczos", ""): row(lanczos(3), 13, 4),
    ("ome-zarr-local-mean", ""): BOX,
    ("ome-zarr-nearest", ""): PICKED,
    ("xarray-coarsen", ""): BOX,
    ("xarray-interp", ""): PICKED,  # at whole places
    ("dask-slice", ""): PICKED,
    ("dask-coarsen", ""): BOX,
    ("monai-spacing", ""): PICKED,
    ("monai-spacing-extent", ""): row(triangle, 9),
}


@pytest.mark.parametrize(("name", "interpolation"), DOCUMENTED)
def test_each_has_its_documented_kernel(name: str, interpolation: str) -> None:
    if not installed(name):
        pytest.skip(f"the library of {name} is not installed")
    found = measured(name, interpolation)
    # A weight of whole grey levels is known to about 3e-4 (`tests/test_characterise.py`).
    tolerance = 0.004 if found.dtype == "uint8" else 2e-5
    np.testing.assert_allclose(found.gain(FREQUENCIES), DOCUMENTED[name, interpolation], atol=tolerance)
    assert found.linear


def second_ways() -> dict[str, Callable[[Any], Any]]:
    """For what has no closed kernel: other calls of the same or another library that say they compute the same."""
    fir = signal.firwin(81, 1 / 4, window=("kaiser", 5.0))
    julius = windowed_sinc(24, 0.945, hann)
    return {
        "scipy-decimate-fir": lambda x: np.convolve(x, signal.firwin(81, 1 / 4, window="hamming"), "same")[::4],
        "scipy-resample-poly": lambda x: np.convolve(x, fir, "same")[::4],
        "scipy-resample": lambda x: np.fft.irfft(_halved(np.fft.rfft(x)[: len(x) // 8 + 1]), len(x) // 4) / 4,
        "librosa-polyphase": lambda x: np.convolve(x, fir, "same")[::4],
        "librosa-fft": lambda x: signal.resample(x, len(x) // 4),
        "torchaudio": lambda x: np.convolve(x, windowed_sinc(6, 0.99, hann), "same")[::4],
        "torchaudio-kaiser": lambda x: np.convolve(x, windowed_sinc(6, 0.99, kaiser), "same")[::4],
        "julius": lambda x: np.convolve(x, julius / julius.sum(), "same")[::4],
        "nibabel": lambda x: ndimage.map_coordinates(x, [4 * np.arange(len(x) // 4) + 1.5], order=3),
        "opencv-pyrdown": lambda x: np.convolve(x, BINOMIAL, "same")[::2],
        "kornia-pyrdown": lambda x: np.convolve(x, np.convolve(BINOMIAL, [0.5, 0.5]), "same")[::2],
        "kornia-antialias": lambda x: np.convolve(ndimage.gaussian_filter1d(x, 1.5, radius=3), [0.5, 0.5])[2::4],
        "skimage-pyramid": lambda x: np.convolve(ndimage.gaussian_filter1d(x, 4 / 3), [0.5, 0.5])[2::4],
        "skimage-resize-cubic": lambda x: ndimage.zoom(
            ndimage.gaussian_filter1d(x, 1.5), 1 / 4, order=3, grid_mode=True, mode="mirror"
        ),
        "skimage-resize": lambda x: ndimage.zoom(
            ndimage.gaussian_filter1d(x, 1.5), 1 / 4, order=1, grid_mode=True, mode="grid-constant"
        ),
    }


BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def windowed_sinc(zeros: int, rolloff: float, window: Callable[[Any], Any]) -> Any:
    """A low-pass below a share of the new Nyquist frequency, reduced by 4; the window is of -1 to 1."""
    place = np.arange(-110, 111) / 4 * rolloff
    taps = np.where(abs(place) < zeros, np.sinc(place) * window((place / zeros).clip(-1, 1)), 0)
    return taps * rolloff / 4


def hann(place: Any) -> Any:
    return np.cos(np.pi * place / 2) ** 2


def kaiser(place: Any) -> Any:
    """With torchaudio's beta."""
    return np.i0(14.769656459379492 * np.sqrt(1 - place**2)) / np.i0(14.769656459379492)


def _halved(spectrum: Any) -> Any:
    """SciPy folds the new Nyquist bin: of a real signal its real part stays, from both ends."""
    spectrum = spectrum.copy()
    spectrum[-1] = spectrum[-1].real
    return spectrum


@pytest.mark.parametrize("name", second_ways())
def test_each_without_a_closed_kernel_is_what_another_way_makes(name: str) -> None:
    if not installed(name):
        pytest.skip(f"the library of {name} is not installed")
    step = 2 if name.endswith("pyrdown") else 4
    found = measured(name, reduction=step)
    other = characterise(
        lambda array, shape: second_ways()[name](array),
        step,
        1,
        "float64",
        positions="steps" if "sc" in name else "areas",
    )
    frequency = np.linspace(0, 0.45, 10)  # without the new Nyquist frequency itself, where 1/8 would be an edge
    np.testing.assert_allclose(found.gain(frequency), other.gain(frequency), atol=1e-4)


def test_nilearn_is_a_cubic_spline_clipped_to_the_range_of_the_volume() -> None:
    """So it is not linear, and has no kernel."""
    if not installed("nilearn"):
        pytest.skip("nilearn is not installed")
    volume = np.random.default_rng(0).random((24, 24, 24), np.float32)
    places = np.stack(np.meshgrid(*3 * [4 * np.arange(6) + 1.5], indexing="ij"))
    spline = ndimage.map_coordinates(volume, places, order=3)
    assert spline.min() < 0
    expected = spline.clip(0, volume.max())
    # Coefficients in float64, sums of 64 of them in float32.
    np.testing.assert_allclose(RESAMPLERS["nilearn"].function(volume, (6, 6, 6), ""), expected, atol=1e-5)


def largest_triangles(samples: Any, count: int) -> Any:
    """Steinarsson 2013: of each bucket the sample that makes the largest triangle with the last and the next's mean."""
    places, kept = np.arange(len(samples)), [0]
    edges = (np.arange(count - 1) * (len(samples) - 2) / (count - 2)).astype(int) + 1
    for first, end, beyond in zip(edges, edges[1:], [*edges[2:], len(samples)], strict=False):
        x, y = places[end:beyond].mean(), samples[end:beyond].mean()
        ax, ay = kept[-1], samples[kept[-1]]
        areas = abs((ax - x) * (samples[first:end] - ay) - (ax - places[first:end]) * (y - ay))
        kept.append(first + int(areas.argmax()))
    return samples[[*kept, len(samples) - 1]]


def extremes(samples: Any, count: int) -> Any:
    """The least and the greatest of each of count/2 blocks, in the order of their places."""
    blocks = samples.reshape(count // 2, -1)
    return np.take_along_axis(blocks, np.sort(np.stack([blocks.argmin(1), blocks.argmax(1)], 1)), 1).ravel()


@pytest.mark.parametrize(("name", "reference"), [("lttb", largest_triangles), ("min-max", extremes)])
def test_pickers_pick_what_is_published(name: str, reference: Callable[[Any, int], Any]) -> None:
    if not installed(name):
        pytest.skip(f"the library of {name} is not installed")
    random, place = np.random.default_rng(0), np.arange(400)
    for samples in (random.normal(size=400), np.cos(0.9 * place) + 0.01 * random.normal(size=400)):
        picked = RESAMPLERS[name].function(samples.astype(np.float32), (100,), "")
        np.testing.assert_array_equal(picked, reference(samples.astype(np.float32).astype(float), 100))


def test_each_library_is_registered_under_the_names_it_holds() -> None:
    names = installed()
    assert set(OLDEST) <= {*names}
    files = {place.partition(":")[0] for place in RESAMPLERS._own.values()}
    for file in sorted(files):
        with contextlib.suppress(ImportError):
            held = importlib.import_module(file).RESAMPLERS
            assert {name for name, place in RESAMPLERS._own.items() if place.startswith(f"{file}:")} == {*held}
    modules = Path(al.resamplers.__file__).parent.glob("*.py")
    holding = {path.stem for path in modules if re.search("^RESAMPLERS = ", path.read_text("utf-8"), re.M)}
    assert holding == {file.rpartition(".")[2] for file in files}


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.delitem(sys.modules, "aliasing.resamplers.skimage", raising=False)
    with pytest.raises(InputError, match=r"'skimage-resize' needs skimage, which is not installed"):
        RESAMPLERS["skimage-resize"]


def test_the_table_of_published_values() -> None:
    """Reduced by 4; the values of several libraries that were measured elsewhere, to the digits given there."""
    table = {
        ("pil", "bicubic"): (0.937, 0.491, 0.000, 0.004),
        ("torch-aliased", "bilinear"): (0.981, 0.924, 0.707, 0.383),
        ("opencv-area", ""): (0.904, 0.652, 0.000, 0.269),
        ("skimage-resize", ""): (0.825, 0.462, 0.044, 0.001),
    }
    for (name, interpolation), expected in table.items():
        if installed(name):
            found = measured(name, interpolation)
            np.testing.assert_allclose(found.gain(FREQUENCIES), expected, atol=0.004)
            assert abs(found.offset).max() < 0.05
    assert "after each pass" in measured("pil", "bicubic").rounding


def test_pyrdown_area_zoom_and_decimate_as_published() -> None:
    halved = measured("opencv-pyrdown", reduction=2)
    assert halved.gain(0.25) == pytest.approx(0.25, abs=1e-5)
    np.testing.assert_allclose(halved.offset, -0.5, atol=1e-5)
    area = measured("opencv-area", reduction=2.5).along[0]
    rows = area.matrix[10:12, 25:30]
    np.testing.assert_allclose(rows, [[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]], atol=1e-5)
    np.testing.assert_allclose(abs(area.offset), 0.05, atol=1e-5)
    zoom = RESAMPLERS["scipy-zoom-1"].function
    found = characterise(lambda x, s: zoom(x, s, ""), 4, dtype="float64", size=64)
    np.testing.assert_allclose(found.gain(FREQUENCIES), (0.989, 0.958, 0.843, 0.693), atol=5e-4)
    assert (found.offset.min(), found.offset.max()) == pytest.approx((-0.70, 0.70), abs=1e-6)
    assert found.shift_invariant is False
    decimated = measured("scipy-decimate")
    # An IIR rings as long as the signal lasts, so 400 samples give its gain to some 1e-4.
    assert decimated.gain(0.125) == pytest.approx(0.00314, abs=3e-4)
    assert decimated.constant == pytest.approx(0.98855, abs=1e-5)
    assert abs(decimated.shift) < 1e-3


def test_what_cannot_resize_a_picture_to_that_size_says_so() -> None:
    for name, size, expected in (
        ("opencv-pyrdown", (20, 27), "opencv-pyrdown: it halves only, and makes no array of shape (20, 27)"),
        ("numpy-mean", (25, 40), "numpy-mean: it reduces by whole factors only"),
        ("pil-thumbnail", (25, 40), "pil-thumbnail makes 25×33 pixels of the 25×40 asked for"),
        ("scipy-resample", (25, 40), "scipy-resample does not resample pictures"),
    ):
        with pytest.raises(UsageError, match=re.escape(expected)):
            resize(PHOTOGRAPH, *size, "bicubic", name)
    assert resize(PHOTOGRAPH, 30, 40, "bicubic", "opencv-lanczos4").max() <= 255  # which overshoots
    assert resize(PHOTOGRAPH, 15, 20, "bicubic", "opencv-pyrdown").shape == (15, 20, 3)


def test_opencv_rounds_halves_up_in_means_of_four_pixels_and_to_even_in_others() -> None:
    """By hand: 0 1 1 0 is a half; so are eight ones of sixteen. It adds 2 and shifts where it takes 2×2."""
    area = RESAMPLERS["opencv-area"].function
    for side, expected, said in ((2, 1, "half up"), (4, 0, "half to even")):
        picture = np.tile(np.uint8([[0, 1], [1, 0]]), (4 * side, 4 * side))
        assert np.unique(area(picture, (8, 8), "")).tolist() == [expected]
        assert measured("opencv-area", dtype="uint8", reduction=side).rounding == f"to the nearest, {said}"


def test_opencvs_linear_by_two_and_a_half_rounds_in_no_one_way() -> None:
    """Exactly, in sixteenths: halves go down more often than up, and 9/16 as often; the exact one rounds half up."""
    picture = np.random.default_rng(7).integers(0, 256, (60, 60), np.uint8)
    quarters = np.zeros((24, 60), int)
    for output, place in enumerate(2.5 * np.arange(24) + 0.75):
        first = int(place)
        quarters[output, first : first + 2] = 4 * (first + 1 - place), 4 * (place - first)
    whole, sixteenths = np.divmod(quarters @ picture.astype(int) @ quarters.T, 16)
    for name, halves, more, said in (
        ("opencv-linear", 0.25, 0.5, r"to the nearest, but for \d%"),
        ("opencv-linear-exact", 1, 1, "to the nearest, half up"),
    ):
        went_up = RESAMPLERS[name].function(picture, (24, 24), "") - whole
        assert went_up[sixteenths == 8].mean() == pytest.approx(halves, abs=0.25 if halves < 1 else 0)
        assert went_up[sixteenths == 9].mean() == pytest.approx(more, abs=0.35 if more < 1 else 0)
        assert went_up[sixteenths == 0].max() == 0
        assert re.fullmatch(said, measured(name, dtype="uint8", reduction=2.5).rounding)


def test_swscale_mixes_the_colours_and_pillow_does_not() -> None:
    assert measured("pil", "bilinear").mixed is None
    if installed("av-bilinear"):
        found = measured("av-bilinear")
        assert found.mixed is not None
        assert found.mixed >= 2
        assert "mixes channels" in found.faults


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resamplers", "numpy-*", "opencv-area", "--reduce", "2.5", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "skipped numpy-slice: it reduces by whole factors only" in printed
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [row["dtype"] for row in summary["resamplers"]] == ["float32", "uint8"]
    assert (tmp_path / "figure.png").is_file()
    opened = al.open(tmp_path)
    assert repr(opened) == repr(al.open(tmp_path))
    assert opened.table().column("name").to_pylist() == ["opencv-area"] * 2
    assert len(opened.plot().axes) == 4


def test_the_command_sorts_by_what_folds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resamplers", "opencv-area", "numpy-slice", "torch-aliased", "--json"]) == 0
    folded = [row["folded"] for row in json.loads(capsys.readouterr().out)["resamplers"]]
    assert np.round(folded, 3).tolist() == sorted(np.round(folded, 3), reverse=True)
    assert folded[0] == pytest.approx(1)


def test_the_command_measures_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shrinking.py").write_text("def every(array, shape):\n    return array[::4, ::4]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["resamplers", "--of", "shrinking:every"]) == 0
    printed = capsys.readouterr().out
    assert "100 %" in printed
    assert "sits −1.5 samples off its place" in printed
    for wrong, expected in (
        ("shrinking:none", "shrinking has no function 'none'"),
        ("nowhere:every", "cannot import nowhere"),
    ):
        assert main(["resamplers", "--of", wrong]) == 2
        assert expected in capsys.readouterr().err
    assert main(["resamplers", "opencv-are"]) == 2
    assert "did you mean opencv-area" in capsys.readouterr().err
