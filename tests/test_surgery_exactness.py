"""What is exact on the ring: with every padding circular, a circular shift of the input is a symmetry.

Adaptive polyphase sampling and the ideal low-pass promise nothing for crops, where pixels enter and leave.
"""

import itertools

import pytest
import torch
from networks import build, difference, image, randomise, signal
from torch import Tensor, nn

import aliasing as al

# Float64 sums in another order along some twenty layers that may double a difference each: 1e-16 · 2^20.
ROUNDING = 1e-10


def rolled(x: Tensor, shifts: list[tuple[int, int]]) -> Tensor:
    return torch.cat([x.roll(shift, (2, 3)) for shift in shifts])


def change_under(network: nn.Module, x: Tensor, shifts: list[tuple[int, int]]) -> float:
    """Largest relative change of the output under shifts."""
    batches = [network(rolled(x, shifts[i : i + 64])) for i in range(0, len(shifts), 64)]
    outputs = torch.cat(batches)
    return difference(outputs, network(x).expand_as(outputs))


FEW = [(0, 1), (1, 0), (1, 1), (3, 2), (7, 12), (16, 5), (31, 31), (18, 30)]
ALL = list(itertools.product(range(32), range(32)))


@pytest.mark.parametrize("shifts", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["few", "all 32² shifts"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@torch.no_grad()
def test_polyphase_network_does_not_see_circular_shifts(name: str, shifts: list[tuple[int, int]]) -> None:
    network, x = build(f"torchvision:{name}").double(), image(64)
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    assert change_under(converted, x, shifts) < ROUNDING
    assert change_under(network, x, FEW) > 1e6 * ROUNDING


def crop_change(network: nn.Module, scene: Tensor) -> float:
    """Change of the output when the window moves by one pixel: a row and a column enter, and others leave."""
    return difference(network(scene[..., 1:, 1:]), network(scene[..., :-1, :-1]))


@torch.no_grad()
def test_polyphase_promises_nothing_for_crops() -> None:
    network, scene = build("torchvision:resnet18").double(), image(65)
    x = scene[..., :-1, :-1]
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    assert change_under(converted, x, [(-1, -1)]) < ROUNDING
    assert crop_change(converted, scene) > 1e6 * ROUNDING


@torch.no_grad()
def test_ideal_low_pass_promises_nothing_for_crops() -> None:
    """Not even for a linear network: what lies in the window is taken to be one period, and another window is another.

    Averaged over all positions, such a network is the average of its input, whichever way that is rolled.
    """
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)
    network, scene = randomise(nn.Sequential(*layers)).double(), image(65)
    x = scene[..., :-1, :-1]
    converted = al.antialias(network, operator="flc", scheme="all", padding="circular", example_input=x)
    assert change_under(converted, x, [(-1, -1)]) < 1e-12
    assert change_under(network, x, [(-1, -1)]) > 0.01
    assert crop_change(converted, scene) > 0.01


@pytest.mark.parametrize("placement", ["after", "before"])
@torch.no_grad()
def test_linear_network_with_the_ideal_low_pass_commutes_with_shifts(placement: str) -> None:
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 5, 2, 2), nn.AvgPool2d(2), nn.Conv2d(8, 4, 1, 2)
    network, x = randomise(nn.Sequential(*layers)).double(), image(64)
    converted = al.antialias(
        network,
        operator="flc",
        scheme="all",
        placement=placement,  # type: ignore[arg-type]
        padding="circular",
        example_input=x,
    )
    moved = al.sampling.shift(converted(x), (3 / 16, -10 / 16))  # the output has a sixteenth of the resolution
    assert difference(converted(rolled(x, [(3, -10)])), moved) < 1e-13
    plain = al.sampling.shift(network(x), (3 / 16, -10 / 16))
    assert difference(network(rolled(x, [(3, -10)])), plain) > 0.01


@torch.no_grad()
def test_the_branches_of_a_block_keep_one_phase() -> None:
    """A shortcut that chose its phase by itself would not line up, and a shift would be seen."""
    network, x = build("torchvision:resnet18").double(), image(64)
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    main = converted.layer2[0].conv2.forward.inputs[0].operator
    shortcut = converted.layer2[0].downsample[0].forward.rewrites["conv2d", 0].pool.operator
    assert shortcut.choice is main.choice
    assert main.leads
    assert not shortcut.leads
    assert converted.layer3[0].conv2.forward.inputs[0].operator.choice is not main.choice


