"""A converted network as a program: traced, exported, written to ONNX by both exporters, compiled.

Each writes in a process of its own, which it must not end, and runs at sizes that it was not written at.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WRITE = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import torch
import aliasing as al
from networks import build, difference, image

torch.set_num_threads(1)
way, operator, placement, scheme, size, path = sys.argv[2:]
x = image(int(size), batch=2, dtype=torch.float32)
network = al.antialias(
    build("torchvision:resnet18"), operator=operator, placement=placement, scheme=scheme, example_input=x
)
sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
with torch.no_grad():
    if way == "trace":
        torch.jit.trace(network, x).save(path)
        program = torch.jit.load(path)
    elif way == "export":
        program = torch.export.export(network, (x,), dynamic_shapes=(sizes,)).module()
    elif way == "compile":
        program = torch.compile(network, dynamic=True, backend="aot_eager")
    else:
        import onnxruntime

        if way == "onnx":
            torch.onnx.export(network, (x,), path, dynamo=True, dynamic_shapes=(sizes,), verbose=False)
        else:
            axes = {"x": {0: "n", 2: "h", 3: "w"}}
            torch.onnx.export(
                network, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17
            )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        program = lambda y: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: y.numpy()})[0])
    for side, batch in ((int(size), 2), (96, 1), (65, 3), (64, 1)):
        y = image(side, batch=batch, dtype=torch.float32)
        change = difference(program(y), network(y))
        # Float32 sums of up to some thousand products, in another order in every layer.
        assert change < 1e-4, (side, batch, change)
print("equal")
"""

WAYS = ["trace", "export", "onnx", "the older onnx", "compile"]
OPERATORS = [
    ("blur", "after", "zhang2019"),
    ("blur", "before", "all"),
    ("flc", "after", "all"),
    ("aps", "after", "all"),
]
QUICK = {("trace", "blur"), ("the older onnx", "aps"), ("export", "flc")}


def cases() -> list[object]:
    return [
        pytest.param(way, *how, marks=() if (way, how[0]) in QUICK and how[1] == "after" else pytest.mark.slow)
        for way in WAYS
        for how in OPERATORS
    ]


def write(way: str, operator: str, placement: str, scheme: str, size: int, folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = folder / "network"
    arguments = [str(Path(__file__).parent), way, operator, placement, scheme, str(size), str(path)]
    done = subprocess.run([sys.executable, "-c", WRITE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("equal\n")


@pytest.mark.parametrize(("way", "operator", "placement", "scheme"), cases())
def test_a_program_answers_as_its_network_at_several_sizes(
    way: str, operator: str, placement: str, scheme: str, tmp_path: Path
) -> None:
    write(way, operator, placement, scheme, 64, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["trace", "the older onnx"])
def test_what_is_traced_at_a_small_size_answers_at_a_large_one(way: str, tmp_path: Path) -> None:
    """At 32 pixels the last maps are too small to be reflected; which padding is taken is not frozen there."""
    write(way, "blur", "after", "all", 32, tmp_path)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (1, 3, 2, 9), (2, 3, 5, 3), (1, 3, 32, 33)], ids=str)
@pytest.mark.parametrize("taps", ["binomial2", "binomial4", "binomial7", ["binomial3", "binomial7"]], ids=str)
def test_the_blur_of_a_program_is_that_of_the_network(shape: tuple[int, ...], taps: object) -> None:
    """The padding that a program chooses when it runs is the one that the network chooses by looking at the map."""
    from aliasing.surgery.operators import make_operator

    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for stride in ((2, 2), (2, 1), (1, 3)):
        blur = make_operator("blur", taps, None, stride)
        found, expected = blur._at_any_size(x, stride), blur(x)
        assert torch.allclose(found, expected, rtol=0, atol=1e-13)  # sums of up to 21² products of order 1
        smooth = blur._at_any_size(x, (1, 1))
        assert torch.allclose(smooth, blur.low_pass(x), rtol=0, atol=1e-13)
