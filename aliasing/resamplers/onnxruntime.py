"""onnxruntime: the operator ``Resize``, half-pixel places, with ``antialias=1`` and without."""

from functools import lru_cache, partial
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from aliasing.resamplers import Resampler, named

_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


@lru_cache(maxsize=32)
def _session(given: tuple[int, ...], asked: tuple[int, ...], dtype: str, mode: str, antialias: int) -> Any:
    """One session for the shapes, N×C×H×W."""
    element = _TYPES[dtype]
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode, antialias=antialias)
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], asked)
    ends = [helper.make_tensor_value_info(*end) for end in (("x", element, given), ("y", element, asked))]
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _resize(pixels: Any, shape: tuple[int, ...], _: str, mode: str, antialias: int) -> Any:
    tensor = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[None])
    session = _session(tensor.shape, (1, tensor.shape[1], *shape), str(tensor.dtype), mode, antialias)
    return np.moveaxis(session.run(None, {"x": tensor})[0][0], 0, -1)


RESAMPLERS = named(
    *(
        Resampler(
            name=f"onnxruntime-{mode}{'-antialias' * antialias}",
            library="onnxruntime",
            version=onnxruntime.__version__,
            function=partial(_resize, mode=mode, antialias=antialias),
            antialias=bool(antialias),
            dtypes=("float32", "uint8") if mode == "linear" else ("float32",),
        )
        for mode in ("linear", "cubic")
        for antialias in (0, 1)
    )
)
