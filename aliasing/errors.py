"""The errors that a user can cause.

Each is a `ValueError`, so that a notebook can catch them as such. Their text is one line: what was given, what was
expected, and how to fix it. The command line prints that line and nothing else.
"""

import traceback


class InputError(ValueError):
    """The input is at fault: a file, an image, a checkpoint, a host. Exit code 1."""


class UsageError(ValueError):
    """The call is at fault: a name, an option, a size that makes no sense. Exit code 2."""


class ElsewhereError(InputError):
    """Another process of the same run is at fault, and reports it itself."""


def who_exits(error: SystemExit) -> str:
    """The function that called ``sys.exit``, in a user's network, images or protocol; the run does not exit."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name} in {frames[-1].filename}" if frames else "something"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, printable and cut at 300 characters; its type if there is no message."""
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]


def one_line(text: str) -> str:
    """Escape everything that is not printable: line breaks, control characters, surrogates.

    Examples
    --------
    >>> one_line("crème\\x1b[2J")
    'crème\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
