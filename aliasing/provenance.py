"""Versions, machine and command line of a result, and writing files that are complete or absent."""

import errno
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from aliasing.errors import InputError

PARTIAL = ".partial"  # the ending of a file that is being written

_PACKAGES = (
    "aliasing",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
)


def versions() -> dict[str, str | None]:
    """The versions of Python and of every package that numbers can depend on; None if one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def command_line() -> str:
    """The running command as one would type it in a shell: ``python -m MODULE …``, or the program's name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        module = spec.name.removesuffix(".__main__")
        given = sys.orig_argv  # a module may have changed sys.argv for another module that it runs
        for place, word in enumerate(given):
            if word.endswith(module):
                return shlex.join(["python", "-m", module, *given[place + 1 :]])
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def made_with(settings: dict[str, Any]) -> dict[str, Any]:
    """The end of every summary: the settings, the versions and the command."""
    return {"settings": settings, "versions": versions(), "command": command_line()}


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that will be complete or absent: a temporary one beside it, renamed once it is on disk.

    Raises InputError if the disk is full or the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
        temporary = Path(name)
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def cannot_write(path: Path, error: OSError) -> InputError:
    """The error for a full disk, or for a folder that cannot be written to."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"{path} cannot be written ({reason}); free some space, and the same command continues")
    return InputError(f"{path} cannot be written ({reason}); choose another --out")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON completely or not at all. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))  # JSON's own escape for a name that is not Unicode
