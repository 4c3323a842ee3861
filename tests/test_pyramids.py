"""Pyramids of known weights: where their samples lie, and how much darker integers become."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aliasing.errors import UsageError
from aliasing.resamplers import measure_pyramid

Image = NDArray[Any]
Step = Callable[[Image], Image]


def repeated(step: Step) -> Callable[[Image, int], list[Image]]:
    """The levels of a pyramid, each made from the one before."""

    def build(image: Image, levels: int) -> list[Image]:
        made = [image]
        for _ in range(levels):
            made.append(step(made[-1]))
        return made[1:]

    return build


def pick(image: Image) -> Image:
    return image[(slice(None, None, 2),) * image.ndim]


def mean_of_blocks(image: Image) -> Image:
    """The mean of 2×2 (2×2×2 …), which drops an odd end; in integers cut to the integer below, as // does."""
    for axis in range(image.ndim):
        length = image.shape[axis] // 2
        parts = [np.take(image, np.arange(length) * 2 + phase, axis).astype(np.float64) for phase in (0, 1)]
        image = parts[0] + parts[1]
    return image / 2**image.ndim


def floored(image: Image) -> Image:
    return np.floor(mean_of_blocks(image)).astype(image.dtype)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_means_of_blocks_stay_in_place_and_pickers_do_not(axes: int) -> None:
    size = 32 if axes == 3 else 64
    means = measure_pyramid(repeated(mean_of_blocks), 4, size, axes=axes, dtype="float64")
    picks = measure_pyramid(repeated(pick), 4, size, axes=axes, dtype="float64")
    for level, (mean, picked) in enumerate(zip(means.levels, picks.levels, strict=True), 1):
        assert (mean.offset, mean.drift) == pytest.approx((0, 0), abs=1e-9)
        assert mean.constants == pytest.approx(dict.fromkeys(mean.constants, 0))
        # A picker of every 2ᵏth sample takes the first of those that its sample stands for, not their middle.
        assert picked.offset == pytest.approx(-(2**level - 1) / 2)
        assert picked.step == pytest.approx(2**level)
    assert means.caveats == []
    assert "level 4 lies −7.50 samples of the image from its place" in picks.caveats


def test_labels_that_are_picked_drift_from_an_image_that_is_averaged() -> None:
    found = measure_pyramid(repeated(mean_of_blocks), 4, 64, dtype="float32", labels=repeated(pick))
    assert [level.apart for level in found.levels] == pytest.approx([-0.5, -1.5, -3.5, -7.5])
    assert "its labels lie −7.50 samples beside the image" in found.caveats


def test_integers_that_are_cut_become_darker_at_each_level() -> None:
    found = measure_pyramid(repeated(floored), 5, 256)
    # The sum of four noisy integers is equally often 0, 1, 2 and 3 above a multiple of 4: 3/8 of a grey level is cut.
    for level, one in enumerate(found.levels[:4], 1):
        assert one.noise == pytest.approx(-0.375 * level, abs=0.1)  # noise of 16×16 samples or more
        assert one.offset == pytest.approx(0, abs=1e-9)  # the same cut from a rising and a falling ramp
    assert "brightness is off" in repr(found)


def test_an_odd_end_is_told() -> None:
    assert [level.unseen for level in measure_pyramid(repeated(mean_of_blocks), 6, 255).levels] == [1, 3, 7, 15, 31, 63]
    assert {level.unseen for level in measure_pyramid(repeated(mean_of_blocks), 6, 256).levels} == {0}
    area = repeated(
        lambda image: cv2.resize(image, [length // 2 for length in image.shape[::-1]], interpolation=cv2.INTER_AREA)
    )
    found = measure_pyramid(area, 6, 255, dtype="float32")  # 127 samples of 2.008 each: none is lost, and it slides
    assert {level.unseen for level in found.levels} == {0}
    assert found.levels[1].drift > 2


def test_opencv_moves_by_half_a_sample_a_level_and_its_own_coordinates_say_so() -> None:
    build = repeated(cv2.pyrDown)
    half = measure_pyramid(build, 4, 256, dtype="float32")
    assert [level.offset for level in half.levels] == pytest.approx([-0.5, -1.5, -3.5, -7.5], abs=0.2)
    own = measure_pyramid(build, 4, 256, dtype="float32", coordinates=lambda level, axis: (0.0, 2.0**level))
    assert [level.offset for level in own.levels] == pytest.approx([0] * 4, abs=0.2)  # the rim bends level 4


def test_zeros_and_nan_are_counted() -> None:
    def thresholded(image: Image) -> Image:
        return np.where(mean_of_blocks(image) < 3, 0, mean_of_blocks(image))

    assert measure_pyramid(repeated(thresholded), 1, 32, dtype="float32").levels[0].zeros == 2 * 16 * 16  # of 1 and 2
    unknown = measure_pyramid(repeated(lambda image: mean_of_blocks(image) * np.nan), 1, 32, dtype="float32")
    assert unknown.levels[0].zeros == 4 * 16 * 16


@pytest.mark.parametrize("build", [lambda image, levels: [image], lambda image, levels: [image[0]] * levels])
def test_another_number_of_levels_or_axes_is_refused(build: Any) -> None:
    with pytest.raises(UsageError, match="levels of 2 axes are wanted"):
        measure_pyramid(build, 4, 32)


def test_places_that_do_not_fit_into_a_byte_are_refused() -> None:
    with pytest.raises(UsageError, match="give size=256"):
        measure_pyramid(repeated(pick), 2, 300)
