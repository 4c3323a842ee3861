"""Images at URLs, opened by fsspec: ``https://…``, ``s3://…``, ``gs://…``, ``memory://…``.

What was read is kept in a cache of its own (``aliasing/inputs`` in ``XDG_CACHE_HOME``, by default ``~/.cache``), by the
URL and by what the server says of the version: size, ETag, time. A bucket is asked anonymously unless a variable of the
environment names credentials. No message, name or record shows the user, the password or the query of a URL.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aliasing.classes import Label
from aliasing.errors import InputError, UsageError, first_line
from aliasing.images.archives import Members, archive_source, is_tar, member_entry, shards_source
from aliasing.images.entries import Entry, ImageSource, hash_bytes, read_file, shown
from aliasing.images.labels import TABLES, Labels
from aliasing.images.media import is_media, media_entry
from aliasing.images.opening import is_url, open_images, without_secrets
from aliasing.images.pixels import MAX_BYTES, BadImage, check_size
from aliasing.images.tables import choose_split, parquet_source

_ANSWER_SECONDS = 30.0
_VERSION = ("size", "ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "created", "md5Hash")
_LISTED = 2**21  # files of a folder
# What names credentials, by protocol, and what asks without any.
_S3 = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "FSSPEC_S3_KEY"), {"anon": True}
_GS = ("GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_GS_TOKEN", "FSSPEC_GCS_TOKEN"), {"token": "anon"}
_AZURE = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN"), {"anon": True}
_CREDENTIALS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GS,
    "gcs": _GS,
    "az": _AZURE,
    "abfs": _AZURE,
}


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """What a URL holds: an image, an archive, a Parquet file, or a folder of any of these where files can be listed."""
    if path is not None or not isinstance(spec, str) or not is_url(spec):
        return None
    if urlsplit(spec).scheme in ("file", "local"):
        return open_images(spec.partition("://")[2])
    said = without_secrets(spec)
    try:
        return _open(_Place(spec), said)
    except (InputError, UsageError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{said} does not exist, or may not be read") from error
    except Exception as error:  # each file system has its own; its message may hold the URL
        raise InputError(f"{said} cannot be read: {_said(error, spec)}") from error


def url_entry(url: str, label: Label) -> Entry:
    """The entry of an image at a URL, which is asked when it is the image's turn."""
    return media_entry(without_secrets(url), label, lambda: _Place(url).bytes(), Path(_name_of(url)))


class _Place:
    """A URL with its file system, and the files of the cache for what is below it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._cached: dict[str, Path] = {}

    def connect(self) -> tuple[Any, str]:
        """The file system and the place in it; fsspec keeps the connections."""
        try:
            import fsspec.core
        except ImportError as error:
            raise InputError('URLs need fsspec: pip install "aliasing[remote]"') from error
        protocol = self.url.partition("://")[0].lower()
        try:
            system, place = fsspec.core.url_to_fs(self.url, **_options(protocol))
        except ImportError as error:
            raise InputError(f"{protocol}:// needs a package that is not here: {first_line(error)}") from error
        except ValueError as error:
            raise UsageError(f"{protocol}://: {_said(error, self.url)}") from error
        return system, place

    def bytes(self, place: str | None = None) -> bytes:
        """The bytes of one image, here or below."""
        try:
            return read_file(self.local(place, MAX_BYTES))
        except BadImage:
            raise
        except InputError as error:
            raise BadImage(str(error)) from error
        except Exception as error:
            raise BadImage(f"unreadable: {_said(error, self.url)}") from error

    def local(self, place: str | None = None, most: int | None = None) -> Path:
        """The file of the cache with the content; it is fetched if it is not there."""
        system, own = self.connect()
        place = own if place is None else place
        if place not in self._cached:
            info = system.info(place)
            version = {key: str(info[key]) for key in _VERSION if info.get(key) is not None}
            known = len({*version} - {"size"}) > 0
            key = hash_bytes(repr((self.url.partition("://")[0], place, version)).encode())
            folder = cache_folder() / (key if known else f"{key}-{os.getpid()}")
            path = folder / (re.sub(r"[^\w.-]", "_", _name_of(place)) or "file")
            if not (known and path.is_file()):
                _fetch(system, place, path, most)
            self._cached[place] = path
        return self._cached[place]


def cache_folder() -> Path:
    """Where what was read at URLs is kept; it can be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aliasing" / "inputs"


