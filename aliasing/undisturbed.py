"""Context managers that leave everything as it was: a network's modes, and the process's random states and flags.

Networks run in evaluation mode and, if possible, as a copy that shares their weights
(`aliasing.jitter.network.evaluated`); both end with the measurement, even if it fails.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and each of its modules back in its own mode afterwards.

    Examples
    --------
    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with in_evaluation(net):
    ...     net[0].training
    False
    >>> net.training, net[0].training, net[1].training
    (True, True, False)
    """
    if not any(inside.training for inside in _parts(module)):
        yield
        return
    modes = {inside: inside.training for inside in module.modules()}
    try:
        module.eval()
    except NotImplementedError:  # an exported network: its mode is part of its graph
        yield
        return
    try:
        yield
    finally:
        module.train(modes[module])
        for inside, training in modes.items():
            inside.training = training


def _parts(module: nn.Module) -> list[nn.Module]:
    """The same as ``module.modules()``, without their names: that takes a tenth of the time, before each batch."""
    found = [module]
    for part in found:
        found += [inside for inside in part._modules.values() if inside is not None]
    return found


def devices_in_use() -> list[int]:
    """The CUDA devices that have random states in this process: none before the first of them is used."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [*range(torch.cuda.device_count())] if in_use else []


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Restore the global state afterwards, whatever networks, images and protocols did to it.

    This covers torch's random states on the CPU and on devices in use, NumPy's and Python's global ones, and torch's
    number of threads and its deterministic and gradient modes.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with surroundings_kept():
    ...     drawn = torch.rand(3)
    >>> bool(torch.equal(torch.get_rng_state(), before))
    True
    """
    devices = devices_in_use()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    on_devices = [torch.cuda.get_rng_state(device) for device in devices]
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        for device, state in zip(devices, on_devices, strict=True):
            torch.cuda.set_rng_state(state, device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.is_grad_enabled() != grad:
            torch.set_grad_enabled(grad)
        now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        if now != deterministic:
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
