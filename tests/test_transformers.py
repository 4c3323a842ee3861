"""Transformers: patches, windows, merging and pooled tokens, anchored so that the answer stays under shifts."""

import copy
import itertools
import pickle

import pytest
import timm
import torch
from networks import Net, build, difference, image
from torch import Tensor, nn

import aliasing as al
from aliasing.downsample import largest_phase, polyphase_anchor
from aliasing.errors import UsageError
from aliasing.sites.find import locate
from aliasing.sites.trace import record_calls
from aliasing.surgery.rewrite import scaled
from aliasing.surgery.specification import parse

# Float64 sums in another order along some ten layers that may double a difference each: 1e-16 · 2^10.
ROUNDING = 1e-12
FEW = [(0, 1), (1, 0), (3, 2), (16, 5), (33, 62)]
ALL = list(itertools.product(range(64), range(64)))
SMALL = {  # every window and every stride divides the maps of 64 pixels
    "vit_tiny_patch16_224": {"depth": 2, "num_classes": 10},
    "vit_tiny_patch16_224, pooled": {"depth": 2, "class_token": False, "global_pool": "avg"},
    "swin_tiny_patch4_window7_224": {"window_size": 4, "depths": (2, 2, 2, 2)},
    "swinv2_tiny_window8_256": {"window_size": 4, "depths": (2, 2, 2, 2)},
    "twins_svt_small": {"wss": (4, 4, 4, 2), "depths": (2, 2, 2, 1)},
    "twins_pcpvt_small": {"depths": (1, 1, 1, 1)},
    "hiera_tiny_224": {},
}
LARGER = {  # tested slowly
    "swinv2_cr_tiny_224": {},
    "maxvit_rmlp_pico_rw_256": {},
    "nextvit_small": None,
    "mobilevitv2_050": None,
}


def small(name: str, options: dict[str, object] | None) -> nn.Module:
    """A network with random weights in which a normalised token's norm and a position code say something."""
    options = {} if options is None else {"img_size": 64, **options}
    network = build(f"timm:{name.partition(',')[0]}", **options).double()
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.LayerNorm) and module.weight is not None:
            module.weight.data.normal_(1, 0.3, generator=random)
            module.bias.data.normal_(0, 0.3, generator=random)
    for key, parameter in network.named_parameters():
        if "pos" in key or "bias_table" in key:
            parameter.data.normal_(0, 0.5, generator=random)
    return network


def anchored(network: nn.Module, x: Tensor) -> nn.Module:
    return al.antialias(
        network,
        operator="aps",
        placement="before",
        scheme="all",
        padding="circular",
        positions="anchored",
        example_input=x,
    )


def changed(network: nn.Module, x: Tensor, shifts: list[tuple[int, int]]) -> float:
    return max(difference(network(x.roll(by, (2, 3))), network(x)) for by in shifts)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_an_anchored_transformer_does_not_see_circular_shifts(name: str) -> None:
    network, x = small(name, SMALL[name]), image(64)
    fixed = anchored(network, x)
    assert changed(fixed, x, FEW) < ROUNDING
    assert changed(network, x, FEW[:1]) > 1e-3
    assert list(fixed.state_dict()) == list(network.state_dict())
    again = al.surgery.restore(pickle.loads(pickle.dumps(copy.deepcopy(fixed))))
    assert torch.equal(again(x), network(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *LARGER])
@torch.no_grad()
def test_an_anchored_transformer_sees_no_circular_shift_at_all(name: str) -> None:
    network, x = small(name, {**SMALL, **LARGER}[name]), image(64)
    fixed = anchored(network, x)
    plain = fixed(x)
    for first in range(0, len(ALL), 64):
        moved = fixed(torch.cat([x.roll(by, (2, 3)) for by in ALL[first : first + 64]]))
        assert difference(moved, plain.expand_as(moved)) < ROUNDING


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 4, "depths": (2, 2, 2, 2)}),
        ("timm:nextvit_small", {}),
        ("torchvision:swin_t", {}),
    ],
)
@torch.no_grad()
def test_one_tap_in_front_of_merging_and_token_pooling_changes_nothing(name: str, options: dict[str, object]) -> None:
    network, x = build(name, **options).double(), image(64)
    one = al.antialias(network, scheme="all", taps=[1.0], example_input=x)
    assert difference(one(x), network(x)) < ROUNDING
    fixed = al.antialias(network, scheme="all", example_input=x)
    kinds = {site.kind for site in fixed.antialiased_sites if site.status == "anti-aliased"}
    assert kinds & {"space to depth", "token pooling"}
    assert difference(fixed(x), one(x)) > 1e-3


