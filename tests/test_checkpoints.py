"""The weights that are meant, out of whatever a training script saved around them; and what was taken is said."""

import ast
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError
from aliasing.models.checkpoints import Checkpoint, classes_in, read_checkpoint, strip_prefix
from aliasing.models.classifier import fingerprint

ARCHITECTURE = "torchvision:squeezenet1_1"
Weights = OrderedDict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return torchvision.models.squeezenet1_1().eval()


def loaded(content: Any, folder: Path, architecture: str = ARCHITECTURE, **options: Any) -> al.Classifier:
    path = folder / "checkpoint.pth"
    torch.save(content, path, **options)
    return al.load_model(f"file:{path}@{architecture}")


def other(weights: Weights) -> Weights:
    """Weights of the same names that are not meant."""
    return OrderedDict((key, value + 1) for key, value in weights.items())


def prefixed(prefix: str, weights: Weights) -> Weights:
    return OrderedDict((prefix + key, value) for key, value in weights.items())


# --- averaged weights ------------------------------------------------------------------------------------------------

AVERAGED: dict[str, Callable[[Weights], Any]] = {
    name: lambda weights, name=name: {"epoch": 3, "state_dict": other(weights), name: weights}
    for name in (
        "ema_state_dict",
        "state_dict_ema",
        "model_ema",
        "ema_model",
        "ema",
        "params_ema",
        "EMA",
        "swa_state_dict",
        "averaged_model",
        "model_ema_state_dict",
    )
} | {
    "wrapped again": lambda weights: {"model": other(weights), "ema": {"state_dict": weights, "decay": 0.999}},
    "shadow": lambda weights: {"model": other(weights), "ema": {"shadow": weights, "updates": 7}},
    "inside": lambda weights: {"state_dict": {**prefixed("model.", other(weights)), **prefixed("ema_model.", weights)}},
    "beside": lambda weights: {**other(weights), **prefixed("ema.module.", weights)},
    "AveragedModel": lambda weights: {
        "model": other(weights),
        "model_ema": {"n_averaged": torch.tensor(7), **prefixed("module.", weights)},
    },
}


@pytest.mark.parametrize("kind", AVERAGED)
def test_averaged_weights_are_taken_and_said(kind: str, network: nn.Module, tmp_path: Path) -> None:
    classifier = loaded(AVERAGED[kind](network.state_dict()), tmp_path)
    assert fingerprint(classifier.module) == fingerprint(network)
    assert len([note for note in classifier.notes if "the averaged weights were taken from the file" in note]) == 1


def test_the_note_names_what_was_taken_and_what_was_not(network: nn.Module, tmp_path: Path) -> None:
    weights = network.state_dict()
    classifier = loaded({"state_dict": other(weights), "ema_state_dict": weights}, tmp_path)
    expected = "the averaged weights were taken from the file, under ema_state_dict; it holds state_dict too"
    assert classifier.notes == (expected,)
    plain = loaded({"state_dict": weights, "model": other(weights)}, tmp_path)
    assert plain.notes == ("the weights were taken from the file, under state_dict; it holds model too",)
    assert loaded({"state_dict": weights, "epoch": 3}, tmp_path).notes == ()


