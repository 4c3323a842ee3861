"""Measuring leaves everything as it was, whatever measures, and also where it fails."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.classes import match_labels
from aliasing.depth import lie_error
from aliasing.depth.attribution import attribute
from aliasing.depth.feature_maps import average_change, choose_layers, follow_maps, layer_outputs
from aliasing.errors import InputError, UsageError
from aliasing.explorer.drawings import depth_profile
from aliasing.explorer.walk import Watch
from aliasing.hooks import seen
from aliasing.images import open_images
from aliasing.jitter import trace, trace_most_jittery
from aliasing.jitter.examples import write_examples
from aliasing.leaderboard import cost, views_per_second
from aliasing.models import Classifier, penultimate_features, penultimate_layer
from aliasing.scales import find_scale
from aliasing.surgery.finetune import Recipe, finetune

HALF = (0.5, 0.5, 0.5)


class Network(nn.Module):
    """In training mode but for a part, with frozen, laid out and hooked parts, and without regard for others."""

    def __init__(self, fails: str = "never", copyable: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.body = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(8, 6))
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.fails = fails
        self.calls = 0
        self.stem[0].weight.requires_grad_(False)
        self.body[1].to(memory_format=torch.channels_last)
        self.body.register_forward_hook(_pass)
        self.train()
        self.body.eval()
        if not copyable:
            self.open = (number for number in range(3))

    def forward(self, views: Tensor) -> Tensor:
        self.calls += 1  # and it writes to a buffer
        self.scale.copy_(torch.ones(()))
        torch.rand(1)
        np.random.rand()  # noqa: NPY002
        random.random()
        torch.use_deterministic_algorithms(False)
        white = views.device.type != "meta" and bool((views.amin((1, 2, 3)) > 0.99).any())
        if self.fails == "always" or (self.fails == "on white" and white):
            raise ValueError("no white images")
        answer: Tensor = self.head(self.body(self.stem(views * self.scale)))
        return answer


def _pass(module: nn.Module, args: Any, output: Tensor) -> None:
    pass


def state_of(module: nn.Module) -> dict[str, Any]:
    """All that measuring could change of a network."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "modes": {name: inside.training for name, inside in module.named_modules()},
        "hooks": {
            name: [len(vars(inside)[kind]) for kind in vars(inside) if kind.endswith("_hooks")]
            for name, inside in module.named_modules()
        },
        "attributes": {
            name: sorted({*vars(inside)} - {"_is_hf_initialized"}) for name, inside in module.named_modules()
        },
        "modules": {name: id(inside) for name, inside in module.named_modules()},
        "tensors": {
            name: (id(t), t._version, t.data_ptr(), t.stride(), t.dtype, t.device, t.requires_grad, t.grad, t.tolist())
            for name, t in tensors.items()
        },
    }


def surroundings() -> dict[str, Any]:
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (kind, np.asarray(numbers).tolist(), *rest),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "type": torch.get_default_dtype(),
    }


def pictures(last: int = 255) -> list[Any]:
    drawn = np.random.default_rng(0).integers(0, 200, (5, 40, 40, 3), dtype=np.uint8)
    return [*((picture, k % 6) for k, picture in enumerate(drawn)), (np.full((40, 40, 3), last, np.uint8), 0)]


def image(last: bool = False) -> Any:
    return [*open_images(pictures())][-1 if last else 0].load()


MEASURES: dict[str, Callable[[Classifier, Path], Any]] = {
    "measure_jitter": lambda model, out: al.measure_jitter(model, pictures(), out=out),
    "measure_jitter, in bfloat16": lambda model, out: al.measure_jitter(model, pictures(), precision="bfloat16"),
    "measure_jitter, embedding": lambda model, out: al.measure_jitter(model, pictures(), output="embedding"),
    "measure_jitter, a bare module": lambda model, out: al.measure_jitter(model.module, pictures(), "crop:span=1"),
    "compare_networks": lambda model, out: al.compare_networks(
        model, pictures(), antialiased=["binomial3,all"], recalibrate_on=pictures(0)
    ),
    "probe_depth": lambda model, out: al.probe_depth(model, pictures(), sites_every=1),
    "attribute": lambda model, out: attribute(model, pictures()),
    "lie_error": lambda model, out: lie_error(model, pictures()),
    "average_change": lambda model, out: average_change(model, pictures()),
    "follow_maps": lambda model, out: follow_maps(model, image(last=True)),
    "layer_outputs": lambda model, out: layer_outputs(model, np.full((2, 24, 24, 3), 255, np.float32), ["body"]),
    "choose_layers": lambda model, out: choose_layers(model),
    "trace": lambda model, out: trace(model, image(last=True)),
    "write_examples": lambda model, out: write_examples(
        al.measure_jitter(model, pictures()[:3]), [model], pictures()[:3], out
    ),
    "trace_most_jittery": lambda model, out: trace_most_jittery(
        al.measure_jitter(model, pictures()), [model], pictures()
    ),
    "cost": lambda model, out: cost(model),
    "views_per_second": lambda model, out: views_per_second(model, 2),
    "find_scale": lambda model, out: find_scale(model),
    "match_labels": lambda model, out: match_labels(model, {0: 1}),
    "find_sites": lambda model, out: al.find_sites(model),
    "antialias": lambda model, out: al.antialias(model),
    "recalibrate": lambda model, out: al.recalibrate(model, pictures()),
    "finetune": lambda model, out: finetune(model, pictures(), out, Recipe(epochs=1, batch_size=2)),
    "load_model": lambda model, out: al.load_model(model.module),
    "penultimate_layer": lambda model, out: penultimate_layer(model),
    "the explorer": lambda model, out: (
        Watch(model, image()).answer((1, 0)),
        depth_profile([model], image(), (1, 0)),
    ),
}
NEEDS_A_COPY = ("antialias", "recalibrate", "finetune")


