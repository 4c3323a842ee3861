"""What does this file of a run hold? The one reader, and the writer, of whatever a run keeps and reads again.

A file is read if it is a regular file that lies in the run's folder, of acceptable size, and holds what was written:
JSON has a ``digest`` of the rest, a Parquet part one before its footer, and a zip file (``.pt``, ``.npz``) one behind
its end, which other programs skip. Folders of versions before have no digests; their files are read, and what they hold
is checked. A folder says whose it is: ``.run.json`` names the command that made it, and no other writes there.
"""

import hashlib
import json
import math
import os
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, TypeAlias

from aliasing import provenance
from aliasing.errors import InputError, UsageError, first_line, one_line

__all__ = [
    "DamagedError",
    "check_fits",
    "check_sealed",
    "claim",
    "digest_of",
    "irregular",
    "parse_json",
    "read_bytes",
    "read_json",
    "seal_parquet",
    "sealed_file",
    "unsealed_parquet",
    "write_json",
]

LARGEST_JSON = 2**27  # bytes; a summary has some thousands of numbers
LARGEST_PART = 2**29  # of the pairs of 32 images
_DEEPEST = 64  # lists and objects in one another; a summary has eight
_LONGEST_INTEGER = 20  # digits
_KEY, _FILES = "digest", "files"
_SIZE = 16
_MARK = b"aliasing digest "
_OWNER = ".run.json"

Form: TypeAlias = Any
"""What a value must be: a type, None, ``[form]``, ``{str: form}``, or a tuple of forms of which one must fit."""


class DamagedError(InputError):
    """A file of a run does not hold what was written."""

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


# --- files ----------------------------------------------------------------------------------------------------------


def irregular(status: os.stat_result) -> str | None:
    """What lies in the place of a regular file, such as "named pipe"; None if it is one."""
    return None if stat.S_ISREG(status.st_mode) else _KINDS.get(stat.S_IFMT(status.st_mode), "special file")


_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@contextmanager
def opened(path: Path, root: Path | None = None) -> Iterator[BinaryIO]:
    """Open a regular file to be read, in the folder ``root`` (by default its own); never waits for a pipe or a device.

    Raises DamagedError if it is something else, or a link leads out of the folder, and OSError if there is none.
    """
    root = path.parent if root is None else root
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
    except RuntimeError as error:  # a link to itself
        raise DamagedError(f"{path} leads nowhere ({first_line(error)})") from None
    if not is_inside:
        raise DamagedError(f"{path} leads out of {root}")
    kind = irregular(path.stat())
    if kind is None:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            kind = irregular(os.fstat(descriptor))
            if kind is None:
                yield file
    if kind is not None:
        raise DamagedError(f"{path} is a {kind}, not a regular file")


def read_bytes(path: Path, root: Path | None = None, largest: int = LARGEST_PART) -> bytes:
    """The content of a file of a run; see `opened`."""
    with opened(path, root) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(largest + 1) if size <= largest else b""
    if max(size, len(content)) > largest:
        raise DamagedError(f"{path} has more than {largest >> 20} MB; no run leaves that much")
    return content


# --- JSON -----------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: dict[str, Any], files: Iterable[str] = ()) -> None:
    """Write a JSON object with its digest, completely or not at all. NaN and infinity are refused: they are not JSON.

    ``files`` are others beside it that it speaks of; their digests are written too, and `read_json` checks them.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "summary.json"
    >>> write_json(path, {"images": 3})
    >>> read_json(path)
    {'images': 3}
    >>> path.write_text(path.read_text().replace("3", "4", 1)) and read_json(path)
    Traceback (most recent call last):
    aliasing.state.DamagedError: .../summary.json cannot be read (it was changed after it was written: its digest ...
    """
    listed = {name: _digest(read_bytes(path.parent / name)) for name in files}
    content = {**content, _FILES: listed} if listed else content
    provenance.write_json(path, {**content, _KEY: digest_of(content)})


