"""What a cure shows, in three sentences: what was guilty, what it gained, what it cost."""

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
    plain, control = (_of(differences, first, "cured").get("top1_change") for first in ("plain", "control"))
    value, before = _both(models, "top1_change")
    how = (
        f"P(top-1 change) is {value} in the cured network ({cure['chosen']}) and"
        f" {'' if value == before else f'{before} '}in the plain one"
    )
    numbers = (
        f"{_written(plain)} against plain, {_written(control)} against the control, trained likewise but not filtered"
    )
    if _below(plain) and _below(control):
        return f"The cure makes the answer steadier: {how} ({numbers})."
    if _below(plain):
        return f"The answer is steadier, but the filter is not shown to be the reason: {how} ({numbers})."
    if _above(plain) or _above(control):
        return f"This is no cure: {how} ({numbers})."
    return f"No gain is shown: {how} ({numbers})."


def _cost(cure: Summary, models: Summary, differences: Sequence[Summary]) -> str:
    cost = cure["cost"]
    ratio = cost["cured"]["multiply_adds"] / max(cost["plain"]["multiply_adds"], 1)
    work = f"an answer takes {rounded(ratio, '.2f')} times the multiply–adds of convolutions and matrix products"
    plain, control = (_of(differences, first, "cured").get("accuracy") for first in ("plain", "control"))
    if plain is None:
        return f"What it costs in accuracy is unknown, because the held-out images have no labels; {work}."
    value, before = _both(models, "accuracy")
    against = f"({_written(plain)} against plain, {_written(control)} against control)"
    numbers = f"{value} instead of {before} {against}"
    if _below(plain) or _below(control):
        return f"It costs accuracy, {numbers}, which more epochs or more training images may bring back; {work}."
    if value == before and not _above(plain):
        return f"Accuracy stays {value} {against}; {work}."
    better = "Accuracy rises" if _above(plain) else "No loss of accuracy is shown"
    return f"{better}: {numbers}; {work}."


def _of(differences: Sequence[Summary], first: str, second: str) -> Summary:
    return next((row for row in differences if (row["first"], row["second"]) == (first, second)), {})


def _below(estimate: Summary | None) -> bool:
    return estimate is not None and estimate["high"] is not None and estimate["high"] < 0


def _above(estimate: Summary | None) -> bool:
    return estimate is not None and estimate["low"] is not None and estimate["low"] > 0


def _written(estimate: Summary | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "unknown"
    return cell(estimate, "+").replace("-", "−")


def _both(models: Summary, measure: str) -> tuple[str, str]:
    """The estimates of cured and plain, to the decimals of the finer one."""
    cured, plain = (models[name][measure] for name in ("cured", "plain"))
    digits = max(decimals(cured), decimals(plain))
    return rounded(cured["value"], f".{digits}f"), rounded(plain["value"], f".{digits}f")
