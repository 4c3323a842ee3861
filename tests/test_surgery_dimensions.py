"""Networks of sounds, clips and volumes: every site is treated or says why not, and one tap changes nothing."""

from collections.abc import Callable

import pytest
import torch
from networks import Net, build, difference, randomise, settle
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import UsageError
from aliasing.surgery import specification

# Float64 sums in another order along some twenty layers that may double a difference each: 1e-16 · 2^20.
ROUNDING = 1e-10


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Block(nn.Module):
    """A residual block of one axis, with a shortcut that subsamples too."""

    def __init__(self, wide: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(wide, out, 7, stride, 3, bias=False), nn.BatchNorm1d(out)
        self.conv2, self.bn2 = nn.Conv1d(out, out, 7, 1, 3, bias=False), nn.BatchNorm1d(out)
        self.shortcut = nn.Sequential(nn.Conv1d(wide, out, 1, stride, bias=False), nn.BatchNorm1d(out))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        answer: Tensor = self.relu(y + self.shortcut(x))
        return answer


def ecg_resnet() -> nn.Module:
    """As ResNet-1d for electrocardiograms is built: a stem, a padded maximum, residual blocks."""
    stem = nn.Conv1d(12, 8, 15, 2, 7, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(3, 2, 1)
    return nn.Sequential(*stem, Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 2), nn.AdaptiveAvgPool1d(1))


def m5() -> nn.Module:
    """As M5 for raw sound (Dai et al. 2017) is built: a wide stem with stride 4, and maxima over four samples."""
    layers: list[nn.Module] = []
    for wide, out, kernel, stride in ((1, 8, 80, 4), (8, 8, 3, 1), (8, 16, 3, 1)):
        layers += [nn.Conv1d(wide, out, kernel, stride), nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1))


