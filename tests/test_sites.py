"""Sites of networks that are written in every way, found from one run."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from aliasing.errors import InputError, UsageError
from aliasing.sites import Site, Status, find_sites, table
from aliasing.sites import trace as sites_trace
from aliasing.sites.flow import follow
from aliasing.sites.trace import Recording, record_calls
from tests.networks import Net

IMAGE = torch.zeros(1, 3, 64, 64)


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def subsampling(sites: list[Site]) -> list[str]:
    return [site.name for site in sites if site.status == "subsamples"]


class Functional(nn.Module):
    """Downsamples by calls that are no modules, beside a module that does too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 3, 2, ceil_mode=True)
        x = F.avg_pool2d(x, 2)
        return x[:, :, ::2, ::2] + x[..., 1::2, 1::2]


def test_functional_calls_are_sites_of_the_module_that_makes_them() -> None:
    sites = find_sites(Functional(), IMAGE)
    assert [(site.name, site.kind, site.stride) for site in sites] == [
        ("conv", "convolution", (2, 2)),
        ("max_pool2d", "max pooling", (2, 2)),
        ("avg_pool2d", "average pooling", (2, 2)),
        ("strided_slice", "slicing", (2, 2)),
        ("strided_slice", "slicing", (2, 2)),
    ]
    assert [site.cumulative_stride[0] for site in sites] == [2, 4, 8, 16, 16]
    assert [site.input_shape[-1] for site in sites] == [64, 32, 16, 8, 8]


def test_resnet18_has_the_sites_that_its_paper_says() -> None:
    sites = find_sites(torchvision.models.resnet18())
    assert subsampling(sites) == [
        "conv1",
        "maxpool",
        *(f"layer{i}.0.{name}" for i in (2, 3, 4) for name in ("conv1", "downsample.0")),
    ]
    assert [site.role for site in sites[:4]] == ["stem", "", "", "shortcut"]
    assert sites[2].followed_by == ("batch_norm", "relu", "conv2d")
    assert sites[-2].cumulative_stride == (32, 32)
    assert sites[-1].status == "global"


def test_a_module_used_twice_is_one_site() -> None:
    (site,) = find_sites(Net(lambda net, x: net.pool(net.pool(x)), pool=nn.MaxPool2d(2)), IMAGE)
    assert (site.name, site.uses, site.input_shape) == ("pool", 2, (1, 3, 64, 64))


def test_slices_that_hold_every_phase_lose_nothing() -> None:
    focus = Net(lambda _, x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1))
    (site,) = find_sites(focus, IMAGE)
    assert (site.kind, site.status) == ("space to depth", "space-to-depth")


@pytest.mark.parametrize(
    ("network", "kind", "status"),
    [
        (nn.PixelUnshuffle(2), "space to depth", "space-to-depth"),
        (nn.Unfold(3, stride=2), "unfolding", "space-to-depth"),
        (nn.AdaptiveAvgPool2d(1), "global pooling", "global"),
        (nn.AvgPool2d(64), "global average pooling", "global"),
        (nn.ConvTranspose2d(3, 3, 2, stride=2), "transposed convolution", "upsampling"),
        (nn.Upsample(scale_factor=2), "interpolation", "upsampling"),
        (nn.Upsample(scale_factor=0.5), "interpolation (nearest)", "subsamples"),
        (nn.AdaptiveAvgPool2d(7), "adaptive pooling", "subsamples"),
        (nn.MaxPool2d(2, return_indices=True), "max pooling", "unsupported"),
        (nn.Conv2d(3, 4, 3, stride=(2, 1)), "convolution", "subsamples"),
        (nn.Conv2d(3, 4, 3, stride=2, dilation=2), "convolution", "subsamples"),
        (nn.Conv2d(3, 6, 3, stride=2, groups=3), "depthwise convolution", "subsamples"),
    ],
)
def test_kind_and_status(network: nn.Module, kind: str, status: str) -> None:
    (site,) = find_sites(network, IMAGE)
    assert (site.kind, site.status) == (kind, status)


CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAXIMUM = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GLOBAL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_sounds_pictures_and_volumes_have_the_same_sites(dims: int) -> None:
    """One number per axis."""
    strides = (4, 2, 3)[:dims]
    network = nn.Sequential(
        CONV[dims](3, 4, 5, stride=strides, padding=2),
        nn.ReLU(),
        MAXIMUM[dims](3, stride=2, padding=1),
        CONV[dims](4, 4, 1, stride=(1,) * (dims - 1) + (2,)),
        CONV[dims](4, 4, 3, stride=2, padding=1, groups=4),
        AVERAGE[dims](2),
        GLOBAL[dims](1),
    )
    sites = find_sites(network, torch.zeros(1, 3, *(192,) * min(dims, 2), *(96,) * (dims - 2)))
    assert [site.kind for site in sites] == [
        "convolution", "max pooling", "convolution", "depthwise convolution", "average pooling", "global pooling"
    ]  # fmt: skip
    assert [site.role for site in sites] == ["stem", "", "shortcut", "", "", ""]
    assert [site.stride for site in sites[:5]] == [
        strides, (2,) * dims, (1,) * (dims - 1) + (2,), (2,) * dims, (2,) * dims
    ]  # fmt: skip
    assert [site.kernel for site in sites[:2]] == [(5,) * dims, (3,) * dims]
    assert sites[4].cumulative_stride == (*(8 * stride for stride in strides[:-1]), 16 * strides[-1])
    assert [(site.status, site.note) for site in sites] == [("subsamples", "")] * 5 + [("global", "")]
    assert table(sites)[0]["stride"] == "×".join(map(str, strides))


@pytest.mark.parametrize(
    ("network", "shape", "kind", "stride", "status"),
    [
        (nn.ConvTranspose1d(3, 3, 2, stride=2), (1, 3, 16), "transposed convolution", (2,), "upsampling"),
        (nn.ConvTranspose3d(3, 3, 2, stride=2), (1, 3, 4, 4, 4), "transposed convolution", (2, 2, 2), "upsampling"),
        (nn.AvgPool3d(3, stride=(1, 2, 4), padding=1), (1, 3, 16, 16, 16), "average pooling", (1, 2, 4), "subsamples"),
        (nn.MaxPool1d(16), (1, 3, 16), "global max pooling", (16,), "global"),
        (nn.FractionalMaxPool3d(2, 4), (1, 3, 8, 8, 8), "fractional_max_pool3d", (2, 2, 2), "unsupported"),
        (nn.Upsample(scale_factor=0.5), (1, 3, 8, 8, 8), "interpolation (nearest)", (2, 2, 2), "subsamples"),
    ],
    ids=str,
)
def test_kinds_of_one_and_three_axes(
    network: nn.Module, shape: tuple[int, ...], kind: str, stride: tuple[int, ...], status: str
) -> None:
    (site,) = find_sites(network, torch.zeros(shape))
    assert (site.kind, site.stride, site.status) == (kind, stride, status)


def test_a_picture_that_is_read_row_by_row_has_one_stride() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix = nn.Conv2d(3, 4, 8, stride=8), nn.Conv1d(4, 4, 2, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.mix(self.embed(x).flatten(2))
            return y

    assert [site.cumulative_stride for site in find_sites(Tokens(), IMAGE)] == [(8, 8), (16,)]


@pytest.mark.parametrize(
    ("old", "new"),
    [("keeps every sample", "space-to-depth"), ("keeps no position", "global"), ("out of reach", "unsupported")],
)
def test_the_old_word_of_a_status_is_understood_and_names_the_new_one(old: str, new: str) -> None:
    status = Status(new)
    for ask in (
        lambda: status == old,
        lambda: old == status,
        lambda: status in ("subsamples", old),
        lambda: Status(old) is status,
    ):
        with pytest.warns(DeprecationWarning, match=f"'{old}' is '{new}' now"):
            assert ask()
    with pytest.warns(DeprecationWarning, match=new):
        assert old != Status.SUBSAMPLES
    assert status == new
    assert {new: 1}[status] == 1
    assert json.dumps([status]) == f'["{new}"]'
    assert repr(status) == repr(new)
    with pytest.raises(ValueError, match="is not a valid Status"):
        Status("elsewhere")


def test_a_network_that_an_older_version_pickled_has_the_new_words() -> None:
    (site,) = find_sites(nn.AdaptiveAvgPool2d(1), IMAGE)
    object.__setattr__(site, "status", "keeps no position")  # as it was a plain word then
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(site)).status is Status.GLOBAL
        assert copy.deepcopy(site).status == "global"


