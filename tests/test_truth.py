"""The summary follows from the records, and from nothing else: computed again in plain Python, from random records.

The reference below shares nothing with what it checks but the place where the records lie: no array, no sum that
streams, one row after the other.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aliasing.depth.profile import LAYER_MEASURES, SITE_MEASURES, Profile
from aliasing.depth.profile import schema as depth_schema
from aliasing.jitter import Jitter
from aliasing.outputs.embedding import EMBEDDINGS
from aliasing.outputs.probabilities import PROBABILITIES
from aliasing.protocols import make_protocol
from aliasing.records import Part, Records, list_images

Row = dict[str, Any]

# Sums of at most some hundred float64 terms, in another order: about 1e-14 of the largest. The beta quantile at such a
# size is as sure; where it is flat (a size of 1), an error of 1e-14 in the size is one of 1e-10 in the bound.
CLOSE = {"rel": 1e-7, "abs": 1e-9}


# The slow reference


def share(images: list[list[float]], binary: bool, evenly: bool = False) -> tuple[float, float, float]:
    """Korn & Graubard (1998): the beta interval on the effective sample size, from the values of each image.

    ``evenly``: of the mean total of an image, over the mean number of its values.
    """
    number = len(images)
    count = sum(len(values) for values in images)
    sizes = [count / number if evenly else len(values) for values in images]
    total = sum(sum(values) for values in images)
    ratio = min(max(total / count, 0.0), 1.0)
    images_as_independent = count**2 / sum(size**2 for size in sizes)
    residuals = [sum(values) - total / count * n for values, n in zip(images, sizes, strict=True)]
    size = images_as_independent
    if number > 1 and sum(residual**2 for residual in residuals) > 1e-18:  # else what they differ by is rounding
        variance = number / (number - 1) * sum(residual**2 for residual in residuals) / count**2
        hits = [sum(values) for values in images]
        misses = [n - sum(values) for values, n in zip(images, sizes, strict=True)]
        freedom = min(sum(x) ** 2 / sum(y * y for y in x) for x in (hits, misses)) - 1
        narrowing = stats.norm.ppf(0.025) / stats.t.ppf(0.025, max(freedom, 1))
        size = ratio * (1 - ratio) / variance * narrowing**2
        size = max(min(size, count) if binary else size, images_as_independent)
    low = stats.beta.ppf(0.025, ratio * size, (1 - ratio) * size + 1) if ratio > 0 else 0.0
    high = stats.beta.ppf(0.975, ratio * size + 1, (1 - ratio) * size) if ratio < 1 else 1.0
    return ratio, float(low), float(high)


def ends(number: int, residuals: list[float]) -> tuple[float, float]:
    """Where Student's statistic, corrected for skewness (Hall 1992), lies 95 % of the time: the cubic is bisected.

    For ten and more residuals; of fewer, or of such as do not vary, it is Student's.
    """
    squares, skewness = math.fsum(e**2 for e in residuals) / number, 0.0
    if number >= 10 and squares > 0:
        # The third k-statistic over the second to the power of 3/2 (Fisher 1930).
        third = number * math.fsum(e**3 for e in residuals) / ((number - 1) * (number - 2))
        skewness = third / (squares * number / (number - 1)) ** 1.5
    quantile = float(stats.t.ppf(0.975, max((number - 1) / (1 + 3 / 4 * skewness**2), 1)))
    a = skewness / math.sqrt(number)
    found = []
    for aim in (-quantile, quantile):
        low, high = -1e3, 1e3
        for _ in range(100):
            middle = (low + high) / 2
            below = middle + a * middle**2 / 3 + a**2 * middle**3 / 27 + a / 6 < aim
            low, high = (middle, high) if below else (low, middle)
        found.append(low)
    return found[0], found[1]


def paired(images: list[tuple[list[float], list[float]]], binary: bool) -> tuple[float, float, float]:
    """The interval of the mean difference: of Student's statistic, corrected for skewness.

    For binary values, and where there is no variation, two images are added that go wholly one way and the other, and
    nothing is corrected.
    """
    sums = [(sum(after) - sum(before), len(before)) for before, after in images]
    count = sum(size for _, size in sums)
    value = sum(total for total, _ in sums) / count
    padded = binary or len(sums) < 2 or all(abs(total - value * size) < 1e-9 for total, size in sums)
    if padded:
        typical = count / len(sums)
        sums = [*sums, (-typical, typical), (typical, typical)]
    count, number = sum(size for _, size in sums), len(sums)
    centre = sum(total for total, _ in sums) / count
    residuals = [total - centre * size for total, size in sums]
    error = math.sqrt(number / (number - 1) * sum(e**2 for e in residuals)) / count
    plain = float(stats.t.ppf(0.975, number - 1))
    first, last = (-plain, plain) if padded else ends(number, residuals)
    return value, max(-1.0, min(value, centre - last * error)), min(1.0, max(value, centre - first * error))


def skewed(values: list[float]) -> tuple[float, float | None, float | None]:
    """The mean and its interval, of Student's statistic corrected for skewness; none of one value."""
    mean, number = math.fsum(values) / len(values), len(values)
    if number < 2:
        return mean, None, None
    residuals = [value - mean for value in values]
    error = math.sqrt(math.fsum(e**2 for e in residuals) / (number - 1) / number)
    first, last = ends(number, residuals)
    return mean, mean - last * error, mean - first * error


