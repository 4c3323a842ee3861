"""Layers leave torch's eager mode and compute the same: traced, exported, and as ONNX programs of both exporters."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from aliasing import layers
from aliasing.errors import UsageError
from tests.exported import LAYERS, ROUNDING, SIZES, images

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_trace_computes_the_same_at_every_size(name: str, training: bool) -> None:
    layer = LAYERS[name].train(training)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=torch.jit.TracerWarning)  # nothing of a size is frozen ...
        warnings.filterwarnings("ignore", message=".*registered as constants")  # ... and taps are constants
        trace = torch.jit.trace(layer, images(layer, (12, 13, 10)).requires_grad_(training))
    for size in SIZES:
        x = images(layer, size)
        torch.testing.assert_close(trace(x), layer(x), rtol=0, atol=ROUNDING)
        one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
        trace(one).square().sum().backward()
        layer(two).square().sum().backward()
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=10 * ROUNDING)  # up to 9 outputs share a pixel


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_compiled_layer_computes_the_same_at_every_size(name: str) -> None:
    torch.compiler.reset()
    layer = LAYERS[name]
    # The backend that generates code is left to the slow test of the functions.
    compiled = torch.compile(layer, dynamic=True, fullgraph=True, backend="aot_eager")
    for size in SIZES:
        x = images(layer, size)
        torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LAYERS)
def test_an_exported_program_computes_the_same_at_every_size(name: str, strict: bool) -> None:
    layer = LAYERS[name]
    x = images(layer, (12, 13, 10), batch=2)
    dynamic = (dict.fromkeys((0, *range(2, x.ndim)), torch.export.Dim.DYNAMIC),)
    program = torch.export.export(layer, (x,), dynamic_shapes=dynamic, strict=strict).module()
    for size in SIZES:
        x = images(layer, size)
        torch.testing.assert_close(program(x), layer(x), rtol=0, atol=ROUNDING)


QUICK = ["MaxBlurPool2d", "FourierPool2d", "PolyphasePool2d"]


@pytest.mark.parametrize(
    ("exporter", "names"),
    [
        ("torchscript", list(LAYERS)),
        ("dynamo", QUICK),
        pytest.param("dynamo", [name for name in LAYERS if name not in QUICK], marks=pytest.mark.slow),
    ],
)
def test_onnx_computes_the_same_at_every_size(exporter: str, names: list[str], tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "tests.exported", exporter, str(tmp_path), *names]
    # In a process of its own, for an exporter can end it: the older one divides by zero where an axis is split.
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    equal = [line.removeprefix("equal: ") for line in done.stdout.splitlines() if line.startswith("equal: ")]
    assert equal == names, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("padding", "size"),
    [("reflect", 4), ("circular", 3), ("replicate", 1), ("replicate", 2), ("zero", 1), ("zero", 2), ("zero", 3)],
)
def test_seven_taps_on_a_small_map_are_exported(padding: str, size: int) -> None:
    layer, x = layers.BlurPool2d(2, "binomial7", padding), torch.randn(1, 3, size, size)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("padding", "size"), [("reflect", 1), ("reflect", 3), ("circular", 1), ("circular", 2)])
def test_on_too_small_a_map_an_exporter_says_what_eager_mode_says(padding: str, size: int) -> None:
    layer, x = layers.BlurPool2d(2, "binomial7", padding), torch.randn(1, 3, size, size)
    for call in (lambda: layer(x), lambda: torch.export.export(layer, (x,))):
        with pytest.raises(UsageError, match=f"{padding} padding of {size} pixels .*got 7.* padding='replicate'"):
            call()
