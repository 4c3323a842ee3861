"""Weights from a file, without executing anything in it.

A ``.safetensors`` file holds only tensors. A ``.pth`` or ``.pt`` file is a pickle, a small program; it is read by
``torch.load(weights_only=True)``, which builds tensors and containers and refuses everything else. NumPy scalars (an
epoch's accuracy) are read as well, by functions of this module that accept nothing but numbers.
"""

import pickle
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from aliasing.downsample.operator import without_operators
from aliasing.errors import InputError, first_line, one_line
from aliasing.models.classifier import AnyNetwork

# Where training scripts put the weights inside a checkpoint.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "shadow")
# Averages over training, meant for evaluation: model_ema, state_dict_ema, ema_state_dict, swa_model …
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?)(?![a-z])", re.IGNORECASE)
# The prefixes that wrappers put before parameters' names: DataParallel and AveragedModel, Lightning, torch.compile.
# They are removed if no name of the architecture is found after any prefix (an older format).
_PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
_DEEPEST = 3
_LISTED = 3
_LONGEST = 300  # characters of a message from a file
# torch.save does not compress: a file that expands to more than this, and to many times its size, is a bomb.
_UNSUSPECTED_BYTES, _MAX_EXPANSION = 2**28, 10


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file.

    Attributes
    ----------
    tensors : by their names.
    source : the file, and the part of it if it holds several, for messages.
    notes : what a reader of a result should know about the file.
    """

    tensors: dict[str, Tensor]
    source: str
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the state_dict in a ``.pth``, ``.pt`` or ``.safetensors`` file, whatever it is wrapped in.

    If the file holds averaged weights, these are read, because they are meant for evaluation; the notes say so. Names
    are those in the file. Raises InputError if the file does not exist, cannot be read, is not a checkpoint, or would
    have to execute code.
    """
    content: Any = _read_content(path)
    taken, notes = list[str](), list[str]()
    while True:
        if not isinstance(content, dict):
            raise InputError(f"{path} holds a {type(content).__name__}; expected the state_dict of a network")
        averaged, plain = _wrappers(content)
        if not averaged and not plain:
            break
        wrapper, *beside = [*averaged, *plain]
        if averaged or beside:
            what = "the averaged weights" if averaged else "the weights"
            also = f"; it holds {', '.join(beside)} too" if beside else ""
            notes.append(f"{what} were taken from the file, under {wrapper}{also}")
            taken.append(wrapper)
        content = content[wrapper]
    content.pop("n_averaged", None)  # a counter beside the weights in torch's AveragedModel
    others = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others:
        raise InputError(f"{path} holds more than tensors ({_some(others)}); expected a network's state_dict")
    if not content:
        raise InputError(f"{path} holds nothing; expected a network's state_dict")
    odd = [f"{key}: {kind}" for key, value in content.items() if (kind := _oddity(value))]
    if odd:
        raise InputError(f"{path} holds tensors that are not arrays of numbers ({_some(odd)}); save them as such")
    if path.suffix == ".safetensors":  # whose conversion is applied again, and then loads its operators
        for key in content.keys() - without_operators(content).keys():
            del content[key]
    return Checkpoint(content, f"{path} ({'.'.join(taken)})" if taken else str(path), tuple(notes))


def _wrappers(content: Mapping[Any, Any]) -> tuple[list[str], list[str]]:
    """The keys under which a checkpoint holds averaged weights, and those under which it holds others."""
    inside = [
        key
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Mapping) and _holds_tensors(value)
    ]
    averaged = [key for key in inside if _AVERAGED.search(key)]
    return averaged, [key for key in _WRAPPERS if key in inside and key not in averaged]


def _holds_tensors(content: Mapping[Any, Any], depth: int = _DEEPEST) -> bool:
    """Whether there are tensors in a mapping, or a few levels below; it may contain itself."""
    return any(
        isinstance(value, Tensor) or (depth > 0 and isinstance(value, Mapping) and _holds_tensors(value, depth - 1))
        for value in content.values()
    )


