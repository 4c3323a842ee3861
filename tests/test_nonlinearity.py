"""The alias-free non-linearity moves with its input by any fraction if it is a polynomial of degree two."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import build
from scipy import signal as scipy_signal
from timm.models.xcit import Xcit
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.downsample.nonlinearity import Polynomial, alias_free
from aliasing.layers import AliasFreeActivation1d, AliasFreeActivation2d, AliasFreeActivation3d

# Some transforms of at most a few hundred samples, in float64.
ROUNDING = 1e-12


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 7, 9, 33])
def test_of_odd_sizes_it_is_scipys_resampling_and_back(size: int) -> None:
    x = noise(1, 2, size)
    fine = scipy_signal.resample(x.numpy(), 2 * size, axis=-1)
    expected = scipy_signal.resample(np.tanh(fine), size, axis=-1)  # both keep every frequency below
    np.testing.assert_allclose(alias_free(torch.tanh, x, dims=1), expected, rtol=0, atol=ROUNDING)


@torch.no_grad()
@pytest.mark.parametrize(
    ("layer", "sizes"),
    [(AliasFreeActivation1d, (9,)), (AliasFreeActivation2d, (8, 7)), (AliasFreeActivation3d, (4, 5, 6))],
)
def test_a_polynomial_moves_by_fractions_and_relu_does_not(layer: type[nn.Module], sizes: tuple[int, ...]) -> None:
    x, by, axes = noise(2, 3, *sizes), (0.3, 0.5, 1.7)[: len(sizes)], tuple(range(-len(sizes), 0))
    x = alias_free(lambda y: y, x, dims=len(sizes))  # without the Nyquist frequency
    move = lambda y: torch.as_tensor(sampling.shift(y.numpy(), by, axes=axes))  # noqa: E731
    polynomial, relu = layer(Polynomial(3)).double(), layer(torch.relu)
    polynomial.function.weight += noise(3, 3)
    torch.testing.assert_close(polynomial(move(x)), move(polynomial(x)), rtol=0, atol=ROUNDING)
    assert not torch.allclose(relu(move(x)), move(relu(x)), rtol=0, atol=1e-3)
    plain = (relu.function(move(x)) - move(relu.function(x))).norm()
    assert (relu(move(x)) - move(relu(x))).norm() < plain / 2  # but much less than by itself


@torch.no_grad()
def test_half_a_sample_is_a_whole_one_between_so_every_function_moves_by_it() -> None:
    """Half-pixel consistency of one layer does not tell a polynomial from an upsampled ReLU."""
    x, relu = noise(1, 2, 9), AliasFreeActivation1d(torch.relu)
    half = lambda y: torch.as_tensor(sampling.shift(y.numpy(), 0.5, axes=-1))  # noqa: E731
    torch.testing.assert_close(relu(half(x)), half(relu(x)), rtol=0, atol=ROUNDING)


def test_a_network_of_such_parts_answers_the_same_under_every_shift() -> None:
    """Circular convolutions, the ideal low-pass before every stride, and the mean over space."""
    torch.manual_seed(0)

    def network(activation: type[nn.Module] | None) -> nn.Module:
        layers: list[nn.Module] = []
        for channels, more in ((3, 6), (6, 8)):
            act = al.layers.AliasFreeActivation2d(None if activation is None else activation())
            convolution = nn.Conv2d(channels, more, 3, padding=1, padding_mode="circular")
            layers += [convolution, act, al.layers.FourierPool2d(2)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    laws = ["circular integer", "half-pixel", "circular fractional"]
    found = al.guarantees({"afc": network(None), "relu": network(nn.ReLU)}, laws=laws, size=16)
    assert all(cell["value"] < 1e-10 for cell in found.rows["afc"].values())
    assert found.rows["relu"]["half-pixel"]["value"] > 1e-6


def test_it_travels() -> None:
    x = noise(2, 3, 6, 5).float()
    layer = AliasFreeActivation2d(nn.GELU())
    expected = layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.export.export(layer, (x,)).module()):
        torch.testing.assert_close(copied(x), expected)
    assert layer(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    z = x.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda y: alias_free(F.silu, y), z[:1, :1])


# --- surgery ----------------------------------------------------------------------------------------------------------


class Squared(nn.Module):
    """A residual network whose activation is called twice, once in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, step, padding=1) for step in (1, 2))
        self.norm, self.relu, self.head = nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.first(x)))
        y = F.silu(self.second(y) + 0.5)
        return F.gelu(self.head(y.mean((2, 3))))


