"""Whether a progress bar has somebody to see it (on a terminal or in a notebook), and durations in words."""

import sys

from aliasing.rounding import rounded


def watched() -> bool:
    """Whether a person sees standard error: it is a terminal, or the stream of a Jupyter kernel, which is not one."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def duration(seconds: float) -> str:
    """A duration as one says it.

    Examples
    --------
    >>> duration(0.4), duration(42), duration(125), duration(9000)
    ('1 s', '42 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(int(rounded(seconds, '.0f')), 1)} s"
    return f"{rounded(seconds / 60, '.0f')} min" if seconds < 6000 else f"{rounded(seconds / 3600, '.1f')} h"
