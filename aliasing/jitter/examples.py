"""The photographs on which the answer moves most and least, kept beside a run's numbers.

A folder ``examples/`` holds ``examples.json`` (for each photograph's views their position, and each network's answer
and confidence), the views as small pictures, the difference of the two views between which the first network's answer
moves most, and the spectra of the first photograph (see :mod:`aliasing.downsample.spectra`). Of answers with places it
holds what is drawn over each view: label maps as PNG, boxes and key points as numbers, and where the answer is unstable
(:mod:`aliasing.outputs.drawn`). There are few photographs and views, so a run's folder stays small.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import nn

from aliasing.classes import Label
from aliasing.downsample.comparison import compare, prepare
from aliasing.downsample.spectra import OPERATORS, Spectra
from aliasing.errors import InputError, one_line
from aliasing.images import BadImage, ImageSource, Loaded, open_images
from aliasing.images.preview import LARGEST, pictures_in, write_preview
from aliasing.jitter import Jitter
from aliasing.jitter.drawings import write_drawing, write_heat
from aliasing.jitter.network import execution_of
from aliasing.jitter.trace import Followed, PlaceTrace, Trace, answer_in_words, follower
from aliasing.models import ShownNetwork, SignalNetwork
from aliasing.outputs import OUTPUTS, output_of_table
from aliasing.outputs.base import Measure, image_starts, is_drawn, pairs_shown
from aliasing.provenance import cannot_write
from aliasing.runner import load_for
from aliasing.state import write_json
from aliasing.tables import counted
from aliasing.undisturbed import surroundings_kept

FILE = "examples.json"
SPECTRA = "spectra"
PHOTOGRAPHS = 3  # of either kind
VIEWS = 33  # per photograph, as many as in a sweep over 32 pixels
STRIDE = 4  # of its spectra, as in `aliasing spectrum`; of small views, whose 8×8 samples would show nothing, half
_SMALL = 64  # pixels
_LARGEST = 480  # pixels of the longer side of a view over which something is drawn


@dataclass(frozen=True)
class Example:
    """A photograph that was chosen by the first network's records."""

    kind: str  # whether its answer moves "most" or "least"
    name: str
    movement: float  # by the output's own measure, 0…1: the mean absolute change of the probability, for example
    pair: int  # that between whose views the answer moves most
    label: int | None = None  # its class, as the first network numbers it


def choose_examples(result: Jitter, count: int = PHOTOGRAPHS) -> list[Example]:
    """At most ``count`` photographs on which the first network's answer moves most, then as many where it moves least.

    None is in both; the list is empty for an output that is not followed, such as an embedding.
    """
    most: list[Example] = []
    least: list[Example] = []
    for table in result.tables(next(iter(result.models))):
        output = result.output or output_of_table(table)
        found = list(_examples_of(pairs_shown(table), output.measure(output.movement))) if output.movement else []
        most = heapq.nlargest(count, [*most, *found], key=lambda example: example.movement)
        least = heapq.nsmallest(count, [*least, *found], key=lambda example: example.movement)
    moving = [example for example in most if example.movement > 0]
    names = {example.name for example in moving}
    return [*moving, *(replace(example, kind="least") for example in least if example.name not in names)]


def _examples_of(table: pa.Table, measure: Measure) -> Iterator[Example]:
    """Every photograph of a table of records."""
    place = table.column_names.index("name")
    of_pairs = measure.movements(table.set_column(place, "name", pa.array(np.arange(len(table)))))  # a name a row
    starts = image_starts(table)
    # Find an image's own rows, because the measure of a verified run leaves out pairs and whole images.
    rows = {table["name"][start].as_py(): range(start, end) for start, end in pairwise([*starts.tolist(), len(table)])}
    labels = table["label"] if "label" in table.column_names else None
    for name, movement in measure.movements(table).items():
        own = rows[name]
        row = max(own, key=lambda row: of_pairs.get(row, -1.0))
        pair = table["pair"][row].as_py() if is_drawn(table) else row - own[0]
        yield Example("most", str(name), movement, pair, labels and labels[own[0]].as_py())


