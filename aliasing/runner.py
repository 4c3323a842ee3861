"""The opening of every measurement: settings are checked, images and folder opened, and networks loaded one by one.

Each measurement says itself what it does with a block of images (:meth:`aliasing.runs.Run.measure`).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from aliasing.errors import UsageError
from aliasing.images import BadImage, ImageSource, Signal, choose_images
from aliasing.memory import keep_freed_memory
from aliasing.models import Classifier, ShownNetwork, SignalNetwork, load_model
from aliasing.models.changes import GIVEN
from aliasing.protocols import ViewProtocol, enlarged_by_crop, make_protocol
from aliasing.records import Records
from aliasing.runs import Ranks, Run

__all__ = ["each_network", "load_for", "open_run", "protocol_for"]

Networks: TypeAlias = str | nn.Module | ShownNetwork | Sequence[str | nn.Module | ShownNetwork]

_GLANCED = 8  # entries at the beginning, which tell what the others are


def open_run(
    images: Any,
    protocol: ViewProtocol,
    limit: int | None,
    sample: int | None,
    batch_size: int,
    seed: int,
    out: str | Path | None,
    progress: bool,
    ranks: Ranks,
    timeout: float | None,
    own: dict[str, Any],
) -> tuple[Run, dict[str, Any]]:
    """Check the settings, open the images and the records, and return the run with the settings its summary holds.

    The parameters are those of :func:`aliasing.measure_jitter`, and the measurement's ``own`` settings. Raises
    UsageError if one makes no sense, InputError if there are no images.
    """
    if batch_size < 1:
        raise UsageError(f"batch size is a number of views, at least 1; got {batch_size}")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout is a number of seconds above 0; got {timeout}")
    keep_freed_memory()
    source = choose_images(images, limit=limit, sample=sample, seed=seed, progress=progress)
    settings = {
        "images": source.description,
        "limit": source.limit,
        "sample": source.sample,
        "protocol": protocol.parameters(),
        **own,
        "seed": seed,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
    }
    run = Run(source, Records(None if out is None else Path(out)), ranks, progress)
    return run, {**settings, "cautions": run.cautions}


def protocol_for(
    protocol: str | ViewProtocol | None,
    source: ImageSource,
    models: Networks,
    usual: str | None = None,
    **parameters: Any,
) -> ViewProtocol:
    """The protocol given; otherwise the usual one, or `pad` for pictures that would be enlarged.

    These are tensors, which fill the view as they are, and the pictures of a network that is itself small: the first
    one decides (`aliasing.protocols.enlarged_by_crop`). Usual are `crop`, and `samples` for signals and for videos that
    a network takes as volumes.
    """
    if protocol is not None:
        return make_protocol(protocol, **parameters)
    if holds_signals(source):
        return make_protocol(usual or "samples", **parameters)
    first = _first(models, source) if source.preprocessing is None else None
    if isinstance(first, SignalNetwork):
        return make_protocol(usual or "samples", **parameters)
    is_small = source.preprocessing is not None or (first is not None and enlarged_by_crop(first) is not None)
    return make_protocol("pad" if is_small else usual or "crop", **parameters)


def shows_signals(models: Networks, source: ImageSource) -> bool:
    """Whether signals are shown: those of a source, or its videos, which the first network takes as volumes."""
    return holds_signals(source) or isinstance(_first(models, source), SignalNetwork)


def _first(models: Networks, source: ImageSource) -> ShownNetwork | None:
    """The first network; None if it cannot be loaded, which is told when its turn comes."""
    with suppress(Exception):
        return load_for(several(models)[0], source)
    return None


def several(models: Networks) -> list[str | nn.Module | ShownNetwork]:
    """One network or several, as a list."""
    return [models] if isinstance(models, (str, nn.Module, ShownNetwork)) else list(models)


def one_of(images: Any, inputs: Any) -> Any:
    """What is measured, given as ``images`` or, where that is a better word for it, as ``inputs``.

    Raises UsageError if both are given.
    """
    if inputs is None:
        return images
    if not (isinstance(images, str) and images == "sample"):  # the default
        raise UsageError("images and inputs are two words for the same: give one of them")
    return inputs


def holds_signals(source: ImageSource) -> bool:
    """Whether the first entries of a source are signals, as far as their names tell."""
    first = list(islice(source, _GLANCED))
    return bool(first) and all(entry.is_signal for entry in first)


def seen_by(source: ImageSource) -> dict[str, Any] | None:
    """How a network that says nothing about its input sees the signals of a source; None if none can be read.

    Its rates are those of the first that can be read, and its size that of the longest of the first eight, in samples
    of that rate, along each axis.
    """
    loaded: list[Signal] = []
    for entry in islice(source, _GLANCED):
        with suppress(BadImage):
            signal = entry.load()
            if isinstance(signal, Signal) and (not loaded or signal.axes == loaded[0].axes):
                loaded.append(signal)
    if not loaded:
        return None
    rates = loaded[0].rates
    sizes = [
        [-int(-length * rate // own) for length, rate, own in zip(one.samples.shape[1:], rates, one.rates, strict=True)]
        for one in loaded
    ]
    return {"input_size": tuple(map(max, zip(*sizes, strict=True))), "rate": rates}


def load_for(given: str | nn.Module | ShownNetwork, source: ImageSource) -> ShownNetwork:
    """Load a network; a bare module that is to be shown tensors or signals sees them as they are.

    So does one that a name stands for, if it says nothing about its input and takes no pictures; and any network for
    whose input size the tensors were made.
    """
    if not isinstance(given, ShownNetwork) and holds_signals(source):
        return _load_for_signals(given, source)
    if source.preprocessing is None:
        return load_model(given)
    whence = "as its tensors have it: "
    if isinstance(given, nn.Module):
        return _noted(load_model(given, **source.preprocessing), whence, source.assumed)
    network, size = load_model(given), source.preprocessing["input_size"]
    if isinstance(network, Classifier) and network.view_size == size != network.resized_size:
        return _noted(load_model(network, resize_size=size), whence, before=network.notes)
    return network


def _load_for_signals(given: str | nn.Module, source: ImageSource) -> ShownNetwork:
    seen = seen_by(source)
    if seen is None:
        return load_model(given)
    if not isinstance(given, nn.Module):
        with suppress(UsageError):
            return load_model(given)
    return _noted(load_model(given, **seen), f"as the first {_GLANCED} inputs have it: ")


def _noted(
    network: ShownNetwork, whence: str, more: tuple[str, ...] = (), before: tuple[str, ...] = ()
) -> ShownNetwork:
    """The network, whose notes, but for those that it had before, say where its preprocessing comes from."""
    fresh = [note for note in network.notes if note.startswith(GIVEN) and note not in before]
    notes = [f"{whence}{note.removeprefix(GIVEN)}" if note in fresh else note for note in network.notes]
    return replace(network, notes=(*notes, *more))


def each_network(models: Networks, source: ImageSource) -> Iterator[ShownNetwork]:
    """The networks, each loaded when its turn comes; UsageError if one is given twice, or none is given."""
    names: set[str] = set()
    for given in several(models):
        network = load_for(given, source)
        if network.name in names:
            raise UsageError(
                f"{network.name} is given twice; give each network once, and two states of your own under names of"
                ' their own: al.Classifier.of(module, input_size, mean=…, std=…, name="epoch 3")'
            )
        names.add(network.name)
        yield network
    if not names:
        raise UsageError("no network was given")
