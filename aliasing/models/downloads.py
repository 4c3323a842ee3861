"""Downloading weights: from the cache, or within a deadline, or not at all.

Name look-ups have no time-out, so a separate thread waits for the first answer, and is abandoned if it hangs. An
interrupted download never takes the place of the complete file.
"""

import hashlib
import http.client
import os
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import huggingface_hub.constants
import torch.hub
from tqdm.auto import tqdm

from aliasing.errors import InputError
from aliasing.progress import watched

ANSWER_SECONDS = 10.0
_CHUNK = 1 << 20
# The names of the weights of timm's networks on the hub.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def cached_file(url: str) -> Path | None:
    """The file that torch.hub's cache holds for a URL, or None."""
    path = _cache_path(url)
    return path if path.is_file() else None


def fetch(url: str, name: str) -> Path:
    """Fetch a file into torch.hub's cache, unless it is there, and check the SHA-256 digits in its name, if any.

    Raises InputError, which names the network, if the host does not answer within 15 s, or the file is missing or not
    what its name says.
    """
    path = _cache_path(url)
    if path.is_file():
        return path
    status = _await_answer(url, name)
    if status >= 400:
        raise _missing(name, url, f"{url} answers {status}")
    try:
        _download(url, path)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"the download of {name} failed ({error}); try again, or {_remedy(url, name)}") from error
    return path


def cached_hub_file(repository: str, filename: str | None) -> Path | None:
    """The weights that the Hugging Face cache holds for a repository, or None."""
    for name in (filename,) if filename else _HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch_hub_file(repository: str, filename: str | None, name: str) -> Path:
    """Fetch a repository's weights, by default under timm's file names, into the Hugging Face cache, unless there.

    Raises InputError, which names the network, if the hub does not answer within 15 s, at once in offline mode
    (``HF_HUB_OFFLINE=1``), and if the repository has no weights or needs a login.
    """
    found = cached_hub_file(repository, filename)
    if found is not None:
        return found
    for file in (filename,) if filename else _HUB_FILES:
        url = huggingface_hub.hf_hub_url(repository, file)
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise _missing(name, url, "HF_HUB_OFFLINE is set")
        status = _await_answer(url, name)
        if status < 400:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, file))
            except Exception as error:  # errors of httpx, of the hub and of the disk have no common ancestor
                reason = type(error).__name__
                raise InputError(
                    f"the download of {name} failed ({reason}); try again, or {_remedy(url, name)}"
                ) from error
    raise _missing(name, url, f"{url} answers {status}")


def _missing(name: str, url: str, why: str) -> InputError:
    return InputError(f"the weights of {name} are not here, and {why}; {_remedy(url, name)}")


def _remedy(url: str, name: str) -> str:
    installed = "`aliasing models --installed` lists what loads without internet access"
    return f"fetch {url} elsewhere and give it as file:PATH@{name}; {installed}"


def _cache_path(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def _await_answer(url: str, name: str) -> int:
    """The HTTP status of a URL, through the proxies of the environment."""
    answers: list[int | Exception] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
                answers.append(response.status)
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a proxy that is not a URL
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    answer = answers[0] if answers else TimeoutError(f"nothing within {ANSWER_SECONDS:g} s")
    if isinstance(answer, Exception):
        reason = getattr(answer, "reason", answer)
        raise _missing(name, url, f"{urlsplit(url).hostname} does not answer ({reason})")
    return answer


def _download(url: str, path: Path) -> None:
    """Download to a temporary name beside ``path``, check the hash, and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
            size = int(response.headers.get("Content-Length", 0))
            with tqdm(desc=path.name, total=size or None, unit="B", unit_scale=True, disable=not watched()) as progress:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    progress.update(len(chunk))
        received = Path(temporary).stat().st_size
        if size and received != size:
            raise OSError(f"{received} of {size} bytes")
        expected = torch.hub.HASH_REGEX.search(path.name)
        if expected and not digest.hexdigest().startswith(expected.group(1)):
            raise OSError(f"its SHA-256 begins {digest.hexdigest()[:8]}, its name says {expected.group(1)}")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