def text_line() -> nn.Module:
    """As networks for lines of text are built: later strides are down alone."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, (2, 1), 1), nn.ReLU(),
        nn.MaxPool2d((2, 1)), nn.Flatten(1, 2), nn.Conv1d(32, 8, 3, 2), nn.ReLU(),
    )  # fmt: skip


def u_net() -> nn.Module:
    """A U-Net for volumes whose voxels are not cubes: down by (1, 2, 2), and a skip joined after upsampling."""

    def way(net: nn.Module, x: Tensor) -> Tensor:
        high = net.first(x)
        return net.last(torch.cat([high, net.up(net.deep(net.down(high)))], 1))  # type: ignore[operator]

    return Net(
        way,
        first=nn.Sequential(nn.Conv3d(1, 4, 3, 1, 1), nn.InstanceNorm3d(4, affine=True), nn.LeakyReLU(0.01)),
        down=nn.Conv3d(4, 8, 3, (1, 2, 2), 1),
        deep=nn.Sequential(nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU(0.01)),
        up=nn.ConvTranspose3d(8, 4, (1, 2, 2), (1, 2, 2)),
        last=nn.Conv3d(8, 2, 1),
    )


def causal() -> nn.Module:
    """As the EnCodec of transformers is built: what is padded is computed from whole numbers that are buffers."""

    def way(net: nn.Module, x: Tensor) -> Tensor:
        total = net.kernel - net.stride  # type: ignore[operator]
        frames = torch.ceil((x.shape[-1] - net.kernel + total) / net.stride).to(torch.int64)  # type: ignore[operator]
        extra = frames * net.stride + net.kernel - total - x.shape[-1]  # type: ignore[operator]
        return net.last(net.conv(nn.functional.pad(x, (total, extra), "reflect")))  # type: ignore[operator, no-any-return]

    net = Net(way, conv=nn.Conv1d(1, 4, 8, 4), last=nn.Sequential(nn.ELU(), nn.Conv1d(4, 4, 4, 2), nn.ELU()))
    for name, number in (("kernel", 8), ("stride", 4)):
        net.register_buffer(name, torch.tensor(number), persistent=False)
    return net


def over_frames() -> nn.Module:
    """A network of pictures that sees each frame of a clip, and one of one axis over its answers."""

    def way(net: nn.Module, x: Tensor) -> Tensor:
        answers = net.trunk(x.flatten(0, 1)).flatten(1)  # type: ignore[operator]
        return net.time(answers.unflatten(0, x.shape[:2]).transpose(1, 2))  # type: ignore[operator, no-any-return]

    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return Net(way, trunk=trunk, time=nn.Conv1d(4, 4, 3, 2, 1))


def spectrogram() -> nn.Module:
    """A network of pictures behind a short-time Fourier transform."""

    def way(net: nn.Module, x: Tensor) -> Tensor:
        window = torch.hann_window(400, dtype=x.dtype, device=x.device)
        return net.net(torch.stft(x, 400, 160, window=window, return_complex=True).abs()[:, None])  # type: ignore

    layers = nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
    return Net(way, net=nn.Sequential(*layers))


OWN: list[tuple[Callable[[], nn.Module], tuple[int, ...], int]] = [
    (ecg_resnet, (2, 12, 500), 6),
    (m5, (2, 1, 4000), 4),
    (text_line, (2, 1, 32, 100), 4),
    (u_net, (1, 1, 6, 20, 18), 1),
    (causal, (2, 1, 399), 2),
    (over_frames, (2, 10, 3, 32, 32), 2),
    (spectrogram, (2, 8000), 2),
]
# Sizes at which every stride still has something to keep.
VIDEO = [("r3d_18", (8, 32, 32), 7), ("mc3_18", (8, 32, 32), 7), ("r2plus1d_18", (8, 32, 32), 10)]
VIDEO += [("swin3d_t", (8, 64, 64), 1)]
LARGE = [("s3d", (16, 224, 224), 6), ("mvit_v1_b", (16, 224, 224), 35), ("mvit_v2_s", (16, 224, 224), 35)]


@torch.no_grad()
def check(network: nn.Module, x: Tensor, count: int) -> None:
    """Every operator is put at all sites, and the network keeps its keys and shapes; one tap changes nothing."""
    answer, keys = network(x), list(network.state_dict())
    sites = [site for site in al.find_sites(network, x) if site.status == "subsamples"]
    assert len(sites) == count
    same = al.antialias(network, scheme="all", taps=[1], example_input=x)
    assert difference(same(x), answer) < ROUNDING
    for how in ({}, {"operator": "flc"}, {"operator": "aps"}, {"placement": "before"}):
        converted = al.antialias(network, scheme="all", example_input=x, **how)  # type: ignore[arg-type]
        assert converted(x).shape == answer.shape
        assert list(converted.state_dict()) == keys
        assert difference(converted(x), answer) > 1e-6
        for site in converted.antialiased_sites:
            assert site.status not in ("subsamples", "unsupported") or site.note
        treated = [site for site in converted.antialiased_sites if site.status == "anti-aliased"]
        treated = [site for site in treated if site.kind != "space to depth"]  # patch merging, which loses no sample
        assert len(treated) == count or how.get("operator") == "aps"
        assert torch.equal(al.surgery.restore(converted)(x), answer)
    published = al.antialias(network, example_input=x) if count > 1 else None
    assert published is None or published(x).shape == answer.shape


@pytest.mark.parametrize(("make", "shape", "count"), OWN, ids=[make.__name__ for make, _, _ in OWN])
def test_networks_of_sounds_clips_and_volumes(
    make: Callable[[], nn.Module], shape: tuple[int, ...], count: int
) -> None:
    check(randomise(make()).double(), noise(*shape), count)


@pytest.mark.parametrize(("name", "size", "count"), VIDEO, ids=[name for name, _, _ in VIDEO])
def test_torchvisions_networks_of_clips(name: str, size: tuple[int, ...], count: int) -> None:
    network, x = build(f"torchvision:{name}").double(), noise(2, 3, *size)
    settle(network, x)
    check(network, x, count)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "count"), LARGE, ids=[name for name, _, _ in LARGE])
def test_torchvisions_large_networks_of_clips(name: str, size: tuple[int, ...], count: int) -> None:
    network, x = build(f"torchvision:{name}").double(), noise(1, 3, *size)
    settle(network, x)
    check(network, x, count)


def test_the_published_placement_treats_the_maximum_of_a_resnet_alike_in_any_number_of_axes() -> None:
    converted = al.antialias(ecg_resnet(), example_input=torch.zeros(1, 12, 500))
    notes = {site.name: site.note for site in converted.antialiased_sites}
    assert notes["0"] == "the scheme leaves it as it is"
    assert "maximum over 2" in notes["3"]


def test_an_activation_between_resamplings_is_anti_aliased_by_itself() -> None:
    """As BigVGAN's is built: up by 2, the activation, and down by 2 with a fixed low-pass for each channel."""

    def way(net: nn.Module, x: Tensor) -> Tensor:
        fixed: Tensor = net.low_pass.expand(x.shape[1], -1, -1)  # type: ignore[operator, assignment]
        up = 2 * nn.functional.conv_transpose1d(x, fixed, stride=2, groups=x.shape[1])
        return nn.functional.conv1d(up.sin(), fixed, stride=2, groups=x.shape[1])

    network = Net(way)
    network.register_buffer("low_pass", torch.ones(1, 1, 12) / 12)
    up, down = al.find_sites(network, torch.zeros(1, 4, 100))
    assert (up.kind, up.status) == ("transposed convolution", "upsampling")
    assert (down.kind, down.status, down.note) == ("blur pooling", "anti-aliased", "by the network itself")


