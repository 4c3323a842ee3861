"""The opening of every measurement: settings are checked, images and folder opened, and networks loaded one by one.

Each measurement says itself what it does with a block of images (:meth:`aliasing.runs.Run.measure`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aliasing.errors import UsageError
from aliasing.images import ImageSource, choose_images
from aliasing.memory import keep_freed_memory
from aliasing.models import Classifier, load_model
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.records import Records
from aliasing.runs import Ranks, Run

__all__ = ["each_network", "load_for", "open_run", "protocol_for"]


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


def protocol_for(protocol: str | ViewProtocol | None, source: ImageSource) -> ViewProtocol:
    """The protocol given; otherwise `pad` for tensors, which fill the view as they are, and `crop` for photographs."""
    return make_protocol(protocol or ("crop" if source.preprocessing is None else "pad"))


def load_for(given: str | nn.Module | Classifier, source: ImageSource) -> Classifier:
    """Load a network; a bare module that is to be shown tensors sees them as they are."""
    if source.preprocessing is None or not isinstance(given, nn.Module):
        return load_model(given)
    network = load_model(given, **source.preprocessing)
    notes = [note.replace("as given: ", "as its tensors have it: ") for note in network.notes]
    return replace(network, notes=tuple(notes) + source.assumed)


def each_network(
    models: str | nn.Module | Classifier | Sequence[str | nn.Module | Classifier], source: ImageSource
) -> Iterator[Classifier]:
    """The networks, each loaded when its turn comes; UsageError if one is given twice, or none is given."""
    names: set[str] = set()
    for given in [models] if isinstance(models, (str, nn.Module, Classifier)) else models:
        network = load_for(given, source)
        if network.name in names:
            raise UsageError(
                f"{network.name} is given twice; give each network once, and your own under their own names"
            )
        names.add(network.name)
        yield network
    if not names:
        raise UsageError("no network was given")