def _fetch(system: Any, place: str, path: Path, most: int | None) -> None:
    """Download under another name, and rename, so that a file of the cache is whole."""
    from fsspec.callbacks import Callback

    class Bounded(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if most is not None:
                check_size(self.value)

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    os.close(handle)
    try:
        system.get_file(place, temporary, callback=Bounded())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _options(protocol: str) -> dict[str, Any]:
    if protocol in ("http", "https"):
        try:
            import aiohttp
        except ImportError as error:
            raise InputError(f'{protocol}:// needs aiohttp: pip install "aliasing[remote]"') from error
        limits = aiohttp.ClientTimeout(sock_connect=_ANSWER_SECONDS, sock_read=_ANSWER_SECONDS)
        proxies = any(os.environ.get(f"{name}_proxy") or os.environ.get(f"{name}_proxy".upper()) for name in _PROXIES)
        return {"client_kwargs": {"timeout": limits, "trust_env": proxies}}
    names, anonymous = _CREDENTIALS.get(protocol, ((), {}))
    return {} if any(os.environ.get(name) for name in names) else dict(anonymous)


_PROXIES = ("http", "https", "all")


def _open(place: _Place, said: str) -> ImageSource:
    system, path = place.connect()
    name = _name_of(path)
    if "*" in path:
        found = sorted(file for file in system.glob(path) if is_media(file))
        if not found:
            raise InputError(f"no image matches {said}")
        base = path.partition("*")[0].rpartition("/")[0]
        names = [file[len(base) + 1 :] for file in found]
        return _of_members(place, base, names, said)
    if is_tar(Path(name)) or name.lower().endswith((".zip", ".parquet")):
        return _of_cached(partial(open_images, place.local()), place.local(), said)
    if is_media(name):
        return ImageSource(f"image {said}", lambda: iter([url_entry(place.url, None)]))
    if not system.isdir(path):
        place.local(None, MAX_BYTES)  # a name that tells nothing is taken for an image's
        return ImageSource(f"image {said}", lambda: iter([url_entry(place.url, None)]))
    base, folder = path.rstrip("/"), said.rstrip("/")
    files = sorted(file for file in system.find(path) if file.startswith(f"{base}/"))
    if len(files) > _LISTED:
        raise InputError(f"{said} holds more than {_LISTED:,} files; give it in parts")
    names = [file[len(base) + 1 :] for file in files]
    if any(map(is_media, names)):
        return _of_members(place, base, names, folder)
    for is_one, source_of in ((lambda file: is_tar(Path(file)), _shards), (_is_parquet, parquet_source)):
        several = choose_split([Path(name) for name in names if is_one(name)])
        if several:
            local = [place.local(f"{base}/{file.as_posix()}") for file in several]
            return _of_cached(partial(source_of, local), local[0].parent, folder)
    raise InputError(f"{said} holds no images")


def _shards(paths: list[Path]) -> ImageSource:
    return shards_source(paths, str(paths[0].parent))


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(".parquet")


def _of_cached(make: Callable[[], ImageSource], local: Path, said: str) -> ImageSource:
    """What is made of a file of the cache, which is spoken of by its URL."""
    try:
        source = make()
    except InputError as error:
        raise InputError(str(error).replace(str(local), said)) from error
    return replace(source, description=source.description.replace(str(local), said))


def _of_members(place: _Place, base: str, names: list[str], said: str) -> ImageSource:
    """The images below a place, with labels as in a folder."""
    members = Members(names)
    for name in names:
        if name.rpartition("/")[2] in TABLES:
            content = place.bytes(f"{base}/{name}")
            members.note(name, len(content), partial(bytes, content))

    def entries(labels: Labels) -> Iterator[Entry]:
        for name in names:
            if members.wanted(name, labels):
                yield member_entry(shown(name), name, labels, partial(place.bytes, f"{base}/{name}"))

    return archive_source("folder", said, members, entries)


def _name_of(place: str) -> str:
    """The name of the file, without a query."""
    return urlsplit(place).path.rstrip("/").rpartition("/")[2]


def _said(error: BaseException, url: str) -> str:
    """An error's first line without the URL's secrets."""
    return without_secrets(first_line(error).replace(url, without_secrets(url)))
