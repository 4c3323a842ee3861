"""A network's answers to a photograph that a run kept: in words and numbers, and as they are drawn over its views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.jitter.drawings import read_drawing, read_heat
from aliasing.outputs.drawn import Drawing
from aliasing.plots.overlay import heat_layer, layers
from aliasing.rounding import rounded

__all__ = ["CLASSES", "DRAWN", "Answers", "Form", "read_answers"]


@dataclass(frozen=True)
class Form:
    """How answers of one kind are told: the heads of their tables, each with whether its column holds numbers."""

    columns: tuple[tuple[str, bool], ...]
    step: tuple[str, ...]  # the heads of what is told of two views
    axis: str
    caption: str
    lead: str
    chosen: str


CLASSES = Form(
    (("answer", False), ("its probability", True), ("of the first answer", True)),
    ("first view", "second view", "answer"),
    "probability",
    "The probability of each network's own answer to the first view",
    "The chart shows the probability of each network's answer to the first view; a ring marks a view whose answer"
    " differs from that of the {} view.",
    "Each shows the two views between which its probability jumps most, and their difference (grey is no difference).",
)
DRAWN = Form(
    (("against the first view", False), ("stays", True)),
    ("second view, against the first",),
    "share that stays",
    "What of each network's answer to the first view stays",
    "Over each view stands what a network answers to it, and what of that differs from its answer to the first view,"
    " moved with the photograph. The chart shows what of the answer to the first view stays.",
    "Each shows the second of the two views between which its answer moves most, what differs from the first, and where"
    " each network's answer is unstable.",
)


@dataclass(frozen=True)
class Answers:
    """The answers of one network to the views that were kept; lists have an item for each view.

    ``cells`` are rows of a table, ``told`` is one text, ``changed`` says whether the answer is another than that to the
    first view, and ``jumps`` whether it is marked on the curve. ``step`` tells of the two views between which the first
    network's answer moves most. Of an answer that is drawn, ``drawings`` and ``layers`` have an item for each view and
    one for this step, and ``heat`` is a layer too.
    """

    form: Form
    called: str
    curve: npt.NDArray[np.float64]
    cells: Sequence[Sequence[str]]
    told: Sequence[str]
    changed: Sequence[bool]
    jumps: Sequence[bool]
    step: Sequence[str]
    drawings: Sequence[Drawing] = ()
    layers: Sequence[Sequence[str]] = ()
    heat: str = ""


def read_answers(name: str, stored: Mapping[str, Any], folder: Path, ends: Sequence[int], is_path: bool) -> Answers:
    """The answers of the network of this name as a run kept them.

    ``ends`` are the two views between which the first network's answer moves most. InputError, or ValueError, KeyError,
    TypeError or IndexError, if they cannot be read.
    """
    return _drawn(name, stored, folder) if "drawings" in stored else _classes(name, stored, ends, is_path)


def _classes(name: str, stored: Mapping[str, Any], ends: Sequence[int], is_path: bool) -> Answers:
    top1, answers = list(stored["top1"]), [_first(answer) for answer in stored["answer"]]
    curve, confidence = (np.array(stored[key], np.float64) for key in ("probability", "confidence"))
    cells = [
        (answer, rounded(c, ".3f"), rounded(p, ".3f")) for answer, c, p in zip(answers, confidence, curve, strict=True)
    ]
    before = top1[:-1] if is_path else [top1[0]] * (len(top1) - 1)
    same = top1[ends[0]] == top1[ends[1]]
    return Answers(
        CLASSES,
        called=f"{name}: P({_first(stored['first_answer'])})",
        curve=curve,
        cells=cells,
        told=[f"{answer} {sure}; the first answer {first}" for answer, sure, first in cells],
        changed=[one != top1[0] for one in top1],
        jumps=[False, *(one != other for one, other in zip(top1[1:], before, strict=True))],
        step=[
            *(f"{answers[view]} {rounded(confidence[view], '.3f')}" for view in ends),
            "the same" if same else "changes",
        ],
    )


def _drawn(name: str, stored: Mapping[str, Any], folder: Path) -> Answers:
    drawings = [read_drawing(one, folder) for one in (*stored["drawings"], stored["step"])]
    *views, step = drawings
    return Answers(
        DRAWN,
        called=name,
        curve=np.nan_to_num([one.kept for one in views], nan=1.0),
        cells=[(one.said, "–" if np.isnan(one.kept) else rounded(one.kept, ".3f")) for one in views],
        told=[one.said for one in views],
        changed=[one.kept < 1 for one in views],
        jumps=[False] * len(views),
        step=[step.said],
        drawings=drawings,
        layers=[layers(one) for one in drawings],
        heat=heat_layer(read_heat(folder, stored["heat"])),
    )


def _first(label: Any) -> str:
    """The first of a label's synonyms."""
    return str(label).split(", ")[0]
