"""One image along a path: what the network answers at each step, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aliasing.images import Clip, Image
from aliasing.jitter.engine import predict
from aliasing.jitter.network import Array, probabilities
from aliasing.models import Classifier
from aliasing.protocols import Protocol, make_protocol


@dataclass(frozen=True)
class Trace:
    """The answers of one network along a path.

    Attributes
    ----------
    model, image : str
        Their names.
    unit : str
        Of the positions.
    positions : float array, (views,)
    probability : float array, (views,)
        Of the class that is the answer to the first view.
    top1 : int array, (views,)
        The answer to each view.
    answers : tuple of str
        The answers in words, or their numbers where the network has no labels.
    pictures : float32 array, (views, H, W, 3)
        The views themselves, 0…255.
    """

    model: str
    image: str
    unit: str
    positions: npt.NDArray[np.float64]
    probability: Array
    top1: npt.NDArray[np.intp]
    answers: tuple[str, ...]
    pictures: Array

    @property
    def total_variation(self) -> float:
        """How far the probability travels along the path: the sum of its absolute changes."""
        return float(np.abs(np.diff(self.probability)).sum())


def trace(
    model: Classifier, image: Image | Clip, protocol: str | Protocol = "crop", *, batch_size: int = 16, seed: int = 0
) -> Trace:
    """Follow one image along a protocol's path.

    Parameters
    ----------
    model : Classifier
    image : Image or Clip
    protocol : str or Protocol
        One whose pairs follow one another (``is_path``).
    batch_size, seed : int

    Returns
    -------
    Trace

    Raises
    ------
    BadImage
        The image cannot be shown in this way.
    """
    protocol = make_protocol(protocol)
    views = protocol.views(image, model, seed).views
    pictures = np.stack([view.draw() for view in views])
    outputs = np.stack(list(predict(probabilities(model), pictures, batch_size)))
    top1 = outputs.argmax(1)
    return Trace(
        model.name,
        image.name,
        protocol.unit,
        np.array([view.position for view in views]),
        outputs[:, top1[0]],
        top1,
        tuple(answer_in_words(model.labels, int(index)) for index in top1),
        pictures,
    )


def answer_in_words(labels: Sequence[str] | None, index: int) -> str:
    """A class by its label, or by its number where there are no labels."""
    return labels[index] if labels is not None and index < len(labels) else str(index)
