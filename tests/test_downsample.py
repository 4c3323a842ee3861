"""Downsampling operators: scipy and the peers as oracles, closed forms, and the ways in which torch runs them."""

from functools import partial

import antialiased_cnns
import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import fft, ndimage, signal
from timm.layers import BlurPool2d as TimmBlurPool2d

from aliasing import downsample, filters, layers, sampling, spectrum
from aliasing.downsample import unpadded
from aliasing.downsample.blur import low_pass

SCIPY_MODE = {"reflect": "mirror", "replicate": "nearest", "circular": "wrap", "zero": "constant"}
PADDING = st.sampled_from(list(SCIPY_MODE))
TAPS = st.sampled_from(["binomial2", "binomial3", "binomial4", "binomial5", "binomial7", "box1", (1.0, 2.0, 5.0, -1.0)])


def made_for(taps, stride):
    """The definition: a name is made for stride 2 and stretched, numbers are as they are, stride 1 has no filter."""
    return filters.get_taps(taps, stride) if stride > 1 else np.ones(1)


def blur_by_scipy(x, stride, taps, padding):
    """Filter along each axis with scipy, then slice."""
    for axis, (step, row) in enumerate(zip(stride, taps, strict=True), start=x.ndim - len(stride)):
        weights = made_for(row, step)
        if len(weights) % 2 == 0:
            weights = np.concatenate([[0.0], weights])  # scipy centres even lengths one pixel further left
        x = ndimage.correlate1d(x, weights, axis, mode=SCIPY_MODE[padding])
        x = x[(*(slice(None),) * axis, slice(None, None, step))]
    return x


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(TAPS, TAPS),
    PADDING,
    st.booleans(),
)
def test_blur_pool_is_filter_then_subsample(size, stride, taps, padding, channels_last):
    lengths = [len(made_for(row, step)) for row, step in zip(taps, stride, strict=True)]
    if padding in ("reflect", "circular"):
        assume(all(n // 2 < length for n, length in zip(lengths, size, strict=True)))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = blur_by_scipy(x.numpy(), stride, taps, padding)
    given_x = x.to(memory_format=torch.channels_last) if channels_last else x
    y = downsample.blur_pool(given_x, stride, taps, padding)
    # 49 products of values up to about 5 and weights of absolute sum up to 1.7²: 64 roundings of 5.
    np.testing.assert_allclose(y.numpy(), expected, atol=64 * 5 * 2.3e-16)
    assert y.shape[2:] == tuple(-(-length // step) for length, step in zip(size, stride, strict=True))


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("padding", list(SCIPY_MODE))
def test_one_and_three_dimensions_batched_or_not(dims, padding):
    x = torch.randn(2, 3, *(9, 8, 7)[:dims], dtype=torch.float64)
    stride, taps = (2, 3, 1)[:dims], ["binomial4", "binomial3", "box5"][:dims]
    y = downsample.blur_pool(x, stride, taps, padding, dims=dims)
    np.testing.assert_allclose(y.numpy(), blur_by_scipy(x.numpy(), stride, taps, padding), atol=1e-13)
    torch.testing.assert_close(downsample.blur_pool(x[0], stride, taps, padding, dims=dims), y[0])


@pytest.mark.parametrize("taps", range(1, 8))
@pytest.mark.parametrize("size", [(16, 16), (15, 17), (9, 8)])
def test_the_peers_agree(taps, size):
    x = torch.randn(2, 4, *size)
    ours = downsample.blur_pool(x, 2, f"binomial{taps}")
    # float32: the same sum of up to 49 products in another order.
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(ours, antialiased_cnns.BlurPool(4, filt_size=taps, stride=2)(x), **close)
    if taps % 2 and taps > 1:  # timm pads even lengths alike on both sides
        torch.testing.assert_close(ours, TimmBlurPool2d(4, filt_size=taps, stride=2)(x), **close)
    if taps % 2:
        zero = downsample.blur_pool(x, 2, f"binomial{taps}", padding="zero")
        torch.testing.assert_close(zero, kornia.filters.blur_pool2d(x, taps, 2), **close)


@pytest.mark.parametrize("stride", [3, 4])
def test_a_peer_has_the_filter_for_stride_two_at_every_stride(stride):
    x = torch.randn(2, 4, 16, 17)
    theirs = antialiased_cnns.BlurPool(4, filt_size=4, stride=stride)(x)
    torch.testing.assert_close(downsample.blur_pool(x, stride, (1, 3, 3, 1)), theirs, atol=1e-5, rtol=0)


def test_one_tap_is_the_signal_to_the_bit():
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(downsample.blur_pool(x, 2, "binomial1"), x[:, :, ::2, ::2])
    assert torch.equal(downsample.blur_pool(x, 1, "binomial1"), x)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("padding", list(SCIPY_MODE))
@pytest.mark.parametrize(("size", "taps"), [((6, 5), "binomial4"), ((7, 6), "binomial5"), ((4, 8), "binomial3")])
def test_gradients_of_first_and_second_order(size, taps, padding, channels_last):
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)

    def operator(x):
        return downsample.blur_pool(x, 2, taps, padding)

    assert torch.autograd.gradcheck(operator, x.requires_grad_(), fast_mode=True)
    assert torch.autograd.gradgradcheck(operator, x, fast_mode=True)


@given(
    st.tuples(st.integers(4, 11), st.integers(4, 11)),
    st.integers(1, 4),
    TAPS,
    st.sampled_from(["axis by axis", "axis by axis, image by image", "convolution"]),
    st.booleans(),
)
def test_the_unpadded_blur_is_the_definition(size, stride, taps, way, channels_last):
    """Both it and its transpose, derived term by term, against pad, convolve, and autograd through them."""
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    row = torch.from_numpy(made_for(taps, stride))
    assume(len(row) // 2 < min(size))
    beyond = ((len(row) - 1) // 2, len(row) // 2) * 2
    kernel = torch.outer(row, row).expand(3, 1, -1, -1)
    for padding in ("reflect", "replicate", "circular"):
        one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unpadded, "WIDEST", 99 if "axis" in way else 0)
            patch.setattr(unpadded, "CACHE", 1 if "image by image" in way else 1 << 21)
            ours = downsample.blur_pool(one, stride, taps, padding)
            weight = torch.randn_like(ours)
            ours.backward(weight)
        definition = F.conv2d(F.pad(two, beyond, padding), kernel, stride=stride, groups=3)
        (definition * weight).sum().backward()
        torch.testing.assert_close(ours, definition, atol=1e-13, rtol=0)
        torch.testing.assert_close(one.grad, two.grad, atol=1e-13, rtol=0)


@given(st.data(), st.sampled_from([1, 3]), TAPS, st.sampled_from(["reflect", "replicate", "circular"]))
def test_the_unpadded_blur_of_sounds_and_volumes_is_the_definition(data, dims, taps, padding):
    """With its gradient, and the gradient's."""
    sizes = data.draw(st.tuples(*[st.integers(4, 9)] * dims))
    stride = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    rows = [torch.from_numpy(made_for(taps, step)) for step in stride]
    assume(all(len(row) // 2 < size for row, size in zip(rows, sizes, strict=True)))
    x = torch.randn(2, 3, *sizes, dtype=torch.float64)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpadded, "SMALLEST", dict.fromkeys((3, 5), 0))
        patch.setattr(unpadded, "MOST_TAPS_OF_SOUNDS", 99)
        ours = downsample.blur_pool(one, stride, taps, padding, dims=dims)
        (gradient,) = torch.autograd.grad((ours**2).sum(), one, create_graph=True)
        (second,) = torch.autograd.grad((gradient**2).sum(), one)
    beyond = [side for row in reversed(rows) for side in ((len(row) - 1) // 2, len(row) // 2)]
    kernel = rows[0] if dims == 1 else torch.einsum("i,j,k->ijk", *rows)
    convolution = F.conv1d if dims == 1 else F.conv3d
    weight = kernel.expand(3, 1, *kernel.shape)
    definition = convolution(F.pad(two, beyond, padding), weight, stride=stride, groups=3)
    (expected,) = torch.autograd.grad((definition**2).sum(), two, create_graph=True)
    (expected_second,) = torch.autograd.grad((expected**2).sum(), two)
    # Sums of up to 13³ products of order 1 and again of such sums, in another order.
    torch.testing.assert_close(ours, definition, atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(second, expected_second, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("taps", [[1.0, 0.0, 1.0], [0.0, 1.0]])
def test_a_volume_is_blurred_by_taps_that_skip_the_kept_plane(taps):
    x, row = torch.randn(2, 3, 5, 6, 7, dtype=torch.float64), torch.tensor(taps, dtype=torch.float64)
    beyond = [(len(row) - 1) // 2, len(row) // 2] * 3
    kernel = torch.einsum("i,j,k->ijk", row, row, row).expand(3, 1, -1, -1, -1)
    definition = F.conv3d(F.pad(x, beyond, "replicate"), kernel, stride=2, groups=3)
    ours = downsample.blur_pool(x, 2, taps, "replicate", dims=3)
    torch.testing.assert_close(ours * row.sum() ** 3, definition, atol=1e-13, rtol=0)  # its taps sum to one


def test_a_long_filter_of_sounds_is_a_convolution_of_a_padded_copy():
    """The number of its taps beyond the border grows with the square of its length, and each is an operation."""
    x = torch.zeros(1, 1, unpadded.SMALLEST[3])
    short, long = (
        unpadded.Axis((1 / taps,) * taps, 2, "reflect", x.shape[-1])
        for taps in (unpadded.MOST_TAPS_OF_SOUNDS, unpadded.MOST_TAPS_OF_SOUNDS + 1)
    )
    assert unpadded.pays(x, short)
    assert not unpadded.pays(x, long)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular", "zero"])
@pytest.mark.parametrize("stride", [1, 7])
@pytest.mark.parametrize("length", [1025, 1026])
def test_a_very_long_filter_of_sounds_is_the_convolution_too(padding, stride, length):
    random = np.random.default_rng(length)
    x, taps = random.normal(size=(2, 2, 3000)), random.random(length)
    if padding == "zero" and length % 2 == 0:
        taps = np.append(taps, 0.0)  # as it is filtered there: a filter of odd length
    taps /= taps.sum()
    mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "zero": "constant"}[padding]
    padded = np.pad(x, ((0, 0), (0, 0), ((len(taps) - 1) // 2, len(taps) // 2)), mode)
    expected = np.array([[np.correlate(row, taps, "valid")[::stride] for row in rows] for rows in padded])
    given, way = torch.from_numpy(x).float(), low_pass if stride == 1 else downsample.blur_pool
    found = way(given, max(stride, 2), tuple(taps), padding, dims=1)
    # In float64 inside; the input and the result are rounded to float32, of numbers up to 5.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [(12, 9), (2, 2), (40, 300)])
def test_what_comes_behind_may_work_in_place(size, dtype, memory_format):
    """A rectifier that overwrites what it is given, in training as in inference."""
    x = torch.randn(2, 3, *size, dtype=dtype).to(memory_format=memory_format)
    leaf = x.clone().requires_grad_()
    y = F.relu(downsample.blur_pool(leaf, 2, "binomial3"), inplace=True)
    assert torch.equal(y, downsample.blur_pool(x, 2, "binomial3").relu())
    y.sum().backward()
    assert leaf.grad.shape == x.shape


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [12, 40])
def test_forward_mode_and_per_sample_gradients(size, memory_format):
    """The operator is linear: its derivative along x is itself at x, and a gradient a sample is that of the batch."""
    x = torch.randn(3, 2, size, size + 1, dtype=torch.float64).to(memory_format=memory_format)
    y = downsample.blur_pool(x)

    def loss(image):
        return downsample.blur_pool(image[None]).square().sum()

    for point in (x, x.clone().requires_grad_()):
        torch.testing.assert_close(torch.func.jvp(downsample.blur_pool, (point,), (x,))[1], y)
    leaf = x.clone().requires_grad_()
    downsample.blur_pool(leaf).square().sum().backward()
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x), leaf.grad)
    torch.testing.assert_close(torch.func.vmap(downsample.blur_pool)(x[None]), y[None])


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("taps", ["binomial3", "binomial4", "binomial5"])
def test_the_derivatives_of_sounds_and_volumes_in_every_mode(dims, taps, monkeypatch):
    """The blur is linear: its derivative along x is itself at x; a gradient a sample is that of the batch."""
    monkeypatch.setattr(unpadded, "SMALLEST", dict.fromkeys((3, 5), 0))
    x = torch.randn(3, 2, *(9, 8, 7)[:dims], dtype=torch.float64)

    def blurred(x):
        return downsample.blur_pool(x, 2, taps, dims=dims)

    y, leaf = blurred(x), x.clone().requires_grad_()
    torch.testing.assert_close(torch.func.jvp(blurred, (x,), (x,))[1], y)
    torch.testing.assert_close(torch.func.vmap(blurred)(x[None]), y[None])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(blurred(dual)).tangent, y)
    blurred(leaf).square().sum().backward()
    each = torch.func.vmap(torch.func.grad(lambda one: blurred(one[None]).square().sum()))(x)
    torch.testing.assert_close(each, leaf.grad)


# Taps and stride -----------------------------------------------------------------------------------------------------

BLURS = {
    "blur_pool": downsample.blur_pool,
    "low_pass": downsample.low_pass,
    "max_blur_pool": downsample.max_blur_pool,
    "blur_upsample": downsample.blur_upsample,
    "BlurPool2d": lambda x, stride, taps: layers.BlurPool2d(stride, taps)(x),
    "MaxBlurPool2d": lambda x, stride, taps: layers.MaxBlurPool2d(stride, taps)(x),
    "BlurUpsample2d": lambda x, stride, taps: layers.BlurUpsample2d(stride, taps)(x),
}


@pytest.mark.parametrize(
    "name", ["binomial3", "binomial4", "box2", "box3", "gaussian5", "kaiser6", "lanczos4", "sinc5"]
)
@pytest.mark.parametrize("blur", BLURS.values(), ids=BLURS)
def test_a_name_is_stretched_numbers_are_not_and_stride_one_has_no_filter(blur, name):
    x = torch.randn(2, 3, 25, 26, dtype=torch.float64)
    for stride in (2, 3, 4):
        stretched = filters.get_taps(name, stride)
        torch.testing.assert_close(blur(x, stride, name), blur(x, stride, stretched), atol=1e-13, rtol=0)
        assert (stride == 2) == (len(stretched) == len(filters.get_taps(name)))
        # An axis that is not subsampled is not filtered, whatever the taps.
        one_axis = [filters.get_taps(name, stride), (1.0,)]
        for taps in (name, stretched, [name, name], [name, "binomial9"], [stretched, (1, 5, 1)]):
            torch.testing.assert_close(blur(x, (stride, 1), taps), blur(x, (stride, 1), one_axis), atol=1e-13, rtol=0)
        across = blur(x.mT, (1, stride), name).mT
        torch.testing.assert_close(blur(x, (stride, 1), name), across, atol=1e-13, rtol=0)
    assert torch.equal(blur(x, 1, name), x)
    assert torch.equal(blur(x, 1, (1, 2, 1)), x)


@pytest.mark.parametrize("padding", list(SCIPY_MODE))
@pytest.mark.parametrize("taps", ["binomial4", (1, 2, 1), ["box3", (1.0, 3.0)]])
@pytest.mark.parametrize("stride", [2, (3, 2), (2, 1)])
def test_blur_pool_is_the_low_pass_subsampled(stride, taps, padding):
    x = torch.randn(2, 3, 13, 14, dtype=torch.float64)
    dense = downsample.low_pass(x, stride, taps, padding)
    assert dense.shape == x.shape
    pooled = downsample.blur_pool(x, stride, taps, padding)
    torch.testing.assert_close(downsample.subsample(dense, stride), pooled, atol=1e-14, rtol=0)


def test_what_white_noise_folds_at_stride_four():
    """BlurPool2d(stride=4) is as good at stride 4 as at stride 2, to what the frequencies of 64 pixels can tell."""
    x = torch.randn(100, 1, 64, 64, dtype=torch.float64)
    for taps, expected in (("binomial4", 0.126), ((1, 3, 3, 1), 0.568)):
        row = filters.get_taps(taps, 4)
        kept = abs(filters.response(row, np.fft.fftfreq(64))) ** 2
        energy, below = np.outer(kept, kept), abs(np.fft.fftfreq(64)) < 1 / 8
        energy[0, 0] = 0
        fraction = 1 - energy[np.outer(below, below)].sum() / energy.sum()
        found = sampling.decompose(downsample.low_pass(x, 4, taps, "circular"), 4).alias_fraction
        # The mean of ratios is that of the expected energies to second order, a few thousandths here.
        assert fraction == pytest.approx(expected, abs=0.002)
        assert float(found.mean()) == pytest.approx(fraction, abs=4 * float(found.std()) / 10 + 0.003)


# Any number of axes --------------------------------------------------------------------------------------------------


def max_by_numpy(x, window):
    spatial = tuple(range(2, x.ndim))
    return np.lib.stride_tricks.sliding_window_view(x, window, spatial).max(tuple(range(-len(window), 0)))


def fourier_by_scipy(x, stride):
    for axis, step in enumerate(stride, 2):
        keep = abs(fft.fftfreq(x.shape[axis])) < (1 / (2 * step) if step > 1 else 1)
        spectrum = np.moveaxis(fft.fft(x, axis=axis), axis, -1) * keep
        x = np.moveaxis(fft.ifft(spectrum).real, -1, axis)
    return every(x, stride, (0,) * len(stride))


def polyphase_by_numpy(x, stride):
    beyond = [(0, -size % step) for size, step in zip(x.shape[2:], stride, strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *beyond], mode="wrap")
    answers = []
    for one in x:
        components = [every(one[None], stride, phase)[0] for phase in np.ndindex(*stride)]
        answers.append(max(components, key=lambda component: (component**2).sum()))
    return np.stack(answers)


def every(x, stride, phase):
    return x[(slice(None), slice(None), *(slice(p, None, s) for p, s in zip(phase, stride, strict=True)))]


@given(st.data(), st.integers(1, 3), st.sampled_from(["binomial3", "binomial4", "binomial5"]))
def test_the_layers_of_one_two_and_three_axes_are_their_definitions(data, dims, taps):
    """At odd, even and tiny sizes, in float64, with their gradients."""
    stride = data.draw(st.tuples(*[st.integers(1, 3)] * dims))
    size = data.draw(st.tuples(*[st.integers(1, 7)] * dims))
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    known, rows = x.numpy(), (taps,) * dims
    cases = {
        "BlurPool": ({"taps": taps, "padding": "replicate"}, lambda: blur_by_scipy(known, stride, rows, "replicate")),
        "FourierPool": ({}, lambda: fourier_by_scipy(known, stride)),
        "PolyphasePool": ({}, lambda: polyphase_by_numpy(known, stride)),
    }
    if all(length >= step for length, step in zip(size, stride, strict=True)):  # a maximum needs one whole window
        expected = partial(blur_by_scipy, max_by_numpy(known, stride), stride, rows, "replicate")
        cases["MaxBlurPool"] = ({"taps": taps, "padding": "replicate"}, expected)
    for name, (settings, definition) in cases.items():
        layer = getattr(layers, f"{name}{dims}d")(stride, **settings)
        # Sums of up to 343 products of values up to 5 with weights whose absolute values add up to one.
        np.testing.assert_allclose(layer(x).numpy(), definition(), rtol=0, atol=1e-13, err_msg=name)
        assert torch.autograd.gradcheck(layer, x.clone().requires_grad_(), fast_mode=True), name


# Max-blur ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 9, 13])
@pytest.mark.parametrize(("stride", "kernel"), [(2, None), (2, 3), (3, None), (4, None)])
def test_max_blur_pool_has_the_size_of_the_max_pool(size, stride, kernel):
    x = torch.randn(1, 2, size, size)
    ours = downsample.max_blur_pool(x, stride, "binomial3", kernel=kernel)
    assert ours.shape == downsample.max_pool(x, stride, kernel).shape
    dense = F.max_pool2d(x, kernel or stride, 1)
    torch.testing.assert_close(ours, downsample.blur_pool(dense, stride, "binomial3"))
    # One tap gives the max-pool itself.
    assert torch.equal(
        downsample.max_blur_pool(x, stride, "box1", kernel=kernel), downsample.max_pool(x, stride, kernel)
    )


def test_plain_operators_are_torchs():
    x = torch.randn(2, 3, 13, 12)
    assert torch.equal(downsample.max_pool(x, 2, 3), F.max_pool2d(x, 3, 2))
    assert torch.equal(downsample.average_pool(x, (2, 3)), F.avg_pool2d(x, (2, 3)))
    assert torch.equal(downsample.area_resize(x, (5, 6)), F.interpolate(x, (5, 6), mode="area"))
    assert torch.equal(downsample.linear_resize(x[0], 6), F.interpolate(x[:1], 6, mode="bilinear")[0])
    box = downsample.convolve(x, torch.full((3, 3), 1 / 9), stride=2)
    torch.testing.assert_close(box, F.avg_pool2d(x, 3, 2))
    weight = torch.randn(5, 3, 3, 3)
    assert torch.equal(downsample.convolve(x, weight, 2), F.conv2d(x, weight, stride=2))
    for dims in (1, 3):
        y = torch.randn(3, *(8, 9, 10)[:dims])
        assert downsample.average_pool(y, dims=dims).shape == downsample.max_pool(y, dims=dims).shape
        assert downsample.subsample(y, dims=dims).shape[1:] == tuple(-(-n // 2) for n in y.shape[1:])


# Fourier -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(1, 20), st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_fourier_pool_is_the_baseband(height, width, stride):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    # An axis of stride 1 keeps its Nyquist frequency, for it is not subsampled.
    f_y, f_x = (abs(np.fft.fftfreq(size)) < 1 / (2 * s) + (s == 1) for size, s in zip(x.shape[2:], stride, strict=True))
    limited = np.fft.ifft2(np.fft.fft2(x.numpy()) * np.outer(f_y, f_x)).real
    np.testing.assert_allclose(downsample.fourier_low_pass(x, stride).numpy(), limited, atol=1e-13)
    pooled = downsample.fourier_pool(x, stride)
    np.testing.assert_allclose(pooled.numpy(), limited[..., :: stride[0], :: stride[1]], atol=1e-13)
    if min(stride) > 1:
        torch.testing.assert_close(pooled, sampling.decompose(x, stride).baseband, atol=1e-13, rtol=0)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("size", range(4, 36))
def test_fourier_pool_keeps_constants_and_band_limited_cosines(size, stride):
    """14 → 7 and 10 → 5 among them, where the published code fails."""
    n = torch.arange(size, dtype=torch.float64)
    constant = torch.full((1, size, size), 3.0, dtype=torch.float64)
    torch.testing.assert_close(downsample.fourier_pool(constant, stride), constant[:, ::stride, ::stride])
    k = torch.arange(1, size, dtype=torch.float64)[:, None]
    k = k[k / size < 1 / (2 * stride)][:, None]
    if len(k):
        waves = torch.cos(2 * torch.pi * k * n / size + 0.3)[:, None].expand(-1, size, -1)
        torch.testing.assert_close(downsample.fourier_pool(waves, stride), waves[:, ::stride, ::stride])
        torch.testing.assert_close(downsample.fourier_pool(waves.mT, stride), waves.mT[:, ::stride, ::stride])


@pytest.mark.parametrize("size", [14, 10, 16, 28, 18])
@pytest.mark.parametrize("by", [(1, 0), (1, 1), (0.5, 0.25), (2, 3)])
def test_fourier_pool_commutes_with_shifts(size, by):
    x = torch.randn(1, 2, size, size, dtype=torch.float64)
    moved = downsample.fourier_pool(sampling.shift(x, by))
    expected = sampling.shift(downsample.fourier_pool(x), (by[0] / 2, by[1] / 2))
    torch.testing.assert_close(moved, expected, atol=1e-13, rtol=0)


def test_fourier_pool_computes_in_float32_under_autocast():
    x = torch.randn(2, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(downsample.fourier_pool(x), downsample.fourier_pool(x))
        assert downsample.fourier_pool(x).dtype == torch.float32
        inside = downsample.fourier_pool(x)
    assert torch.equal(inside, downsample.fourier_pool(x))
    half = x.to(torch.bfloat16)
    # One rounding at the end, of values of about one.
    torch.testing.assert_close(
        downsample.fourier_pool(half).float(), downsample.fourier_pool(half.float()), rtol=2**-8, atol=0
    )


# Polyphase -----------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_polyphase_pool_of_a_circular_shift_holds_the_same_values(height, width, stride, d_y, d_x):
    x = torch.randn(3, 2, height * stride[0], width * stride[1], dtype=torch.float64)
    here = downsample.polyphase_pool(x, stride)
    there = downsample.polyphase_pool(sampling.shift(x, (d_y, d_x)), stride)
    # Each image and channel has the same values, in another place.
    assert torch.equal(here.flatten(2).sort().values, there.flatten(2).sort().values)
    # ... namely rolled.
    for image, moved in zip(here, there, strict=True):
        assert any(torch.equal(moved, image.roll((p, q), (-2, -1))) for p in range(height) for q in range(width))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_polyphase_pool_takes_the_component_of_largest_norm_at_any_size(height, width, stride):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    pooled = downsample.polyphase_pool(x, stride)
    assert pooled.shape[2:] == (-(-height // stride), -(-width // stride))
    extended = torch.from_numpy(np.pad(x, [(0, 0), (0, 0), (0, -height % stride), (0, -width % stride)], mode="wrap"))
    components = sampling.polyphase(extended, stride).movedim((-4, -3), (1, 2)).flatten(1, 2)
    best = components.square().sum((2, 3, 4)).argmax(1)
    assert torch.equal(best, downsample.largest_phase(x, stride))
    assert torch.equal(pooled, torch.stack([c[b] for c, b in zip(components, best, strict=True)]))
    # Another branch follows by the phase.
    other = torch.randn_like(x)
    follower = downsample.polyphase_pool(other, stride, phase=best)
    assert torch.equal(downsample.polyphase_pool(x, stride, phase=downsample.largest_phase(x, stride)), pooled)
    assert torch.equal(downsample.polyphase_pool(other[0], stride, phase=best[0]), follower[0])


# Upsampling ----------------------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(1, 7), st.integers(1, 7)), st.integers(1, 4), TAPS)
def test_blur_upsample_is_the_transpose_of_blur_pool(size, stride, taps):
    x = torch.randn(1, 2, *(n * stride for n in size), dtype=torch.float64)
    y = torch.randn(1, 2, *size, dtype=torch.float64)
    pooled = downsample.blur_pool(x, stride, taps, "zero")
    raised = downsample.blur_upsample(y, stride, taps, "zero")
    assert raised.shape == x.shape
    torch.testing.assert_close((pooled * y).sum() * stride**2, (x * raised).sum())


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("stride", "taps"),
    [(2, "binomial4"), (2, "binomial3"), (3, "box2"), (3, (1, 1, 1)), (4, "box4"), (4, (1,) * 8), (1, "binomial5")],
)
def test_blur_upsample_keeps_a_constant_and_is_scipys(stride, taps, padding):
    constant = torch.full((1, 2, 5, 6), 3.0, dtype=torch.float64)
    raised = downsample.blur_upsample(constant, stride, taps, padding)
    torch.testing.assert_close(raised, torch.full((1, 2, 5 * stride, 6 * stride), 3.0, dtype=torch.float64))
    # Zeros, then a convolution: scipy.signal.upfirdn of the padded signal, cut to place.
    x = torch.randn(1, 9, dtype=torch.float64)
    row = made_for(taps, stride)
    ends = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[padding]
    expected = signal.upfirdn(row * stride, np.pad(x[0].numpy(), 4, mode=ends), up=stride)
    start = 4 * stride + (len(row) - 1) // 2
    raised = downsample.blur_upsample(x, stride, taps, padding, dims=1)
    np.testing.assert_allclose(raised[0].numpy(), expected[start : start + 9 * stride], atol=1e-14)


def test_imaging_of_white_noise_is_that_of_the_filter():
    x = torch.randn(400, 1, 16, 16, dtype=torch.float64)
    raised = downsample.blur_upsample(x, 2, "binomial4", "circular")
    found = spectrum.energy_above(raised[:, 0], 0.25)
    # In two dimensions what is kept is the product of what the axes keep.
    f = np.fft.fftfreq(32)
    response = abs(filters.response("binomial4", f)) ** 2
    kept = response[abs(f) < 0.25].sum() / response.sum()
    assert abs(float(found.mean()) - (1 - kept**2)) < 4 * float(found.std()) / 20
    # The sum over bins is the integral by the trapezoid, but for half the bins at ±1/4, and is off by h²/12 of the
    # slope at both ends, 6π/8 each, over ∫|H|² = 5/16: 1.23e-3.
    edge = response[f == 0.25].sum() / response.sum()
    assert 1 - kept - edge == pytest.approx(filters.imaging_fraction("binomial4"), abs=1.3e-3)


# How torch runs them -------------------------------------------------------------------------------------------------

OPERATORS = {
    "subsample": lambda x: downsample.subsample(x),
    "max_pool": lambda x: downsample.max_pool(x),
    "average_pool": lambda x: downsample.average_pool(x),
    "blur_pool": lambda x: downsample.blur_pool(x),
    "blur_pool_3": lambda x: downsample.blur_pool(x, taps="binomial3"),
    "blur_pool_zero": lambda x: downsample.blur_pool(x, padding="zero"),
    "max_blur_pool": lambda x: downsample.max_blur_pool(x),
    "fourier_pool": lambda x: downsample.fourier_pool(x),
    "polyphase_pool": lambda x: downsample.polyphase_pool(x),
    "blur_upsample": lambda x: downsample.blur_upsample(x),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.half])
def test_dtype_is_kept(name, dtype):
    x = torch.randn(2, 8, 12, 11).to(dtype)
    y = OPERATORS[name](x)
    assert y.dtype == dtype
    if name != "polyphase_pool":  # whose choice may change with rounding
        # Two or three roundings of values up to about 4, each half a unit in the last place.
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(y.double(), OPERATORS[name](x.double()), atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_channels_last_is_kept(name):
    x = torch.randn(2, 8, 12, 12)
    y = OPERATORS[name](x.to(memory_format=torch.channels_last))
    if name != "subsample":  # a view
        assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, OPERATORS[name](x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in OPERATORS if not name.startswith("blur_pool")])
def test_operators_have_gradients(name):
    x = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(OPERATORS[name], x)


@pytest.mark.parametrize("name", OPERATORS)
def test_autocast_keeps_the_dtype(name):
    x = torch.randn(2, 8, 12, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert OPERATORS[name](x).dtype == torch.float32


class Operator(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.operator = OPERATORS[name]

    def forward(self, x):
        return self.operator(x)


@pytest.mark.parametrize("name", OPERATORS)
def test_export_with_dynamic_batch_and_image(name):
    batch, height, width = (torch.export.Dim(axis, min=4, max=512) for axis in ("batch", "height", "width"))
    program = torch.export.export(
        Operator(name), (torch.randn(5, 4, 20, 18),), dynamic_shapes={"x": {0: batch, 2: height, 3: width}}
    )
    for shape in [(4, 4, 20, 18), (6, 4, 31, 17), (7, 4, 14, 14)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), OPERATORS[name](x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_compile_with_dynamic_batch_and_image(name):
    """The graph is whole and holds for other sizes. (The backend that generates code is left to the slow test.)"""
    torch._dynamo.reset()
    compiled = torch.compile(OPERATORS[name], dynamic=True, fullgraph=True, backend="aot_eager")
    for shape in [(3, 4, 20, 18), (2, 4, 31, 17)]:
        x = torch.randn(shape, requires_grad=True)
        y = compiled(x)
        torch.testing.assert_close(y, OPERATORS[name](x), atol=1e-5, rtol=0)
        ours = torch.autograd.grad(y.square().sum(), x)[0]
        torch.testing.assert_close(
            ours, torch.autograd.grad(OPERATORS[name](x).square().sum(), x)[0], atol=1e-4, rtol=0
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_compile_with_the_default_backend(name):
    torch._dynamo.reset()
    compiled = torch.compile(OPERATORS[name], dynamic=True)
    x = torch.randn(3, 4, 20, 18)
    torch.testing.assert_close(compiled(x), OPERATORS[name](x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_meta_tensors_give_the_shape(name):
    x = torch.randn(2, 4, 15, 16)
    assert OPERATORS[name](x.to("meta")).shape == OPERATORS[name](x).shape


# Errors --------------------------------------------------------------------------------------------------------------

X = torch.ones(1, 2, 6, 6)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: downsample.blur_pool(X, 0), ValueError),
        (lambda: downsample.blur_pool(X, (2, 2, 2)), ValueError),
        (lambda: downsample.blur_pool(X, 2.0), (TypeError, ValueError)),
        (lambda: downsample.blur_pool(X, taps="binomial12"), ValueError),
        (lambda: downsample.blur_pool(X, taps="binomial14", padding="circular"), ValueError),
        (lambda: downsample.blur_pool(X, taps="triangle"), ValueError),
        (lambda: downsample.blur_pool(X, taps=("binomial3",)), ValueError),
        (lambda: downsample.blur_pool(X, padding="mirror"), ValueError),
        (lambda: downsample.blur_pool(X, dims=4), ValueError),
        (lambda: downsample.blur_pool(X[0, 0]), ValueError),
        (lambda: downsample.blur_pool(X[:, :, :0]), ValueError),
        (lambda: downsample.blur_pool(X.to(torch.uint8)), TypeError),
        (lambda: downsample.blur_pool(X.numpy()), TypeError),
        (lambda: downsample.fourier_pool(X, 0), ValueError),
        (lambda: downsample.fourier_pool(X.long()), TypeError),
        (lambda: downsample.polyphase_pool(X, -1), ValueError),
        (lambda: downsample.blur_upsample(X, 2, "binomial40"), ValueError),
        (lambda: downsample.convolve(X, torch.ones(3)), ValueError),
        (lambda: downsample.max_pool(X, 2, 0), ValueError),
        (lambda: downsample.area_resize(X, 0), ValueError),
    ],
)
def test_wrong_calls_are_one_line(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value)
