"""People's own code by its place, ``PACKAGE.MODULE:NAME``: what is there, and what a factory there makes.

Modules may lie in the current folder. ``asked`` is how the place was asked for, with which every error begins.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from os import chdir
from pathlib import Path
from typing import Any

from aliasing.errors import UsageError, first_line


def find(place: str, asked: str) -> Callable[..., Any]:
    """What can be called at a place; the name behind the colon may have dots.

    Raises UsageError if the module cannot be imported, or has nothing of the name that can be called.

    Examples
    --------
    >>> find("collections:Counter.most_common", "--of collections:Counter.most_common").__name__
    'most_common'
    """
    module_path, _, attribute = place.partition(":")
    if not module_path or not attribute:
        raise UsageError(f"{asked}; expected PACKAGE.MODULE:NAME")
    with _in_current_folder():
        try:
            module = import_module(module_path)
        except (Exception, SystemExit) as error:  # whatever the user's own code raises
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UsageError(f"{asked}: cannot import {module_path} from {Path.cwd()} ({reason})") from error
        try:
            found = attrgetter(attribute)(module)
        except AttributeError:
            found = None
    if not callable(found):
        raise UsageError(f"{asked}: {module_path} has no function {attribute!r}; expected PACKAGE.MODULE:NAME")
    made: Callable[..., Any] = found
    return made


def make(factory: Callable[[], Any], asked: str) -> Any:
    """What a factory without arguments makes; UsageError if it fails."""
    called = f"{getattr(factory, '__name__', 'it')}()"
    with _in_current_folder():
        try:
            return factory()
        except SystemExit as error:
            raise UsageError(f"{asked}: {called} calls sys.exit({error}) instead of returning") from error
        except Exception as error:
            raise UsageError(f"{asked}: {called} failed ({type(error).__name__}: {first_line(error)})") from error


@contextmanager
def _in_current_folder() -> Iterator[None]:
    """Look for modules in the current folder too, as ``python -m`` does, and return to it, whatever the code did.

    Paths that were given are relative to it.
    """
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        chdir(folder)
