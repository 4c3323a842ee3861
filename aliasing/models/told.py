"""What a deployed file says of its own preprocessing, and what is made of it.

`aliasing antialias … --out net.onnx` leaves the whole of it in the metadata, as JSON under the key ``aliasing``. Other
exporters leave the names of the classes under ``names`` (Ultralytics) or ``labels``. What a file does not say is
assumed, and the notes say so.
"""

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aliasing.blackbox import BlackBox, Port, Program, layout_of
from aliasing.errors import InputError, UsageError, first_line
from aliasing.models.changes import apply_changes, size_of, tensor_of, try_out
from aliasing.models.classifier import Classifier
from aliasing.resamplers import DEFAULT_RESAMPLER
from aliasing.rounding import rounded
from aliasing.state import fits, parse_json

KEY = "aliasing"
"""The key of the metadata under which the preprocessing is kept."""

_SIZE = (int, [int])
_FORM = {
    "input_size": _SIZE, "resize_size": _SIZE, "crop_mode": str, "crop_share": float, "interpolation": str,
    "mean": [float], "std": [float], "labels": (None, [str]), "scale": (None, str),
}  # fmt: skip
# The ends of the range of a quantised input, and the mean and std of which it is the range.
_RANGES = {
    (0.0, 1.0): (0.0, 1.0),
    (-1.0, 1.0): (0.5, 0.5),
    (0.0, 255.0): (0.0, 1 / 255),
    (-128.0, 127.0): (128 / 255, 1 / 255),
}


def write_told(classifier: Classifier) -> dict[str, str]:
    """The metadata that say how a network sees pictures; `read_told` reads them.

    Examples
    --------
    >>> from torch import nn
    >>> tiny = Classifier(nn.Identity(), "tiny", 8, (0.5,), (0.25,), "bilinear", 8, 1.0)
    >>> read_told(Path("net.onnx"), write_told(tiny))["std"]
    [0.25]
    """
    names = (*_FORM, *(() if classifier.resizer == DEFAULT_RESAMPLER else ("resizer",)))
    return {KEY: json.dumps({name: getattr(classifier, name) for name in names}, ensure_ascii=False)}