@torch.no_grad()
def test_surgery_puts_every_activation_of_a_map_between_interpolation_and_low_pass() -> None:
    torch.manual_seed(0)
    network, x = Squared().double().eval(), noise(2, 3, 8, 10)
    options = {"operator": "flc", "scheme": "all", "padding": "circular", "example_input": x}
    fixed = al.antialias(network, nonlinearity="afc", **options)
    ring = lambda y: F.pad(y, (1, 1, 1, 1), "circular")  # noqa: E731
    y = alias_free(torch.relu, network.norm(F.conv2d(ring(x), network.first.weight, network.first.bias)))
    y = al.downsample.fourier_pool(F.conv2d(ring(y), network.second.weight, network.second.bias))
    y = alias_free(F.silu, y + 0.5)
    expected = F.gelu(network.head(y.mean((2, 3))))
    torch.testing.assert_close(fixed(x), expected, rtol=0, atol=ROUNDING)
    assert list(fixed.state_dict()) == list(network.state_dict())
    assert torch.equal(al.restore(fixed)(x), network(x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(fixed))(x), expected, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(torch.export.export(fixed, (x,)).module()(x), expected, rtol=0, atol=ROUNDING)
    plain = al.antialias(network, **options)
    laws = ["circular integer", "circular fractional"]
    found = al.guarantees({"fixed": fixed, "plain": plain}, laws=laws, size=16).rows
    assert found["fixed"]["circular fractional"]["value"] < found["plain"]["circular fractional"]["value"] / 2


def test_the_name_of_a_network_says_it() -> None:
    from aliasing.surgery import conversion_of
    from aliasing.surgery.specification import describe, parse

    fixed = al.antialias(Squared(), operator="flc", nonlinearity="afc", example_input=torch.zeros(1, 3, 8, 8))
    assert describe(conversion_of(fixed)) == "flc,afc"
    assert parse("flc,afc")["nonlinearity"] == "afc"
    with pytest.raises(al.errors.UsageError, match="no nonlinearity 'relu'; expected 'afc' or 'polynomial'"):
        al.antialias(Squared(), nonlinearity="relu", example_input=torch.zeros(1, 3, 8, 8))


class Tokens(nn.Module):
    """Patches with a class token in front, normalised and activated; or their rows as a mixer sees them."""

    def __init__(self, *, mixes: bool = False) -> None:
        super().__init__()
        self.embedding, self.mix, self.norm = nn.Conv2d(3, 24, 2, 2), nn.Linear(24, 24), nn.LayerNorm(24)
        self.token, self.mixes = nn.Parameter(torch.randn(1, 1, 24)), mixes

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x).flatten(2).transpose(1, 2)
        if self.mixes:  # 16 tokens and 8 more of 24 channels: by its shape alone this could be taken for tokens
            x = torch.cat([x, x[:, :8]], 1).transpose(1, 2)
        else:
            x = torch.cat([self.token.expand(len(x), 1, -1), x + 0.5 * self.mix(x)], 1)
        return F.gelu(self.mix(self.norm(x)))


