"""The conversions that a cure compares, and how it chooses one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aliasing.depth.attribution import Attribution
from aliasing.errors import UsageError
from aliasing.estimates import Estimate
from aliasing.identity import identify
from aliasing.jitter import Jitter
from aliasing.models import Classifier
from aliasing.surgery import antialias
from aliasing.surgery.convert import SITES
from aliasing.surgery.specification import parse
from aliasing.tables import cell

__all__ = ["CANDIDATES", "Candidates", "choose", "guilty_sites", "make_candidates"]

CANDIDATES = ("binomial3,all", "binomial4,all", "binomial3,before,all", "flc,all")
"""Operator, placement and sites, as in the names of converted networks; the guilty sites alone are a fifth."""


@dataclass
class Candidates:
    """The conversions that can be made, by specification; and why others cannot."""

    networks: dict[str, Classifier] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)


def guilty_sites(attribution: Attribution) -> list[str]:
    """The sites that clearly cause jitter, guiltiest first: treated alone they lower it, or left out they keep some."""
    return [row["name"] for row in attribution.summary()["sites"] if row["clear"] or row["clear_all_but"]]


def check_specifications(specifications: Sequence[str] | None) -> None:
    """Raise UsageError if one is not a specification, or the list is empty."""
    if specifications is not None and not specifications:
        raise UsageError("no candidate was given; give conversions such as binomial3,all, or leave --candidates out")
    for text in specifications or ():
        parse(text)


def make_candidates(plain: Classifier, guilty: Sequence[str], specifications: Sequence[str] | None) -> Candidates:
    """Convert the network in each way; conversions that come to the same are made once.

    Raises UsageError if no conversion is possible.
    """
    wanted = list(CANDIDATES if specifications is None else specifications)
    if specifications is None and guilty and all(re.fullmatch(r"[\w.()\[\] -]+", name) for name in guilty):
        wanted.append(f"binomial3,{SITES}{'+'.join(guilty)}")
    found, seen = Candidates(), {identify(plain).digest: "plain"}
    for text in wanted:
        arguments = parse(text)
        try:
            network = antialias(plain, **arguments)
        except UsageError as error:
            found.impossible[text] = str(error)
            continue
        same = seen.setdefault(identify(network).digest, text)
        if same == text:
            found.networks[text] = network
        else:
            found.impossible[text] = f"the same as {same}"
    if not found.networks:
        reasons = "; ".join(f"{text}: {reason}" for text, reason in found.impossible.items())
        raise UsageError(f"{plain.name} cannot be converted ({reasons})")
    return found


def choose(trials: Jitter) -> tuple[str, dict[str, str]]:
    """The candidate that jitters least among those as accurate as the best; and why each other was not chosen.

    One whose accuracy is clearly below that of the most accurate (the paired interval lies below 0) is out. Of the rest
    the one with the lowest estimate of P(top-1 change) is taken, or of equals the one with the lowest mean absolute
    change; the paired difference says whether it is clearly lower.
    """
    models: dict[str, Any] = trials.summary()["models"]
    best = max(models, key=lambda name: models[name]["accuracy"]["value"])
    reasons = {}
    for name in models:
        found = trials.difference(best, name).estimates()["accuracy"] if name != best else None
        if found is not None and found.high < 0:
            reasons[name] = f"clearly less accurate than {best}: {_written(found)}"
    rest = [name for name in models if name not in reasons]
    chosen = min(rest, key=lambda name: [models[name][measure]["value"] for measure in ("top1_change", "mac")])
    for name in rest:
        if name != chosen:
            found = trials.difference(chosen, name).estimates()["top1_change"]
            how = "clearly jitters more than" if found.low > 0 else "not clearly steadier or less steady than"
            reasons[name] = f"{how} {chosen}: P(top-1 change) {_written(found)}"
    return chosen, reasons


def _written(difference: Estimate) -> str:
    return f"{cell(difference.as_dict(), '+')}, paired"
