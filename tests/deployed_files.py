"""One small network as a module and as the files that onnxruntime, OpenVINO and LiteRT run."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE, CHANNELS, CLASSES = 32, 8, 10
# Sums of at most 27·15² and then 8 products, of order one, in another order.
ROUNDING = 1e-5


class Small(nn.Module):
    """A convolution of stride two, its mean over the picture, and a linear layer; then a softmax if asked."""

    def __init__(self, softmax: bool = False) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(5)
        self.convolution = nn.Conv2d(3, CHANNELS, 3, stride=2)
        self.linear = nn.Linear(CHANNELS, CLASSES)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=random)
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.linear(self.convolution(x).relu().mean((2, 3)))
        return answer.softmax(1) if self.softmax else answer

    def array(self, name: str) -> Any:
        """A weight as an array."""
        return self.state_dict()[name].numpy()


def onnx_model(
    network: Small, shape: tuple[Any, ...] = ("n", 3, "h", "w"), dtype: str = "float32", last: str = "Softmax"
) -> Any:
    """The network as an ONNX model, written by hand; an input of another dtype is cast first."""
    from onnx import TensorProto, helper, numpy_helper

    element = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}[dtype]
    weights = [numpy_helper.from_array(network.array(name), name) for name in network.state_dict()]
    is_last = len(shape) == 4 and shape[-1] == 3
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=(0, 3, 1, 2) if is_last else (0, 1, 2, 3)),
        helper.make_node("Conv", ["planes", "convolution.weight", "convolution.bias"], ["maps"], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "linear.weight", "linear.bias"], ["logits"], transB=1),
        *([helper.make_node(last, ["logits"], ["y"], name="last")] if network.softmax else []),
    ]
    ends = (
        helper.make_tensor_value_info("x", element, shape),
        helper.make_tensor_value_info("y" if network.softmax else "logits", TensorProto.FLOAT, [shape[0], CLASSES]),
    )
    graph = helper.make_graph(nodes, "small", [ends[0]], [ends[1]], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_onnx(path: Path, network: Small | None = None, **how: Any) -> Path:
    """Write it as an ONNX file."""
    path.write_bytes(onnx_model(network or Small(), **how).SerializeToString())
    return path


def write_openvino(path: Path, network: Small | None = None, **how: Any) -> Path:
    """Write it as an .xml file and a .bin file beside it."""
    import openvino

    source = write_onnx(path.with_suffix(".source.onnx"), network, **how)
    openvino.save_model(openvino.Core().read_model(str(source)), str(path), compress_to_fp16=False)
    return path


def write_tflite(path: Path, network: Small | None = None, **changes: Any) -> Path:
    """Write it as a .tflite file, by hand; see `tflite_model`."""
    path.write_bytes(tflite_bytes(tflite_model(network or Small(), **changes)))
    return path


def tflite_bytes(model: Any) -> bytes:
    """The bytes of a model of the schema's objects."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tflite_model(network: Small, batch: int = -1, quantised: tuple[float, int] | None = None) -> Any:
    """The network in the schema's objects, N×H×W×3; with an int8 input if its step and zero are given."""
    from ai_edge_litert import schema_py_generated as schema

    buffers, tensors, operators, codes = [schema.BufferT()], [], [], []

    def tensor(name: str, shape: tuple[int, ...], values: Any = None, kind: int = schema.TensorType.FLOAT32) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(map(abs, shape)), kind, 0
        if values is None:
            made.shapeSignature = list(shape)
        else:
            buffers.append(schema.BufferT())
            buffers[-1].data, made.buffer = np.frombuffer(values.tobytes(), np.uint8), len(buffers) - 1
        tensors.append(made)
        return len(tensors) - 1

    def operate(name: str, inputs: list[int], output: int, options: Any = None, **about: Any) -> None:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 2 if name == "DEQUANTIZE" else 1
        codes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(codes) - 1, inputs, [output]
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for key, value in about.items():
                setattr(made.builtinOptions, key, value)
        operators.append(made)

    first = x = tensor(
        "x", (batch, SIDE, SIDE, 3), kind=schema.TensorType.INT8 if quantised else schema.TensorType.FLOAT32
    )
    if quantised:
        tensors[x].quantization = schema.QuantizationParametersT()
        tensors[x].quantization.scale, tensors[x].quantization.zeroPoint = [quantised[0]], [quantised[1]]
        first = tensor("real", (batch, SIDE, SIDE, 3))
        operate("DEQUANTIZE", [x], first, "DequantizeOptions")
    kernel = np.ascontiguousarray(network.array("convolution.weight").transpose(0, 2, 3, 1))
    weights = [tensor("kernel", kernel.shape, kernel), tensor("bias", (CHANNELS,), network.array("convolution.bias"))]
    inner = (SIDE - 3) // 2 + 1
    maps = tensor("maps", (batch, inner, inner, CHANNELS))
    mean, logits = tensor("mean", (batch, CHANNELS)), tensor("logits", (batch, CLASSES))
    relu, valid = schema.ActivationFunctionType.RELU, schema.Padding.VALID
    how = {
        "padding": valid,
        "strideH": 2,
        "strideW": 2,
        "fusedActivationFunction": relu,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
    }
    operate("CONV_2D", [first, *weights], maps, "Conv2DOptions", **how)
    axes = tensor("axes", (2,), np.array([1, 2], np.int32), schema.TensorType.INT32)
    operate("MEAN", [maps, axes], mean, "ReducerOptions", keepDims=False)
    full = [
        tensor("full", (CLASSES, CHANNELS), network.array("linear.weight")),
        tensor("offset", (CLASSES,), network.array("linear.bias")),
    ]
    operate("FULLY_CONNECTED", [mean, *full], logits, "FullyConnectedOptions")
    last = logits
    if network.softmax:
        last = tensor("y", (batch, CLASSES))
        operate("SOFTMAX", [logits], last, "SoftmaxOptions", beta=1.0)
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, [x], [last]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], buffers
    return model
