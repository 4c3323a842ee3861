"""Numbers for people: decimal digits, with halves rounded away from zero.

The machine's own formatting rounds the binary fraction that stands for a number, so that 0.975 becomes 0.97 and 0.875
becomes 0.88. Here the decimal number is rounded, and both go up. All text that shows a number is made here.
"""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

__all__ = ["rounded"]

_CERTAIN = 12  # digits; those behind them are the rounding errors of arithmetic
_EXACT = Context(prec=700, rounding=ROUND_HALF_UP)  # no float has more digits before and behind its point
_PLACES = re.compile(r"\.(\d+)([fg%])$")
_MINUS = re.compile("^-")


def rounded(number: Any, form: str) -> str:
    """A number as text, its decimal digits rounded half away from zero; its minus is −, and none stands before a zero.

    Parameters
    ----------
    number : float
        Or a scalar of NumPy.
    form : str
        As in a format string: ``".2f"``, ``"+.3f"``, ``",.4g"``, ``".1%"``.

    Examples
    --------
    >>> rounded(0.975, ".2f"), rounded(0.875, ".2f"), rounded(-0.125, "+.2f"), rounded(-0.001, ".2f")
    ('0.98', '0.88', '−0.13', '0.00')
    >>> rounded(1 - 0.435, ".2f"), rounded(0.285, ".0%"), rounded(1.25, ".2g")
    ('0.57', '29%', '1.3')
    """
    given = float(str(number))  # of a float32, the shortest decimal too
    if not math.isfinite(given) or not given:
        return _MINUS.sub("−", format(abs(given) if given == 0 else given, form))
    found = _PLACES.search(form)
    if found is None:
        raise ValueError(f"the form {form!r} does not say how many digits; expected one such as '.2f'")
    exact = Decimal(f"{given:.{_CERTAIN}g}")
    places = int(found[1])
    if found[2] == "g":
        places = max(places, 1) - 1 - exact.adjusted()
    elif found[2] == "%":
        places += 2
    near = exact.quantize(Decimal(1).scaleb(-places), context=_EXACT)
    return _MINUS.sub("−", format(float(near) + 0.0, form))
