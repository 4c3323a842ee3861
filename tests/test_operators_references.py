"""Each operator is its formula: slow references, closed forms and peers."""

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import signal as scipy_signal
from torch import Tensor

import aliasing as al
from aliasing import sampling
from aliasing.downsample.designed import kaiser_design, wavelet_low_band
from aliasing.layers import (
    AdaptivePool1d,
    AdaptivePool2d,
    AnchoredTipsPool2d,
    AsapPool2d,
    FourierPool2d,
    KaiserPool1d,
    LearnablePolyphasePool1d,
    LearnablePolyphasePool2d,
    PolyphasePool2d,
    PolyphaseUpsample1d,
    PolyphaseUpsample2d,
    RolloffPool1d,
    RolloffPool2d,
    SpectralPool2d,
    TipsPool2d,
    WaveletPool1d,
)

# Sums of some hundred products of order 1, in float64.
ROUNDING = 1e-12


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learned(operator: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """Random weights, as if it had learned something."""
    with torch.no_grad():
        for number, parameter in enumerate(operator.double().parameters()):
            parameter.copy_(noise(*parameter.shape, seed=seed + number))
    return operator.eval()


def by_dft(x: Tensor, stride: int, gain: "np.ufunc") -> np.ndarray:
    """Every product of the definition: the transform along both axes, the gains below the Nyquist frequency, back."""
    found = x.numpy().astype(complex)
    for axis in (-2, -1):
        size = x.shape[axis]
        n = np.arange(size)
        waves = np.exp(-2j * np.pi * np.outer(n, n) / size)
        k = np.minimum(n, size - n)
        gains = np.where(2 * stride * k < size, gain(k / size), 0)
        matrix = (waves.conj() / size) @ np.diag(gains) @ waves
        found = np.moveaxis(np.tensordot(matrix[::stride], found, (1, axis)), 0, axis)
    return found.real


@pytest.mark.parametrize("size", range(5, 34))
@torch.no_grad()
def test_the_spectral_pools_are_their_gains_at_every_size(size: int) -> None:
    x = noise(1, 2, size, size + 1)
    hamming = lambda f: np.sqrt(0.54 + 0.46 * np.cos(2 * np.pi * f))  # noqa: E731
    rolled = lambda f: np.cos(np.pi / 2 * np.clip((4 * f - 0.75) / 0.25, 0, 1)) ** 2  # noqa: E731
    limit = 0.5 / 2.5
    learnt = lambda f: np.clip((limit - f) / min(limit, 1 / 16), 0, 1)  # noqa: E731
    spectral = SpectralPool2d(2).double()
    spectral.band.fill_(2.5)
    for pool, gain in ((AsapPool2d(2), hamming), (RolloffPool2d(2), rolled), (spectral, learnt)):
        np.testing.assert_allclose(pool(x), by_dft(x, 2, gain), rtol=0, atol=ROUNDING)
    for pool in (AsapPool2d(2), RolloffPool2d(2), spectral, FourierPool2d(2)):
        parts = sampling.decompose(pool.low_pass(x).numpy(), 2, axes=(-2, -1))
        assert (parts.alias_fraction < ROUNDING).all()


def test_a_roll_off_of_nothing_is_the_fourier_pool_and_one_of_half_keeps_half_in_the_middle() -> None:
    x = noise(1, 1, 12, 12)
    torch.testing.assert_close(RolloffPool2d(2, 0.0)(x), FourierPool2d(2)(x), rtol=0, atol=ROUNDING)
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(32).double() / 32)[None, None]  # 3/32, of a new band to 4/16
    middle = RolloffPool1d(2, rolloff=1.0)(torch.cos(2 * torch.pi * 4 * torch.arange(32).double() / 32)[None, None])
    assert math.isclose(float(middle.abs().max()), 0.5, abs_tol=ROUNDING)  # halfway down the raised cosine
    torch.testing.assert_close(RolloffPool1d(2, rolloff=0.25)(wave), wave[..., ::2], rtol=0, atol=ROUNDING)
    with pytest.raises(al.errors.UsageError, match="rolloff is a share"):
        RolloffPool2d(2, rolloff=1.5)


def test_the_band_of_the_spectral_pool_learns() -> None:
    x = noise(1, 1, 40, 40)
    pool = SpectralPool2d(2).double()
    pool(x).square().sum().backward()
    assert (pool.band.grad < 0).all()  # a narrower band keeps less energy


