"""Upsampling: the duals of the operators, what they leave of the images, and networks whose decoders are treated."""

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import signal as scipy_signal
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.filters import imaging_fraction
from aliasing.kinds import OPERATORS
from aliasing.layers import BlurPool1d, FourierPool1d, FourierPool2d, KaiserPool1d
from aliasing.surgery import specification

# Sums of some hundred products of order 1, in float64.
ROUNDING = 1e-12


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the dual of an operator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("taps", ["binomial4", "binomial5", [1.0, 2.0, 4.0], "kaiser"])
def test_zeros_and_a_filter_are_scipys_upfirdn(taps: str | list[float], stride: int) -> None:
    pool = KaiserPool1d(stride, "circular") if taps == "kaiser" else BlurPool1d(stride, taps, "circular")
    row = np.array(pool.taps[0]) if taps == "kaiser" else al.filters.get_taps(taps, stride)
    x = noise(40)
    period = scipy_signal.upfirdn(stride * row, np.tile(x, 5), up=stride)  # the third of five periods is periodic
    first = 2 * stride * len(x) + (len(row) - 1) // 2  # it filters by a convolution, whose first tap is at zero
    expected = period[first : first + stride * len(x)]
    np.testing.assert_allclose(pool.upsample(x[None])[0], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in OPERATORS if "linear" in OPERATORS[name].guarantees])
def test_it_is_the_transpose_of_the_pool(name: str, dims: int) -> None:
    """Their inner products are equal: ⟨pool(x), y⟩ · s = ⟨x, up(y)⟩."""
    stride = (2, 4, 2)[:dims]
    pool = OPERATORS[name].at(stride, "binomial4", "circular").double()
    pool.requires_grad_(False)
    x = noise(1, 2, *(4 * step for step in stride))
    y = noise(*pool(x).shape, seed=1)
    up = pool.upsample(y)
    found, expected = float((x * up).sum()), float((pool(x) * y).sum()) * math.prod(stride)
    assert math.isclose(found, expected, rel_tol=0, abs_tol=100 * ROUNDING)
    assert torch.allclose(pool.upsample(torch.ones_like(y)), torch.ones_like(x), rtol=0, atol=0.1)  # the gain is s


def test_the_dual_of_the_ideal_low_pass_is_scipys_interpolation() -> None:
    x = noise(3, 9)  # an odd size, so that there is nothing at the Nyquist frequency
    expected = scipy_signal.resample(x, 18, axis=-1)
    np.testing.assert_allclose(FourierPool1d(2).upsample(x[None])[0], expected, rtol=0, atol=ROUNDING)


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_nearest_neighbours_leave_the_images_of_their_closed_form(stride: int) -> None:
    x = noise(3, 64, 64).numpy()
    along = sampling.imaging(np.repeat(x, stride, -1), stride, axes=-1).imaging_fraction
    share = imaging_fraction([1 / stride] * stride, stride)
    # A bin holds χ² energy with two degrees of freedom; 3·64 lines of 32 bins: four standard deviations.
    assert abs(along.mean() - share) < 4 * share / math.sqrt(3 * 64 * 32) + 1 / 64  # and the edge of the band is a bin
    both = sampling.imaging(x.repeat(stride, -1).repeat(stride, -2), stride).imaging_fraction
    assert abs(both.mean() - (1 - (1 - share) ** 2)) < 3 / 64


def test_the_measure_is_what_subsampling_would_fold_and_the_checkerboard_is_the_images_of_the_mean() -> None:
    y = noise(2, 12, 18).numpy()
    found = sampling.imaging(y, (2, 3))
    np.testing.assert_allclose(found.imaging_fraction, sampling.decompose(y, (2, 3)).alias_fraction, atol=ROUNDING)
    means = sampling.polyphase(y, (2, 3)).mean((-2, -1)).reshape(2, -1)  # by the definition, of the phases
    np.testing.assert_allclose(found.checkerboard, means.var(1) / y.reshape(2, -1).var(1), atol=ROUNDING)
    raised = FourierPool2d(2).upsample(noise(1, 3, 7, 8) + 5).numpy()
    nothing = sampling.imaging(raised, 2)
    assert nothing.imaging_fraction.max() < ROUNDING
    assert nothing.checkerboard.max() < ROUNDING
    constant = sampling.imaging(np.full((4, 4), 3.0), 2)
    assert constant.imaging_fraction == constant.checkerboard == 0
    with pytest.raises(al.errors.UsageError, match="multiples of that as its sizes"):
        sampling.imaging(y, 5)


