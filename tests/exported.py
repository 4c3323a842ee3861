"""Export layers to ONNX and compare each, run by onnxruntime, with the layer itself.

    python -m tests.exported {dynamo,torchscript} FOLDER [LAYER ...]

In a process of its own, because an exporter can end the process. Prints the layers that came out equal, one a line.
"""

import sys
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from aliasing import layers

LAYERS: dict[str, nn.Module] = {
    "Subsample2d": layers.Subsample2d((3, 2)),
    "BlurPool1d": layers.BlurPool1d(),
    "BlurPool2d": layers.BlurPool2d(),
    "BlurPool2d, stretched": layers.BlurPool2d(4, "binomial3", "replicate"),
    "BlurPool2d, one axis": layers.BlurPool2d((2, 1), padding="circular"),
    "BlurPool2d, zero": layers.BlurPool2d(2, padding="zero"),
    "BlurPool3d": layers.BlurPool3d(2, "binomial3", "replicate"),
    "MaxBlurPool2d": layers.MaxBlurPool2d(2, kernel=3),
    "FourierPool2d": layers.FourierPool2d((2, 3)),
    "PolyphasePool2d": layers.PolyphasePool2d((2, 3)),
    "BlurUpsample2d": layers.BlurUpsample2d((2, 1)),
}
# At these sizes the exported program is compared; it was exported at another. Odd, even, wide, high, small.
SIZES = ((8, 8, 8), (9, 14, 6), (16, 7, 5), (21, 21, 9))
# A sum of at most 81 products of values of order one, in another order.
ROUNDING = 1e-5


def images(layer: nn.Module, size: tuple[int, ...], batch: int = 3) -> Tensor:
    """Random signals of as many axes as a layer has."""
    return torch.randn(batch, 4, *size[: layer.dims], generator=torch.Generator().manual_seed(sum(size)))


def export(layer: nn.Module, exporter: str, path: Path) -> None:
    """Write a layer as an ONNX program of any batch and size."""
    x = images(layer, (12, 13, 10), batch=2)
    axes = (0, *range(2, x.ndim))
    if exporter == "dynamo":
        dynamic = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
        torch.onnx.export(layer, (x,), path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    else:
        names = {"x": {axis: f"axis{axis}" for axis in axes}}
        torch.onnx.export(layer, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=names)


def main(exporter: str, folder: Path, names: list[str]) -> None:
    """Export, run and compare each layer."""
    for name in names:
        layer = LAYERS[name]
        path = folder / f"{exporter}.onnx"
        export(layer.eval(), exporter, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for size in SIZES:
            x = images(layer, size)
            (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            torch.testing.assert_close(torch.from_numpy(y), layer(x), rtol=0, atol=ROUNDING)
        print("equal:", name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
