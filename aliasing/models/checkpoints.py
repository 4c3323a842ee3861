"""Weights from a file, without running anything that the file says.

A ``.safetensors`` file holds tensors only. A ``.pth`` or ``.pt`` file is a pickle, a small program; it is read by
``torch.load(weights_only=True)``, which builds tensors and containers and refuses everything else.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from aliasing.errors import InputError, one_line

# Where training scripts put the weights inside a checkpoint. Averaged weights come first: they are the ones that were
# meant for evaluation.
_WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "params_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "params",
    "weights",
)
# What wrapping a network puts before its parameters' names: DataParallel and AveragedModel, Lightning, torch.compile.
_PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
_LISTED = 3
_LONGEST = 300  # of what a file says about itself
# torch.save does not compress: what expands to more than this, and to many times its size, is a bomb.
_UNSUSPECTED_BYTES, _MAX_EXPANSION = 2**28, 10


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the state_dict in a ``.pth``, ``.pt`` or ``.safetensors`` file, whatever it is wrapped in.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of Tensor
        Names as they stand in the file.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, it is no checkpoint, or it needs code to be run to be read.
    """
    content = _read_content(path)
    for _ in range(len(_WRAPPERS)):
        if not isinstance(content, Mapping):
            raise InputError(f"{path}: holds a {type(content).__name__}; expected the state_dict of a network")
        wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapper is None:
            break
        content = content[wrapper]
    content.pop("n_averaged", None)  # a counter that torch's AveragedModel keeps beside the weights
    others = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise InputError(f"{path}: holds other things than tensors ({_some(others)}); expected a network's state_dict")
    if not content:
        raise InputError(f"{path}: holds nothing; expected a network's state_dict")
    odd = [f"{key}: {kind}" for key, value in content.items() if (kind := _oddity(value))]
    if odd:
        raise InputError(f"{path}: holds tensors that are no plain arrays of numbers ({_some(odd)}); save them as such")
    state_dict: dict[str, Tensor] = content
    return state_dict


def strip_prefixes(state_dict: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Drop ``module.``, ``model.`` … before all names, as long as none of ``names`` is found without that.

    Examples
    --------
    >>> strip_prefixes({"module.model.fc.bias": torch.zeros(1)}, ["fc.bias"])
    {'fc.bias': tensor([0.])}
    """
    wanted = set(names)
    while not wanted.intersection(state_dict):
        prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state_dict)), None)
        if prefix is None:
            break
        state_dict = rename(state_dict, {key: key.removeprefix(prefix) for key in state_dict})
    return state_dict


def rename(state_dict: dict[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Give tensors their new names; those without one keep theirs."""
    return {names.get(key, key): value for key, value in state_dict.items()}


def load_weights(module: nn.Module, state_dict: dict[str, Tensor], source: str) -> None:
    """Load weights into a network: all of them, and nothing else.

    Parameters
    ----------
    module : torch.nn.Module
    state_dict : dict of Tensor
    source : str
        Where the weights are from, for the message.

    Raises
    ------
    InputError
        Naming the first missing and unexpected keys and wrong shapes, and how many more there are.
    """
    versioned = OrderedDict(state_dict)
    # Some layers read older formats by the version that torch keeps beside a state_dict; .safetensors files have none.
    metadata = getattr(state_dict, "_metadata", None) or getattr(module.state_dict(), "_metadata", None)
    setattr(versioned, "_metadata", metadata)  # noqa: B010 - torch's own attribute, unknown to the type
    try:
        outcome = module.load_state_dict(versioned, strict=False)
        fits = not outcome.unexpected_keys and all(map(_is_counter, outcome.missing_keys))
    except RuntimeError:  # wrong shapes
        fits = False
    if not fits or _of_the_wrong_kind(module, state_dict):
        raise InputError(f"{source} does not fit {type(module).__name__}: {differences(module, state_dict)}")


def differences(module: nn.Module, state_dict: Mapping[str, Tensor]) -> str:
    """Say in one line which keys are missing or unexpected and which shapes are wrong."""
    own = module.state_dict()
    missing = [key for key in own if key not in state_dict and not _is_counter(key)]
    unexpected = [key for key in state_dict if key not in own]
    wrong = [
        f"{key}: {_shape(state_dict[key])}, expected {_shape(own[key])}"
        for key in own
        if key in state_dict and state_dict[key].shape != own[key].shape
    ]
    kinds = _of_the_wrong_kind(module, state_dict)
    groups = {
        f"{len(missing)} of {len(own)} keys missing": missing,
        f"{len(unexpected)} unexpected": unexpected,
        f"{len(wrong)} of the wrong shape": wrong,
        f"{len(kinds)} of the wrong kind": kinds,
    }
    return "; ".join(f"{title} ({_some(keys)})" for title, keys in groups.items() if keys)


def _of_the_wrong_kind(module: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Weights whose numbers torch would cut down without a word: whole or complex ones for real ones."""
    return [
        f"{key}: {_dtype(state_dict[key])}, expected {_dtype(value)}"
        for key, value in module.state_dict().items()
        if key in state_dict and value.is_floating_point() and not state_dict[key].is_floating_point()
    ]


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return one_line((str(error).splitlines() or [type(error).__name__])[0])[:_LONGEST]


def _is_counter(key: str) -> bool:
    """Batch normalisation counts training steps; old checkpoints lack the count and inference ignores it."""
    return key.endswith("num_batches_tracked")


def _read_content(path: Path) -> Any:
    """Whatever is in the file, by the reader that its name or its first bytes ask for."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a .pth, .pt or .safetensors file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is no regular file; expected a .pth, .pt or .safetensors file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not start:
        raise InputError(f"{path}: is empty; copy or download it again")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # a reader of damaged bytes fails in as many ways as there are damages
        raise InputError(
            f"{path}: is no whole .safetensors file ({first_line(error)}); copy or download it again"
        ) from error


def _read_pickle(path: Path, start: bytes) -> Any:
    if start.startswith(b"PK"):
        _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a reader of damaged bytes fails in as many ways as there are damages
        refused = _refused_code(path, error)
        if refused is not None:
            raise InputError(
                f"{path}: needs code to be run to be read ({one_line(refused)[:_LONGEST]}), which is refused; "
                "save the weights alone, by torch.save(model.state_dict(), …) or as .safetensors"
            ) from error
        raise InputError(
            f"{path}: is no whole PyTorch checkpoint ({type(error).__name__}); copy or download it again"
        ) from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that is a program, or a bomb; what is damaged is left to torch to say."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise InputError(
            f"{path}: is a TorchScript archive, a program; save the weights alone by torch.save(model.state_dict(), …)"
        )
    expanded = sum(member.file_size for member in members)
    if expanded > max(_UNSUSPECTED_BYTES, _MAX_EXPANSION * path.stat().st_size):
        raise InputError(f"{path}: expands to {expanded >> 20} MiB: taken for a decompression bomb")


def _refused_code(path: Path, error: Exception) -> str | None:
    """What the pickle wanted to run, or None where it is merely damaged."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    try:
        return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))) or None
    except Exception:  # not in torch's zip format, which is all that this function of torch's reads
        found = re.search(r"GLOBAL (\S+)", str(error))
        return found.group(1) if found else None


def _oddity(tensor: Tensor) -> str | None:
    """What keeps a tensor from being an array of numbers, if anything does."""
    if tensor.is_meta:
        return "no values"
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantised"
    return None if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "a number"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(one_line(name)[:_LONGEST] for name in names[:_LISTED]) + more
