"""What to know of the numbers in a table, in sentences: cautions, notes, and inputs that were skipped.

The commands print them below their tables, and so does ``repr`` of a result.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from aliasing.called import conversions_of, explained, short_names
from aliasing.kinds import DEFAULT_OPERATOR
from aliasing.outputs import measures_in
from aliasing.rounding import rounded
from aliasing.tables import above_one, attribution_totals, cell, counted, measured_under, verdict, word_for

if TYPE_CHECKING:
    from aliasing.outputs.base import Measure

__all__ = [
    "of_attribution",
    "of_cure",
    "of_depth",
    "of_design",
    "of_jitter",
    "of_leaderboard",
    "of_means",
    "of_operators",
    "told_apart",
]

Summary: TypeAlias = Mapping[str, Any]
_MOST = 10  # lines of one kind
_MOST_SENTENCES = 3


def of_jitter(summary: Summary) -> Iterable[str]:
    """Remarks on a jitter measurement."""
    yield "(95 % intervals in brackets)"
    yield from of_design(summary)
    yield from _words(conversions_of(summary["models"]))
    yield from _flattery(summary, "table")
    for name, model in summary["models"].items():
        yield from _of_network(name, model)
    yield from _of_inputs(summary["images"], word_for(summary["models"]))


def of_leaderboard(summary: Summary) -> Iterable[str]:
    """Remarks on a comparison of networks."""
    models, unmeasured = summary["models"], summary["unmeasured"]
    yield _of_what(summary)
    yield from of_design(summary)
    yield from _words(conversions_of(models))
    yield from _flattery(summary, "leaderboard")
    yield from told_apart(summary["differences"], measures_in(summary, "leaderboard"), short_names(models, models))
    if summary["pareto"]:
        front = ", ".join(summary["pareto"])
        yield f"on the Pareto front of the estimates, whose intervals may overlap: {front}"
    lines: list[str] = []
    for name, model in models.items():
        notes = [text for text in model["notes"] if not text.startswith("anti-aliased: ")]  # its name says so
        lines += _of_network(name, {**model, "notes": notes})
        if model["group"] == "trained anti-aliased" and model["sibling"] is None:
            lines.append(f"{name}: trained anti-aliased; its plain sibling is not among these networks")
    yield from _first(lines)
    if unmeasured:
        yield f"{len(unmeasured)} of {len(unmeasured) + len(models)} networks could not be measured:"
        yield from _first([f"  {name}: {reason}" for name, reason in unmeasured.items()])
    yield from _of_inputs(summary["images"])


def _of_what(summary: Summary) -> str:
    """Of how many images a leaderboard's tables are, and under which protocols."""
    models, settings = summary["models"], summary["settings"]
    images = max(model["images"] for model in models.values())
    by = f"on {settings['threads']} of its cores" if settings["device"] == "cpu" else f"by its {settings['device']}"
    return (
        f"({counted(images, word_for(models))}; 95 % intervals in brackets; views per second on this machine, {by}: the"
        " median of five timed batches, the slowest and the fastest in parentheses)\n\n"
        f"{measured_under(settings)}."
    )


def of_design(summary: Summary) -> Iterable[str]:
    """What a two-phase design has shown, if it is one: of how many inputs more than the first view.

    Examples
    --------
    >>> models = {"a": {"images": 500, "drawn": 160, "wholly_drawn": 20}, "b": {"images": 500, "drawn": 240}}
    >>> print(*of_design({"settings": {"design": "two-phase"}, "models": models}))
    two-phase design: every image is shown once, and 160 to 240 of 500 more often, drawn by their margin and weighted
    """
    if summary["settings"].get("design") != "two-phase":
        return
    models = summary["models"]
    drawn = [model["drawn"] for model in models.values() if "drawn" in model]
    if not drawn:
        return
    many = str(min(drawn)) if min(drawn) == max(drawn) else f"{min(drawn)} to {max(drawn)}"
    images = max(model["images"] for model in models.values())
    yield (
        f"two-phase design: every {word_for(models)} is shown once, and {many} of {images} more often, drawn by their"
        " margin and weighted"
    )


def told_apart(
    differences: Iterable[Summary], measures: Sequence["Measure"], names: Mapping[str, str]
) -> Iterable[str]:
    """What the paired differences of the measure that is spoken of say: which networks differ, and which may not."""
    by = next((one for one in sorted(measures, key=lambda one: not one.spoken) if one.sign), None)
    rows = [
        (row["first"], row["second"], row[by.name])
        for row in differences
        if by and {row.get("first"), row.get("second")} <= set(names) and _has_interval(row.get(by.name))
    ]
    if by is None or not rows:
        return
    lower, higher = [row for row in rows if row[2]["high"] < 0], [row for row in rows if row[2]["low"] > 0]
    if len(rows) > _MOST_SENTENCES:
        yield (
            f"Of {len(rows)} paired differences of {by.called}, {len(lower)} are clearly below 0 and {len(higher)}"
            f" clearly above; the other {len(rows) - len(lower) - len(higher)} tell no network from another."
        )
        return
    for row in rows:
        first, second, difference = names[row[0]], names[row[1]], cell(row[2], "+")
        if row in lower or row in higher:
            which = "lower" if row in lower else "higher"
            yield f"{second} has a clearly {which} {by.called} than {first}: {difference}, paired."
        else:
            yield f"{second} and {first} cannot be told apart by {by.called}: the paired difference is {difference}."


def _has_interval(estimate: Any) -> bool:
    return isinstance(estimate, Mapping) and estimate.get("low") is not None


