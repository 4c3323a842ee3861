"""Guards around users' networks, images and protocols: a fault ends the run in one line that names the images."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError, one_line, who_exits
from aliasing.jitter.dependence import Independence
from aliasing.models import ShownNetwork

Array = npt.NDArray[np.float32]

_NAMED = 16  # images in a message, among which one is at fault
_LONGEST = 300  # characters of a message from a user's own code


@contextmanager
def at_work(model: str, images: Sequence[str], timeout: float | None = None) -> Iterator[None]:
    """Turn whatever a network raises on a batch of these images into an InputError of one line, with its cause.

    A network that hangs cannot be stopped from within: after ``timeout`` seconds one line says so and the process ends.
    What was measured before is on disk, and the same command continues from there.

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
    except Exception as error:  # whatever the user's own code raises
        text = one_line((str(error).splitlines() or ["no reason given"])[0])[:_LONGEST]
        raise InputError(f"{model} fails on {_one_of(images)}: {type(error).__name__}: {text}") from error
    finally:
        if timer is not None:
            timer.cancel()


@contextmanager
def staying() -> Iterator[None]:
    """Raise InputError if a user's images or protocol call ``sys.exit``: they may not end the process.

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
    """A network whose answers are checked: one row per view, always of the same length, that depends on the view alone.

    ``network`` gives a batch of views their outputs N×D, or a list of outputs of different lengths, and ``timeout`` is
    the longest time for a batch (see `at_work`); ``unit`` is that of :class:`aliasing.jitter.dependence.Independence`;
    ``seen_again`` gives what of the outputs must be the same if a view is shown again.
    """

    def __init__(
        self,
        model: ShownNetwork,
        network: Callable[[Array], Any],
        timeout: float | None = None,
        unit: float = float(np.finfo(np.float32).eps),
        seen_again: Callable[[Any], Any] = lambda outputs: outputs,
    ) -> None:
        self._model, self._network, self._timeout = model, network, timeout
        self._seen_again = seen_again
        self._shape: tuple[int, ...] | None = None
        self._tensors = _Tensors(model.module)
        self._state = self._tensors.writes()
        self._independence = Independence(model.name, lambda views: seen_again(network(views)), unit, model.full_scale)

    def __call__(self, views: Array, images: Sequence[str]) -> Array:
        """The outputs for a batch of views.

        Raises InputError if the network failed, gave another number of rows or rows of another length, wrote to its
        own weights, or answers the same view differently at another time or in another batch.
        """
        name = self._model.name
        with at_work(name, images, self._timeout):
            outputs: Array = self._network(views)
        if len(outputs) != len(views):
            raise InputError(f"{name} gives {len(outputs)} answers to {len(views)} views of {_one_of(images)}")
        seen = self._seen_again(outputs)
        shape = seen.shape[1:] if isinstance(seen, np.ndarray) else None
        if self._shape is not None and shape is not None and shape != self._shape:
            before, now = ("×".join(map(str, sizes)) for sizes in (self._shape, shape))
            raise InputError(f"{name} gives {now} numbers per view for {_one_of(images)}, and gave {before} before")
        self._shape = shape
        changed = [key for key, writes in self._tensors.writes().items() if self._state.get(key) != writes]
        if changed:
            raise InputError(
                f"{name} changes its own state ({one_line(changed[0])}) while it answers, so an answer depends on what"
                " it saw before; a network must not change while it is measured"
            )
        with at_work(name, images, self._timeout):
            self._independence.look(views, seen)
        return outputs


class _Tensors:
    """A network's parameters and persistent buffers, as in its state_dict but ten times as fast."""

    def __init__(self, module: nn.Module) -> None:
        self._holders: list[tuple[str, dict[str, Tensor | None], set[str]]] = []
        for name, part in module.named_modules():
            prefix = f"{name}." if name else ""
            self._holders.append((prefix, part._parameters, set()))
            self._holders.append((prefix, part._buffers, part._non_persistent_buffers_set))

    def writes(self) -> dict[str, tuple[int, int]]:
        """The address of each tensor, and torch's count of the writes to it."""
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