def by_image(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["name"]].append(row)
    return found


# Every measure of an image, pair by pair or once; None where the image has none.
Measure = Callable[[list[Row]], list[float] | None]
CLASSIFIER: dict[str, tuple[Measure, bool]] = {
    "top1_change": (lambda rows: [float(row["first_top1"] != row["second_top1"]) for row in rows], True),
    "mac": (lambda rows: [abs(row["first_probability"] - row["second_probability"]) for row in rows], False),
    "worst_change": (lambda rows: [float(any(row["first_top1"] != row["second_top1"] for row in rows))], True),
    "accuracy": (
        lambda rows: None if rows[0]["label"] is None else [float(row["first_top1"] == row["label"]) for row in rows],
        True,
    ),
    "stability": (
        lambda rows: (
            None
            if rows[0]["label"] is None
            else [float(row["label"] == row["first_top1"] == row["second_top1"]) for row in rows]
        ),
        True,
    ),
    "worst_accuracy": (
        lambda rows: (
            None
            if rows[0]["label"] is None
            else [float(all(row["label"] == row["first_top1"] == row["second_top1"] for row in rows))]
        ),
        True,
    ),
}
EMBEDDING: dict[str, tuple[Measure, bool]] = {
    "cosine_distance": (lambda rows: [row["cosine_distance"] / 2 for row in rows], False),
    "neighbour_change": (lambda rows: [float(row["first_neighbour"] != row["second_neighbour"]) for row in rows], True),
}


def same(found: dict[str, float | None], expected: tuple[Any, Any, Any], factor: float = 1.0) -> None:
    for end, number in zip(("value", "low", "high"), expected, strict=True):
        assert found[end] == (None if number is None else pytest.approx(factor * number, **CLOSE)), end


# Random records


probability = st.floats(0, 1, width=32)
top1 = st.integers(0, 3)


@st.composite
def classified(draw: st.DrawFn, label: int | None) -> Row:
    return {
        "label": label,
        "first_top1": draw(top1),
        "second_top1": draw(top1),
        "first_probability": draw(probability),
        "second_probability": draw(probability),
        "first_margin": draw(st.sampled_from([0.0, 5e-5, 2e-4, 0.5])),
        "second_margin": draw(st.sampled_from([0.0, 5e-5, 2e-4, 0.5])),
        "total_variation": draw(probability),
    }


@st.composite
def embedded(draw: st.DrawFn) -> Row:
    neighbour = st.sampled_from(["x", "y"])
    return {
        "cosine_distance": draw(st.floats(0, 2, width=32)),
        "first_neighbour": draw(neighbour),
        "second_neighbour": draw(neighbour),
    }