def test_windows_are_found_and_only_a_choice_anchors_them() -> None:
    with torch.device("meta"):
        network = timm.create_model("swin_tiny_patch4_window7_224", depths=(2, 2, 1, 1))
    sites = [site for site in al.find_sites(network) if site.status == "windowed"]
    assert [site.name for site in sites[:2]] == ["layers.0.blocks.0.windows", "layers.0.blocks.1.windows"]
    assert {(site.kind, site.kernel, site.stride) for site in sites} == {("windows", (7, 7), (1, 1))}
    assert "by all of it" in sites[-1].note  # a window of the size of the map
    network, x = small("swin_tiny_patch4_window7_224", {"window_size": 4, "depths": (2, 2, 1, 1)}), image(64)
    for operator, said in (("blur", "a choice of where they begin"), ("lps", "can't stand in front of a call")):
        left = al.antialias(network, operator=operator, scheme="all", example_input=x)
        notes = [site.note for site in left.antialiased_sites if site.status == "windowed"]
        assert len(notes) == 6
        assert all(said in note for note in notes)
    one = al.antialias(network, operator="aps", scheme=["layers.0.blocks.1.windows"], example_input=x)
    treated = [site for site in one.antialiased_sites if site.status == "anti-aliased"]
    assert [site.name for site in treated] == ["layers.0.blocks.1.windows"]
    assert treated[0].note.endswith("those across the border are not masked")


def test_the_sums_of_relative_positions_are_no_windows() -> None:
    """MViT splits its tokens for them, and joins them again, without moving an axis."""
    with torch.device("meta"):
        network = timm.create_model("mvitv2_tiny")
    assert not any(site.status == "windowed" for site in al.find_sites(network))


def test_a_mask_in_a_fused_attention_is_left_alone() -> None:
    timm.layers.set_fused_attn(True, experimental=True)
    try:
        network = small("swin_tiny_patch4_window7_224", {"window_size": 4, "depths": (2, 1, 1, 1)})
    finally:
        timm.layers.set_fused_attn(True)
    notes = {site.name: site.note for site in anchored(network, image(64)).antialiased_sites}
    assert notes["layers.0.blocks.0.windows"].startswith("windows begin where aps chooses")
    assert "part of a fused attention" in notes["layers.0.blocks.1.windows"]


@pytest.mark.parametrize("name", ["maxvit_tiny_tf_224", "tnt_s_patch16_224", "volo_d1_224"])
def test_biases_are_no_masks_and_patches_by_unfolding_are_anchored(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name).eval()
    for site in anchored(network, torch.empty(1, 3, 224, 224, device="meta")).antialiased_sites:
        assert site.status in ("anti-aliased", "global", "upsampling"), site