@pytest.mark.parametrize(
    "beside",
    [
        {"ema": {"decay": 0.999, "updates": 7}},  # settings
        {"ema_scheduler": {"last": 3}},
        {"schema": {"weight": torch.zeros(3)}},
        {"optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}}},
    ],
)
def test_what_is_no_average_is_not_taken_for_one(beside: Any, network: nn.Module, tmp_path: Path) -> None:
    classifier = loaded({"state_dict": network.state_dict(), **beside}, tmp_path)
    assert fingerprint(classifier.module) == fingerprint(network)
    assert classifier.notes == ()


def test_averaged_weights_that_do_not_fit_are_named(network: nn.Module, tmp_path: Path) -> None:
    weights = network.state_dict()
    first = next(iter(weights))
    without = OrderedDict((key, value) for key, value in weights.items() if key != first)
    with pytest.raises(InputError, match=r"\(ema_state_dict\) does not fit SqueezeNet: 1 of 52 keys missing"):
        loaded({"state_dict": weights, "ema_state_dict": without}, tmp_path)


# --- prefixes --------------------------------------------------------------------------------------------------------

PREFIXES = ("model.", "module.", "backbone.", "encoder.", "network.", "net.", "_orig_mod.", "a.b.c.", "модель.", "0.")
FOREIGN = {
    "nothing": {},
    "a criterion": {"criterion.weight": torch.ones(1000)},
    "a metric": {"val_acc.tp": torch.tensor(0), "val_acc.fp": torch.tensor(1)},
    "a name without dots": {"temperature": torch.tensor(1.0)},
    "a part of the prefix": {"mode": torch.ones(1), "b.weight": torch.ones(1)},
    "a second head": {"head.weight": torch.ones(3, 3), "head.bias": torch.ones(3)},
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_weights_are_found_behind_any_prefix(prefix: str, foreign: str, network: nn.Module) -> None:
    own, beside = network.state_dict(), FOREIGN[foreign]
    for content in ({**prefixed(prefix, own), **beside}, {**beside, **prefixed(prefix, own)}):
        found = strip_prefix(Checkpoint(content, "net.pth"), own)
        assert list(found.tensors) == list(own)
        assert all(found.tensors[key] is value for key, value in own.items())
        noted = [note for note in found.notes if "left out" in note]
        assert len(noted) == (1 if beside else 0)
        assert all(key in noted[0] for key in beside)


names = st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


@given(names, st.text("ab.", max_size=4))
def test_a_prefix_comes_off_as_it_went_on(keys: list[str], prefix: str) -> None:
    """Each name by its own tensor: whatever is taken, no weight stands under another's name."""
    own = {key: torch.full((), float(index)) for index, key in enumerate(keys)}
    whole = f"{prefix}." if prefix else ""
    try:
        found = strip_prefix(Checkpoint({whole + key: value for key, value in own.items()}, "net.pth"), own)
    except InputError as error:  # "a" and "a.a" fit under two prefixes
        assert "several times" in str(error)  # noqa: PT017
    else:
        if set(found.tensors) == set(own):
            assert all(found.tensors[key] is value for key, value in own.items())


def test_lightning_with_a_foreign_key_loads(network: nn.Module, tmp_path: Path) -> None:
    weights = network.state_dict()
    content = {"state_dict": {**prefixed("model.", weights), "criterion.weight": torch.ones(1000)}, "epoch": 3}
    classifier = loaded(content, tmp_path)
    assert fingerprint(classifier.module) == fingerprint(network)
    (note,) = classifier.notes
    assert note.endswith("1 key was left out, which is not under model. (criterion.weight)")


def test_two_networks_in_one_file_are_refused(network: nn.Module, tmp_path: Path) -> None:
    weights = network.state_dict()
    with pytest.raises(InputError, match=r"several times, under student\., teacher\.; save only one of them"):
        loaded({**prefixed("student.", other(weights)), **prefixed("teacher.", weights)}, tmp_path)
    with pytest.raises(InputError, match=r"52 unexpected \(teacher\."):
        loaded({**weights, **prefixed("teacher.", other(weights))}, tmp_path)


def test_of_two_networks_the_one_of_these_shapes_is_taken(network: nn.Module) -> None:
    own = network.state_dict()
    halved = OrderedDict((key, value[:1]) for key, value in own.items())
    found = strip_prefix(Checkpoint({**prefixed("small.", halved), **prefixed("large.", own)}, "net.pth"), own)
    assert all(found.tensors[key] is value for key, value in own.items())


def test_a_larger_network_is_not_taken_for_its_part(tmp_path: Path) -> None:
    """All of ResNet-18's names are in ResNet-34's file, under the same prefix."""
    larger = torchvision.models.resnet34().state_dict()
    with pytest.raises(InputError, match="unexpected"):
        loaded(larger, tmp_path, "torchvision:resnet18")
    with pytest.raises(InputError, match="unexpected"):
        loaded(prefixed("model.", larger), tmp_path, "torchvision:resnet18")


def test_published_names_of_densenet_are_understood_behind_a_prefix_too(tmp_path: Path) -> None:
    """torchvision still publishes ``denselayer1.norm.1.weight`` for what is now ``denselayer1.norm1.weight``."""
    network = torchvision.models.densenet121().eval()
    old = OrderedDict(
        (re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", key), value)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")  # nor did they have these
    )
    for content in (old, {**prefixed("model.", old), "criterion.weight": torch.ones(3)}):
        classifier = loaded(content, tmp_path, "torchvision:densenet121")
        assert fingerprint(classifier.module) == fingerprint(network)


# --- another number of classes ---------------------------------------------------------------------------------------

HEADS = {
    "torchvision:squeezenet1_1": torchvision.models.squeezenet1_1,
    "torchvision:resnet18": torchvision.models.resnet18,
    "torchvision:mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "torchvision:googlenet": partial(torchvision.models.googlenet, init_weights=False),
    "timm:mobilenetv3_small_050": partial(timm.create_model, "mobilenetv3_small_050"),
    "timm:deit_tiny_distilled_patch16_224": partial(timm.create_model, "deit_tiny_distilled_patch16_224"),
    "pypi:efficientnet_lite0": partial(timm.create_model, "tf_efficientnet_lite0"),
}


@pytest.mark.parametrize("architecture", HEADS)
def test_the_number_of_classes_is_the_files(architecture: str, tmp_path: Path) -> None:
    weights = HEADS[architecture](num_classes=7).state_dict()
    classifier = loaded({"state_dict": prefixed("module.", weights)}, tmp_path, architecture)
    assert classifier.module(classifier.blank()).shape == (1, 7)
    assert all(torch.equal(value, weights[key]) for key, value in classifier.module.state_dict().items())
    assert classifier.labels is None
    assert any(note.startswith("7 classes, as in") for note in classifier.notes)
    named = al.load_model(classifier, labels="abcdefg")
    assert named.labels == tuple("abcdefg")


@pytest.mark.slow
def test_the_number_of_classes_is_the_files_for_every_classifier_of_torchvision(tmp_path: Path) -> None:
    for name in torchvision.models.list_models(module=torchvision.models):
        module = torchvision.models.get_model(name, weights=None)
        if sum(parameter.numel() for parameter in module.parameters()) > 60e6:
            continue  # of the same families
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        weights = torchvision.models.get_model(name, weights=None, num_classes=3, **options).state_dict()
        classifier = loaded(weights, tmp_path, f"torchvision:{name}")
        assert classifier.module(classifier.blank()).shape == (1, 3), name


def test_a_head_by_a_format_that_timm_converts(tmp_path: Path) -> None:
    """A transformer of another input size and of seven classes: timm resamples its positions and keeps all else."""
    network = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    classifier = loaded(network.state_dict(), tmp_path, "timm:vit_tiny_patch16_384")
    assert classifier.input_size == 384
    kept, given = classifier.module.state_dict(), network.state_dict()
    assert (kept["head.weight"].shape, kept["pos_embed"].shape) == ((7, 192), (1, 1 + 24**2, 192))
    assert all(torch.equal(kept[key], value) for key, value in given.items() if key != "pos_embed")


@pytest.mark.parametrize(
    ("shapes", "classes"),
    [
        ({"weight": (7, 4), "bias": (7,)}, 7),
        ({"weight": (1, 4), "bias": (1,)}, 1),
        ({"weight": (10, 4), "bias": (10,)}, None),  # as it is
        ({"weight": (7, 4), "bias": (8,)}, None),
        ({"weight": (7, 5), "bias": (7,)}, None),  # other features
        ({"weight": (7,), "bias": (7,)}, None),
        ({"weight": (), "bias": ()}, None),
    ],
)
def test_a_number_of_classes_is_only_what_is_one(shapes: dict[str, tuple[int, ...]], classes: int | None) -> None:
    checkpoint = Checkpoint({key: torch.zeros(shape) for key, shape in shapes.items()}, "net.pth")
    assert classes_in(checkpoint, nn.Linear(4, 10).state_dict()) == classes


# --- NumPy's scalars -------------------------------------------------------------------------------------------------

SCALARS = [
    *(kind(3) for kind in (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_, np.complex64)),
    np.float64("nan"),
    np.dtype(">f8").type(2.5),
]


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("scalar", SCALARS, ids=[f"{type(scalar).__name__} {scalar}" for scalar in SCALARS])
def test_numpys_scalars_are_data(scalar: Any, old_format: bool, network: nn.Module, tmp_path: Path) -> None:
    content = {"state_dict": network.state_dict(), "best": scalar, "history": [scalar, {"accuracy": scalar}]}
    classifier = loaded(content, tmp_path, _use_new_zipfile_serialization=not old_format)
    assert fingerprint(classifier.module) == fingerprint(network)


def test_numpys_scalars_under_their_older_name(network: nn.Module, tmp_path: Path) -> None:
    """NumPy 1 wrote ``numpy.core``, NumPy 2 writes ``numpy._core``."""
    path = tmp_path / "old.pth"
    torch.save({"state_dict": network.state_dict(), "best": np.float64(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"numpy._core.multiarray") == 1
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert fingerprint(al.load_model(f"file:{path}@{ARCHITECTURE}").module) == fingerprint(network)


class Calls:
    """Unpickled by an unsuspecting reader, it calls a function of NumPy's or Python's."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Raw(bytes):
    """Bytes that pickle as a call of ``_codecs.encode`` with any encoding."""


NO_SCALARS: dict[str, Any] = {
    "an array": np.zeros(3),
    "a scalar of objects": np.array([{"a": 1}], object),
    "a text": np.str_("text"),
    "a date": np.datetime64("2020-01-01"),
    "a function of NumPy's": Calls(np.save, "ran.npy", [1]),
    "a file of NumPy's": Calls(np.load, "ran.npy"),
    "a codec": Calls(__import__("_codecs").encode, "text", "zip"),
    "eval": Calls(eval, "1 + 1"),
    "a type of objects": np.dtype(object),
    "a record": np.zeros((), [("a", "f4")])[()],
}


@pytest.mark.parametrize("kind", NO_SCALARS)
def test_nothing_else_of_numpys_is(kind: str, network: nn.Module, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        loaded({"state_dict": network.state_dict(), "best": NO_SCALARS[kind]}, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "ran.npy").exists()


def test_reading_a_checkpoint_leaves_torchs_list_as_it_was(network: nn.Module, tmp_path: Path) -> None:
    before = sorted(map(repr, torch.serialization.get_safe_globals()))  # torch keeps a set, which has no order
    loaded({"state_dict": network.state_dict(), "best": np.float64(3)}, tmp_path)
    assert sorted(map(repr, torch.serialization.get_safe_globals())) == before
    with pytest.raises(pickle.UnpicklingError):  # its own reader still refuses
        torch.load(tmp_path / "checkpoint.pth", weights_only=True)


@given(st.sampled_from([np.float64, np.float32, np.int64, np.uint8]), st.integers(0, 255))
def test_a_scalar_keeps_its_value(kind: Any, value: int) -> None:
    from aliasing.models.checkpoints import _number, _NumberType

    scalar = kind(value)
    _, (dtype, content) = scalar.__reduce__()
    _, arguments, state = dtype.__reduce__()
    read = _NumberType(*arguments)
    read.__setstate__(state)
    assert _number(read, content) == scalar


def test_the_source_says_which_part_of_the_file_was_taken(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"model": {"ema": network.state_dict(), "state_dict": other(network.state_dict())}}, path)
    assert read_checkpoint(path).source == f"{path} (ema)"


def test_the_how_to_runs_and_says_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = timm.create_model("mobilenetv3_small_050", num_classes=10).state_dict()
    torch.save({"state_dict": other(weights), "ema_state_dict": weights}, "checkpoint.pth")
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict(), "transformer.pth")
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "own-checkpoint.md").read_text("utf-8")
    first, second, third = re.findall("```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["network"].notes == ast.literal_eval("".join(re.findall("^# (.*)$", first, re.MULTILINE)))
    exec(second, names)
    network = names["network"]
    assert (network.input_size, network.resize_size, network.crop_mode) == (96, 96, "squash")
    assert network.labels == ("cat", "dog")
    assert network.module(network.blank()).shape == (1, 2)
    exec(third, names)
    assert (names["network"].resize_size, names["network"].input_size) == (248, 224)