@st.composite
def images_of_a_run(draw: st.DrawFn, networks: int, embedding: bool) -> list[list[dict[str, Any]]]:
    """For each network its images: skipped for all, not finite for this one, or with as many rows as for the others."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(networks)]
    for index in range(draw(st.integers(1, 12) | st.integers(12, 16))):  # ten and more: corrected for skewness
        name = f"{index}.png"
        skipped = draw(st.integers(0, 9)) == 0
        pairs = draw(st.integers(1, 4))
        label = draw(st.none() | top1)
        for network in found:
            if skipped:
                network.append({"name": name, "skipped": "truncated"})
            elif draw(st.integers(0, 9)) == 0:
                network.append({"name": name, "not_finite": True})
            else:
                rows = [draw(embedded() if embedding else classified(label)) for _ in range(pairs)]
                network.append({"name": name, "rows": [{"name": name, **row} for row in rows]})
    return found


def recorded(networks: list[list[dict[str, Any]]], schema: pa.Schema, block: int) -> tuple[Records, list[str]]:
    """The same as records, so many images a block."""
    records, names = Records(), [f"net {number}" for number in range(len(networks))]
    for name, images in zip(names, networks, strict=True):
        records.begin(name, {}, list_images((image["name"] for image in images), block))
        for index in range(0, len(images), block):
            part = images[index : index + block]
            rows = [row for image in part for row in image.get("rows", [])]
            columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
            records.write(
                name,
                index // block,
                Part(
                    pa.Table.from_arrays(columns, schema=schema),
                    [image["name"] for image in part],
                    {image["name"]: image["skipped"] for image in part if "skipped" in image},
                    [image["name"] for image in part if "not_finite" in image],
                ),
            )
    return records, names


@settings(max_examples=60)
@given(st.data(), st.booleans(), st.booleans())
def test_a_jitter_summary_is_what_plain_python_makes_of_its_records(
    data: st.DataObject, embedding: bool, is_path: bool
) -> None:
    networks = data.draw(images_of_a_run(networks=data.draw(st.integers(1, 3)), embedding=embedding))
    schema, measures = (EMBEDDINGS, EMBEDDING) if embedding else (PROBABILITIES, CLASSIFIER)
    records, names = recorded(networks, schema, block=data.draw(st.integers(1, 5)))
    protocol = make_protocol("crop" if is_path else "grid")
    described = {name: {"notes": []} for name in names}
    summary = Jitter(described, protocol, {"images": "drawn"}, records).summary()
    shown = [by_image(row for image in images for row in image.get("rows", [])) for images in networks]

    assert summary["images"]["found"] == len(networks[0])
    assert summary["images"]["skipped"] == {i["name"]: i["skipped"] for i in networks[0] if "skipped" in i}
    for name, images, of_image in zip(names, networks, shown, strict=True):
        measured = summary["models"][name]
        rows = [row for rows in of_image.values() for row in rows]
        assert measured["not_finite"] == [image["name"] for image in images if "not_finite" in image]
        assert (measured["images"], measured["pairs"]) == (len(of_image), len(rows))
        for measure, (values_of, binary) in measures.items():
            values = [found for rows in of_image.values() if (found := values_of(rows)) is not None]
            if not values:
                assert measure not in measured
                continue
            same(measured[measure], share(values, binary), 2.0 if measure == "cosine_distance" else 1.0)
        if not rows:
            continue
        if embedding:
            changed = [any(r["first_neighbour"] != r["second_neighbour"] for r in rows) for rows in of_image.values()]
        else:
            changed = [any(r["first_top1"] != r["second_top1"] for r in rows) for rows in of_image.values()]
            assert measured["near_ties"] == sum(min(r["first_margin"], r["second_margin"]) < 1e-4 for r in rows)
            value, low, high = share(
                [values_of(r) or [] for r in of_image.values() for values_of in [CLASSIFIER["top1_change"][0]]], True
            )
            same(measured["consistency"], (1 - value, 1 - high, 1 - low))
            assert ("flip_rate" in measured) == ("total_variation" in measured) == is_path
            if is_path:
                same(measured["flip_rate"], (value, low, high))
                variation = share([[row["total_variation"] for row in rows] for rows in of_image.values()], False, True)
                same(measured["total_variation"], variation, len(rows) / len(of_image))
        assert measured["images_that_change"] == sum(changed)
        assert bool(measured["cautions"]) == (sum(changed) < 10)

    assert len(summary["differences"]) == len(names) * (len(names) - 1) // 2
    for found, (of_first, of_image) in zip(summary["differences"], combinations(shown, 2), strict=True):
        both = [name for name in of_first if name in of_image]
        assert found["images"] == len(both)
        for measure, (values_of, binary) in measures.items():
            pairs = [(values_of(of_first[name]), values_of(of_image[name])) for name in both]
            known = [(before, after) for before, after in pairs if before is not None and after is not None]
            if not known:
                assert measure not in found or found[measure]["value"] is None
                continue
            same(found[measure], paired(known, binary), 2.0 if measure == "cosine_distance" else 1.0)
            if measure == "top1_change":
                value, low, high = paired(known, binary)
                same(found["consistency"], (-value, -high, -low))


PLACES = {"layers": ["stem", "body", "head"], "sites": [("pool", 1), ("stride", 2), ("late", 3)]}


@st.composite
def looked_at(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Images of a depth profile: layers with and without a map, sites on some images only, rings of a spectrum."""
    images: list[dict[str, Any]] = []
    number = st.none() | st.floats(0, 1)
    for index in range(draw(st.integers(1, 8) | st.integers(10, 12))):  # ten and more: corrected for skewness
        name, rows = f"{index}.png", []
        for layer in PLACES["layers"]:
            rows.append({"what": "layer", "place": layer, **{measure: draw(number) for measure in LAYER_MEASURES}})
        if draw(st.booleans()):
            for site, _ in PLACES["sites"]:
                spectrum = draw(st.none() | st.lists(number, min_size=2, max_size=4))
                values = {measure: draw(number) for measure in SITE_MEASURES}
                rows.append({"what": "site", "place": site, "spectrum": spectrum, **values})
        images.append({"name": name, "rows": [{"name": name, **row} for row in rows]})
    return images


