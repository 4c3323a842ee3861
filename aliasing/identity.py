"""The identity of a network: its weights, what it computes with them, and how it is shown a picture.

A name is for people. Whatever is resumed, cached, paired or put on a page is looked up by identity, which is computed
anew each time so that it cannot go stale. A changed weight, another stride, a filter without parameters or another mean
make another network; a copy, another name, another file or another device do not.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from aliasing.blackbox import BlackBox
from aliasing.models.classifier import ShownNetwork, fingerprint, plain_bytes
from aliasing.resamplers import DEFAULT_RESAMPLER
from aliasing.sites.trace import on_trial

__all__ = ["Identity", "computation", "identify"]

# Calls that keep the values, or give them another shape; which of them torch makes depends on the layout in memory.
_SAME = ("clone", "contiguous", "detach", "alias", "lift", "lift_fresh")
_RESHAPED = ("view", "_unsafe_view", "_reshape_alias", "reshape", "_reshape_copy")
_NOT_SHOWN = ("module", "name", "origin", "notes", "answer", "resizer")


@dataclass(frozen=True)
class Identity:
    """What makes a network this one.

    Attributes
    ----------
    weights : SHA-256 of the state_dict.
    computation : SHA-256 of the calls made for one picture: operator, stride, padding, taps, shapes and inputs.
    preprocessing : everything else that decides what the network sees and what its answer means.
    """

    weights: str
    computation: str
    preprocessing: dict[str, Any]

    @property
    def digest(self) -> str:
        """One hash of everything: BLAKE2b, 128 bits, hexadecimal."""
        return hashlib.blake2b(repr(sorted(asdict(self).items())).encode(), digest_size=16).hexdigest()


def identify(model: ShownNetwork) -> Identity:
    """Compute the identity of a network; see :class:`Identity`.

    Parameters
    ----------
    model : Classifier
        It runs once, in evaluation mode, on one blank picture, and stays as it was.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> half = (0.5, 0.5, 0.5)
    >>> def pooled_by(pool):
    ...     network = nn.Sequential(nn.Conv2d(3, 2, 1), pool, nn.Flatten())
    ...     torch.manual_seed(0)
    ...     nn.init.normal_(network[0].weight), nn.init.zeros_(network[0].bias)
    ...     return identify(Classifier(network, "tiny", 4, half, half, "bilinear", 4, 1.0))
    >>> maximum, average = pooled_by(nn.MaxPool2d(2)), pooled_by(nn.AvgPool2d(2))
    >>> maximum.weights == average.weights, maximum.computation == average.computation
    (True, False)
    """
    seen = {field.name: getattr(model, field.name) for field in fields(model) if field.name not in _NOT_SHOWN}
    if model.answer is not None:
        seen["answer"] = f"{model.answer.__module__}.{getattr(model.answer, '__qualname__', repr(model.answer))}"
    resizer = getattr(model, "resizer", DEFAULT_RESAMPLER)  # signals have none
    if resizer != DEFAULT_RESAMPLER:
        seen["resizer"] = resizer
    if model.labels is not None:
        seen["labels"] = hashlib.blake2b(repr(model.labels).encode(), digest_size=16).hexdigest()
    return Identity(fingerprint(model.module), computation(model.module, model.blank()), seen)


def computation(module: nn.Module, example: Tensor) -> str:
    """Hash the calls that a network makes to torch's operators on an example input (SHA-256, hexadecimal).

    A call is identified by its operator, its plain arguments and its tensors: a weight by its name, the output of an
    earlier call by that call, anything else (taps, for example) by its values. The network runs on the CPU, whichever
    device it is on, and in evaluation mode. Of a file that another library runs, the file and the library are hashed.
    """
    if isinstance(module, BlackBox):
        return module.computation
    with on_trial(module, _plainly_laid_out) as network:
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        floating = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        shown = example.to(device, floating)
        state = network.state_dict(keep_vars=True)
        recorder = _Recorder({f"weight {name}": value for name, value in state.items() if isinstance(value, Tensor)})
        recorder.know(shown, "input")
        with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with recorder:
                    answer = network(shown)
            except Exception:
                # It cannot be recorded, or it fails, which measuring reports: then its own description identifies it.
                told = re.sub(r" at 0x[0-9a-f]+", "", f"{type(network).__qualname__} {network!r}")
                return hashlib.sha256(told.encode()).hexdigest()
            recorder.note("answer", answer)
    return recorder.digest.hexdigest()


def _plainly_laid_out(tensor: Tensor) -> Tensor:
    """On the CPU, row by row: torch's calls depend on the layout, down to the strides of axes of length one."""
    tensor = tensor.cpu().contiguous()
    return tensor.as_strided(tensor.shape, torch.empty(tensor.shape, device="meta").stride())


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hashes every call to one of torch's operators, below modules, functions and autograd, whoever makes it."""

    def __init__(self, known: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.digest = hashlib.sha256()
        self._calls = 0
        # A storage is identified by its address as long as it lives.
        self._names: dict[int, tuple[Callable[[], Any], str]] = {}
        for name, tensor in known.items():
            self.know(tensor, name)

    def know(self, tensor: Tensor, name: str) -> None:
        """Name the contents of a tensor."""
        storage = _storage(tensor)
        if storage is not None and storage.data_ptr():
            self._names[storage.data_ptr()] = (_alive(tensor), name)

    def note(self, word: str, *arguments: Any) -> None:
        """Hash a word and its arguments."""
        leaves, structure = pytree.tree_flatten(arguments)
        said = [word, str(structure), *map(self._said, leaves)]
        self.digest.update(("\0".join(said) + "\n").encode())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name in _SAME and len(tensors) == 1:
            said = self._named(tensors[0])
            result = func(*args, **kwargs)
            if said is not None:
                self.know(result, said)
            return result
        if name in _RESHAPED:
            self.note("view", args[0])
        else:
            self.note(f"{func.namespace}.{name}", args, {key: kwargs[key] for key in kwargs if key != "device"})
        self._calls += 1
        fed = {storage.data_ptr() for tensor in tensors if (storage := _storage(tensor)) is not None}
        result = func(*args, **kwargs)
        for number, leaf in enumerate(pytree.tree_leaves(_written(func, args, kwargs))):
            if isinstance(leaf, Tensor):  # its contents are overwritten; a copy had the same name
                self.know(leaf, f"{self._calls} in place {number}")
        for number, leaf in enumerate(pytree.tree_leaves(result)):
            if isinstance(leaf, Tensor):
                self.digest.update(f"→ {tuple(leaf.shape)} {leaf.dtype}\n".encode())
                storage = _storage(leaf)
                if storage is not None and storage.data_ptr() not in fed:  # otherwise it keeps its name
                    self.know(leaf, f"{self._calls}.{number}")
        return result

    def _named(self, tensor: Tensor) -> str | None:
        storage = _storage(tensor)
        alive, name = self._names.get(0 if storage is None else storage.data_ptr(), (lambda: None, None))
        return name if alive() is not None else None

    def _said(self, leaf: Any) -> str:
        if isinstance(leaf, Tensor):
            name = self._named(leaf) or _hash(leaf)
            return f"{name} {tuple(leaf.shape)} {leaf.dtype}"
        plain = isinstance(leaf, (int, float, complex, str, torch.dtype, torch.layout, torch.memory_format))
        return repr(leaf) if leaf is None or plain else type(leaf).__qualname__


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operator changes in place."""
    given = {**dict(zip((spec.name for spec in func._schema.arguments), args, strict=False)), **kwargs}
    changed = (spec.name for spec in func._schema.arguments if spec.alias_info is not None and spec.alias_info.is_write)
    return [given[name] for name in changed if name in given]


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse, or without a storage of its own
        return None


def _alive(tensor: Tensor) -> Callable[[], Any]:
    """A function that returns None once the tensor's storage has been freed."""
    from torch.multiprocessing.reductions import StorageWeakRef

    reference: Any = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
    return lambda: None if reference.expired() else reference


def _hash(tensor: Tensor) -> str:
    """Hash the values of a tensor that no recorded call made."""
    return hashlib.blake2b(plain_bytes(tensor), digest_size=16).hexdigest()