@pytest.mark.parametrize(("stride", "attenuation"), [(2, 40.0), (2, 60.0), (3, 60.0), (4, 80.0)])
def test_the_kaiser_design_meets_its_specification(stride: int, attenuation: float) -> None:
    taps = kaiser_design(stride, attenuation)
    frequency, gain = scipy_signal.freqz(taps, worN=np.linspace(0, np.pi, 4096))
    stopped = abs(gain[frequency / (2 * np.pi) >= 0.5 / stride])
    assert -20 * math.log10(stopped.max()) > attenuation - 2  # Kaiser's estimate of the length is that good
    passed = abs(gain[frequency / (2 * np.pi) <= 0.25 / stride])
    assert abs(passed - 1).max() < 10 ** (-(attenuation - 4) / 20)  # the edge of the pass band is worse
    assert len(taps) % 2
    x = noise(1, 1, 50 * stride)
    expected = scipy_signal.upfirdn(taps, np.pad(x[0, 0], len(taps) // 2, mode="wrap"), down=1)
    ours = KaiserPool1d(stride, "circular", attenuation)(x)[0, 0]
    np.testing.assert_allclose(ours, expected[len(taps) - 1 :][: x.shape[-1]][::stride], rtol=0, atol=ROUNDING)
    with pytest.raises(al.errors.UsageError, match="attenuation is at least 8 dB"):
        kaiser_design(2, 3.0)


@pytest.mark.parametrize("name", ["haar", "db2", "db4", "bior3.3", "sym5"])
def test_the_wavelet_pool_is_the_low_band_of_pywavelets(name: str) -> None:
    pywt = pytest.importorskip("pywt")
    x = noise(1, 1, 32)
    for levels in (1, 2):
        stride = 2**levels
        band = pywt.wavedec(x[0, 0].numpy(), name, mode="periodization", level=levels)[0] / 2 ** (levels / 2)
        ours = [WaveletPool1d(stride, "circular", name)(x.roll(by, -1))[0, 0].numpy() for by in range(32)]
        # Where the periodic transform puts its first sample depends on the length of the filter.
        assert min(abs(one - band).max() for one in ours) < ROUNDING
    with pytest.raises(al.errors.UsageError, match="halves a signal"):
        wavelet_low_band(3)
    with pytest.raises(al.errors.UsageError, match="no discrete wavelet 'sinc'"):
        wavelet_low_band(2, "sinc")


@pytest.mark.parametrize(("channels", "stride"), [(None, 2), (4, 3)])
@torch.no_grad()
def test_the_learnable_pool_takes_the_phase_that_its_network_prefers(channels: int | None, stride: int) -> None:
    pool = learned(LearnablePolyphasePool2d(stride, channels))
    x = noise(3, 4, 6, 6)
    for image in x:
        logits = []
        for phase in product(range(stride), repeat=2):
            part = image[:, phase[0] :: stride, phase[1] :: stride]
            maps = part[None] if channels else part[:, None]
            hidden = F.conv2d(F.pad(maps, (1, 1, 1, 1), "circular"), pool.first, pool.bias).relu()
            logits.append(F.conv2d(F.pad(hidden, (1, 1, 1, 1), "circular"), pool.second).mean())
        p, q = divmod(int(torch.stack(logits).argmax()), stride)
        assert torch.equal(pool(image[None])[0], image[:, p::stride, q::stride])


def test_at_first_the_learnable_pool_takes_the_phase_with_the_largest_sum_and_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    pool = LearnablePolyphasePool1d(2, channels=2).eval()
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.randn(5, 2, 8)
    sums = torch.stack([x[..., phase::2].abs().sum((1, 2)) for phase in range(2)], 1)
    assert torch.equal(pool.choose(x), sums.argmax(1))


def test_in_training_it_mixes_the_phases_and_the_network_learns() -> None:
    pool, x = LearnablePolyphasePool2d(2), torch.randn(64, 2, 4, 4)
    weights = pool.choose(x)
    torch.testing.assert_close(weights.sum(1), torch.ones(64))
    parts = torch.stack([x[..., p::2, q::2] for p in range(2) for q in range(2)], 1)
    torch.testing.assert_close(pool(x, weights), (weights[..., None, None, None] * parts).sum(1))
    pool(x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in (pool.second, pool.bias))
    often = torch.bincount(torch.stack([pool.choose(x[:1])[0] for _ in range(400)]).argmax(1), minlength=4) / 400
    expected = pool.logits(x[:1])[0].softmax(0)
    # Gumbel's trick: the largest is drawn with the softmax's probability; four standard deviations of 400 draws.
    assert ((often - expected).abs() < 4 * 0.5 / 20).all()


@pytest.mark.parametrize(("channels", "groups"), [(None, 1), (4, 2)])
@torch.no_grad()
def test_the_adaptive_pool_filters_every_place_by_its_own_taps(channels: int | None, groups: int) -> None:
    pool = learned(AdaptivePool2d(2, channels, groups, padding="circular"))
    x = noise(1, 4, 5, 6)
    y = pool(x)
    around = F.pad(x, (1, 1, 1, 1), "circular")[0]
    for i, j in product(range(y.shape[2]), range(y.shape[3])):
        window = around[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        seen = window if channels else window.mean(0, keepdim=True)
        taps = ((pool.weight * seen).sum((1, 2, 3)) + pool.bias).reshape(groups, 9).softmax(1).reshape(groups, 1, 3, 3)
        expected = (window.reshape(groups, -1, 3, 3) * taps).sum((2, 3)).reshape(-1)
        torch.testing.assert_close(y[0, :, i, j], expected, rtol=0, atol=ROUNDING)


def test_at_first_the_adaptive_pool_is_the_blur_pool() -> None:
    x = noise(2, 3, 9)
    ours = AdaptivePool1d(2).double()(x)
    torch.testing.assert_close(ours, al.downsample.blur_pool(x, 2, "binomial3", "replicate", dims=1))
    ours.square().sum().backward()
    with pytest.raises(al.errors.UsageError, match="kernel is odd"):
        AdaptivePool2d(2, kernel=4)


# --- TIPS -------------------------------------------------------------------------------------------------------------


def moved_error(pool: torch.nn.Module, by: int) -> float:
    """The least relative difference between the moved signal's output and one roll of the other."""
    x = noise(1, 3, 8, 8)
    y, z = pool(x), pool(x.roll((by, by), (-2, -1)))
    rolls = [y.roll((i, j), (-2, -1)) for i in range(4) for j in range(4)]
    return min(float((roll - z).norm() / z.norm()) for roll in rolls)


@torch.no_grad()
def test_tips_as_published_is_its_formula_and_changes_under_odd_shifts() -> None:
    pool = learned(TipsPool2d(2, channels=3))
    x = noise(2, 3, 8, 6)
    maps = F.conv2d(x, pool.taps, padding=1, groups=3).relu()
    quadrants = [maps[..., i : i + 4, j : j + 3].mean((2, 3)) for i in (0, 4) for j in (0, 3)]
    weights = (torch.stack(quadrants) * pool.scale).softmax(0)[..., None, None]
    phases = torch.stack([x[..., p::2, q::2] for p in range(2) for q in range(2)])
    torch.testing.assert_close(pool(x), (weights * phases).sum(0), rtol=0, atol=ROUNDING)
    assert moved_error(pool, 1) > 0.1


@torch.no_grad()
def test_weights_of_the_phases_alone_would_keep_only_the_mean_and_the_anchor_keeps_all() -> None:
    pool = learned(AnchoredTipsPool2d(2, channels=3))

    def unanchored(x: Tensor) -> Tensor:
        phases = torch.stack([x[..., p::2, q::2] for p in range(2) for q in range(2)], 1)
        return (pool._weights(x)[..., None, None] * phases).sum(1)

    x = noise(1, 3, 8, 8)
    means = [unanchored(x.roll(by, -1)).mean((2, 3)) for by in range(3)]
    torch.testing.assert_close(means[1], means[0], rtol=0, atol=ROUNDING)
    assert moved_error(unanchored, 1) > 0.1
    assert max(moved_error(pool, by) for by in range(4)) < ROUNDING


# --- up again ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 7])
def test_upsampling_is_the_transpose_of_the_pool(size: int) -> None:
    """⟨pool(x), y⟩ = ⟨x, up(y)⟩ for every choice of phases, and for weights of them."""
    x = noise(4, 2, size)
    for phase in (torch.tensor([0, 1, 1, 0]), noise(4, 2, seed=5).softmax(1)):
        y = al.downsample.polyphase_pool(x, 2, phase=phase, dims=1)
        z = noise(*y.shape, seed=3)
        up = PolyphaseUpsample1d(2)(z, phase, size)
        assert math.isclose(float((y * z).sum()), float((x * up).sum()), abs_tol=ROUNDING)
    with pytest.raises(al.errors.UsageError, match="size is that of the pool's input"):
        PolyphaseUpsample1d(2)(z, phase, 12)


@pytest.mark.parametrize("pool", [PolyphasePool2d(2), learned(LearnablePolyphasePool2d(2)), PolyphasePool2d((3, 2))])
@torch.no_grad()
def test_a_u_net_whose_decoder_follows_its_encoder_moves_with_its_input(pool: PolyphasePool2d) -> None:
    up, weights = PolyphaseUpsample2d(pool.stride), [noise(3, 3, 3, 3, seed=seed) / 27 for seed in range(3)]

    def network(x: Tensor, follows: bool = True) -> Tensor:
        around = lambda y: F.pad(y, (1, 1, 1, 1), "circular")  # noqa: E731
        skip = F.conv2d(around(x), weights[0]).relu()
        phase = pool.choose(skip)
        deep = F.conv2d(around(pool(skip, phase)), weights[1]).relu()
        raised = up(deep, phase if follows else torch.zeros_like(phase))
        return F.conv2d(around(raised), weights[2]) + skip

    x = noise(2, 3, 12, 12)
    for by in product(range(4), repeat=2):
        torch.testing.assert_close(network(x.roll(by, (-2, -1))), network(x).roll(by, (-2, -1)), rtol=0, atol=ROUNDING)
    assert not torch.allclose(network(x.roll(1, -1), False), network(x, False).roll(1, -1))