@torch.no_grad()
def test_tokens_that_are_merged_at_once_are_anchored() -> None:
    """As in Qwen's encoders: the tokens of each cell of 2×2 become channels of one token."""

    def way(net: Net, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        cells = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
        return net.mix(cells.reshape(n, h * w // 4, 4 * c)).relu().mean(1)

    network, x = Net(way, mix=nn.Linear(12, 5)).double(), image(16)
    fixed = anchored(network, x)
    assert [site.kind for site in fixed.antialiased_sites] == ["space to depth"]
    assert changed(fixed, x, [(1, 0), (3, 2), (0, 5)]) < ROUNDING < 1e-3 < changed(network, x, [(1, 0)])


@torch.no_grad()
def test_outlook_attention_moves_with_the_map() -> None:
    """VOLO's: unfold, weigh by a map of half the size, fold; here without padding."""

    def way(net: Net, x: Tensor) -> Tensor:
        weights = net.mix(nn.functional.avg_pool2d(x, 2)).flatten(2)
        return nn.functional.fold(nn.functional.unfold(x, 2, stride=2) * weights, x.shape[-2:], 2, stride=2)

    network, x = Net(way, mix=nn.Conv2d(3, 12, 1)).double(), image(16)
    fixed = anchored(network, x)
    for by in [(1, 0), (3, 2), (0, 5)]:
        assert difference(fixed(x.roll(by, (2, 3))), fixed(x).roll(by, (2, 3))) < ROUNDING


# --- slow references --------------------------------------------------------------------------------------------------


def largest(x: Tensor, steps: tuple[int, int]) -> tuple[int, int]:
    """The phase of an image (C, H, W) with the largest norm, by definition."""
    norms = {
        (p, q): float(x[:, p :: steps[0], q :: steps[1]].square().sum())
        for p in range(steps[0])
        for q in range(steps[1])
    }
    return max(norms, key=lambda phase: norms[phase])


@pytest.mark.parametrize("steps", [(2, 2), (3, 4), (12, 12), (1, 6)])
def test_an_anchored_signal_begins_at_its_largest_phase_and_moves_by_whole_strides(steps: tuple[int, int]) -> None:
    x = torch.randn(3, 2, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = polyphase_anchor(x, steps)
    for one, found in zip(x, y, strict=True):
        p, q = largest(one, steps)
        assert torch.equal(found, one.roll((-p, -q), (1, 2)))
        assert torch.equal(polyphase_anchor(one, steps), found)
    for by in [(0, 1), (1, 0), (5, 7)]:
        z = polyphase_anchor(x.roll(by, (2, 3)), steps)
        cells = itertools.product(range(0, 12, steps[0]), range(0, 12, steps[1]))
        assert any(torch.equal(z[0], y[0].roll(cell, (1, 2))) for cell in cells)
    pool = al.layers.PolyphasePool2d(steps)
    assert torch.equal(pool(x), pool.low_pass(x)[..., :: steps[0], :: steps[1]])


class Windows(nn.Module):
    """Each window of 3×2 is weighted place by place, and gets its own mean; a mask is added to some windows."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.rand(3, 2, 1, generator=torch.Generator().manual_seed(1)))
        self.register_buffer("mask", torch.arange(8.0).reshape(8, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.channels_last:
            cells = x.permute(0, 2, 3, 1).view(n, h // 3, 3, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
        else:
            cells = x.view(n, c, h // 3, 3, w // 2, 2).permute(0, 2, 4, 3, 5, 1)
        windows = cells.reshape(n, 8, 6, c) + self.mask
        windows = (windows.view(n, 8, 3, 2, c) * self.weight + windows.mean(2)[:, :, None, None]).view(cells.shape)
        if self.channels_last:
            return windows.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c).permute(0, 3, 1, 2)
        return windows.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


@pytest.mark.parametrize("channels_last", [True, False])
@torch.no_grad()
def test_anchored_windows_are_those_that_begin_at_the_largest_phase_and_wrap(channels_last: bool) -> None:
    network = Windows(channels_last).double()
    x = torch.randn(2, 4, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    fixed = al.antialias(network, operator="aps", scheme="all", example_input=x)
    expected = torch.zeros_like(x)
    for image_, out in zip(x, expected, strict=True):
        p, q = largest(image_, (3, 2))
        for top, left in itertools.product(range(p, p + 6, 3), range(q, q + 8, 2)):
            places = [((top + i) % 6, (left + j) % 8, i, j) for i in range(3) for j in range(2)]
            mean = torch.stack([image_[:, y, x_] for y, x_, _, _ in places]).mean(0)
            for y, x_, i, j in places:
                out[:, y, x_] = image_[:, y, x_] * network.weight[i, j] + mean
    torch.testing.assert_close(fixed(x), expected, rtol=0, atol=ROUNDING)
    moved = fixed(x.roll((1, 3), (2, 3)))  # the grid of the samples stays
    torch.testing.assert_close(moved, fixed(x).roll((1, 3), (2, 3)), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 2), (8, 12, 4), (4, 2, 2), (6, 6, 3), (12, 16, 2)])
@torch.no_grad()
def test_pooled_tokens_are_the_same_under_shifts_by_their_period(height: int, width: int, side: int) -> None:
    def pooled(net: Net, x: Tensor) -> Tensor:
        return net.pool(net.conv(x).flatten(2))

    network = Net(pooled, conv=nn.Conv2d(3, 3, 1), pool=nn.AvgPool1d(side**2)).double()
    x = torch.randn(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (place,) = locate(record_calls(network, x))
    down, across = place.changes[0].period
    assert (place.site.kind, place.site.status, place.site.stride) == ("token pooling", "subsamples", (side, side))

    def same(by: tuple[int, int]) -> bool:
        both = [network(one).sort(-1).values for one in (x, x.roll(by, (2, 3)))]
        return torch.allclose(*both, rtol=0, atol=ROUNDING)

    assert same((down, 0))
    assert same((0, across))
    assert not any(same((by, 0)) for by in range(1, down))
    assert not any(same((0, by)) for by in range(1, across))
    fixed = al.antialias(network, operator="aps", scheme="all", example_input=x)
    for by in [(1, 0), (0, 1), (3, 2)]:
        one, other = (fixed(shown).sort(-1).values for shown in (x, x.roll(by, (2, 3))))
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING)


@torch.no_grad()
def test_an_anchored_code_begins_at_the_largest_token() -> None:
    network, x = small("vit_tiny_patch16_224", {"depth": 1, "num_classes": 3}), image(64)
    fixed = al.antialias(
        network, operator="aps", placement="before", scheme="all", positions="anchored", example_input=x
    )
    seen: list[Tensor] = []
    for one in (network, fixed):
        one.pos_drop.register_forward_hook(lambda _, __, out: seen.append(out))
        one(x)
    tokens = fixed.patch_embed(x)[0].reshape(4, 4, -1)
    y, z = divmod(int(tokens.square().sum(-1).argmax()), 4)
    code = network.pos_embed[0, 1:].reshape(4, 4, -1).roll((y, z), (0, 1))
    torch.testing.assert_close(seen[1][0, 1:], (tokens + code).flatten(0, 1), rtol=0, atol=ROUNDING)
    assert torch.equal(seen[0][0, 0], seen[1][0, 0])  # the class token has its own
    assert largest_phase(tokens.permute(2, 0, 1), (4, 4)) == 4 * y + z


def test_what_is_asked_is_in_the_name_and_refused_if_unknown() -> None:
    assert parse("aps,before,all,circular,anchored")["positions"] == "anchored"
    network, x = small("vit_tiny_patch16_224", {"depth": 1, "num_classes": 3}), image(64)
    assert str(anchored(network, x).antialiasing) == "aps,before,all,circular,anchored"
    with pytest.raises(UsageError, match="no positions 'learned'"):
        al.antialias(network, positions="learned", example_input=x)
    assert scaled((14, 7), 8) == (4, 2)
    with pytest.raises(UsageError, match="15 tokens are no map with the proportions of 14×7"):
        scaled((14, 7), 15)