def test_what_does_not_downsample_is_no_site() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(64))
    assert find_sites(network, IMAGE) == []


def test_an_upsampling_site_has_the_factor_as_its_stride() -> None:
    network = nn.Sequential(nn.MaxPool2d(4), nn.ConvTranspose2d(3, 3, 2, stride=2))
    assert [(site.stride, site.cumulative_stride) for site in find_sites(network, IMAGE)] == [
        ((4, 4), (4, 4)),
        ((2, 2), (2, 2)),
    ]


def test_groups_of_several_channels_are_not_depthwise() -> None:
    (site,) = find_sites(nn.Conv2d(4, 8, 3, stride=2, groups=2), torch.zeros(1, 4, 16, 16))
    assert site.kind == "convolution"


def test_a_convolution_behind_a_learned_layer_is_no_stem() -> None:
    def embedded(net: Any, x: Tensor) -> Any:
        return net.conv(net.embed(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    (site,) = find_sites(Net(embedded, embed=nn.Linear(3, 4), conv=nn.Conv2d(4, 4, 3, stride=2)), IMAGE)
    assert (site.name, site.role) == ("conv", "")


def test_a_stride_over_a_single_pixel_is_no_site() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1, stride=2))
    assert [site.kind for site in find_sites(network, IMAGE)] == ["global pooling"]


def test_the_cumulative_stride_of_a_sum_is_that_of_its_coarser_part() -> None:
    mixed = Net(lambda _, x: F.max_pool2d(x[:, :, :32, :32] + F.max_pool2d(x, 2), 2))
    assert [site.cumulative_stride for site in find_sites(mixed, IMAGE)] == [(2, 2), (4, 4)]


def test_rotary_slices_over_channels_are_no_sites() -> None:
    rotary = Net(lambda _, x: torch.stack((x[..., ::2], -x[..., 1::2]), -1).flatten(-2))
    assert find_sites(rotary, IMAGE) == []


def test_patch_merging_of_swin_keeps_every_sample_in_both_libraries() -> None:
    for network in (torchvision.models.swin_t(), on_meta("swin_tiny_patch4_window7_224")):
        sites = find_sites(network)
        assert [site.role for site in sites if site.status == "subsamples"] == ["patch embedding"]
        assert [site.stride for site in sites if site.status == "space-to-depth"] == [(2, 2)] * 3


@pytest.mark.parametrize("name", ["resnetblur50", "resnetaa50", "skresnet18", "tf_efficientnet_lite0"])
def test_timm(name: str) -> None:
    sites = find_sites(on_meta(name))
    own = [site.name for site in sites if site.status == "anti-aliased"]
    if "blur" in name or "aa" in name:
        assert len(own) == 4  # in place of the max pool, and in three stages
        assert not any(site.kind == "max pooling" for site in sites)
    else:
        assert own == []
    assert sites[0].role == "stem"
    assert sites[0].input_shape[-1] == 224  # not what TF-"same" padding makes of it


def test_the_averages_of_darknetaa53_stand_for_its_strides() -> None:
    """Each stage of darknet53 begins with a convolution at stride 2; here it is an average and a 1×1 convolution."""
    own, plain = (find_sites(on_meta(name)) for name in ("darknetaa53", "darknet53"))
    assert [(site.status, site.note) for site in own[:-1]] == [("anti-aliased", "by the network itself")] * 5
    assert [site.cumulative_stride for site in own] == [site.cumulative_stride for site in plain]
    # The same layers on the shortcuts of resnet50d are for its accuracy; what is beside them folds.
    assert not any(site.status == "anti-aliased" for site in find_sites(on_meta("resnet50d")))


def test_a_network_that_needs_values_is_run_for_real() -> None:
    by_value = Net(lambda net, x: net.conv(x) if x.sum().item() == 0 else x, conv=nn.Conv2d(3, 4, 3, stride=2))
    assert subsampling(find_sites(by_value, IMAGE)) == ["conv"]