def test_a_network_of_dilated_layers_has_nothing_to_treat() -> None:
    """As WaveNet is built."""
    network = nn.Sequential(*(nn.Conv1d(1, 1, 2, dilation=2**n) for n in range(4)))
    with pytest.raises(UsageError, match="never downsamples unfiltered"):
        al.antialias(network, example_input=torch.zeros(1, 1, 100))


def test_a_spectrogram_is_a_site_of_its_own_that_says_what_its_frames_fold() -> None:
    transform, convolution, maximum, _ = al.find_sites(spectrogram(), torch.zeros(1, 8000))
    assert (transform.kind, transform.stride, transform.kernel) == ("short-time Fourier transform", (160,), (400,))
    assert transform.status == "space-to-depth"
    assert transform.note.startswith("frames of 400 samples, 60% overlap")
    assert "1/320 cycle per sample" in transform.note
    # Bins along the first axis, samples of the sound along the second.
    assert [site.cumulative_stride for site in (convolution, maximum)] == [(2, 320), (4, 640)]


@pytest.mark.parametrize("before", ["", "a convolution"])
@pytest.mark.parametrize("way", ["Tensor.unfold", "F.unfold"])
def test_frames_cut_by_unfolding_say_what_they_fold(way: str, before: str) -> None:
    def framed(net: nn.Module, x: Tensor) -> Tensor:
        x = net.before(x)  # type: ignore[operator]
        if way == "F.unfold":
            return net.after(nn.functional.unfold(x[:, :, None], (1, 400), stride=(1, 160)))  # type: ignore
        return net.after(x.squeeze(1).unfold(-1, 400, 160).transpose(1, 2))  # type: ignore[operator, no-any-return]

    first = nn.Conv1d(1, 1, 9, padding=4) if before else nn.Identity()
    frames, strided = al.find_sites(Net(framed, before=first, after=nn.Conv1d(400, 4, 3, 2)), torch.zeros(1, 1, 8000))
    assert (frames.kind, frames.stride[-1], frames.kernel[-1]) == ("unfolding", 160, 400)
    assert frames.status == "space-to-depth"
    assert frames.note.startswith("frames of 400 samples, 60% overlap; ")
    assert "faster than 1/320 cycle per sample folds" in frames.note
    assert (strided.name, strided.status) == ("after", "subsamples")


@pytest.mark.parametrize("hop", [100, 64])
def test_frames_with_gaps_between_them_lose_samples(hop: int) -> None:
    ways = (
        lambda _, x: torch.stft(x, 64, hop, window=torch.ones(64, device=x.device), return_complex=True).abs(),
        lambda _, x: x.unfold(1, 64, hop),
        lambda _, x: nn.functional.unfold(x[:, None, None], (1, 64), stride=(1, hop)),
    )
    for way in ways:
        (site,) = al.find_sites(Net(way), torch.zeros(1, 1000))
        if hop == 100:
            assert (site.status, site.note) == ("unsupported", "patches with gaps between them")
        else:
            assert (site.status, site.note[:32]) == ("space-to-depth", "frames of 64 samples, no overlap")


def test_a_clip_of_frames_is_not_taken_for_a_volume() -> None:
    trunk, time = (s for s in al.find_sites(over_frames(), torch.zeros(2, 10, 3, 32, 32)) if s.status == "subsamples")
    assert (trunk.name, trunk.stride, trunk.note) == ("trunk.0", (2, 2), "")
    assert (time.name, time.stride, time.note) == ("time", (2,), "")


def test_filters_of_three_axes_are_written_and_read() -> None:
    volume = torch.zeros(1, 1, 8, 8, 8)
    converted = al.antialias(nn.MaxPool3d(2), taps=["binomial3", "binomial3", [1, 3, 3, 1]], example_input=volume)
    text = str(al.surgery.conversion_of(converted))
    assert text == "binomial3/binomial3/1-3-3-1"
    again = al.antialias(nn.MaxPool3d(2), **specification.parse(text), example_input=volume)
    assert str(al.surgery.conversion_of(again)) == text
    with pytest.raises(UsageError, match="down and across; got 3"):
        al.antialias(nn.MaxPool2d(2), taps=["binomial3"] * 3, example_input=torch.zeros(1, 1, 8, 8))


def test_a_volume_without_a_batch_is_not_a_batch_of_pictures() -> None:
    network = randomise(nn.Sequential(nn.Conv3d(4, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool3d(2)).double())
    x = noise(4, 8, 8, 8)
    fixed = al.antialias(network, taps=[1.0], scheme="all", example_input=x)
    assert [site.name for site in fixed.antialiased_sites] == ["0", "2"]
    assert difference(fixed(x), network(x)) < ROUNDING
