"""Other libraries of sounds as oracles: with their taps and their continuation, blur-pool is their decimation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import aliasing as al

SOUND = torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ONES = torch.ones(1, 400, dtype=torch.float64)
STRIDES = (2, 3, 4, 5)


def decimated(x: Tensor, stride: int, kernel: Tensor, padding: str) -> Tensor:
    """By blur-pool, which divides taps by their sum; this is multiplied back."""
    taps = kernel.detach().double().numpy()
    return al.downsample.blur_pool(x, stride, taps, padding, dims=1) * taps.sum()


def rounding(kernel: Tensor, x: Tensor) -> float:
    """A sum of n products in another order: n · eps · Σ|k| · max|x|."""
    return float(kernel.numel() * np.finfo(np.float64).eps * kernel.abs().sum() * x.abs().max())


@pytest.mark.parametrize("stride", STRIDES)
def test_julius_resamples_alike(stride: int) -> None:
    """Its kernel has stride − 1 taps more at one end, which are zero; it drops an incomplete last cell, we keep it."""
    julius = pytest.importorskip("julius")
    resample = julius.ResampleFrac(stride, 1).double()
    kernel = resample.kernel.flatten()
    assert kernel[1 - stride :].abs().max() < 1e-20
    kernel = kernel[: 1 - stride]
    theirs, ours = resample(SOUND), decimated(SOUND, stride, kernel, "replicate")
    assert theirs.shape[-1] == 400 // stride
    assert ours.shape[-1] == -(-400 // stride)
    assert (ours[..., : theirs.shape[-1]] - theirs).abs().max() < rounding(kernel, SOUND)


@pytest.mark.parametrize("stride", STRIDES)
def test_julius_low_passes_alike(stride: int) -> None:
    """Its filter is our sinc under a Hann window, computed in float32."""
    julius = pytest.importorskip("julius")
    low_pass = julius.LowPassFilter(0.5 / stride, stride=stride).double()
    (kernel,) = (buffer.flatten() for buffer in low_pass.buffers())
    assert (decimated(SOUND, stride, kernel, "replicate") - low_pass(SOUND)).abs().max() < rounding(kernel, SOUND)
    taps = al.filters.sinc(33, stride, "hann")
    assert len(taps) == len(kernel)
    # Each tap is a product of three float32, and is divided by their sum.
    np.testing.assert_allclose(taps, kernel, rtol=0, atol=8 * np.finfo(np.float32).eps * taps.max())


@pytest.mark.parametrize("stride", STRIDES)
def test_torchaudio_resamples_alike(stride: int) -> None:
    torchaudio = pytest.importorskip("torchaudio")
    resample = torchaudio.transforms.Resample(stride, 1, dtype=torch.float64)
    kernel = resample.kernel.flatten()
    assert kernel[1 - stride :].abs().max() < 1e-40
    kernel = kernel[: 1 - stride]
    assert (decimated(SOUND, stride, kernel, "zero") - resample(SOUND)).abs().max() < rounding(kernel, SOUND)


def test_what_becomes_of_a_constant() -> None:
    """As the documentation says: torchaudio lifts it by 0.05 % and bends it at its ends, julius keeps it."""
    julius, torchaudio = pytest.importorskip("julius"), pytest.importorskip("torchaudio")
    lifted = torchaudio.functional.resample(ONES, 4, 1)[0]
    assert lifted[50] == pytest.approx(1.00047, abs=1e-5)
    assert lifted[0] < 0.65
    # The taps of julius are divided by their sum in float32.
    assert (julius.resample_frac(ONES, 4, 1) - 1).abs().max() < 1e-6
    assert (al.downsample.blur_pool(ONES, 4, dims=1) - 1).abs().max() < 1e-15


def energy(y: Any) -> float:
    """Of a tone away from its ends, relative to the tone's."""
    return 2 * float(np.mean(np.asarray(y).ravel()[100:-100] ** 2))


def test_what_becomes_of_a_tone_above_the_new_nyquist_frequency() -> None:
    """As the documentation says: soxr's quality QQ folds all of it, and torchaudio an eighth of what is just above."""
    soxr = pytest.importorskip("soxr")
    high = np.cos(2 * np.pi * 0.4 * np.arange(4000))
    assert energy(soxr.resample(high, 2, 1, quality="QQ")) == pytest.approx(1, abs=1e-6)
    for quality in ("LQ", "MQ", "HQ", "VHQ"):
        assert energy(soxr.resample(high, 2, 1, quality=quality)) < 1e-12
        assert soxr.resample(np.ones(400), 4, 1, quality=quality)[0] < 0.7  # it bends a constant at its ends
    julius, torchaudio = pytest.importorskip("julius"), pytest.importorskip("torchaudio")
    near = torch.cos(2 * torch.pi * 0.26 * torch.arange(4000, dtype=torch.float64))[None]
    assert energy(torchaudio.functional.resample(near, 2, 1)) == pytest.approx(0.1235, abs=1e-3)
    assert energy(julius.resample_frac(near, 2, 1)) < 1e-5
