"""What a cure shows, in three sentences: what was guilty, what it gained, what it cost."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from aliasing.rounding import rounded
from aliasing.tables import cell, decimals

__all__ = ["sentences", "succeeded"]

Summary: TypeAlias = Mapping[str, Any]
_SHOWN = 4  # the most sites that a sentence names


def succeeded(differences: Sequence[Summary]) -> bool:
    """Whether cured clearly jitters less than plain and than control, and is not clearly less accurate than either."""
    found = [_of(differences, first, "cured") for first in ("plain", "control")]
    return all(_below(row.get("top1_change")) and not _below(row.get("accuracy")) for row in found)


def sentences(cure: Summary, models: Summary, differences: Sequence[Summary]) -> list[str]:
    """What was guilty, what the cure gained, and what it cost; each claims only what its intervals show."""
    return [_guilty(cure), _gained(cure, models, differences), _cost(cure, models, differences)]


def _guilty(cure: Summary) -> str:
    guilty, of, images = cure["guilty"], cure["sites"], cure["images"]["attributed"]
    if not guilty:
        return (
            f"Which of the {of} downsampling sites is guilty cannot be told: treated one at a time on {images} training"
            " images, none clearly lowers the jitter, and none clearly leaves some if all others are treated."
        )
    shown = ", ".join(guilty[:_SHOWN]) + (f" and {len(guilty) - _SHOWN} more" if len(guilty) > _SHOWN else "")
    verb = "is" if len(guilty) == 1 else "are"
    which = f"{len(guilty)} of the {of} downsampling sites {verb}" if of > 1 else "The only downsampling site is"
    return (
        f"{which} guilty: {shown}. On {images} training images, filtering such a site alone clearly lowers the jitter,"
        " or leaving it as it is, with all others filtered, clearly keeps some."
    )


def _gained(cure: Summary, models: Summary, differences: Sequence[Summary]) -> str:
    plain, control = both = _against_both(differences, "top1_change")
    value, before = _values(models, "top1_change", "cured", "plain")
    numbers = (
        f"{_written(plain)} against plain, {_written(control)} against the control, trained likewise but not filtered"
    )
    how = (
        f"{value} in the cured network ({cure['chosen']}) and"
        f" {'' if value == before else f'{before} '}in the plain one ({numbers})."
    )
    mac = _against_both(differences, "mac")
    if all(map(_below, mac)):
        first, second = map(_written, mac)
        how += f" The mean absolute change is clearly lower: {first} against plain, {second} against control."
    if all(map(_below, both)):
        return f"The cure makes the answer steadier: P(top-1 change) is {how}"
    how += f" {_next_step(both, cure['images']['held_out'])}"
    if _below(plain):
        return f"The answer is steadier, but the filter is not shown to be the reason: P(top-1 change) is {how}"
    if any(map(_above, both)):
        return f"This is no cure: P(top-1 change) is {how}"
    return f"No gain in P(top-1 change), by which a cure is judged, is shown: it is {how}"


def _next_step(differences: Sequence[Summary | None], images: int) -> str:
    """What may show a gain: more training, and more held-out images if what was found would be a gain."""
    training = "more training, by images (--train, --train-sample) or epochs (--epochs)"
    unclear = [row for row in differences if not _below(row)]
    needed = [images * ((row["high"] - row["value"]) / row["value"]) ** 2 for row in unclear if row and _negative(row)]
    if len(needed) < len(unclear):
        return f"The next step: {training}."
    unit = 10 ** math.floor(math.log10(max(needed)))  # one digit: the difference that was found is itself uncertain
    return (
        f"The next step: more held-out images (--images, --sample; about {math.ceil(max(needed) / unit) * unit:,} would"
        f" show differences as large as those found), or {training}."
    )


def _negative(estimate: Summary) -> bool:
    """Whether the estimate has an interval and is below 0 as it is written."""
    value, high = estimate["value"], estimate["high"]
    return None not in (value, high) and rounded(value, f".{decimals(estimate)}f").startswith("−")


def _cost(cure: Summary, models: Summary, differences: Sequence[Summary]) -> str:
    cost = cure["cost"]
    ratio = cost["cured"]["multiply_adds"] / max(cost["plain"]["multiply_adds"], 1)
    work = f"an answer takes {rounded(ratio, '.2f')} times the multiply–adds of convolutions and matrix products"
    plain, control = both = _against_both(differences, "accuracy")
    if plain is None:
        return f"What it costs in accuracy is unknown, because the held-out images have no labels; {work}."
    value, trained, before = _values(models, "accuracy", "cured", "control", "plain")
    numbers = (
        f"{value}; the control, which trained as long, has {trained} (difference {_written(control)}), and plain"
        f" {before} (difference {_written(plain)})"
    )
    if any(map(_below, both)):
        return f"It costs accuracy, which more epochs or more training images may bring back: {numbers}; {work}."
    better = "Filtering raises accuracy" if _above(control) else "No loss of accuracy is shown"
    return f"{better}: {numbers}; {work}."


def _against_both(differences: Sequence[Summary], measure: str) -> tuple[Summary | None, Summary | None]:
    """Cured minus plain, and cured minus control."""
    return _of(differences, "plain", "cured").get(measure), _of(differences, "control", "cured").get(measure)


def _of(differences: Sequence[Summary], first: str, second: str) -> Summary:
    return next((row for row in differences if (row["first"], row["second"]) == (first, second)), {})


def _below(estimate: Summary | None) -> bool:
    return estimate is not None and estimate["high"] is not None and estimate["high"] < 0


def _above(estimate: Summary | None) -> bool:
    return estimate is not None and estimate["low"] is not None and estimate["low"] > 0


def _written(estimate: Summary | None) -> str:
    return "unknown" if estimate is None or estimate["value"] is None else cell(estimate, "+")


def _values(models: Summary, measure: str, *names: str) -> list[str]:
    """The estimates of these networks, to the decimals of the finest one."""
    estimates = [models[name][measure] for name in names]
    digits = max(map(decimals, estimates))
    return [rounded(estimate["value"], f".{digits}f") for estimate in estimates]