def test_inputs_and_outputs_of_any_form() -> None:
    def detect(net: Any, images: list[Tensor], *, scale: float = 1.0) -> dict[str, Tensor]:
        return {"map": net.conv(torch.stack(images) * scale)}

    sites = find_sites(Net(detect, conv=nn.Conv2d(3, 4, 3, stride=2)), [torch.zeros(3, 32, 32)] * 2)
    assert [(site.name, site.output_shape) for site in sites] == [("conv", (2, 4, 15, 15))]


def test_segmentation_network() -> None:
    with torch.device("meta"):
        network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    sites = find_sites(network, torch.zeros(1, 3, 64, 64, device="meta"))
    assert [site.stride for site in sites if site.status == "subsamples"] == [(2, 2)] * 4
    assert sum(site.status == "upsampling" for site in sites) == 2


def test_custom_autograd_functions_do_not_cut_the_data_flow() -> None:
    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), Net(lambda _, x: Swish.apply(x)), nn.MaxPool2d(2))
    sites = find_sites(network, IMAGE)
    assert [site.cumulative_stride[0] for site in sites] == [2, 4]


def test_follow_ends_behind_the_activation_however_it_is_written() -> None:
    def silu(net: Any, x: Tensor) -> Tensor:
        y = net.bn(net.conv(x))
        return F.max_pool2d(y * y.sigmoid(), 2)

    record = record_calls(Net(silu, conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4)), IMAGE)
    (convolution,) = [call for call in record.calls if call.name == "conv2d"]
    way = follow(convolution.outputs[0])
    assert [call.name for call in way.passed] == ["batch_norm", "sigmoid", "mul"]
    assert way.activated is not None
    assert [call.name for call in way.next] == ["max_pool2d"]


class Between(nn.Module):
    """A function of an image's map, between two layers that mix pixels."""

    def __init__(self, function: Callable[[Tensor, nn.ParameterDict], Any]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 1), function
        sizes = {"channel": (4,), "map": (64, 64), "row": (64,), "column of channels": (4, 1, 1), "mask": (4, 64, 1)}
        sizes["row of channels"] = (1, 1, 4)
        self.weights = nn.ParameterDict({name: torch.ones(size) for name, size in sizes.items()})

    def forward(self, x: Tensor) -> Any:
        found = self.function(self.conv(x), self.weights)
        return found if isinstance(found, tuple) else F.max_pool2d(found, 2)


@pytest.mark.parametrize(
    ("function", "passed"),
    [
        (lambda y, w: y.permute(0, 2, 3, 1).relu().permute((0, 3, 1, 2)), "permute relu permute"),
        (lambda y, w: y.permute(0, 2, 3, -3).relu().permute(dims=(0, -1, 1, 2)), "permute relu permute"),
        (lambda y, w: F.layer_norm(y.permute(0, 2, 3, 1), (4,)).relu().permute(0, 3, 1, 2), None),
        (lambda y, w: (y - y.mean(1, keepdim=True)).relu(), "mean sub relu"),
        (lambda y, w: (y * w["column of channels"]).relu(), "mul relu"),
        (lambda y, w: (y.permute(0, 2, 3, 1) * w["row of channels"]).relu().permute(0, 3, 1, 2), None),
        (lambda y, w: F.prelu(y, w["channel"]), "prelu"),
        (lambda y, w: y.relu().neg(), "relu"),
        (lambda y, w: (y.relu(),), "relu"),
    ],
    ids=[
        *("permuted", "permuted, by keyword", "layer norm", "mean of channels"),
        *("scale", "scale, permuted", "prelu", "first", "returned"),
    ],
)
def test_follow_passes_what_treats_every_pixel_by_itself(function: Any, passed: str | None) -> None:
    """In whatever layout; the way ends behind the first activation, where the layout is the convolution's again."""
    way = follow(record_calls(Between(function), IMAGE).calls[0].outputs[0])
    assert way.activated is not None
    assert way.activated.shape == (1, 4, 64, 64)
    assert passed is None or [call.name for call in way.passed] == passed.split()


