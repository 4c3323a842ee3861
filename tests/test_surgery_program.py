"""Programs that are written from a network: kept only if the library that runs them answers as the network does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.surgery.export import SUFFIXES, export
from tests.deployed_files import SIDE
from tests.networks import build

# Float32 sums in another order, in parts of the largest number of an answer.
ROUNDING = 1e-5


class Net(nn.Module):
    """Three convolutions, a max pool, and a linear layer; its answer is scaled by the size that it sees if asked."""

    def __init__(self, by_size: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        layers = [
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 8, 3, 2, 1),
        ]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        self.by_size = by_size

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layers(x)
        return answer * float(x.shape[2]) if self.by_size else answer


def factory() -> al.Classifier:
    """A network for the command line."""
    return network()


def network(by_size: bool = False) -> al.Classifier:
    labels = [f"class {number}" for number in range(10)]
    return al.Classifier.of(Net(by_size).eval(), SIDE, mean=(0.4,) * 3, std=(0.3,) * 3, name="net", labels=labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_program_is_kept_once_it_answers_as_its_network(suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    converted = al.antialias(network(), scheme="all")
    made = export(converted, tmp_path / f"net{suffix}")
    assert made.sizes == ((SIDE, SIDE), (SIDE + 32, SIDE + 32))
    assert made.any_size
    assert made.difference < ROUNDING
    assert f"net{suffix} takes batches and pictures of any size" in str(made)
    if suffix != ".onnx":
        return
    for size in (SIDE, 45):  # one that it was not compared at
        loaded = al.load_model(f"onnx:{made.path}", input_size=size, resize_size=size)
        batch = torch.rand(2, 3, size, size)
        expected = converted.module(batch)
        assert torch.allclose(
            loaded.module(batch), expected, rtol=0, atol=ROUNDING * float(expected.detach().abs().max())
        )
    told = al.load_model(f"onnx:{made.path}")
    assert (told.preprocessing(), told.labels) == (converted.preprocessing(), converted.labels)
    again = export(network(), made.path)  # one that was written here may be replaced
    assert again.path == made.path


def test_a_program_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    """A trace keeps the number that it saw for the size, so at another size it answers otherwise."""
    path = tmp_path / "net.pt"
    with pytest.raises(InputError, match=r"answers otherwise than the network, by .* was not kept; try --fixed-size"):
        export(network(by_size=True), path)
    assert not list(tmp_path.iterdir())
    made = export(network(by_size=True), path, any_size=False)
    assert (made.sizes, made.any_size) == (((SIDE, SIDE),), False)
    with pytest.raises(UsageError, match="there already"):
        export(network(), path)


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"someone's work")
    with pytest.raises(UsageError, match="not an ONNX file that was made here"):
        export(network(), path)
    assert path.read_bytes() == b"someone's work"
    with pytest.raises(UsageError, match=r"ends in \.onnx, \.pt2, \.pt"):
        export(network(), tmp_path / "net.pb")


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) * (1.0 if bool(x.sum() > 0) else 2.0)

    odd = al.Classifier.of(Odd(), SIDE, mean=(0.4,) * 3, std=(0.3,) * 3)
    with pytest.raises(InputError, match="cannot be written as an ExportedProgram") as caught:
        export(odd, tmp_path / "net.pt2")
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], complaint: Callable[..., str]
) -> None:
    name, file = "module:tests.test_surgery_program:factory", str(tmp_path / "net.pt")
    assert main(["antialias", name, "--scheme", "all", "--out", file]) == 0
    assert f"{file} takes batches and pictures of any size; torch " in capsys.readouterr().out
    complaint(["antialias", name, "--out", file], 2, "there already")
    complaint(["antialias", name, "--out", "net.pth"], 2, ".onnx, .pt2, .pt for a program")


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["blur", "flc", "aps"])
def test_a_converted_resnet_is_equal_at_two_sizes(operator: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    resnet = al.load_model(build("torchvision:resnet18"), input_size=224)
    made = export(al.antialias(resnet, operator=operator, scheme="all"), tmp_path / "net.onnx")
    assert made.sizes == ((224, 224), (256, 256))
    assert made.difference < ROUNDING
