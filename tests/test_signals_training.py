"""Networks of signals are recalibrated, fine-tuned and exported like those of pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import aliasing as al
from aliasing.images import Signal


def network(axes: int) -> al.models.SignalNetwork:
    torch.manual_seed(0)
    conv, norm, pool = (
        (nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d),
        (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    )[axes == 3]
    layers = (
        conv(1, 6, 3, 2, 1),
        norm(6),
        nn.ReLU(),
        conv(6, 8, 3, 2, 1),
        nn.ReLU(),
        pool(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    sizes = (128,) if axes == 1 else (12, 12, 12)
    made = al.load_model(nn.Sequential(*layers), input_size=sizes, rate=(8000.0,) * axes, channels=1, name="net")
    assert isinstance(made, al.models.SignalNetwork)
    return made


def signals(axes: int) -> list[tuple[Signal, int]]:
    """Slow waves and fast ones."""
    random = np.random.default_rng(0)
    made = []
    for number in range(16):
        frequency = (0.02, 0.35)[number % 2]
        size = 160 if axes == 1 else 14
        wave = np.cos(2 * np.pi * (frequency * np.arange(size) + random.random()))
        samples = wave[None] if axes == 1 else np.broadcast_to(wave, (1, size, size, size)).copy()
        made.append((Signal(samples, (8000.0,) * axes), number % 2))
    return made


@pytest.mark.parametrize("axes", [1, 3])
def test_a_converted_network_of_signals_learns_and_goes_on(axes: int, tmp_path: Path) -> None:
    converted = al.antialias(network(axes), taps="binomial3", scheme="all")
    recipe = al.Recipe(epochs=6, batch_size=8, learning_rate=0.1)
    tuned = al.finetune(converted, signals(axes), tmp_path / "whole", recipe)
    assert isinstance(tuned, al.models.SignalNetwork)
    assert tuned.name.endswith("fine-tuned")
    result = al.measure_jitter(tuned, signals(axes), "samples:steps=2").summary()["models"][tuned.name]
    assert result["accuracy"]["value"] == 1
    again = al.finetune(converted, signals(axes), tmp_path / "whole", recipe)  # finished: read from disk
    for key, weight in tuned.module.state_dict().items():
        assert torch.equal(weight, again.module.state_dict()[key])


@pytest.mark.parametrize("axes", [1, 3])
def test_recalibration_is_that_of_the_bare_module(axes: int) -> None:
    given = network(axes)
    views = torch.tensor(
        np.stack([al.rates.centred(signal.samples, given.view_size) for signal, _ in signals(axes)]),
        dtype=torch.float32,
    )
    mine, bare = al.recalibrate(given, signals(axes), batch_size=16), al.recalibrate(given.module, [views])
    # The same sums, of views that went through float32 once more.
    torch.testing.assert_close(mine.module[1].running_mean, bare[1].running_mean, rtol=1e-5, atol=1e-6)
    assert not torch.equal(mine.module[1].running_mean, given.module[1].running_mean)


@pytest.mark.parametrize("axes", [1, 3])
def test_a_converted_network_of_signals_is_exported(axes: int) -> None:
    converted = al.antialias(network(axes), taps="binomial3", scheme="all").module.eval()
    example = torch.randn(2, 1, *network(axes).view_size)
    program = torch.export.export(converted, (example,))
    # The exported program pads and convolves what eager mode does in one step.
    torch.testing.assert_close(program.module()(example), converted(example), rtol=1e-5, atol=1e-6)