@pytest.mark.parametrize("copyable", [True, False], ids=["copyable", "not copyable"])
@pytest.mark.parametrize("fails", ["never", "on white", "always"])
@pytest.mark.parametrize("measure", MEASURES)
def test_everything_is_left_as_it_was(measure: str, fails: str, copyable: bool, tmp_path: Path) -> None:
    if not copyable and measure in NEEDS_A_COPY:
        pytest.skip("it gives a copy")
    module = Network(fails, copyable)
    model = Classifier(module, "known", 24, HALF, HALF, "bilinear", 32, 0.75)
    torch.manual_seed(7)
    before, around = state_of(module), surroundings()
    failed = False
    try:
        MEASURES[measure](model, tmp_path / "out")
    except (InputError, UsageError, ValueError):
        failed = True
    assert surroundings() == around
    if not copyable:  # what cannot be copied is run itself, and counts
        assert module.scale == 1
        del before["tensors"]["scale"]
    else:
        assert module.calls == 0
    after = state_of(module)
    if not copyable:
        del after["tensors"]["scale"]
    for what in before:
        assert after[what] == before[what], what
    # The scale and the number of classes are told from what there is; what fails is said by who shows images.
    if copyable and fails != "on white":
        assert failed == (fails == "always" and measure not in ("find_scale", "match_labels"))


def test_a_training_network_is_measured_as_it_evaluates() -> None:
    """Dropout and batch statistics play no part, and training goes on where it was."""
    trained, still = Network(), Network().eval()
    models = [Classifier(module, "known", 24, HALF, HALF, "bilinear", 32, 0.75) for module in (trained, still)]
    first, second = (al.measure_jitter(model, pictures()).records for model in models)
    assert first.equals(second)
    assert trained.training
    assert not trained.body.training


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_that_a_network_sets_are_set_back(threads: int) -> None:
    class Sets(Network):
        def forward(self, views: Tensor) -> Tensor:
            torch.set_num_threads(threads)
            return super().forward(views)

    before = torch.get_num_threads()
    al.probe_depth(Classifier(Sets(), "known", 24, HALF, HALF, "bilinear", 32, 0.75), pictures()[:2])
    assert torch.get_num_threads() == before


def test_features_are_of_the_network_as_it_is() -> None:
    model = Classifier(Network().eval(), "known", 24, HALF, HALF, "bilinear", 32, 0.75)
    assert penultimate_features(model)(torch.zeros(2, 3, 24, 24)).shape == (2, 8)


def test_hooks_are_gone_though_the_network_raises_and_count_the_calls_of_each_module() -> None:
    shared = nn.Linear(2, 2)
    network = nn.Sequential(shared, shared, nn.ReLU(), nn.Linear(3, 1))
    met: list[tuple[str, int, float]] = []

    def see(name: str, call: int, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        met.append((name, call, float(output.detach().sum())))
        return torch.ones_like(output) if name == "2" else None

    with pytest.raises(RuntimeError, match="shapes"), seen(network, {"0", "2"}, see):
        network(torch.zeros(1, 2))
    assert [(name, call) for name, call, _ in met] == [("0", 0), ("0", 1), ("2", 0)]
    assert not any(module._forward_hooks for module in network.modules())
    with seen(network[:3], {"2"}, see):
        assert network[:3](torch.zeros(1, 2)).tolist() == [[1, 1]]  # what the function returns is the output