def strip_prefix(checkpoint: Checkpoint, own: Mapping[str, Tensor]) -> Checkpoint:
    """Take the weights under the one prefix after which the file has all names of the architecture's own weights.

    Anything else in the file (a criterion's weight, a metric's buffer) is left out, with a note. If the file uses older
    names of the architecture, the prefix is the one after which most of its names are found. Raises InputError if
    several prefixes hold the whole architecture, and none is that of averaged weights.

    Examples
    --------
    >>> tensors = {"module.model.fc.bias": torch.zeros(1), "criterion.weight": torch.ones(2)}
    >>> stripped = strip_prefix(Checkpoint(tensors, "net.pth"), {"fc.bias": torch.zeros(1)})
    >>> stripped.tensors, stripped.notes
    ({'fc.bias': tensor([0.])}, ('of net.pth 1 key was left out, which is not under module.model. (criterion.weight)',))
    """
    wanted = {name for name in own if not _is_counter(name)}
    found = Counter(
        key[:start]
        for key in checkpoint.tensors
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", key)))
        if key[start:] in wanted
    )
    whole = [prefix for prefix, count in found.items() if count == len(wanted)]
    shaped = [p for p in whole if all(checkpoint.tensors[p + name].shape == own[name].shape for name in wanted)]
    whole = shaped or whole
    averaged = [prefix for prefix in whole if _AVERAGED.search(prefix)]
    if len(averaged or whole) > 1 and "" not in whole:
        under = ", ".join(averaged or whole)
        raise InputError(f"{checkpoint.source} holds this network several times, under {under}; save only one of them")
    if averaged:
        prefix = averaged[0]
    elif found:
        prefix = max(whole or sorted(found, key=len), key=lambda prefix: found[prefix])
    else:
        prefix = _wrapped(checkpoint.tensors)
    if not prefix:
        return checkpoint
    kept = {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
    foreign = [key for key in checkpoint.tensors if not key.startswith(prefix)]
    notes = list(checkpoint.notes)
    if averaged:
        notes.append(f"the averaged weights were taken from the file, under {prefix}")
    if foreign:
        keys = "1 key was left out, which is" if len(foreign) == 1 else f"{len(foreign)} keys were left out, which are"
        notes.append(f"of {checkpoint.source} {keys} not under {prefix} ({_some(foreign)})")
    return Checkpoint(kept, checkpoint.source, tuple(notes))


def _wrapped(names: Iterable[str]) -> str:
    """The usual prefixes that all names have, joined."""
    names, prefix = list(names), ""
    while longer := [usual for usual in _PREFIXES if all(name.startswith(prefix + usual) for name in names)]:
        prefix += longer[0]
    return prefix


def classes_in(checkpoint: Checkpoint, own: Mapping[str, Tensor]) -> int | None:
    """The number of classes of the head in a file, if nothing else in the file has another shape; otherwise None.

    Examples
    --------
    >>> classes_in(Checkpoint(nn.Linear(4, 7).state_dict(), "net.pth"), nn.Linear(4, 1000).state_dict())
    7
    """
    others = [
        (own[key].shape, tensor.shape)
        for key, tensor in checkpoint.tensors.items()
        if key in own and own[key].shape != tensor.shape
    ]
    if not others or any(not a or not b or a[1:] != b[1:] for a, b in others):
        return None
    if any(t.numel() * t.element_size() > t.untyped_storage().nbytes() for t in checkpoint.tensors.values()):
        return None  # a single stored number that claims to be a head with 2⁴⁰ classes
    before, after = ({shape[0] for shape in shapes} for shapes in zip(*others, strict=True))
    return after.pop() if len(before) == len(after) == 1 else None


def with_notes(classifier: AnyNetwork, checkpoint: Checkpoint, classes: int | None) -> AnyNetwork:
    """The classifier with the notes on its file; without labels if the number of classes was taken from it."""
    notes = classifier.notes
    if classes is not None:
        notes += (f"{classes} classes, as in {checkpoint.source}; their names are not known (give labels=…)",)
    return replace(classifier, labels=classifier.labels if classes is None else None, notes=notes + checkpoint.notes)


def rename(checkpoint: Checkpoint, name: Callable[[str], str | None]) -> Checkpoint:
    """Rename tensors, and leave out those whose new name is None."""
    named = {name(key): value for key, value in checkpoint.tensors.items()}
    return replace(checkpoint, tensors={key: value for key, value in named.items() if key is not None})


def load_weights(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Load weights into a network: all of them, and nothing else.

    The InputError names the first missing and unexpected keys and wrong shapes, and how many more there are.
    """
    state_dict = checkpoint.tensors
    versioned = OrderedDict(state_dict)
    # Some layers read older formats by the version beside a state_dict, which .safetensors files do not have.
    metadata = getattr(state_dict, "_metadata", None) or getattr(module.state_dict(), "_metadata", None)
    setattr(versioned, "_metadata", metadata)  # noqa: B010 - torch's own attribute, unknown to the type
    try:
        outcome = module.load_state_dict(versioned, strict=False)
        fits = not outcome.unexpected_keys and all(map(_is_counter, outcome.missing_keys))
    except RuntimeError:  # wrong shapes
        fits = False
    if not fits or _of_the_wrong_kind(module, state_dict):
        raise InputError(f"{checkpoint.source} does not fit {type(module).__name__}: {differences(module, state_dict)}")


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
    """Weights that torch would silently truncate: integer or complex ones where real ones belong."""
    return [
        f"{key}: {_dtype(state_dict[key])}, expected {_dtype(value)}"
        for key, value in module.state_dict().items()
        if key in state_dict and value.is_floating_point() and not state_dict[key].is_floating_point()
    ]


def _is_counter(key: str) -> bool:
    """Whether it is batch normalisation's count of training steps, which old checkpoints lack and inference ignores."""
    return key.endswith("num_batches_tracked")


def _read_content(path: Path) -> Any:
    """The content of the file, read according to its name or its first bytes."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file"
        raise InputError(f"{path} is {what}; expected a .pth, .pt or .safetensors file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if not start:
        raise InputError(f"{path} is empty; copy or download it again")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # a reader of damaged bytes may fail in any way
        raise InputError(
            f"{path} is not a complete .safetensors file ({first_line(error)}); copy or download it again"
        ) from error


def _read_pickle(path: Path, start: bytes) -> Any:
    if start.startswith(b"PK"):
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a reader of damaged bytes may fail in any way
        refused = _refused_code(path, error)
        if refused is not None:
            raise InputError(
                f"{path} would have to execute code ({one_line(refused)[:_LONGEST]}), which is refused; "
                "save only the weights, with torch.save(model.state_dict(), …) or as .safetensors"
            ) from error
        raise InputError(
            f"{path} is not a complete PyTorch checkpoint ({type(error).__name__}); copy or download it again"
        ) from error


class _NumberType:
    """Stands in for ``numpy.dtype`` while a file is read: the name of a type of number, and its byte order."""

    def __init__(self, code: str, *_copying: bool) -> None:
        if not (isinstance(code, str) and re.fullmatch("[biufc][0-9]{1,2}", code)):
            raise pickle.UnpicklingError(f"a NumPy scalar of the type {code!r} is not a number")
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "|" if state[1] not in ("<", ">") else state[1]


def _number(kind: _NumberType, content: bytes) -> Any:
    """Stands in for NumPy's ``scalar``: the number in these bytes."""
    return np.frombuffer(content, kind.order + kind.code, count=1)[0]


def _latin_bytes(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, with which older pickles write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}; expected latin1")
    return text.encode("latin1")


# The functions that the pickle of a NumPy scalar calls, and their stand-ins, which can only make a number.
_NUMPY_SCALARS: list[Any] = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    (_latin_bytes, "_codecs.encode"),
]


def _check_archive(path: Path) -> None:
    """Refuse an archive that is a program or a bomb; torch reports damage."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise InputError(
            f"{path} is a TorchScript archive, a program; save the weights alone: torch.save(model.state_dict(), …)"
        )
    expanded = sum(member.file_size for member in members)
    if expanded > max(_UNSUSPECTED_BYTES, _MAX_EXPANSION * path.stat().st_size):
        raise InputError(f"{path} expands to {expanded >> 20} MiB: taken for a decompression bomb")


def _refused_code(path: Path, error: Exception) -> str | None:
    """The code that the pickle would execute, or None if it is only damaged."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))) or None
    except Exception:  # not in torch's zip format, the only one that this function of torch reads
        found = re.search(r"GLOBAL (\S+)", str(error))
        return found.group(1) if found else None


def _oddity(tensor: Tensor) -> str | None:
    """Why a tensor is not an array of numbers, or None."""
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