@torch.no_grad()
def test_tokens_are_treated_as_their_map_and_others_stay() -> None:
    x = noise(2, 3, 8, 8)
    options = {"scheme": "all", "example_input": x, "nonlinearity": "afc"}
    network = Tokens().double()
    fixed = al.antialias(network, **options)
    embedding = al.antialias(network, **{**options, "nonlinearity": None}).embedding(x)
    rows = embedding.flatten(2).transpose(1, 2)
    rows = torch.cat([network.token.expand(2, 1, -1), rows + 0.5 * network.mix(rows)], 1)
    before = network.mix(network.norm(rows))
    y = alias_free(F.gelu, before[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4)).flatten(2).transpose(1, 2)
    expected = torch.cat([F.gelu(before[:, :1]), y], 1)
    torch.testing.assert_close(fixed(x), expected, rtol=0, atol=ROUNDING)
    together = al.antialias(network, **options, normalization="chw")
    parts = F.layer_norm(rows[:, :1], [24]), F.layer_norm(rows[:, 1:], [16, 24])
    torch.testing.assert_close(together.norm(rows), torch.cat(parts, 1), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(fixed(noise(1, 3, 16, 16)).shape, torch.Size([1, 65, 24]))
    mixer = Tokens(mixes=True).double()
    plain = al.antialias(mixer, **{**options, "nonlinearity": None})
    assert torch.equal(al.antialias(mixer, **options)(x), plain(x))


class ConvNeXt(nn.Module):
    """Two stages of blocks with channels last, as torchvision's and timm's are built."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 2, 2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in (4, 4, 6, 6))
        self.depthwise = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for width in (4, 6))
        self.wide = nn.ModuleList(nn.Linear(width, 8) for width in (4, 6))
        self.narrow = nn.ModuleList(nn.Linear(8, width) for width in (4, 6))
        self.activation, self.head = activation, nn.Linear(6, 5)

    def block(self, x: Tensor, stage: int) -> Tensor:
        y = self.norms[2 * stage](self.depthwise[stage](x).permute(0, 2, 3, 1))
        return x + self.narrow[stage](self.activation(self.wide[stage](y))).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.stem(x), 0)
        x = self.block(self.down(self.norms[1](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)), 1)
        return self.head(self.norms[3](x.mean((2, 3))))


def convnext(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network = ConvNeXt(activation).double().eval()
    with torch.no_grad():
        for norm in network.norms:
            norm.weight.add_(0.3 * torch.randn_like(norm.weight))
            norm.bias.add_(0.3 * torch.randn_like(norm.bias))
    return network


LAWS = ["circular integer", "half-pixel", "circular fractional"]
ALIAS_FREE = {"operator": "flc", "scheme": "all", "padding": "circular", "normalization": "chw"}


@pytest.mark.parametrize("size", [16, 28])  # which end in even and in odd maps
def test_a_convnext_moves_by_every_fraction_with_polynomials_and_one_norm_for_a_map_and_not_without(size: int) -> None:
    x, network = noise(1, 3, size, size), convnext(nn.ReLU())
    options = {**ALIAS_FREE, "nonlinearity": "polynomial", "example_input": x}
    exact = al.antialias(network, **options)
    with torch.no_grad():
        for name, parameter in exact.named_parameters():
            if "antialiasing_" in name:
                parameter.add_(0.3 * noise(*parameter.shape))
    others = {
        "exact": exact,
        "relu": al.antialias(network, **{**options, "nonlinearity": "afc"}),
        "plain relu": al.antialias(network, **{**options, "nonlinearity": None}),
        "one norm a position": al.antialias(network, **{**options, "normalization": None}),
    }
    found = al.guarantees(others, laws=LAWS, size=size).rows
    exact_cells = found.pop("exact")
    assert all(cell["value"] < 1e-10 for cell in exact_cells.values())
    assert all(cells["circular fractional"]["value"] > 1e-6 for cells in found.values())


@torch.no_grad()
def test_a_norm_of_a_map_is_its_formula_and_the_polynomial_begins_as_one() -> None:
    x, network = noise(2, 3, 8, 8), convnext(nn.GELU())
    fixed = al.antialias(network, operator="flc", normalization="chw", example_input=x)
    y = noise(2, 5, 6, 4) + 3  # channels last
    centred = y - y.mean((1, 2, 3), keepdim=True)
    norm = network.norms[0]
    expected = centred / (centred.square().mean((1, 2, 3), keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(fixed.norms[0](y), expected, rtol=0, atol=ROUNDING)
    last = noise(2, 6)
    assert torch.equal(fixed.norms[3](last), network.norms[3](last))  # of a vector, as it was
    assert torch.equal(al.restore(fixed)(x), network(x))
    learned = al.antialias(network, operator="flc", nonlinearity="polynomial", example_input=x)
    expected = alias_free(Polynomial().double(), y.movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(learned.activation(y), expected, rtol=0, atol=ROUNDING)
    added = set(learned.state_dict()) - set(network.state_dict())
    assert added == {"activation.antialiasing_gelu_0.weight"}  # one module, one polynomial
    learned.load_state_dict(network.state_dict())
    assert set(al.restore(learned).state_dict()) == set(network.state_dict())
    torch.testing.assert_close(pickle.loads(pickle.dumps(learned))(x), learned(x))
    with pytest.raises(al.errors.UsageError, match="no layer normalisation over the channels of a map"):
        al.antialias(Squared(), normalization="chw", example_input=torch.zeros(1, 3, 8, 8))
    with pytest.raises(al.errors.UsageError, match="no normalization 'batch'; expected 'chw'"):
        al.antialias(Squared(), normalization="batch", example_input=torch.zeros(1, 3, 8, 8))


@torch.no_grad()
def test_timms_convnext_moves_by_fractions_when_all_of_it_is_alias_free() -> None:
    network = build("timm:convnext_atto").double().requires_grad_(False)
    x = noise(1, 3, 64, 64)
    fixed = al.antialias(network, **ALIAS_FREE, nonlinearity="polynomial", example_input=x)
    found = al.guarantees({"exact": fixed}, laws=LAWS[1:], size=64).rows["exact"]
    assert all(cell["value"] < 1e-10 for cell in found.values())


def test_timms_xcit_moves_by_fractions_when_all_of_it_is_alias_free() -> None:
    """Cross-covariance attention sums over all tokens, so it moves with them (Michaeli & Soudry 2025)."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "cls_attn_layers": 0}
    network = Xcit(**sizes, num_classes=5, use_pos_embed=False, eta=1.0, global_pool="avg").double().eval()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    options = {**ALIAS_FREE, "nonlinearity": "polynomial", "example_input": noise(1, 3, 32, 32)}
    exact = al.antialias(network, **options)
    assert {site.kind for site in al.find_sites(network, torch.zeros(1, 3, 32, 32))} == {"convolution"}
    others = {
        "exact": exact,
        "gelu": al.antialias(network, **{**options, "nonlinearity": "afc"}),
        "one norm a token": al.antialias(network, **{**options, "normalization": None}),
    }
    found = al.guarantees(others, laws=LAWS, size=32).rows
    assert all(cell["value"] < 1e-10 for cell in found.pop("exact").values())
    assert all(cells["circular fractional"]["value"] > 1e-9 for cells in found.values())