@surroundings_kept()
def write_examples(
    result: Jitter, models: Sequence[str | nn.Module | ShownNetwork], images: Any, folder: Path
) -> list[Followed]:
    """Show the networks the photographs that move most and least once more, and leave in a folder what they saw.

    The result was measured with these networks on these images. Of signals nothing is kept. Returned is the first
    photograph or signal, followed by each network: what :func:`aliasing.plots.jitter` draws. The pictures are those of
    the first network. The list is empty if nothing moves, or the protocol's views are not a path.
    """
    chosen = choose_examples(result)
    try:
        (folder / FILE).unlink(missing_ok=True)  # it is written again after everything that it names
    except OSError as error:
        raise cannot_write(folder / FILE, error) from None
    if not chosen:
        return []
    source = open_images(images)
    photographs = _load({example.name for example in chosen}, source)
    described: dict[str, dict[str, Any]] = {}
    followed: list[Followed] = []
    batch_size, seed = result.settings["batch_size"], result.settings["seed"]
    for index, model in enumerate(load_for(model, source) for model in models):
        follow = follower(result.settings["output"], model, execution_of(result.settings))
        of_signals = isinstance(model, SignalNetwork)
        for number, example in enumerate(chosen[:1] if of_signals else chosen):  # pictures are kept, sounds are not
            image = photographs[example.name]
            seen = follow(image, result.protocol, batch_size=batch_size, seed=seed)
            if of_signals:
                followed.append(seen)
                continue
            if index == 0:
                place = f"{number}-{example.kind}"
                label = _label_in_words(model, example.label, image.label)
                described[example.name] = _write_pictures(folder, place, example, seen) | {"label": label}
            _add_answers(described[example.name], seen, folder, f"{number}-{example.kind}/{index}")
            if number == 0:
                # A slice would keep the whole array in memory; what is drawn is drawn over the network's own views.
                bare = index > 0 and not seen.drawings
                followed.append(replace(seen, pictures=seen.pictures[:0].copy()) if bare else seen)
            del seen  # free its pictures before those of the next
    if described:
        _write_spectra(folder / SPECTRA, followed[0])
        kept = {name: getattr(result.protocol, name) for name in ("unit", "is_path")}
        output = OUTPUTS[result.settings["output"]]
        measure = output.measure(output.movement)
        kept |= {"protocol": result.protocol.name, "measure": measure.called, "sign": measure.sign}
        kept |= {"identities": {name: model["identity"] for name, model in result.models.items()}}
        content = kept | {"photographs": list(described.values())}
        write_json(folder / FILE, content, pictures_in(content))
    return followed if result.protocol.is_path and chosen[0].kind == "most" else []


def _load(names: set[str], source: ImageSource) -> dict[str, Loaded]:
    found = {entry.name: entry for entry in source if entry.name in names}
    loaded: dict[str, Loaded] = {}
    for name in sorted(names):
        try:
            loaded[name] = found[name].load()
        except (KeyError, BadImage):
            raise InputError(
                f"{name} is gone since it was measured; put it back, and the same command continues"
            ) from None
    return loaded


def _label_in_words(model: ShownNetwork, index: int | None, written: Label) -> str | None:
    """The name of an image's class: the network's, or the written one."""
    if index is not None:
        return answer_in_words(model.labels, index)
    return one_line(written) if isinstance(written, str) else None


