"""On which scale a network answers is recognised, and its measures are those of the same network that gives logits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.depth.across import NetworkDepth, compare_depths
from aliasing.depth.attribution import attribute
from aliasing.errors import InputError, UsageError
from aliasing.images import open_images
from aliasing.jitter import trace
from aliasing.jitter.examples import write_examples
from aliasing.models import Classifier
from aliasing.protocols import make_protocol
from aliasing.scales import SCALES, find_scale, scale_of, to_probabilities
from tests.networks import build
from tests.test_jitter import HALF, photographs

CLASSES = 10


class Ends(nn.Module):
    """A network with something behind its logits."""

    def __init__(self, body: nn.Module, end: Any) -> None:
        super().__init__()
        self.body, self.end = body, end

    def forward(self, views: Tensor) -> Tensor:
        answer: Tensor = self.end(self.body(views))
        return answer


def body(classes: int = CLASSES, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(3, 12, 3, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        module = nn.Sequential(*layers, nn.Linear(12 * 25, classes))
    with torch.no_grad():
        module[-1].weight *= 30  # sure of itself, as trained networks are
    return module


def classifier(module: nn.Module, name: str = "known", size: int = 24, **said: Any) -> Classifier:
    return Classifier(module.eval(), name, size, HALF, HALF, "bilinear", size + 8, size / (size + 8), **said)


def measured(model: Classifier, images: Any = None, **options: Any) -> dict[str, Any]:
    images = photographs(12) if images is None else images
    return al.measure_jitter(model, images, **options).summary()["models"][model.name]


PROBABILITIES = {
    "nn.Softmax": nn.Softmax(1),
    "F.softmax": lambda x: F.softmax(x, dim=1),
    "x.softmax": lambda x: x.softmax(-1),
    "torch.softmax": lambda x: torch.softmax(x, 1),
    "exp of log_softmax": lambda x: x.log_softmax(1).exp(),
    "by hand": lambda x: (x - x.amax(1, True)).exp() / (x - x.amax(1, True)).exp().sum(1, True),
    "softmax, flattened": nn.Sequential(nn.Softmax(1), nn.Flatten()),
    "softmax, with axes of one": lambda x: x.softmax(1)[:, :, None, None],
    "softmax, dropout in evaluation": nn.Sequential(nn.Softmax(1), nn.Dropout(0.5), nn.Identity()),
    "softmax in double precision": lambda x: x.double().softmax(1),
    "the mean of two softmaxes of the same": lambda x: torch.stack([x.softmax(1), x.softmax(1)]).mean(0),
}
LOGARITHMS = {
    "nn.LogSoftmax": nn.LogSoftmax(1),
    "F.log_softmax": lambda x: F.log_softmax(x, 1),
    "x.log_softmax": lambda x: x.log_softmax(-1),
    "log of softmax": lambda x: x.softmax(1).clamp_min(1e-37).log(),
    "logits minus their logsumexp": lambda x: x - x.logsumexp(1, True),
}
LOGITS = {
    "logits": nn.Identity(),
    "logits with axes of one": lambda x: x[:, None],
    "logits and a constant": lambda x: x + 3,
}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return measured(classifier(body()))


@pytest.mark.parametrize(
    ("end", "scale"),
    [
        *((end, "probabilities") for end in PROBABILITIES),
        *((end, "log-probabilities") for end in LOGARITHMS),
        *((end, "logits") for end in LOGITS),
    ],
)
def test_the_measures_are_those_of_the_logits(end: str, scale: str, expected: dict[str, Any]) -> None:
    found = measured(classifier(Ends(body(), (PROBABILITIES | LOGARITHMS | LOGITS)[end])))
    assert found["scale"]["name"] == scale
    assert "caution" not in found["scale"]
    assert expected["top1_change"]["value"] > 0.1
    assert expected["mac"]["value"] > 0.02
    for measure in ("top1_change", "mac", "consistency", "total_variation"):
        for which in ("value", "low", "high"):
            # Probabilities are rounded once more, 6e-8 each; along a path of 8 steps ten times as much adds up.
            assert found[measure][which] == pytest.approx(expected[measure][which], abs=2e-6)


def test_the_last_call_is_said(expected: dict[str, Any]) -> None:
    assert expected["scale"] == {
        "name": "logits",
        "found_by": "its last call is linear, and its rows are neither probabilities nor their logarithms",
    }
    found = find_scale(classifier(Ends(body(), PROBABILITIES["softmax, dropout in evaluation"])))
    assert found.how == "its last call is softmax, and its rows sum to 1"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("end", ["softmax", "log_softmax", "logits"])
def test_the_scale_is_recognised_in_every_precision(end: str, dtype: torch.dtype) -> None:
    """Rows of rounded probabilities sum to 1 within some rounding units, 2⁻⁸ in bfloat16."""
    ends = {"softmax": nn.Softmax(1), "log_softmax": nn.LogSoftmax(1), "logits": nn.Identity()}
    names = {"softmax": "probabilities", "log_softmax": "log-probabilities", "logits": "logits"}
    for classes in (2, 10, 1000):
        found = find_scale(classifier(Ends(body(classes), ends[end]).to(dtype)))
        assert found.name == names[end]
        assert found.caution is None


@pytest.mark.parametrize(
    "name",
    ["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:convnext_atto", "timm:vit_tiny_patch16_224"],
)
def test_published_architectures_give_logits_and_probabilities_behind_a_softmax(name: str) -> None:
    network = build(name)
    size = 224 if "vit" in name else 64
    assert find_scale(classifier(network, size=size)).name == "logits"
    ended = find_scale(classifier(nn.Sequential(network, nn.Softmax(1)), size=size))
    assert (ended.name, ended.caution) == ("probabilities", None)


def test_an_exported_network_is_recognised_by_its_values() -> None:
    network = nn.Sequential(body(), nn.Softmax(1)).eval()
    x = torch.zeros(2, 3, 24, 24)
    assert find_scale(classifier(torch.jit.trace(network, x))).name == "probabilities"
    exported = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("views")},)).module()
    model = Classifier(exported, "known", 24, HALF, HALF, "bilinear", 32, 0.75)
    assert find_scale(model).how == "its last call is softmax, and its rows sum to 1"
    plain = measured(classifier(nn.Sequential(body(), nn.Softmax(1))), photographs(2))
    assert measured(model, photographs(2))["mac"]["value"] == pytest.approx(plain["mac"]["value"], abs=1e-6)


def test_a_network_of_torchvision_with_a_classifier_in_a_sequential_keeps_its_numbers() -> None:
    network = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=7)
    model = classifier(network, size=64)
    ended = classifier(nn.Sequential(network, nn.LogSoftmax(1)), size=64)
    images = photographs(3, 72)
    for measure in ("top1_change", "mac"):
        assert measured(ended, images)[measure]["value"] == pytest.approx(
            measured(model, images)[measure]["value"], abs=1e-6
        )


def test_efficientnet_lite0_gives_the_same_numbers_behind_a_softmax(imagenet_sample: Path) -> None:
    """The case of the issue: a second softmax made MAC 0.0001 of 0.051."""
    plain = al.load_model("pypi:efficientnet_lite0")
    ended = replace(plain, module=nn.Sequential(plain.module, nn.Softmax(1)), name="ended", origin={})
    options: dict[str, Any] = {"protocol": "crop:span=2", "limit": 6}
    summary = al.measure_jitter([plain, ended], imagenet_sample, **options).summary()["models"]
    first, second = summary[plain.name], summary["ended"]
    assert (first["scale"]["name"], second["scale"]["name"]) == ("logits", "probabilities")
    assert first["mac"]["value"] > 1e-3
    for measure in ("top1_change", "mac", "accuracy"):
        # Both are softmaxes in float32 of the same logits; the sums of the network itself may be ordered otherwise.
        assert second[measure]["value"] == pytest.approx(first[measure]["value"], abs=1e-5)


# --- one number -----------------------------------------------------------------------------------------------------


ONE = {
    "one logit": nn.Identity(),
    "one logit, flat": lambda x: x[:, 0],
    "one logit with axes of one": lambda x: x[:, :, None, None],
}
ONE_PROBABILITY = {
    "nn.Sigmoid": nn.Sigmoid(),
    "F.sigmoid": lambda x: torch.sigmoid(x),
    "x.sigmoid, flat": lambda x: x.sigmoid().flatten(),
    "sigmoid_": lambda x: x.clone().sigmoid_().squeeze(1),
    "special.expit": lambda x: torch.special.expit(x),
}


@pytest.mark.parametrize(
    ("end", "scale"),
    [*((end, "one logit") for end in ONE), *((end, "one probability") for end in ONE_PROBABILITY)],
)
def test_one_number_is_two_classes(end: str, scale: str) -> None:
    """As a softmax of (0, x), of which the sigmoid is the second."""
    found = measured(classifier(Ends(body(1), (ONE | ONE_PROBABILITY)[end])))
    two = measured(classifier(Ends(body(1), lambda x: torch.cat([torch.zeros_like(x), x], 1))))
    assert found["scale"]["name"] == scale
    assert two["scale"]["name"] == "logits"
    assert two["top1_change"]["value"] > 0
    for measure in ("top1_change", "mac"):
        assert found[measure]["value"] == pytest.approx(two[measure]["value"], abs=1e-6)


def test_one_logit_has_an_accuracy_of_two_classes() -> None:
    pictures = [(picture, index % 2) for index, picture in enumerate(photographs(10))]
    assert 0 <= measured(classifier(body(1)), pictures)["accuracy"]["value"] <= 1
    other = measured(classifier(body(1)), [(photographs(1)[0], 2)])
    assert "accuracy" not in other
    assert any("no accuracy: labels from 2 to 2" in caution for caution in other["cautions"])


def test_one_logit_is_verified_by_its_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.jitter.has_fast_bfloat16", lambda device: True)
    found, exact = (measured(classifier(body(1)), precision=precision) for precision in ("verified", "float32"))
    assert found["top1_change"] == exact["top1_change"]


# --- many labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [nn.Sigmoid(), torch.sigmoid, lambda x: x.sigmoid()[:, :, None, None]])
def test_many_labels_have_measures_of_their_own(end: Any) -> None:
    model, pictures = classifier(Ends(body(), end)), photographs(8)
    found = measured(model, pictures)
    assert found["scale"]["name"] == "multi-label probabilities"
    assert "each number is taken for the probability of its own label" in " ".join(found["cautions"])
    assert not found.keys() & {"top1_change", "mac", "accuracy", "total_variation"}
    # By hand, a picture at a time.
    protocol = make_protocol("crop")
    changes, moves, worst = [], [], []
    for entry in open_images(pictures):
        views = protocol.views(entry.load(), model)
        with torch.no_grad():
            shown = model.normalize(np.stack([view.draw() for view in views.views]))
            p = body().eval()(shown).sigmoid().numpy()
        pairs = [((p[a] >= 0.5) != (p[b] >= 0.5)).any() for a, b in views.pairs]
        changes += pairs
        moves += [np.abs(p[a] - p[b]).mean() for a, b in views.pairs]
        worst.append(any(pairs))
    assert 0 < np.mean(changes) < 1
    assert found["any_change"]["value"] == np.mean(changes)
    assert found["consistency"]["value"] == 1 - np.mean(changes)
    assert found["worst_change"]["value"] == np.mean(worst)
    assert found["label_mac"]["value"] == pytest.approx(np.mean(moves), abs=1e-6)
    assert found["images_that_change"] == np.sum(worst)


def test_many_logits_of_labels_can_be_said() -> None:
    said = measured(classifier(body(), scale="multi-label logits"))
    ended = measured(classifier(Ends(body(), nn.Sigmoid())))
    assert said["scale"] == {"name": "multi-label logits", "found_by": "it was said"}
    assert said["any_change"] == ended["any_change"]
    assert said["label_mac"]["value"] == pytest.approx(ended["label_mac"]["value"], abs=1e-6)


def test_many_labels_go_all_the_way_through(tmp_path: Path) -> None:
    """Beside a network of classes: tables, figure, differences, the folder, the leaderboard."""
    models = [classifier(body(), "classes"), classifier(Ends(body(), nn.Sigmoid()), "labels")]
    pictures = photographs(4)
    result = al.measure_jitter(models, pictures, out=tmp_path / "out")
    again = al.measure_jitter(models, pictures, out=tmp_path / "out")
    summary = result.summary()
    assert summary["models"] == again.summary()["models"]
    (difference,) = summary["differences"]
    assert {*difference} == {"first", "second", "images", "worst_change"}
    assert len(result.records) == 2 * 4 * 8
    al.plots.jitter(result)
    assert "P(any label changes)" in result._repr_html_()
    assert write_examples(al.measure_jitter(models[1], pictures), [models[1]], pictures, tmp_path / "examples") == []
    board = al.compare_networks(models, pictures)
    assert not board.unmeasured
    assert board.table()["any_change"].to_pylist().count(None) == 1
    with pytest.raises(UsageError, match="without a single answer to verify"):
        al.measure_jitter(models[1], pictures, precision="verified")


# --- what is said, and what cannot be told --------------------------------------------------------------------------


def test_a_scale_that_is_said_is_taken() -> None:
    softmax = classifier(Ends(body(), nn.Softmax(1)))
    as_logits = measured(replace(softmax, scale="logits"))
    assert as_logits["scale"] == {"name": "logits", "found_by": "it was said"}
    assert as_logits["mac"]["value"] < measured(softmax)["mac"]["value"] / 2
    sigmoid = replace(classifier(Ends(body(), nn.Sigmoid())), scale="probabilities")
    assert "top1_change" in measured(sigmoid)


def test_a_scale_that_cannot_be_is_one_line() -> None:
    with pytest.raises(UsageError, match="no scale 'percent'; expected one of logits, log-probabilities"):
        measured(classifier(body(), scale="percent"))
    with pytest.raises(
        InputError, match=r"known gives numbers outside 0…1 \(by .*\), and its scale is 'probabilities'"
    ):
        measured(classifier(body(), scale="probabilities"))
    with pytest.raises(InputError, match=r"known gives \d+×10, and its scale is 'one logit'"):
        measured(classifier(body(), scale="one logit"))


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda x: x.clamp(0, 1), "numbers in 0…1 that do not sum to 1"),
        (lambda x: 1 / (1 + (-x).exp()), "numbers in 0…1 that do not sum to 1"),
        (lambda x: -x.relu(), "no number above 0"),
        (F.logsigmoid, "no number above 0"),
    ],
)
def test_what_cannot_be_told_is_said(end: Any, text: str) -> None:
    found = measured(classifier(Ends(body(), end)))
    assert found["scale"]["name"] == "logits"
    assert text in found["scale"]["caution"]
    assert found["scale"]["caution"] in found["cautions"]


def test_a_softmax_of_which_a_class_is_dropped_gives_probabilities_and_a_caution() -> None:
    found = find_scale(classifier(Ends(body(), lambda x: x.softmax(1)[:, 1:])))
    assert found.name == "probabilities"
    assert "after a softmax; they are taken for probabilities as they are" in str(found.caution)


@given(st.integers(2, 300), st.integers(0, 2**31), st.floats(0.01, 1e3))
def test_values_alone_tell_probabilities_from_logits(classes: int, seed: int, spread: float) -> None:
    logits = spread * torch.randn(4, classes, generator=torch.Generator().manual_seed(seed))
    assert scale_of(logits, None).name == "logits"
    assert scale_of(logits.softmax(1), None).name == "probabilities"
    assert scale_of(logits.log_softmax(1), None).name == "log-probabilities"


@given(st.sampled_from(sorted(SCALES)), st.integers(1, 20), st.integers(0, 2**31))
def test_every_scale_gives_probabilities(name: str, columns: int, seed: int) -> None:
    """In 0…1; of one answer they sum to 1."""
    scale = SCALES[name]
    columns = columns if columns in scale.columns else scale.columns[0]
    logits = 5 * torch.randn(3, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    answers = {
        "log-probabilities": logits.log_softmax(1),
        "probabilities": logits.softmax(1),
        "one probability": logits.sigmoid(),
        "multi-label probabilities": logits.sigmoid(),
    }.get(name, logits)
    found = to_probabilities(answers, name, "known")
    assert bool(((found >= 0) & (found <= 1)).all())
    if not scale.of_labels:
        assert found.shape[1] >= 2
        # Sums of up to 20 doubles.
        torch.testing.assert_close(found.sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-13)


def test_all_who_ask_for_probabilities_get_them() -> None:
    """Trace, examples, attribution and leaderboard: as those of the logits."""
    logits, ended = classifier(body(), "logits"), classifier(nn.Sequential(body(), nn.Softmax(1)), "ended")
    pictures = photographs(3)
    image = next(iter(open_images(pictures))).load()
    first, second = (trace(model, image) for model in (logits, ended))
    np.testing.assert_allclose(first.probability, second.probability, atol=1e-6)
    rows = [attribute(model, pictures).summary()["variants"]["as it is"] for model in (logits, ended)]
    assert rows[0]["mac"]["value"] == pytest.approx(rows[1]["mac"]["value"], abs=1e-6)
    assert rows[0]["mac"]["value"] > 0.01
    board = al.compare_networks([logits, ended], pictures).summary()["models"]
    assert board["logits"]["mac"]["value"] == pytest.approx(board["ended"]["mac"]["value"], abs=1e-6)
    assert board["ended"]["classes"] == CLASSES


def test_the_command_says_the_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = (
        "import torch\nfrom torch import nn\nfrom aliasing.models import Classifier\n"
        "def net():\n"
        "    layers = nn.Sequential(nn.Conv2d(3, 6, 8, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid())\n"
        "    return Classifier(layers, 'net', 24, (0.5,) * 3, (0.5,) * 3, 'bilinear', 32, 0.75)\n"
    )
    (tmp_path / "many_labels.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    assert main(["jitter", "--models", "module:many_labels:net", "--limit", "1", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert "P(any label changes)" in printed
    assert "it ends in a sigmoid" in printed


def test_timm_networks_without_weights_are_told_from_probabilities() -> None:
    """Weights as they are initialised, where every class is nearly as likely as any other."""
    for name in ("resnet18", "mobilenetv3_small_050", "regnetx_002"):
        model = classifier(timm.create_model(name, pretrained=False), size=64)
        assert find_scale(model).name == "logits"
        assert (
            find_scale(replace(model, module=nn.Sequential(model.module, nn.Softmax(-1)).eval())).name
            == "probabilities"
        )


def test_many_labels_are_not_set_against_depth() -> None:
    models = [classifier(body(), "a"), classifier(body(seed=1), "b"), classifier(Ends(body(), nn.Sigmoid()), "labels")]
    result = al.measure_jitter(models, photographs(4))
    depths = {name: NetworkDepth(layers, 1, 4.0) for layers, name in enumerate(result.models, 2)}
    summary = compare_depths([result], depths=depths).summary()
    assert [network["name"] for network in summary["groups"][0]["networks"]] == ["a", "b"]
    (left_out,) = summary["not_measured"]
    assert (left_out["name"], left_out["reason"][:27]) == ("labels", "its answer is not one class")
