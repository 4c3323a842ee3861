"""Changing how a network is shown images: input size, normalisation, crop, labels, scale."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aliasing.errors import UsageError, first_line
from aliasing.fitting import Size
from aliasing.models.classifier import AnyNetwork, Classifier, ShownNetwork, read_size
from aliasing.models.signals import SignalNetwork
from aliasing.registry import did_you_mean
from aliasing.sites.trace import on_trial

CHANGES = (
    "input_size", "mean", "std", "interpolation", "resize_size", "crop_mode", "crop_share", "labels", "scale", "name",
    "answer", "rate", "channels", "layout", "outputs", "resizer", "preprocess",
)  # fmt: skip
# What only networks of signals have, and only those of pictures.
OF_SIGNALS = frozenset(("rate", "channels"))
_OF_PICTURES = ("interpolation", "resize_size", "crop_mode", "crop_share", "resizer")
# How the notes on preprocessing begin; notes on what was changed are dropped.
ASSUMED = "no preprocessing was given"
GIVEN = "as given: "
READ = "preprocess="
BUILT = "built for an input of"
EVALUATED = "evaluated at the input size"
BORDER = "the view has a black border: a crop share"
_GREY = "one channel: the network is shown the luma"
_STALE = {
    "input_size": (BUILT, EVALUATED, READ), "resize_size": (BORDER, READ), "crop_share": (BORDER, READ),
    "crop_mode": (READ,), "resizer": (READ,), "mean": (_GREY,),
}  # fmt: skip
_ASSUMABLE = ("input_size", "mean", "std", "interpolation")
# Below it `crop` would enlarge pictures by more than a tenth (`aliasing.protocols.enlarged_by_crop`). Data sets for
# such networks hold pictures of the input size, which nobody resizes and crops.
_SMALL = 80


def assumed_share(size: Size) -> float:
    """The crop share where none is published: ImageNet's, or the whole picture for an input below 80 pixels.

    Examples
    --------
    >>> assumed_share((224, 224)), assumed_share((32, 32))
    (0.875, 1.0)
    """
    return 1.0 if min(size) < _SMALL else 224 / 256


def require_known(changes: dict[str, Any]) -> None:
    """Refuse unknown keywords, with the nearest name or all of them.

    Examples
    --------
    >>> require_known({"imput_size": 64})
    Traceback (most recent call last):
    aliasing.errors.UsageError: load_model has no 'imput_size'; did you mean input_size?
    """
    for name in changes:
        if name not in CHANGES:
            hint = did_you_mean(name, CHANGES) or f"; it has {', '.join(CHANGES)}"
            raise UsageError(f"load_model has no {name!r}{hint}")
    if {"resize_size", "crop_share"} <= set(changes):
        raise UsageError("load_model: resize_size and crop_share mean the same; give only one of them")


def size_of(changes: dict[str, Any]) -> Size | None:
    """The input size for which to build a network, if one is given."""
    return read_size("load_model", "input_size", changes["input_size"]) if "input_size" in changes else None


def apply_changes(network: AnyNetwork, changes: dict[str, Any]) -> AnyNetwork:
    """The network with changed preprocessing, tried on one view; itself if nothing is changed.

    Raises UsageError if the changes make no sense, or the network does not answer such a view with one tensor.
    """
    if not changes:
        return network
    for name in ("layout", "outputs"):
        if name in changes:
            raise UsageError(f"{network.name} has no {name} to be said: only a file has; leave it out")
    wrong = [name for name in changes if name in (_OF_PICTURES if isinstance(network, SignalNetwork) else OF_SIGNALS)]
    if wrong:
        raise UsageError(f"{network.name} takes {network.takes}, which have no {wrong[0]}; leave it out")
    of_its_kind: Any = _of_signals if isinstance(network, SignalNetwork) else _of_pictures
    changed: AnyNetwork = of_its_kind(network, changes)
    return try_out(changed, labels_given="labels" in changes)


def _of_signals(network: SignalNetwork, changes: dict[str, Any]) -> SignalNetwork:
    changed = dict(changes)
    if changes.get("labels") is not None:
        changed["labels"] = tuple(map(str, changes["labels"]))
    if isinstance(changes.get("input_size"), int):
        changed["input_size"] = (changes["input_size"],) * len(network.view_size)
    given = [f"{name} {changes[name]}" for name in changes if name not in ("labels", "name", "scale", "answer")]
    notes = [note for note in network.notes if not note.startswith(GIVEN)]
    return replace(network, **changed, notes=(*notes, f"{GIVEN}{', '.join(given)}") if given else tuple(notes))


def _of_pictures(classifier: Classifier, changes: dict[str, Any]) -> Classifier:
    changed = dict(changes)
    size = size_of(changes) or classifier.view_size
    share = changes.get("crop_share", assumed_share(size) if _is_assumed(classifier) else classifier.crop_share)
    if "resize_size" in changes:
        resized = read_size(classifier.name, "resize_size", changes["resize_size"])
        changed["crop_share"] = size[0] / max(resized[0], 1)
    elif {"input_size", "crop_share"} & set(changes):
        changed["crop_share"] = share
        changed["resize_size"] = tuple(math.floor(side / share) for side in size)
    if changes.get("labels") is not None:
        changed["labels"] = tuple(map(str, changes["labels"]))
    classifier = replace(classifier, **changed)
    return replace(classifier, notes=_notes(classifier, changes))


def try_out(classifier: AnyNetwork, labels_given: bool = False) -> AnyNetwork:
    """The network, having answered one view; labels that do not fit its answer are refused or, if not given, left out.

    Raises UsageError if it does not answer one view of its size with one tensor.
    """
    classes = _answer(classifier)
    # One logit tells two classes apart.
    if classifier.labels is None or classes is None or max(classes, 2) == max(len(classifier.labels), 2):
        return classifier
    told = f"{classifier.name} answers with {classes} numbers and has {len(classifier.labels)} labels"
    if labels_given:
        raise UsageError(f"{told}; give one label for each")
    return replace(classifier, labels=None, notes=(*classifier.notes, f"{told}, which are not used"))


def for_one_channel(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """The mean and std for one channel from those of three, and the note that says so."""
    note = f"{_GREY}, normalised by the average of the three channels' mean and std"
    return (sum(mean) / len(mean),), (sum(std) / len(std),), note


def _is_assumed(classifier: Classifier) -> bool:
    """Whether ImageNet's preprocessing, or a part of it, was assumed."""
    return any(note.startswith(ASSUMED) for note in classifier.notes)