def read_told(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata of a file say of the preprocessing; InputError if they are damaged."""
    if KEY in metadata:
        try:
            told = parse_json(metadata[KEY])
            if not isinstance(told, dict) or {*told} - {"resizer"} != {*_FORM}:
                raise ValueError(f"expected {', '.join(_FORM)}")
            wrong = [name for name, value in told.items() if not fits(value, _FORM.get(name, str))]
            if wrong:
                raise ValueError(f"{wrong[0]} {told[wrong[0]]!r}")
        except ValueError as error:
            raise InputError(
                f"{path}: its metadata {KEY!r} are damaged ({first_line(error)}); export it again"
            ) from error
        sizes = {name: tuple(told[name]) for name in ("input_size", "resize_size") if isinstance(told[name], list)}
        return {**told, **sizes, "labels": None if told["labels"] is None else tuple(told["labels"])}
    return _of_ultralytics(metadata) | _labels(metadata)


def _labels(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The names of the classes."""
    found = _literal(metadata.get("names") or metadata.get("labels"))
    if isinstance(found, dict) and all(isinstance(number, int) for number in found):
        found = [found[number] for number in sorted(found)]
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return {"labels": tuple(found)}
    return {}


def _of_ultralytics(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Ultralytics' preprocessing, which scales to 0…1."""
    size = _literal(metadata.get("imgsz"))
    is_size = isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    if metadata.get("author") != "Ultralytics" or not is_size:
        return {}
    sides = tuple(size)
    return {
        "task": metadata.get("task"), "input_size": sides, "resize_size": sides, "crop_share": 1.0,
        "interpolation": "bilinear", "mean": (0.0,) * 3, "std": (1.0,) * 3,
    }  # fmt: skip


def _literal(text: str | None) -> Any:
    """What Python's literal in a text is; None if it is none."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(text or "")
    return None


def classifier_of(program: Program, name: str, path: Path, changes: dict[str, Any]) -> Classifier:
    """The network that a library runs, with its preprocessing: as said, as the file tells it, or assumed.

    Raises UsageError if what is said does not fit the file, and InputError if what it tells makes no sense.
    """
    from aliasing.models.from_module import assume  # it loads timm, which takes seconds

    changes = dict(changes)
    if "outputs" in changes:
        program = program.named(changes.pop("outputs"))
    program = program.of_single_pictures()
    if program.answers_lists and program.port.shape[0] not in (1, None):
        raise UsageError(f"{name} takes {program.port.written_shape} and detects; export it for one picture")
    module = BlackBox(program, layout_of(program.port, name, changes.pop("layout", None)))
    fixed, asked = module.image_size, size_of(changes)
    if asked is not None and any(side not in (None, wanted) for side, wanted in zip(fixed, asked, strict=True)):
        raise UsageError(f"{name} takes {program.port.written_shape} only; leave out input_size, or export it anew")
    channels = program.port.shape[module.layout.index("C")] or len(changes.get("mean", "RGB"))
    classifier = replace(_by_range(assume(module, name, channels), program.port), origin=_origin(path, program))
    told = {key: value for key, value in program.told.items() if key != "task"}
    if "mean" in told:
        try:
            classifier = replace(classifier, notes=(), **told)
        except UsageError as error:
            raise InputError(f"{path}: its metadata make no sense ({first_line(error)}); export it again") from error
    elif "labels" in told:
        classifier = replace(classifier, labels=told["labels"])
    library, *how = (value if what == "library" else f"{what} {value}" for what, value in program.runtime.items())
    classifier = replace(classifier, notes=(*classifier.notes, f"run by {', '.join((library, *how))}"))
    if any(side not in (None, told) for side, told in zip(fixed, classifier.view_size, strict=True)):
        raise InputError(
            f"{path} takes {program.port.written_shape}, and its metadata say {classifier.input_size} pixels"
        )
    classifier = apply_changes(classifier, changes) if changes else try_out(classifier)
    if program.told.get("task") != "detect" or classifier.answer is not None:
        return classifier
    return _detector(classifier)


def _detector(classifier: Classifier) -> Classifier:
    """A detector that Ultralytics exported, with what is done otherwise than there."""
    from aliasing.models.detections import OVERLAP, of_yolo

    notes = []
    if tensor_of(classifier.ask(classifier.blank()), classifier.name).shape[-1] != 6:
        notes.append(
            f"non-maximum suppression: of two boxes of a class whose IoU is above {OVERLAP}, the surer one stays"
        )
    if classifier.crop_mode == "center":
        notes.append("Ultralytics fills pictures up to a square with grey; here their centre was cropped")
    return replace(classifier, answer=of_yolo, notes=(*classifier.notes, *notes))


def _by_range(classifier: Classifier, port: Port) -> Classifier:
    """The normalisation that the dtype of whole numbers, or their quantisation, tells; otherwise as it was assumed."""
    kind = np.dtype(port.dtype)
    if kind.kind == "f":
        return classifier
    bounds = np.iinfo(kind)
    least, greatest = ((end - port.zero) * port.step if port.step else float(end) for end in (bounds.min, bounds.max))
    near = [
        moments
        for (low, high), moments in _RANGES.items()
        if abs(least - low) + abs(greatest - high) <= (high - low) / 100
    ]
    if not near:
        return classifier
    mean, std = ((one,) * classifier.channels for one in near[0])
    ends = f"{rounded(least, '.4g')} to {rounded(greatest, '.4g')}"
    told = f"its input is {port.dtype}, of {ends}: these were taken for black and white"
    return replace(classifier, mean=mean, std=std, notes=(*classifier.notes, told))


def _origin(path: Path, program: Program) -> dict[str, str]:
    return {"source": str(path), "version": "unversioned", **program.runtime}