def _write_pictures(folder: Path, place: str, example: Example, seen: Followed) -> dict[str, Any]:
    """Write the views of one photograph as pictures, and return its entry in ``examples.json``."""
    first, second = seen.pairs[example.pair]
    largest = _LARGEST if seen.drawings else LARGEST
    shown = _views_shown(len(seen.positions), first, second)
    views = []
    for view in shown:
        picture = f"{place}/{view:02d}.webp"
        write_preview(folder / picture, seen.pictures[view], largest)
        shift = [float(moved) for moved in seen.shifts[view]]
        views.append({"view": view, "position": float(seen.positions[view]), "shift": shift, "picture": picture})
    difference = (seen.pictures[second] - seen.pictures[first]).mean(-1)
    write_preview(folder / place / "difference.webp", 127.5 + difference / 2)
    return {
        "kind": example.kind,
        "name": example.name,
        "movement": example.movement,
        "pair": [shown.index(first), shown.index(second)],
        "step": example.pair,
        "size": list(seen.pictures.shape[1:3]),
        "difference": f"{place}/difference.webp",
        "views": views,
        "answers": {},
        "left_out": {},
    }


def _views_shown(count: int, first: int, second: int) -> list[int]:
    """The views to keep: all, or as many as allowed around the pair, or the pair alone."""
    if count <= VIEWS:
        return list(range(count))
    low, high = min(first, second), max(first, second)
    if high - low >= VIEWS:
        return [low, high]
    start = min(max((low + high - VIEWS + 1) // 2, 0), count - VIEWS)
    return list(range(start, start + VIEWS))


def _add_answers(photograph: dict[str, Any], seen: Followed, folder: Path, place: str) -> None:
    """Add one network's answers to the kept views, or why they are left out."""
    shown = [view["view"] for view in photograph["views"]]
    why_not = _why_not(photograph, seen, shown)
    if why_not:
        photograph["left_out"][seen.model] = why_not
    elif isinstance(seen, PlaceTrace):
        photograph["answers"][seen.model] = _drawn(seen, shown, photograph["step"], folder, place)
    elif isinstance(seen, Trace):
        photograph["answers"][seen.model] = {
            "first_answer": seen.answers[0],
            "probability": [float(seen.probability[view]) for view in shown],
            "top1": [int(seen.top1[view]) for view in shown],
            "answer": [seen.answers[view] for view in shown],
            "confidence": [float(seen.confidence[view]) for view in shown],
        }


def _why_not(photograph: dict[str, Any], seen: Followed, shown: Sequence[int]) -> str:
    """Why a network's answers cannot stand beside the views of the first network; empty if they can."""
    if shown[-1] >= len(seen.positions):
        return f"it is shown {counted(len(seen.positions), 'view')}, fewer than the first network"
    if isinstance(seen, PlaceTrace):
        own = list(seen.pictures.shape[1:3])
        if own != photograph["size"]:
            sizes = ("×".join(map(str, size)) for size in (own, photograph["size"]))
            return "its views have {} pixels, and those of the first network {}".format(*sizes)
        if any(seen.shifts[view["view"]].tolist() != view["shift"] for view in photograph["views"]):
            return "its views are moved otherwise than those of the first network"
    if isinstance(seen, Trace) and not np.isfinite(seen.confidence).all():
        return "its answers are not all numbers"
    return ""


def _drawn(seen: PlaceTrace, shown: Sequence[int], step: int, folder: Path, place: str) -> dict[str, Any]:
    """Write what is drawn over the views under names that begin with ``place``, and return the rest."""
    heat = f"{place}.heat.png"
    write_heat(seen.heat, folder / heat)
    return {
        "stays": seen.stays,
        "drawings": [write_drawing(seen.drawings[view], folder, f"{place}.{view:02d}") for view in shown],
        "step": write_drawing(seen.steps[step], folder, f"{place}.step"),
        "heat": heat,
    }


def _write_spectra(folder: Path, seen: Followed) -> None:
    """Write the spectra of the first view, before and after each downsampling operator."""
    view = seen.pictures[0].clip(0, 255).astype(np.uint8)
    if min(view.shape[:2]) < 4 * STRIDE:
        return
    stride = STRIDE if min(view.shape[:2]) > _SMALL else STRIDE // 2
    picture = prepare(view, stride)
    results = [compare(picture, name, stride) for name in OPERATORS]
    Spectra.of(picture, results, stride, seen.image).write(folder)