def _notes(classifier: Classifier, changes: dict[str, Any]) -> tuple[str, ...]:
    """The notes that still hold, with what was given and what is still assumed."""
    stale = tuple(start for name in changes for start in _STALE.get(name, ()))
    notes = [note for note in classifier.notes if not note.startswith((*stale, ASSUMED))]
    given = [f"{name} {changes[name]}" for name in changes if name not in ("labels", "name", "scale", "answer")]
    if given:
        notes.append(f"{GIVEN}{', '.join(given)}")
    if classifier.crop_share > 1 and {"resize_size", "crop_share"} & set(changes):
        notes.append(f"{BORDER} of {classifier.crop_share:g}")
    left = [f"{name} {getattr(classifier, name)}" for name in _ASSUMABLE if name not in changes]
    if _is_assumed(classifier) and left:
        notes.append(f"{ASSUMED} of {', '.join(left)}: ImageNet's was assumed")
    return tuple(notes)


def _answer(classifier: ShownNetwork) -> int | None:
    """Check that the network answers blank views with one row each; the number of values in a row, if any."""
    is_exported = isinstance(classifier.module, torch.fx.GraphModule)
    for count in (1, 2) if is_exported else (1,):  # an exported program may only accept batches of one size
        images = classifier.blank(count)
        try:
            with on_trial(classifier.module) as module:
                answer = replace(classifier, module=module).ask(images)
        except SystemExit as error:
            raise UsageError(f"{classifier.name} calls sys.exit({error}) when it is shown an image") from error
        except Exception as error:  # whatever the user's own code raises
            shape = "×".join(map(str, images.shape))
            mend = (
                "state its input: load_model(network, input_size=…, mean=…, std=…), for one channel mean=(0.5,), for"
                " sounds input_size=(8000,), rate=8000"
            )
            if isinstance(classifier, SignalNetwork):
                mend = "state its input: load_model(network, input_size=(8000,), rate=8000, channels=1)"
            if is_exported:
                mend = "export it with a batch of any size: dynamic_shapes=({0: torch.export.Dim.AUTO},)"
            raise UsageError(f"{classifier.name} does not take {shape} ({first_line(error)}); {mend}") from error
        if isinstance(answer, list) and len(answer) == count:
            return None  # the detections of each image
        answer = tensor_of(answer, classifier.name)
        if answer.ndim < 1 or len(answer) != count:
            what = "signal" if isinstance(classifier, SignalNetwork) else "image"
            found = f"shape {tuple(answer.shape)}"
            raise UsageError(f"{classifier.name} answers one {what} with {found}; expected a tensor 1×classes")
    return None if answer.ndim > 2 else answer.reshape(count, -1).shape[1]


def tensor_of(answer: Any, name: str) -> Tensor:
    """The tensor of a network's answer: itself, the ``out`` of torchvision's segmentation, Hugging Face's ``logits``.

    Raises UsageError if there is none.
    """
    found = (
        answer.get("out", answer.get("logits")) if isinstance(answer, Mapping) else getattr(answer, "logits", answer)
    )
    if not isinstance(found, Tensor):
        kind = f"dict of {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else type(answer).__name__
        raise UsageError(f"{name} answers one image with a {kind}; expected a tensor 1×classes")
    return found