def test_guarantees_tell_the_images_of_operators_and_of_networks() -> None:
    laws = ["image free", "checkerboard"]
    found = al.guarantees(["blur", "flc", "aps"], laws=laws, dims=1).rows
    assert math.isclose(found["blur"]["image free"]["value"], imaging_fraction("binomial4"), abs_tol=0.01)
    assert found["flc"]["image free"]["exact"]
    assert not found["aps"]["image free"]["applies"]
    torch.manual_seed(0)
    # The phases of a transposed convolution whose stride does not divide its kernel see unequal numbers of taps.
    decoders = {"uneven": nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), "nearest": nn.Upsample(scale_factor=2)}
    networks = al.guarantees(decoders, laws=laws, size=15).rows  # odd, so that no bin is on the edge
    assert networks["uneven"]["checkerboard"]["value"] > 0.1
    assert networks["nearest"]["checkerboard"]["exact"]
    share = 1 - (1 - imaging_fraction([0.5, 0.5])) ** 2
    assert math.isclose(networks["nearest"]["image free"]["value"], share, abs_tol=0.1)
    assert not al.guarantees(nn.Conv2d(3, 3, 1), laws=laws).rows["Conv2d"]["image free"]["applies"]


# --- surgery ----------------------------------------------------------------------------------------------------------

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAXIMUM = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UNet(nn.Module):
    """Two levels with one maximum and one interpolation for both, as many are written, or with layers of each level."""

    def __init__(self, up: str, *, strided: bool = False, dims: int = 2) -> None:
        super().__init__()
        conv, widths = CONV[dims], (4, 6, 8)
        shapes = {"transposed": (2, 2), "overlapping": (4, 2, 1), "uneven": (3, 2, 1, 1)}
        pairs = list(pairwise(widths))
        self.encoder = nn.ModuleList(conv(a, b, 3, padding=1) for a, b in zip((3, 4, 6), widths, strict=True))
        self.decoder = nn.ModuleList(conv(2 * fine, fine, 3, padding=1) for fine, _ in pairs)
        self.down = nn.ModuleList(conv(fine, fine, 3, 2, 1) for fine, _ in pairs) if strided else None
        self.pool, self.head = MAXIMUM[dims](2), conv(4, 2, 1)
        self.raise_: nn.Module | None = None
        if up in shapes:
            self.up = nn.ModuleList(TRANSPOSED[dims](coarse, fine, *shapes[up]) for fine, coarse in pairs)
        elif up == "shuffle":
            self.up, self.raise_ = (
                nn.ModuleList(conv(coarse, 4 * fine, 1) for fine, coarse in pairs),
                nn.PixelShuffle(2),
            )
        else:
            self.up = nn.ModuleList(conv(coarse, fine, 1) for fine, coarse in pairs)
            self.raise_ = nn.Upsample(scale_factor=2, mode=LINEAR[dims] if up == "linear" else up)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, layer in enumerate(self.encoder):
            x = layer(x).relu()
            if level < 2:
                skips.append(x)
                x = self.pool(x) if self.down is None else self.down[level](x).relu()
        for level in (1, 0):
            x = self.up[level](x) if self.raise_ is None else self.raise_(self.up[level](x))
            x = self.decoder[level](torch.cat([x, skips[level]], 1)).relu()
        return self.head(x)


