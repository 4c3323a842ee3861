"""Skew between training and serving: the same photographs through two resamplers, and what it costs a network.

A network is trained on photographs that one library has resized and is served those of another (Parmar, Zhang & Zhu
2022). Nothing moves, so the answers should be the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aliasing.errors import UsageError
from aliasing.estimates import Difference, Estimate, Share, mean
from aliasing.provenance import write_json

if TYPE_CHECKING:
    from aliasing.jitter import Jitter

__all__ = ["Skew", "measure_skew"]


@dataclass(frozen=True)
class Skew:
    """What another resampler changes in the answers of networks.

    Attributes
    ----------
    first, second : str
        The resamplers, as `aliasing.kinds.RESAMPLERS` names them.
    jitter : Jitter
        The measurement under the protocol `aliasing.protocols.Resamplers`, with its records.
    pixels : mapping of str to Estimate
        For each network the mean absolute difference of the two views in grey levels, 0…255.
    """

    first: str
    second: str
    jitter: "Jitter"
    pixels: Mapping[str, Estimate]

    def summary(self) -> dict[str, Any]:
        """For each network ``pixel_difference``, ``top1_change`` and ``mac``, each with its 95 % interval.

        Of labelled photographs also ``accuracy`` after the first resampler, ``second_accuracy`` after the second, and
        ``accuracy_change``, the paired difference second − first.
        """
        measured = self.jitter.summary()
        networks = {}
        for name, found in measured["models"].items():
            networks[name] = {"pixel_difference": self.pixels[name].as_dict()}
            networks[name] |= {key: found[key] for key in ("top1_change", "mac", "accuracy") if key in found}
            if "accuracy" in found:  # else the labels are missing, or not this network's
                networks[name] |= self._accuracies(name)
        return {
            "resamplers": measured["settings"]["protocol"]["names"],
            "images": measured["images"],
            "models": networks,
        }

    def _accuracies(self, network: str) -> dict[str, Any]:
        from aliasing.outputs.base import column

        accuracy, change = Share(binary=True), Difference(binary=True)
        for table in self.jitter.tables(network):
            labelled = table.filter(table["label"].is_valid())
            label = column(labelled, "label")
            first, second = (np.equal(column(labelled, f"{view}_top1"), label) for view in ("first", "second"))
            accuracy.add(second, 1)
            change.add(second.astype(float) - first, 1)
        return {"second_accuracy": accuracy.estimate().as_dict(), "accuracy_change": change.estimate().as_dict()}

    def table(self) -> list[dict[str, Any]]:
        """A row a network, each estimate in words."""
        rows = []
        for name, found in self.summary()["models"].items():
            row = {"network": name, "images": self.jitter.summary()["models"][name]["images"]}
            rows.append(row | {title: str(Estimate.of(found[key])) for key, title in self._titles() if key in found})
        return rows

    def _titles(self) -> Iterator[tuple[str, str]]:
        yield "pixel_difference", "pixels, grey levels"
        yield "top1_change", "P(top-1 change)"
        yield "mac", "MAC"
        yield "accuracy", f"accuracy, {self.first}"
        yield "second_accuracy", f"accuracy, {self.second}"
        yield "accuracy_change", "change of accuracy"

    def write(self, folder: Path) -> None:
        """Write the run under the protocol, as `Jitter.write` does, with these numbers in ``skew.json``."""
        self.jitter.write(folder)
        write_json(folder / "skew.json", self.summary())

    def __repr__(self) -> str:
        from aliasing.tables import render

        return f"{self.second} in the place of {self.first}\n{render(self.table())}"


def measure_skew(
    model: Any, images: Any = "sample", resamplers: Sequence[str] = ("pil", "opencv-linear"), **options: Any
) -> Skew:
    """Measure what it changes if photographs are resized by another library than a network was trained with.

    Parameters
    ----------
    model : str, nn.Module or Classifier, or a sequence of them
        Networks, or their names.
    images : Any
        As for :func:`aliasing.measure_jitter`.
    resamplers : (str, str)
        The one that a network is measured against, and the other: names in `aliasing.kinds.RESAMPLERS`.
    **options
        Of :func:`aliasing.measure_jitter`: ``limit``, ``sample``, ``seed``, ``batch_size``, ``out``, ``progress`` …

    Returns
    -------
    Skew

    Raises
    ------
    UsageError
        There are not two resamplers, or one is unknown.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> skew = measure_skew(network, limit=2)
    >>> skew.summary()["models"][next(iter(skew.pixels))]["pixel_difference"]["value"] > 0.1
    True
    """
    from aliasing.images import BadImage, Image
    from aliasing.images.chosen import choose_images
    from aliasing.jitter import measure_jitter
    from aliasing.models import Classifier
    from aliasing.protocols import Resamplers
    from aliasing.runner import load_for

    if len(resamplers) != 2:
        raise UsageError(f"skew is between two resamplers; got {', '.join(resamplers)}")
    first, second = resamplers
    protocol = Resamplers(names=(first, second))
    given = model if isinstance(model, list | tuple) else [model]
    source = choose_images(
        images, **{key: options.pop(key, None) for key in ("limit", "sample")}, seed=options.get("seed", 0)
    )
    networks = [load_for(one, source) for one in given]
    jitter = measure_jitter(networks, source, protocol, **options)
    differences: dict[str, list[float]] = {network.name: [] for network in networks}
    for entry in source:
        try:
            image = entry.load()
            for network in networks:
                if isinstance(image, Image) and isinstance(network, Classifier):
                    one, other = (view.draw() for view in protocol.views(image, network).views)
                    differences[network.name].append(float(np.abs(one - other).mean()))
        except BadImage:
            continue  # the jitter has counted it
    return Skew(first, second, jitter, {name: mean(found) for name, found in differences.items()})
