"""Does anybody watch? A progress bar is for a person: on a terminal, or in a notebook."""

import sys


def watched() -> bool:
    """Whether standard error is shown to a person: a terminal, or the stream of a Jupyter kernel, which is none."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
