"""What the two-phase design saves: sub-samples of the records of full runs, drawn as a run would draw them.

``python benchmarks/design.py RUN …`` reads the folders of full runs of ``aliasing jitter`` and prints a Markdown table.
*Views* are those that the design shows an image, with the pilot; *gain* is by how much fewer views give an interval of
the same width (the squares of the widths, times the views, against each other); *bias* is the mean over the seeds minus
the full design's value, in standard errors of the estimate; *cover* is how often the interval of a sample of as many
images, drawn with replacement, holds the full design's value.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa

import aliasing as al
from aliasing.jitter import design
from aliasing.jitter.metrics import totals_of
from aliasing.outputs.probabilities import Probabilities
from aliasing.phases import Drawn

MEASURES = ("top1_change", "mac", "worst_change")


class Identity:
    """As much of an image as a draw needs."""

    def __init__(self, number: int) -> None:
        self.identity = str(number)


def records_of(run: al.jitter.Jitter, name: str) -> tuple[pa.Table, int]:
    """The rows of a network, and how many each image has."""
    table = pa.concat_tables(run.tables(name))
    return table, int(np.count_nonzero(table["name"].to_numpy() == table["name"][0].as_py()))


def planned(table: pa.Table, pairs: int, seed: int, is_path: bool, images: np.ndarray) -> design.Draws:
    """The draws that a pilot on some of these images suggests."""
    order = design.Draws(1.0, (1.0,), (1.0,), seed, is_path).order
    pilot = np.random.default_rng(seed).permutation(len(images))[: design.PILOT]
    rows = [images[number] * pairs + order(Identity(number), pairs)[0] for number in pilot]
    some = table.take(rows)
    first, second = (design.depth_of(some[f"{view}_margin"].to_numpy()) for view in ("first", "second"))
    changed = some["first_top1"].to_numpy() != some["second_top1"].to_numpy()
    return design.Draws.planned(first, np.where(changed, -second, second) - first, pairs, seed, is_path)


def sampled(table: pa.Table, pairs: int, seed: int, is_path: bool, images: np.ndarray) -> tuple[pa.Table, int]:
    """The records that a two-phase run on these images would leave, and how many views it would show."""
    draws, margins = planned(table, pairs, seed, is_path, images), table["first_margin"].to_numpy()
    firsts = [draws.order(Identity(number), pairs)[0] for number in range(len(images))]
    depths = [float(margins[image * pairs + first]) for image, first in zip(images, firsts, strict=True)]
    drawn = [draws.draw(Identity(number), pairs, margin) for number, margin in enumerate(depths)]
    views = 2 * design.PILOT
    for one in drawn:
        ends = {end for pair in one.pairs for end in ((pair, pair + 1) if is_path else (-1, pair))}
        views += len(ends) if one.weight else 1
    found = table.take([image * pairs + pair for image, one in zip(images, drawn, strict=True) for pair in one.pairs])
    names = [str(number) for number, one in enumerate(drawn) for _ in one.pairs]
    found = found.set_column(found.column_names.index("name"), "name", pa.array(names))
    for name in ("stratum", "chance", "whole_chance", "whole", "weight"):
        found = found.append_column(name, pa.array([getattr(one, name) for one in drawn for _ in one.pairs]))
    return found, views


def estimates(table: pa.Table):  # type: ignore[no-untyped-def]
    """The measures of sampled records."""
    _, found = totals_of(Probabilities, table)
    for name in MEASURES:
        metric = Drawn(Probabilities.measure(name).pool())
        metric.add(found[name])
        yield metric.estimate()


def row_of(folder: Path, seeds: int) -> str:
    run = al.open(folder)
    assert isinstance(run, al.jitter.Jitter)
    (name,) = run.models
    table, pairs = records_of(run, name)
    count, is_path = len(table) // pairs, run.protocol.is_path
    full = [run.summary()["models"][name][measure] for measure in MEASURES]
    random = np.random.default_rng(0)
    shown, of_records, of_samples = [], [], []
    for seed in range(seeds):
        records, views = sampled(table, pairs, seed, is_path, np.arange(count))
        shown.append(views / count)
        of_records.append(list(estimates(records)))
        of_samples.append(list(estimates(sampled(table, pairs, seed, is_path, random.integers(0, count, count))[0])))
    cells = [name.rpartition("/")[2][:30], run.protocol.name, str(count), f"{pairs + 1}", f"{np.mean(shown):.2f}"]
    for number, truth in enumerate(full):
        found = [one[number] for one in of_records]
        width = np.mean([one.high - one.low for one in found])
        gain = ((truth["high"] - truth["low"]) / width) ** 2 * (pairs + 1) / np.mean(shown)
        bias = (np.mean([one.value for one in found]) - truth["value"]) / (width / 3.92)
        cover = np.mean([one[number].low <= truth["value"] <= one[number].high for one in of_samples])
        cells.append(f"{gain:.2f} / {bias:+.2f} / {cover:.3f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()
    heads = [
        "network",
        "protocol",
        "images",
        "views, full",
        "views",
        *(f"{name}: gain / bias / cover" for name in MEASURES),
    ]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for folder in arguments.runs:
        print(row_of(folder, arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
