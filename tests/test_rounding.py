"""One rule rounds every number that a person reads: halves go away from zero, by the number's decimal digits."""

import ast
import math
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aliasing
import experiments
from aliasing.report.blocks import estimate_cell
from aliasing.rounding import rounded
from aliasing.tables import cell

FOLDERS = [Path(module.__file__ or "").parent for module in (aliasing, experiments)]
# They write coordinates of drawings; and the rule itself.
NOT_FOR_READING = {"plots/svg.py", "plots/overlay.py", "jitter/drawings.py", "rounding.py"}


@pytest.mark.parametrize("number", [0.975, 0.875, 1 - 0.025, 7 / 8, 1 - 0.435, 0.285, 0.005, 1.005, 2.675])
def test_halves_go_away_from_zero(number: float) -> None:
    upwards = Decimal(f"{number:.10f}") + Decimal("0.005")
    assert rounded(number, ".2f") == rounded(np.float32(number), ".2f") == str(upwards)[:4]
    assert rounded(-number, ".2f") == f"−{rounded(number, '.2f')}"
    assert rounded(number / 100, ".2%") == f"{rounded(number, '.2f')}%"


@given(st.integers(-(10**9), 10**9), st.integers(0, 7), st.integers(0, 5))
def test_decimals_are_rounded_as_by_hand(digits: int, point: int, places: int) -> None:
    number = Decimal(digits).scaleb(-point)
    by_hand = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    assert float(rounded(float(number), f".{places}f").replace("−", "-")) == float(by_hand)


@given(st.floats(1e-300, 1e300), st.integers(1, 6))
def test_significant_digits_are_those_of_the_number(number: float, digits: int) -> None:
    text = rounded(number, f".{digits}g")
    # Half a unit of the last digit, and the 1e-12 of the number that the rule takes for errors of arithmetic.
    assert abs(float(text) - number) <= abs(number) * (5 * 10.0**-digits + 1e-11)
    assert len(re.sub(r"e.*|\D", "", text).lstrip("0")) <= digits or abs(number) >= 1


def test_what_is_no_number_is_said_as_before() -> None:
    assert [rounded(x, ".2f") for x in (math.nan, math.inf, -math.inf, -0.0)] == ["nan", "inf", "−inf", "0.00"]
    with pytest.raises(ValueError, match="how many digits"):
        rounded(0.5, "f")


def test_a_table_and_the_page_round_alike() -> None:
    estimate = {"value": 0.975, "low": 0.875, "high": 0.995}
    assert cell(estimate) == "0.98 [0.88, 1.00]"
    found = estimate_cell(estimate)
    assert f"{found.text} {found.detail}" == cell(estimate)


def test_nothing_else_formats_numbers() -> None:
    """No f-string says how many digits a number has, but in the rule itself."""
    own: list[str] = []
    for folder in FOLDERS:
        for file in sorted(folder.rglob("*.py")):
            if str(file.relative_to(folder)) in NOT_FOR_READING:
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                form = (
                    ast.unparse(node.format_spec) if isinstance(node, ast.FormattedValue) and node.format_spec else ""
                )
                if re.search(r"\.(\d+|\{.*\})[fg%]", form):
                    own.append(f"{file.relative_to(folder.parent)}:{node.lineno}")  # type: ignore[attr-defined]
    assert own == [], "use aliasing.rounding.rounded"