class SegNet(nn.Module):
    """Maxima whose indices the decoder uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 4), (4, 4), (4, 2)))
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x, first = self.pool(self.first(x).relu())
        x, second = self.pool(self.second(x).relu())
        return self.third(self.unpool(self.second(self.unpool(x, second)).relu(), first))


def made(build: type[nn.Module], *settings: object, **more: object) -> nn.Module:
    torch.manual_seed(0)
    return build(*settings, **more).double().eval().requires_grad_(False)


def shift_error(network: nn.Module, x: Tensor, by: tuple[int, ...]) -> float:
    axes = tuple(range(-len(by), 0))
    return float((network(x.roll(by, axes)) - network(x).roll(by, axes)).abs().max())


@pytest.mark.parametrize("operator", [name for name in OPERATORS if OPERATORS[name].shares_choice])
@pytest.mark.parametrize(
    ("up", "strided"),
    [
        ("transposed", False), ("overlapping", True), ("uneven", False), ("nearest", True), ("linear", False),
        ("bicubic", True), ("shuffle", False),
    ],
)  # fmt: skip
def test_a_decoder_follows_its_encoder_under_every_whole_shift(up: str, strided: bool, operator: str) -> None:
    x = noise(2, 3, 12, 16)
    network = made(UNet, up, strided=strided)
    options = {"operator": operator, "scheme": "all", "padding": "circular", "example_input": x}
    fixed = al.antialias(network, upsampling=True, **options)
    with torch.no_grad():
        for name, parameter in fixed.named_parameters():
            if "antialiasing_" in name:
                parameter.add_(0.3 * noise(*parameter.shape, seed=4))
    shifts = [(down, across) for down in range(4) for across in range(4)]  # the whole stride is four
    assert max(shift_error(fixed, x, by) for by in shifts) < ROUNDING
    plain = al.antialias(network, **options)
    assert max(shift_error(plain, x, by) for by in shifts) > 1e6 * ROUNDING
    assert {site.status for site in fixed.antialiased_sites} == {"anti-aliased"}
    assert torch.equal(al.restore(fixed)(x), network(x))
    assert set(network.state_dict()) <= set(fixed.state_dict())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_so_it_does_along_every_number_of_axes_and_with_maxima_and_their_indices(dims: int) -> None:
    x = noise(2, 3, *(8, 12, 4)[:dims])
    options = {"scheme": "all", "padding": "circular", "upsampling": True, "example_input": x}
    for operator in ("aps", "lps"):
        fixed = al.antialias(made(UNet, "linear", dims=dims), operator=operator, **options)
        assert max(shift_error(fixed, x, (by, 1, 3)[:dims]) for by in range(4)) < ROUNDING
        if dims == 2:
            network = made(SegNet)
            fixed = al.antialias(network, operator=operator, **options)
            assert max(shift_error(fixed, x, (by, across)) for by in range(4) for across in range(4)) < ROUNDING
            assert torch.equal(al.restore(fixed)(x), network(x))


@pytest.mark.parametrize("up", ["transposed", "overlapping", "nearest", "linear", "shuffle"])
@pytest.mark.parametrize("size", [16, 18])
def test_with_one_tap_a_u_net_is_the_original(up: str, size: int) -> None:
    x, network = noise(1, 3, size - size % 4, 16), made(UNet, up)
    fixed = al.antialias(network, taps=[1.0], scheme="all", upsampling=True, example_input=x)
    torch.testing.assert_close(fixed(x), network(x), rtol=0, atol=ROUNDING)
    segnet = made(SegNet)
    fixed = al.antialias(segnet, taps=[1.0], scheme="all", upsampling=True, example_input=x)
    torch.testing.assert_close(fixed(x), segnet(x), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("taps", ["binomial3", "binomial4", "binomial5"])
def test_behind_nearest_neighbours_it_is_scipys_upfirdn_with_both_filters(taps: str) -> None:
    """Zeros, a box of two with the gain two, and the filter, which looks back as the pool looks ahead."""
    x, row = noise(1, 1, 20), al.filters.get_taps(taps)
    fixed = al.antialias(
        nn.Upsample(scale_factor=2), taps=taps, padding="circular", upsampling=True, scheme="all", example_input=x
    )
    both = np.convolve(np.ones(2), row)
    period = scipy_signal.upfirdn(both, np.tile(x[0, 0], 5), up=2)
    first = 80 + (len(row) - 1) // 2
    np.testing.assert_allclose(fixed(x)[0, 0], period[first : first + 40], rtol=0, atol=ROUNDING)


def test_the_images_of_a_decoder_are_gone_and_a_constant_has_no_checkerboard() -> None:
    decoder = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), nn.ConvTranspose2d(4, 2, 4, 2, 1)).double()
    decoder.requires_grad_(False)
    x = noise(1, 3, 9, 9)
    options = {"upsampling": True, "padding": "circular", "example_input": x}
    plain = sampling.imaging(decoder(x).numpy(), 4).imaging_fraction.max()
    fixed = al.antialias(decoder, operator="flc", **options)
    assert sampling.imaging(fixed(x).numpy(), 4).imaging_fraction.max() < ROUNDING < 0.1 < plain
    laws = ["circular fractional", "image free", "checkerboard"]
    found = al.guarantees({"flc": fixed, "blur": al.antialias(decoder, **options), "plain": decoder}, laws=laws, size=9)
    assert all(cell["value"] < 1e-12 for cell in found.rows["flc"].values())
    assert found.rows["blur"]["image free"]["value"] < found.rows["plain"]["image free"]["value"] / 2
    assert found.rows["blur"]["checkerboard"]["value"] < 1e-12 < found.rows["plain"]["checkerboard"]["value"]


def test_a_filter_of_even_length_goes_back_by_the_half_sample_by_which_its_pool_went_ahead() -> None:
    """Pooled and raised again, a slow wave stays where it is."""
    wave = torch.cos(2 * torch.pi * torch.arange(64).double() / 64)[None, None]
    network = nn.Sequential(nn.MaxPool1d(2), nn.Upsample(scale_factor=2))
    fixed = al.antialias(network, padding="circular", scheme="all", upsampling=True, example_input=wave)
    phase = lambda y: float(torch.fft.rfft(y[0, 0])[1].angle())  # noqa: E731
    assert math.isclose(phase(fixed(wave)), phase(network(wave)), abs_tol=2e-3)
    assert abs(phase(al.antialias(network, padding="circular", scheme="all", example_input=wave)(wave))) > 2e-2


class Mixed(nn.Module):
    """What is treated, and what is not."""

    def forward(self, x: Tensor) -> Tensor:
        for size in (12, 20):
            x = F.interpolate(x, size)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        return F.fold(F.unfold(x, 2, stride=2), 40, 2, stride=2)


def test_sites_that_are_not_treated_say_why() -> None:
    fixed = al.antialias(Mixed(), upsampling=True, example_input=torch.zeros(1, 1, 6, 6))
    first, second, third, *_, last = al.find_sites(fixed)
    assert [site.status for site in (first, second, third, last)] == ["anti-aliased", *["unsupported"] * 3]
    assert first.note == "blur behind it"
    assert second.note == "its factor, 1.67×1.67, is not whole"
    assert third.note.startswith("with align_corners=True")
    assert last.note == "upsampling by fold is not treated"
    assert first.upsamples
    decoder = nn.Sequential(nn.ReLU(), nn.ConvTranspose1d(1, 1, 4, 4), nn.ConvTranspose1d(1, 1, 3, 2, 1))
    x = torch.zeros(1, 1, 8)
    (found, odd) = al.find_sites(al.antialias(decoder, operator="aps", upsampling=True, example_input=x))
    assert found.note.startswith("aps puts samples back at a phase that was kept, and no pool")
    assert odd.note.startswith("its sizes are not a whole factor apart")
    (found, _) = al.find_sites(al.antialias(decoder, operator="tips", upsampling=True, example_input=x))
    assert found.note.startswith("tips is not a low-pass")
    (found, left) = al.find_sites(al.antialias(decoder, scheme=["1"], upsampling=True, example_input=x))
    assert (found.status, left.status) == ("anti-aliased", "upsampling")
    assert all(site.status == "upsampling" for site in al.find_sites(decoder, x))
    with pytest.raises(al.errors.UsageError, match="its indices go to an unpooling: both are treated with upsampling"):
        al.antialias(made(SegNet), example_input=noise(1, 3, 8, 8))
    for window, note in (
        (2, "where its indices say"),
        (3, "where its indices say, and of windows that overlap the last"),
    ):
        segnet = made(SegNet)
        segnet.pool.kernel_size, segnet.pool.padding = window, window // 3
        *_, found = al.find_sites(
            al.antialias(segnet, operator="aps", upsampling=True, example_input=noise(1, 3, 8, 8))
        )
        assert found.note.endswith(note)
    with pytest.raises(al.errors.UsageError, match="never downsamples unfiltered"):
        al.antialias(decoder, example_input=x)
    assert al.find_sites(nn.MaxPool2d(2, return_indices=True), torch.zeros(1, 1, 8, 8))[0].status == "unsupported"


def test_with_polynomials_a_u_net_moves_by_fractions_and_with_relu_it_does_not() -> None:
    x = noise(1, 3, 12, 12)
    options = {"operator": "flc", "scheme": "all", "padding": "circular", "upsampling": True, "example_input": x}
    network = made(UNet, "overlapping", strided=True)
    exact = al.antialias(network, nonlinearity="polynomial", **options)
    networks = {"exact": exact, "relu": al.antialias(network, nonlinearity="afc", **options)}
    found = al.guarantees(networks, laws=["circular integer", "half-pixel", "circular fractional"], size=12).rows
    assert all(cell["value"] < 1e-10 for cell in found["exact"].values())
    assert found["relu"]["circular fractional"]["value"] > 1e-4


@pytest.mark.parametrize("operator", ["blur", "flc", "adaptive", "lps"])
def test_a_treated_decoder_trains_and_travels(operator: str) -> None:
    network, x = made(UNet, "overlapping").requires_grad_(True), noise(1, 3, 16, 16)
    fixed = al.antialias(network, operator=operator, scheme="all", upsampling=True, example_input=x)
    expected = fixed(x)
    for copied in (copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed)), torch.export.export(fixed, (x,)).module()):
        torch.testing.assert_close(copied(x), expected, rtol=0, atol=ROUNDING)
    fixed.train()(x).square().sum().backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in fixed.parameters())
    fixed.load_state_dict(network.state_dict())


def test_the_name_says_it() -> None:
    fixed = al.antialias(made(SegNet), operator="flc", upsampling=True, example_input=noise(1, 3, 8, 8))
    assert specification.describe(al.surgery.conversion_of(fixed)) == "flc,upsampling"
    assert specification.parse("flc,upsampling")["upsampling"] is True
    assert specification.parse("flc")["upsampling"] is False


@pytest.mark.parametrize("name", ["UNet", "BasicUNet", "SegResNet", "DynUNet"])
def test_monais_u_nets_move_with_their_input(name: str) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    given = {
        "UNet": (2, 3, 2, (4, 8, 16), (2, 2)),
        "BasicUNet": (2, 3, 2, (4, 4, 8, 8, 16, 4)),
        "SegResNet": (2, 8, 3, 2),
        "DynUNet": (2, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], [4, 8, 16]),
    }
    x, network = noise(1, 3, 32, 32), made(getattr(nets, name), *given[name])
    options = {"operator": "aps", "scheme": "all", "padding": "circular", "example_input": x}
    fixed = al.antialias(network, upsampling=True, **options)
    assert max(shift_error(fixed, x, by) for by in ((1, 0), (3, 5), (7, 12))) < 100 * ROUNDING  # some twenty layers
    assert shift_error(al.antialias(network, **options), x, (3, 5)) > 1e-3
