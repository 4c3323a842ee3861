"""Receptive fields and output sizes: known values, the seeds' examples, and the support of the gradient."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.vgg import make_layers

from aliasing.depth import extent, output_size, output_sizes, receptive_field
from aliasing.sites.grid import grids
from aliasing.sites.trace import record_calls
from tests.networks import build

VGG16 = [layer for count in (2, 2, 3, 3, 3) for layer in [(3, 1, 1)] * count + [(2, 2)]]


def test_vgg16() -> None:
    assert receptive_field(VGG16) == 212
    assert output_sizes(224, VGG16)[-1] == 7


def test_the_examples_of_the_notes_on_convolution() -> None:
    """Three 3×3 convolutions see as much as one 7×7; two poolings; dilation; W = 28, F = 5, P = 2."""
    assert receptive_field([(3, 1), (3, 1), (3, 1)]) == receptive_field([(7, 1)]) == 7
    assert receptive_field([(3, 1), (3, 1)]) == 5
    assert receptive_field([(2, 2), (2, 2)]) == 4
    assert receptive_field([(3, 1, 2, 2)]) == 5
    assert output_size(28, 5, 1, 2) == 28
    assert output_size(28, 2, 2) == 14
    assert output_sizes(100, [(2, 2), (2, 2)]) == [50, 25]


@pytest.mark.parametrize("layer", [(), (0,), (3, 0), (3, 1, -1), (3, 1, 0, 0), (3, 1, 0, 1, 1)])
def test_a_layer_that_makes_no_sense_is_refused(layer: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a layer is"):
        receptive_field([layer])


def test_a_kernel_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        output_size(4, 7)


def grid_of(network: nn.Module, size: int, name: str):
    record = record_calls(network, torch.zeros(1, 3, size, size))
    call = next(call for call in record.module_calls if call.name == name)
    return grids(record)[call.output]


@pytest.mark.parametrize(
    ("name", "layer", "field", "stride"),
    [
        ("torchvision:vgg16", "features", 212, 32),
        ("torchvision:resnet50", "layer4", 427, 32),  # V1.5: the stride is on the 3×3 (483 with it on the 1×1)
        ("torchvision:resnet18", "layer4", 435, 32),
        ("torchvision:alexnet", "features", 195, 32),
        ("torchvision:mobilenet_v2", "features", 491, 32),
        ("torchvision:inception_v3", "Mixed_7c", 1311, 32),
        ("torchvision:densenet121", "features", 2071, 32),
    ],
)
def test_published_receptive_fields(name: str, layer: str, field: int, stride: int) -> None:
    """Araujo, Norris & Sim 2019, table 1, where their networks are these (their ResNets are V1: 483 for ResNet50)."""
    with torch.device("meta"):
        network = build(name)
    grid = grid_of(network, 299 if "inception" in name else 224, layer)
    assert grid.receptive_field == (field, field)
    assert grid.stride == (stride, stride)


def test_a_gate_sees_the_whole_image() -> None:
    with torch.device("meta"):
        network = build("torchvision:mobilenet_v3_small")
    assert grid_of(network, 224, "features.1").receptive_field == (float("inf"),) * 2


def test_attention_has_no_closed_form() -> None:
    with torch.device("meta"):
        network = build("torchvision:vit_b_32")
    assert grid_of(network, 224, "encoder.layers.encoder_layer_0").receptive_field is None


class Branches(nn.Module):
    """A dilated branch, a strided one and a slice, joined: what is seen is what any of them sees."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, stride=2, padding=3, dilation=3)
        self.narrow = nn.Conv2d(4, 4, (3, 1), stride=2, padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(self.stem(x), (1, 0, 1, 0))
        joined = self.wide(x) + self.narrow(x) + nn.functional.avg_pool2d(x, 3, 2, 1)
        return joined + nn.functional.pad(x, (0, 0, 0, 1))[:, :, 1::2, ::2]


def support(network: nn.Module, size: int, cell: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row and column of the image on which a cell depends, by its gradient."""
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    network(image)[0, :, cell[0], cell[1]].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad.abs().sum((0, 1)).nonzero().T
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))


def positive(network: nn.Module) -> nn.Module:
    """Weights above zero, so that no path of the gradient cancels another or is cut by a rectifier."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((torch.rand(parameter.shape) + 0.1) / parameter[:1].numel())
    return network.double().eval()


@pytest.mark.parametrize(
    ("make", "size", "cell"),
    [
        (Branches, 97, (12, 11)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.AvgPool2d(3, 2, 1)), 64, (7, 8)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same", dilation=2), nn.AvgPool2d(2)), 40, (9, 4)),
        (lambda: nn.Sequential(nn.ZeroPad2d((2, 1, 0, 3)), nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)), 64, (6, 6)),
    ],
)
def test_the_gradient_reaches_as_far(make, size: int, cell: tuple[int, int]) -> None:
    network = positive(make())
    record = record_calls(network, torch.zeros(1, 3, size, size, dtype=torch.float64))
    grid = grids(record)[record.module_calls[0].output]
    for axis, found, index in zip(grid.extents, support(network, size, cell), cell, strict=True):
        assert found == (axis.first + index * axis.stride, axis.last + index * axis.stride)


def thin_vgg16() -> nn.Module:
    """VGG16's trunk with two channels everywhere."""
    return make_layers([2, 2, "M", 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M"])  # type: ignore[list-item]


def thin_resnet50() -> nn.Module:
    """ResNet50's trunk with a sixteenth of the channels in its 3×3 convolutions."""
    return nn.Sequential(*list(torchvision.models.ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=4).children())[:8])


@pytest.mark.parametrize(("make", "size", "field"), [(thin_vgg16, 320, 212), (thin_resnet50, 544, 427)])
def test_the_gradient_of_vgg16_and_resnet50(make, size: int, field: int) -> None:
    network = make()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):  # picks one path; the average, of the same kernel, takes all
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    network = positive(network)
    record = record_calls(network, torch.zeros(1, 3, size, size, dtype=torch.float64))
    grid = grids(record)[record.module_calls[0].output]
    middle = size // 64
    for axis, found in zip(grid.extents, support(network, size, (middle, middle)), strict=True):
        assert found == (axis.first + middle * axis.stride, axis.last + middle * axis.stride)
        assert axis.size == field


def test_padding_moves_what_a_cell_sees() -> None:
    assert (extent([(3, 1, 1)]).first, extent([(3, 1, 1)]).last) == (-1, 1)
    assert (extent([(3, 2)]).first, extent([(3, 2)]).last) == (0, 2)


def test_what_mixes_the_input_itself_has_no_closed_form() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = nn.functional.max_pool2d(x.cumsum(-1), 2)
            return y

    grid = grid_of(Mixed(), 32, "")
    assert grid.receptive_field is None
    assert grid.stride == (2, 2)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_grids_of_sounds_pictures_and_volumes(dims: int) -> None:
    conv, pool = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1], (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dims - 1]
    network = nn.Sequential(
        nn.ConstantPad1d((1, 0), 0.0), conv(3, 4, 7, 2, 2), pool(3, 2, 1), conv(4, 4, 3, dilation=2)
    )
    record = record_calls(network, torch.zeros(1, 3, *(48,) * dims))
    grid = grids(record)[record.module_calls[0].output]
    layers = [(7, 2, 2), (3, 2, 1), (3, 1, 0, 2)]
    assert grid.extents[:-1] == (extent(layers),) * (dims - 1)
    assert grid.extents[-1] == extent([(1, 1, 1), *layers])  # only the last axis is padded in front
    assert grid.stride == (4,) * dims
    assert grid.receptive_field == (receptive_field(layers),) * dims
