"""What if a network fails? Its faults end the run in one line that names the images it was shown."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError, one_line, who_exits
from aliasing.jitter.dependence import Independence
from aliasing.models import Classifier

Array = npt.NDArray[np.float32]

_NAMED = 16  # images, in a message: the one that is at fault must be found among them
_LONGEST = 300  # characters of what a person's own code has to say


@contextmanager
def at_work(model: str, images: Sequence[str], timeout: float | None = None) -> Iterator[None]:
    """A network's work on one batch.

    Whatever it raises becomes an InputError of one line. A network that hangs cannot be stopped from within: after
    ``timeout`` seconds that is said in one line and the process ends. What was measured before is on disk, and the same
    command goes on there.

    Parameters
    ----------
    model : str
        The network's name.
    images : sequence of str
        The names of the images in the batch.
    timeout : float, optional
        Seconds that the batch may take.

    Raises
    ------
    InputError
        The network failed; its error is the cause.

    Examples
    --------
    >>> with at_work("net", ["cat.jpg"]):
    ...     1 / 0
    Traceback (most recent call last):
    aliasing.errors.InputError: net fails on cat.jpg: ZeroDivisionError: division by zero
    """
    timer = None
    if timeout is not None:
        timer = threading.Timer(
            timeout, _end_process, [f"{model} hangs on {_one_of(images)}: no answer in {timeout:g} s"]
        )
        timer.daemon = True
        timer.start()
    try:
        yield
    except (InputError, UsageError):
        raise
    except SystemExit as error:
        raise InputError(f"{model} calls sys.exit({error}) on {_one_of(images)}") from error
    except Exception as error:  # whatever the person's own code raises
        text = one_line((str(error).splitlines() or ["no reason given"])[0])[:_LONGEST]
        raise InputError(f"{model} fails on {_one_of(images)}: {type(error).__name__}: {text}") from error
    finally:
        if timer is not None:
            timer.cancel()


@contextmanager
def staying() -> Iterator[None]:
    """Around what a person's own images and protocols do: it may not end the process.

    Raises
    ------
    InputError
        It calls ``sys.exit``, and where.

    Examples
    --------
    >>> with staying():
    ...     sys.exit(0)
    Traceback (most recent call last):
    aliasing.errors.InputError: <module> in <doctest aliasing.jitter.faults.staying[0]> calls sys.exit(0)
    """
    try:
        yield
    except SystemExit as error:
        raise InputError(f"{who_exits(error)} calls sys.exit({error})") from error


class Guarded:
    """A network that is held to its word: a row a view, always of the same length, that follows from the view alone.

    Parameters
    ----------
    model : Classifier
    network : callable
        Views N×H×W×3 → outputs N×D.
    timeout : float, optional
        Seconds that a batch may take (see :func:`at_work`).
    unit : float
        The rounding unit of its arithmetic (see :class:`aliasing.jitter.dependence.Independence`).
    """

    def __init__(
        self,
        model: Classifier,
        network: Callable[[Array], Array],
        timeout: float | None = None,
        unit: float = float(np.finfo(np.float32).eps),
    ) -> None:
        self._model, self._network, self._timeout = model, network, timeout
        self._shape: tuple[int, ...] | None = None
        self._tensors = _Tensors(model.module)
        self._state = self._tensors.writes()
        self._independence = Independence(model.name, network, unit)

    def __call__(self, views: Array, images: Sequence[str]) -> Array:
        """The outputs for a batch of views.

        Raises
        ------
        InputError
            The network failed on them, gave rows of another number or length, wrote to its own weights, or answers the
            same view otherwise at another time or in another batch.
        """
        name = self._model.name
        with at_work(name, images, self._timeout):
            outputs = self._network(views)
        if len(outputs) != len(views):
            raise InputError(f"{name} gives {len(outputs)} answers to {len(views)} views, of {_one_of(images)}")
        if self._shape is not None and outputs.shape[1:] != self._shape:
            before, now = ("×".join(map(str, shape)) for shape in (self._shape, outputs.shape[1:]))
            raise InputError(f"{name} gives {now} numbers a view for {_one_of(images)}, and gave {before} before")
        self._shape = outputs.shape[1:]
        changed = [key for key, writes in self._tensors.writes().items() if self._state.get(key) != writes]
        if changed:
            raise InputError(
                f"{name} changes its own state ({one_line(changed[0])}) while it answers, so that an answer depends on"
                " what it saw before; a network that is measured must stay as it is"
            )
        with at_work(name, images, self._timeout):
            self._independence.look(views, outputs)
        return outputs


class _Tensors:
    """The parameters and persistent buffers of a network: those of its state_dict, looked at in a tenth of the time."""

    def __init__(self, module: nn.Module) -> None:
        self._holders: list[tuple[str, dict[str, Tensor | None], set[str]]] = []
        for name, part in module.named_modules():
            prefix = f"{name}." if name else ""
            self._holders.append((prefix, part._parameters, set()))
            self._holders.append((prefix, part._buffers, part._non_persistent_buffers_set))

    def writes(self) -> dict[str, tuple[int, int]]:
        """Where each tensor lies, and torch's count of how often it was written to."""
        return {
            prefix + key: (tensor.data_ptr(), tensor._version)
            for prefix, tensors, left_out in self._holders
            for key, tensor in tensors.items()
            if tensor is not None and key not in left_out and not tensor.is_inference()
        }


def _one_of(images: Sequence[str]) -> str:
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return ("one of " if len(images) > 1 else "") + ", ".join(images[:_NAMED]) + more


def _end_process(told: str) -> None:
    print(f"aliasing: {one_line(told)}", file=sys.stderr, flush=True)
    os._exit(1)