class TwoStepsBesideOne(nn.Module):
    """A stride of 4 in one step, added to a stride of 4 in two."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 5, 4, 2)
        self.two = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x)


@torch.no_grad()
def test_branches_of_unequal_strides_choose_by_themselves() -> None:
    """One of sixteen phases says nothing of which of four to keep; the shape is kept, and no phase is out of range."""
    network, x = randomise(TwoStepsBesideOne()).double(), torch.cat([image(64).roll(n, 3) for n in range(4)])
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    layers = converted.one, *converted.two
    operators = [layer.forward.rewrites["conv2d", 0].pool.operator for layer in layers]
    assert all(operator.leads for operator in operators)
    assert len({id(operator.choice) for operator in operators}) == 3
    assert converted(x).shape == network(x).shape


@pytest.mark.parametrize("name", ["timm:tf_efficientnet_lite0", "torchvision:googlenet", "torchvision:densenet121"])
@torch.no_grad()
def test_polyphase_in_other_architectures(name: str) -> None:
    network, x = build(name).double(), image(64)
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    assert change_under(converted, x, FEW) < ROUNDING


class MaximumAsInTF(nn.Module):
    """A maximum padded by a call of its own, behind the map only."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)


@pytest.mark.parametrize("operator", ["aps", "blur"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 3, 2, 1, padding_mode="circular"),
        nn.Conv2d(3, 8, 5, 4, 2, padding_mode="circular"),
        MaximumAsInTF(),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2)),
    ],
    ids=["circular convolution", "stride 4", "maximum of TF", "convolution of TF"],
)
@torch.no_grad()
def test_a_padding_of_its_own_closes_the_ring(layer: nn.Module, operator: str) -> None:
    """The dense map has whole strides, so that the answer moves with the image by one cell a stride."""
    network, x = nn.Sequential(layer, nn.ReLU()).double(), image(32)
    converted = al.antialias(network, operator=operator, scheme="all", padding="circular", example_input=x)
    plain, found = network(x), converted(x)
    assert found.shape == plain.shape
    step = 32 // plain.shape[-1]
    assert difference(converted(x.roll((step, 2 * step), (2, 3))), found.roll((1, 2), (2, 3))) < ROUNDING
    if operator == "aps":  # which samples are kept follows the image, as a set
        assert difference(converted(x.roll((1, 0), (2, 3))).sum((2, 3)), found.sum((2, 3))) < ROUNDING


# --- sounds and volumes -------------------------------------------------------------------------------------------

CONV = {1: nn.Conv1d, 3: nn.Conv3d}
MAXIMUM = {1: nn.MaxPool1d, 3: nn.MaxPool3d}
AVERAGE = {1: nn.AvgPool1d, 3: nn.AvgPool3d}


def small(dims: int, linear: bool) -> nn.Module:
    """A convolution of stride 2, a pooling, a convolution of stride 2 on one axis alone, an average over all."""
    layers = [
        CONV[dims](3, 6, 5, 2, 2),
        AVERAGE[dims](2) if linear else nn.Sequential(nn.ReLU(), MAXIMUM[dims](3, 2, 1)),
        CONV[dims](6, 4, 3, (1,) * (dims - 1) + (2,), 1),
    ]
    return randomise(nn.Sequential(*layers)).double()


def roll(x: Tensor, shift: tuple[int, ...]) -> Tensor:
    return x.roll(shift, tuple(range(-len(shift), 0)))


@pytest.mark.parametrize(("dims", "size"), [(1, 64), (3, 16)])
@torch.no_grad()
def test_polyphase_does_not_see_circular_shifts_of_sounds_and_volumes(dims: int, size: int) -> None:
    network, x = nn.Sequential(small(dims, linear=False), nn.Flatten(2)), signal(size, dims)
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    shifts = [(1,) * dims, (3, 7, 2)[:dims], (0, 0, 5)[-dims:], (size - 1,) * dims]
    moved = torch.stack([converted(roll(x, shift)).mean(-1) for shift in shifts])
    assert difference(moved, converted(x).mean(-1).expand_as(moved)) < ROUNDING
    plain = torch.stack([network(roll(x, shift)).mean(-1) for shift in shifts])
    assert difference(plain, network(x).mean(-1).expand_as(plain)) > 1e6 * ROUNDING


@pytest.mark.parametrize("placement", ["after", "before"])
@pytest.mark.parametrize(("dims", "size"), [(1, 64), (3, 16)])
@torch.no_grad()
def test_a_linear_network_with_the_ideal_low_pass_commutes_in_any_number_of_axes(
    dims: int, size: int, placement: str
) -> None:
    network, x = small(dims, linear=True), signal(size, dims)
    options = {"operator": "flc", "scheme": "all", "placement": placement, "padding": "circular"}
    converted = al.antialias(network, **options, example_input=x)  # type: ignore[arg-type]
    shift, cells = (3, -5, 2)[-dims:], (4,) * (dims - 1) + (8,)
    by = tuple(pixels / step for pixels, step in zip(shift, cells, strict=True))
    axes = tuple(range(-dims, 0))
    assert difference(converted(roll(x, shift)), al.sampling.shift(converted(x), by, axes=axes)) < 1e-13
    assert difference(network(roll(x, shift)), al.sampling.shift(network(x), by, axes=axes)) > 0.01