@pytest.mark.parametrize(
    "function",
    [
        lambda y, w: F.layer_norm(y, (64,)).relu(),
        lambda y, w: F.layer_norm(y.permute(0, 2, 3, 1), (64, 4)).relu().permute(0, 3, 1, 2),
        lambda y, w: (y - y.mean(3, keepdim=True)).relu(),
        lambda y, w: (y - y.mean((1, 2), keepdim=True)).relu(),
        lambda y, w: (y - y.mean(1)[:, None]).relu(),
        lambda y, w: (y * w["map"]).relu(),
        lambda y, w: (y * w["row"]).relu(),
        lambda y, w: (y * w["mask"]).relu(),
        lambda y, w: (y.permute(0, 3, 2, 1) * w["map"][:, :1]).relu().permute(0, 3, 2, 1),
        lambda y, w: (y + y.permute(0, 1, 3, 2)).relu(),
        lambda y, w: (y, y.relu()),
    ],
    ids=[
        *("layer norm of rows", "layer norm of rows and channels", "mean of rows", "mean of channels and columns"),
        "mean of channels without their axis",
        *("map", "row", "mask", "column, permuted", "transposed sum", "returned before"),
    ],
)
def test_follow_stops_at_what_tells_pixels_apart(function: Any) -> None:
    """Or at what is seen outside: a low-pass behind the activation would not reach it."""
    assert follow(record_calls(Between(function), IMAGE).calls[0].outputs[0]).activated is None


@pytest.mark.parametrize(("side", "passes"), [(1, True), (64, False)])
def test_a_gate_from_elsewhere_ends_the_way_only_where_it_varies_over_space(side: int, passes: bool) -> None:
    def gated(net: Any, x: Tensor) -> Tensor:
        gate = F.adaptive_avg_pool2d(x, side).mean(1, keepdim=True)
        return F.max_pool2d((net.conv(x) * gate).relu(), 2)

    record = record_calls(Net(gated, conv=nn.Conv2d(3, 4, 1)), IMAGE)
    (convolution,) = [call for call in record.calls if call.name == "conv2d"]
    assert (follow(convolution.outputs[0]).activated is not None) == passes


def test_follow_passes_nothing_behind_what_is_returned() -> None:
    network = Between(lambda y, w: (y, y.relu()))
    assert follow(record_calls(network, IMAGE).calls[0].outputs[0]).passed == ()


@pytest.mark.parametrize("normalisation", [nn.GroupNorm(1, 4), nn.InstanceNorm2d(4)])
def test_statistics_over_space_end_the_way(normalisation: nn.Module) -> None:
    record = record_calls(nn.Sequential(nn.Conv2d(3, 4, 1), normalisation, nn.ReLU()), IMAGE)
    assert follow(record.calls[0].outputs[0]).activated is None


def test_a_residual_sum_ends_the_way() -> None:
    record = record_calls(Net(lambda net, x: F.relu(net.conv(x) + x), conv=nn.Conv2d(3, 3, 1)), IMAGE)
    assert follow(record.calls[0].outputs[0]).activated is None


def test_table_has_a_row_for_each_site() -> None:
    sites = find_sites(Functional(), IMAGE)
    rows = table(sites)
    assert len(rows) == len(sites)
    assert rows[0]["stride"] == "2"
    assert rows[0]["in"] == "3×64×64"


def test_a_failing_probe_is_told_in_one_line() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(10, 2))
    with pytest.raises(InputError, match=r"fails on a probe of shape \(1, 3, 64, 64\)") as caught:
        find_sites(network, IMAGE)
    assert "\n" not in str(caught.value)


def test_a_scripted_network_is_refused() -> None:
    with pytest.raises(UsageError, match="scripted"):
        find_sites(torch.jit.script(nn.Sequential(nn.MaxPool2d(2))), IMAGE)


def test_what_a_network_keeps_from_a_run_it_does_not_keep_from_the_probe() -> None:
    def caching(net: Any, x: Tensor) -> Any:
        """As torchvision's anchor generators do: on the meta device, the next real run would fail."""
        if net.grid is None:
            net.grid = torch.ones_like(x)
        return net.pool(x * net.grid)

    network = Net(caching, pool=nn.MaxPool2d(2), grid=None)
    assert subsampling(find_sites(network, IMAGE)) == ["pool"]
    assert network.grid is None
    assert network(IMAGE).device == IMAGE.device


def test_the_old_names_of_a_recorded_run_are_understood() -> None:
    for old, new in (("trace", record_calls), ("Trace", Recording)):
        with pytest.warns(DeprecationWarning, match=new.__name__):
            assert getattr(sites_trace, old) is new
    with pytest.raises(AttributeError, match="tracing"):
        _ = sites_trace.tracing