@settings(max_examples=40)
@given(looked_at(), st.integers(1, 4))
def test_a_depth_summary_is_what_plain_python_makes_of_its_records(images: list[dict[str, Any]], block: int) -> None:
    records, (name,) = recorded([images], depth_schema(), block)
    described = {
        name: {
            "layers": [{"name": layer, "depth": depth} for depth, layer in enumerate(PLACES["layers"], 1)],
            "sites": [{"name": site, "depth": depth} for site, depth in PLACES["sites"]],
        }
    }
    summary = Profile(described, make_protocol("crop"), {"images": "drawn"}, records).summary()
    measured = summary["models"][name]
    rows = [row for image in images for row in image["rows"]]
    assert measured["images"] == len(images)

    def of(what: str, place: str, measure: str) -> list[float]:
        return [r[measure] for r in rows if (r["what"], r["place"]) == (what, place) and r[measure] is not None]

    def check(found: dict[str, Any] | None, values: list[float], measure: str) -> None:
        if not values:
            assert found is None
            return
        if measure in ("energy_above", "alias_fraction"):
            expected: tuple[Any, Any, Any] = share([[value] for value in values], False)
        else:
            expected = skewed(values)
        if measure not in ("cosine_similarity", "rise") and expected[1] is not None:
            expected = expected[0], max(expected[1], 0.0), expected[2]
        same(found, expected)

    for layer in measured["layers"]:
        for measure in LAYER_MEASURES:
            check(layer[measure], of("layer", layer["name"], measure), measure)
    for site in measured["sites"]:
        for measure in SITE_MEASURES:
            check(site[measure], of("site", site["name"], measure), measure)
        rises = []
        for image in images:
            values = {r["place"]: r["unexplained_change"] for r in image["rows"] if r["what"] == "layer"}
            if site["depth"] < len(PLACES["layers"]):
                before, behind = (values[PLACES["layers"][site["depth"] - 1]], values[PLACES["layers"][site["depth"]]])
                if before is not None and behind is not None:
                    rises.append(behind - before)
        check(site["rise"], rises, "rise")
        spectra = [r["spectrum"] for r in rows if r["place"] == site["name"] and r["spectrum"]]
        for ring in range(4):
            values = [s[ring] for s in spectra if ring < len(s) and s[ring] is not None]
            if site["spectrum"] is None:
                assert not values
            else:
                check(site["spectrum"]["power"][ring], values, "spectrum")
