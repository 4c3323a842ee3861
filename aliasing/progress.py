"""Whether a progress bar has somebody to see it: on a terminal or in a notebook."""

import sys


def watched() -> bool:
    """Whether a person sees standard error: it is a terminal, or the stream of a Jupyter kernel, which is not one."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