def of_depth(summary: Summary) -> Iterable[str]:
    """Remarks on a depth profile."""
    yield "(95 % intervals in brackets)"
    yield from _words(conversions_of(summary["models"]))
    yield from above_one([place for model in summary["models"].values() for place in model["layers"] + model["sites"]])
    for name, model in summary["models"].items():
        rising = [site for site in model["sites"] if site["rise"] and site["rise"]["value"] is not None]
        if rising:
            most = max(rising, key=lambda site: site["rise"]["value"])
            yield f"{name}: the unexplained change rises most at {most['name']}: {cell(most['rise'])}"
        yield from _of_network(name, model, "features")
        if any(layer["margin"] for layer in model["layers"]):
            yield f"{name}: maps are boundary-contaminated; one cell at each side is left out"
    yield from _of_inputs(summary["images"], word_for(summary["models"]))


def of_attribution(summary: Summary) -> Iterable[str]:
    """What the differences of an attribution are, its network untreated and treated, the verdict, and the cautions."""
    yield (
        "(only: this site treated, minus none treated; all but: all sites but this one treated, minus all treated;"
        " paired, with 95 % intervals)"
    )
    settings = summary["settings"]
    filtered = settings["taps"] if settings["operator"] == DEFAULT_OPERATOR else settings["operator"]
    yield from _words([f"{filtered},{settings['placement']}"])
    yield from attribution_totals(summary)
    yield verdict(summary)
    yield "(sites are what subsamples; what padding, activations, norms and attention add: `aliasing depth --local N`)"
    untreated = summary["variants"]["as it is"]
    yield from _of_network(summary["model"], {**untreated, "not_finite": []})
    yield from _of_inputs(summary["images"])


def of_cure(summary: Summary) -> Iterable[str]:
    """The three sentences on a cure; and each caution once, with the networks that it concerns."""
    yield "(95 % intervals in brackets; differences are paired on the same held-out images)"
    yield from _words(row["candidate"] for row in summary["cure"]["candidates"])
    yield ""
    yield from summary["verdict"]
    yield ""
    of: dict[str, list[str]] = {}
    for name, model in summary["models"].items():
        for text in model["cautions"]:
            of.setdefault(text, []).append(name)
    for text, names in sorted(of.items()):
        yield f"caution: {text}" if len(names) == len(summary["models"]) else f"caution, {', '.join(names)}: {text}"
    yield from _of_inputs(summary["images"])


def of_operators(summary: Summary) -> Iterable[str]:
    """What the numbers of downsampling operators are, and what they say."""
    yield from of_means("shares of energy", summary["images"], summary["settings"]["inputs"])
    yield from above_one(summary["operators"].values())
    yield from summary["reading"]


def of_means(measured: str, images: Summary, what: str = "image") -> Iterable[str]:
    """What was measured, over how many images, whether there is an interval, and which images were skipped."""
    used = images["used"]
    of = f"mean of {used} {what}s, 95 % intervals in brackets" if used > 1 else f"of one {what} alone"
    yield f"({measured}, {of})"
    yield from _of_inputs({"found": used + len(images["skipped"]), **images}, what)


def _words(conversions: Iterable[str]) -> Iterable[str]:
    """What the short words of conversions mean, if there are some."""
    meanings = explained(conversions)
    if meanings:
        yield f"({meanings})"


def _of_network(name: str, model: Summary, answer: str = "output") -> Iterable[str]:
    """What to know of one network."""
    yield from (f"{name}: caution: {text}" for text in model["cautions"])
    yield from (f"{name}: {text}" for text in model["notes"])
    if "verification" in model:
        yield f"{name}: {_verified(model['verification'])}"
    for text, count in model.get("adapted", {}).items():
        yield f"{name}: {counted(count, word_for({name: model}))} adapted: {text}"
    if model["not_finite"]:
        images = model["not_finite"]
        some = f"{counted(len(images))}: {', '.join(images[:3])}{' …' * (len(images) > 3)}"
        yield f"{name}: NaN or infinite {answer} on {some}"


def _verified(found: Summary) -> str:
    """The result of a verification."""
    bound = (
        "all views"
        if found["bound"] is None
        else f"views with a margin below {rounded(found['bound'], '.3f')} in logits"
    )
    share = "" if found["run_again"] is None else f", {rounded(found['run_again'], '.1%')} of them"
    return (
        f"bfloat16, {bound} run again in float32{share}; of {found['audited_pairs']} audited pairs"
        f" {found['disagreements']} had a wrong answer: at most"
        f" {rounded(found['disagreement_limit'], '.2%')} of all (95 %)"
    )


def _of_inputs(images: Summary, what: str = "image") -> Iterable[str]:
    """What to know about the images, how many were rotated, and those that could not be shown, with the reason."""
    skipped = images["skipped"]
    yield from images.get("cautions", ())
    if images.get("turned"):
        yield (
            f"{images['turned']} photographs were rotated upright by their EXIF data; torchvision and timm do not"
            " (--orientation stored)"
        )
    if skipped:
        yield f"{len(skipped)} of {counted(images['found'], what)} skipped:"
        yield from _first([f"  {name}: {reason}" for name, reason in skipped.items()])


def _flattery(summary: Summary, place: str) -> Iterable[str]:
    """The remark on measures of right answers, if the networks have any in this place; and an empty line."""
    flattering = [measure.called for measure in measures_in(summary, place) if measure.flatters]
    if flattering:
        yield f"({flattering[0]} flatters a network that was trained on these images)"
    yield ""


def _first(lines: Sequence[str]) -> Iterable[str]:
    """The first lines, and how many more there are."""
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST} more, in the summary"
