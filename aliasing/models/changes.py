"""Changing how a network is shown images: input size, normalisation, crop, labels, scale."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aliasing.errors import UsageError, first_line
from aliasing.fitting import Size
from aliasing.models.classifier import Classifier, read_size
from aliasing.registry import did_you_mean
from aliasing.sites.trace import on_trial

CHANGES = (
    "input_size", "mean", "std", "interpolation", "resize_size", "crop_mode", "crop_share", "labels", "scale", "name",
)  # fmt: skip
# How the notes on preprocessing begin; notes on what was changed are dropped.
ASSUMED = "no preprocessing was given"
BUILT = "built for an input of"
EVALUATED = "evaluated at the input size"
BORDER = "the view has a black border: a crop share"
_GREY = "one channel: the network is shown the luma"
_STALE = {"input_size": (BUILT, EVALUATED), "resize_size": (BORDER,), "crop_share": (BORDER,), "mean": (_GREY,)}
_ASSUMABLE = ("input_size", "mean", "std", "interpolation")


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


def apply_changes(classifier: Classifier, changes: dict[str, Any]) -> Classifier:
    """The network with changed preprocessing, tried on one image; itself if nothing is changed.

    Raises UsageError if the changes make no sense, or the network does not answer such an image with one tensor.
    """
    if not changes:
        return classifier
    changed = dict(changes)
    size = size_of(changes) or classifier.view_size
    share = changes.get("crop_share", classifier.crop_share)
    if "resize_size" in changes:
        resized = read_size(classifier.name, "resize_size", changes["resize_size"])
        changed["crop_share"] = size[0] / max(resized[0], 1)
    elif {"input_size", "crop_share"} & set(changes):
        changed["resize_size"] = tuple(math.floor(side / share) for side in size)
    if changes.get("labels") is not None:
        changed["labels"] = tuple(map(str, changes["labels"]))
    classifier = replace(classifier, **changed)
    return try_out(replace(classifier, notes=_notes(classifier, changes)), labels_given="labels" in changes)


def try_out(classifier: Classifier, labels_given: bool = False) -> Classifier:
    """The network, having answered one image; labels that do not fit its answer are refused or, if not given, left out.

    Raises UsageError if it does not answer one image of its size with one tensor.
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


def _notes(classifier: Classifier, changes: dict[str, Any]) -> tuple[str, ...]:
    """The notes that still hold, with what was given and what is still assumed."""
    stale = tuple(start for name in changes for start in _STALE.get(name, ()))
    is_assumed = any(note.startswith(ASSUMED) for note in classifier.notes)
    notes = [note for note in classifier.notes if not note.startswith((*stale, ASSUMED))]
    given = [f"{name} {changes[name]}" for name in changes if name not in ("labels", "name", "scale")]
    if given:
        notes.append(f"as given: {', '.join(given)}")
    if classifier.crop_share > 1 and {"resize_size", "crop_share"} & set(changes):
        notes.append(f"{BORDER} of {classifier.crop_share:g}")
    left = [f"{name} {getattr(classifier, name)}" for name in _ASSUMABLE if name not in changes]
    if is_assumed and left:
        notes.append(f"{ASSUMED} of {', '.join(left)}: ImageNet's was assumed")
    return tuple(notes)


def _answer(classifier: Classifier) -> int | None:
    """Check that the network answers blank images with one row each; the number of values in a row, if any."""
    is_exported = isinstance(classifier.module, torch.fx.GraphModule)
    for count in (1, 2) if is_exported else (1,):  # an exported program may only accept batches of one size
        images = classifier.blank(count)
        try:
            with on_trial(classifier.module) as module:
                answer = module(images)
        except SystemExit as error:
            raise UsageError(f"{classifier.name} calls sys.exit({error}) when it is shown an image") from error
        except Exception as error:  # whatever the user's own code raises
            shape = "×".join(map(str, images.shape))
            mend = "state its input: load_model(network, input_size=…, mean=…, std=…), for one channel mean=(0.5,)"
            if is_exported:
                mend = "export it with a batch of any size: dynamic_shapes=({0: torch.export.Dim.AUTO},)"
            raise UsageError(f"{classifier.name} does not take {shape} ({first_line(error)}); {mend}") from error
        answer = tensor_of(answer, classifier.name)
        if answer.ndim < 1 or len(answer) != count:
            found = f"shape {tuple(answer.shape)}"
            raise UsageError(f"{classifier.name} answers one image with {found}; expected a tensor 1×classes")
    return None if answer.ndim > 2 else answer.reshape(count, -1).shape[1]


def tensor_of(answer: Any, name: str) -> Tensor:
    """The tensor of a network's answer: itself, the ``out`` of torchvision's segmentation, Hugging Face's ``logits``.

    Raises UsageError if there is none.
    """
    found = (
        answer.get("out", answer.get("logits")) if isinstance(answer, Mapping) else getattr(answer, "logits", answer)
    )
    if not isinstance(found, Tensor):
        raise UsageError(f"{name} answers one image with a {type(answer).__name__}; expected a tensor 1×classes")
    return found