def read_json(path: Path, root: Path | None = None, form: Form = dict, mend: str = "measure again") -> Any:
    """A JSON file of a run, without its digest; DamagedError if it cannot be read or does not fit the form."""
    try:
        found = parse_json(read_bytes(path, root, LARGEST_JSON))
        if isinstance(found, dict) and _KEY in found and found.pop(_KEY) != digest_of(found):
            raise ValueError("it was changed after it was written: its digest differs")
        check_fits(found, form, path)
        if isinstance(found, dict) and fits(found.get(_FILES), {str: str}):
            for name, digest in found.pop(_FILES).items():
                if _digest(read_bytes(path.parent / name, root or path.parent)) != digest:
                    raise DamagedError(f"{path.parent / name} was changed after it was written: its digest differs")
    except DamagedError as error:
        raise DamagedError(f"{error}; {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({first_line(error)}); {mend}") from None
    return found


def is_sealed(path: Path) -> bool:
    """Whether a JSON file has a digest; those of versions before have none."""
    return f'"{_KEY}": "'.encode() in read_bytes(path, largest=LARGEST_JSON)[-100:]


def parse_json(content: str | bytes) -> Any:
    """Parse JSON that is no deeper and has no longer numbers than a run leaves; ValueError otherwise.

    Examples
    --------
    >>> parse_json('{"a": NaN}')
    Traceback (most recent call last):
    ValueError: NaN is not a number in JSON
    """
    if isinstance(content, bytes):
        content = content.decode()
    found = json.loads(
        content, parse_constant=_not_json, parse_int=_integer, parse_float=_number, object_pairs_hook=_object
    )
    level, depth = [found], 0
    while level := [inner for value in level if isinstance(value, list | dict) for inner in _inside(value)]:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"lists in lists, more than {_DEEPEST}")
    return found


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def _not_json(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a number in JSON")


def _integer(text: str) -> int:
    return int(text) if len(text) <= _LONGEST_INTEGER else _not_json(text)


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_json(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def digest_of(content: Any) -> str:
    """The digest of what JSON can hold, whatever the order of its keys."""
    return _digest(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_SIZE).hexdigest()


def check_fits(value: Any, form: Form, what: object) -> None:
    """Raise DamagedError if a value read from JSON is not of a form."""
    if not fits(value, form):
        raise DamagedError(f"{what} does not hold what a run writes there")


def fits(value: Any, form: Form) -> bool:
    """Whether a value read from JSON is of a form.

    Examples
    --------
    >>> fits({"cat.png": [1, 2.5]}, {str: [float]}), fits([True], [int]), fits(None, (str, None))
    (True, False, True)
    """
    if isinstance(form, tuple):
        return any(fits(value, one) for one in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(one, form[0]) for one in value)
    if isinstance(form, dict):
        return isinstance(value, dict) and all(fits(one, form[str]) for one in value.values())
    if form in (None, object):
        return form is object or value is None
    return type(value) in ((int, float) if form is float else (form,))


# --- Parquet and zip ------------------------------------------------------------------------------------------------


def seal_parquet(content: bytes) -> bytes:
    """A Parquet file with the digest of its bytes before the footer, where its readers look for nothing."""
    footer = _footer(content)
    return content[:footer] + _MARK + hashlib.blake2b(content, digest_size=_SIZE).digest() + content[footer:]


def unsealed_parquet(content: bytes) -> bytes:
    """The Parquet file without its digest; ValueError if that of its bytes is another."""
    footer = _footer(content)
    begin = footer - _SIZE - len(_MARK)
    if begin < 0 or content[begin : begin + len(_MARK)] != _MARK:
        if _MARK in content:
            raise ValueError("its digest is not where it was written")
        return content
    bare = content[:begin] + content[footer:]
    if hashlib.blake2b(bare, digest_size=_SIZE).digest() != content[footer - _SIZE : footer]:
        raise ValueError("it was changed after it was written: its digest differs")
    return bare


def _footer(content: bytes) -> int:
    """Where the footer begins; the last eight bytes are its length and a magic number."""
    if len(content) < 12 or content[-4:] != b"PAR1":
        raise ValueError("it does not end as a Parquet file does")
    return max(len(content) - 8 - int(struct.unpack("<I", content[-8:-4])[0]), 0)


@contextmanager
def sealed_file(path: Path, before: str | None = None) -> Iterator[IO[bytes]]:
    """Open a zip file to be written, completely or not at all, with its digest behind its end.

    The one that it replaces is kept under the name ``before``.
    """
    with provenance.whole_file(path) as file:
        yield file
        file.seek(0)
        digest = _digest_of_file(file)
        file.seek(0, os.SEEK_END)
        file.write(_MARK + digest)
        if before is not None and path.is_file():
            path.replace(path.with_name(before))


def check_sealed(path: Path, root: Path | None = None) -> None:
    """Raise DamagedError if a zip file is not what was written; one without a digest has to have valid checksums."""
    try:
        with opened(path, root) as file:
            end = file.seek(0, os.SEEK_END) - _SIZE - len(_MARK)
            file.seek(max(end, 0))
            found = file.read()
            file.seek(0)
            if end >= 0 and found.startswith(_MARK):
                if _digest_of_file(file, end) != found[len(_MARK) :]:
                    raise ValueError("it was changed after it was written: its digest differs")
                return
            with zipfile.ZipFile(file) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("it is compressed")
                if archive.testzip() is not None:
                    raise ValueError("a checksum differs")
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is damaged ({first_line(error)})") from None


def _digest_of_file(file: BinaryIO, length: int | None = None) -> bytes:
    digest = hashlib.blake2b(digest_size=_SIZE)
    while (length is None or length > 0) and (piece := file.read(min(2**20, 2**20 if length is None else length))):
        digest.update(piece)
        length = None if length is None else length - len(piece)
    return digest.digest()


# --- whose a folder is ----------------------------------------------------------------------------------------------


def claim(folder: Path, command: str, owner: str | None = None) -> None:
    """Say that a folder is this command's; UsageError if it is another's, or holds what the package has not made.

    A folder of a version before does not say whose it is: then it is its ``owner``'s, the command that made its
    summary, and one that holds records is of a run that has not been finished.
    """
    mark = folder / _OWNER
    if mark.is_symlink() or mark.exists():
        found = read_json(mark, form={str: (str, int)}, mend="choose another --out")
        owner = str(found.get("command"))
    elif owner is None and not any((folder / name).exists() for name in ("records", "settings.json")):
        foreign = next((folder / name for name in _MADE if (folder / name).exists()), None)
        if foreign is not None:
            raise UsageError(f"{foreign} was not made by a run and would be replaced; choose another --out")
    if owner not in (None, command) and any(path.name[0] != "." for path in folder.iterdir()):
        raise UsageError(f"{folder} holds a run of {owner}, and this is {command}; choose another --out")
    if owner != command or not mark.exists():
        write_json(mark, {"command": command, "version": 1})


def may_replace(path: Path, begins: bytes, what: str) -> None:
    """Raise UsageError if there is a file that does not begin as those do that the package writes there."""
    if not path.is_dir() and (path.is_symlink() or path.exists()):  # a folder cannot be written, and is told as such
        try:
            content = read_bytes(path, path.resolve().parent)[:4096]
        except InputError as error:
            raise UsageError(f"{error}; choose another --out") from None
        if content and begins not in content:
            raise UsageError(f"{path} is not {what} that was made here and would be replaced; choose another --out")


_MADE = (
    "summary.json",
    "figure.png",
    *("leaderboard.md", "leaderboard.csv", "speed.json", "skew.json"),
    *("layers.png", "filters.png", "across.png", "lie.png", "differences.png"),
    *("animation.mp4", "animation.gif", "animation.json"),
    *("examples", "spectra", "gallery", "consistency", "answers", "training"),
    *("checkpoint.pt", "images.npz", "history.json", "weights.safetensors"),
)
