"""Following one image along a path: the network's answer and probability at each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.images import Loaded
from aliasing.jitter.engine import predict
from aliasing.jitter.network import ON_CPU, Array, Execution, Network, probabilities
from aliasing.models import ShownNetwork
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.undisturbed import surroundings_kept

_LEADING = 5


@dataclass(frozen=True)
class Trace:
    """The answers of one network along a path.

    Attributes
    ----------
    model, image : str
        Their names.
    unit : str
        The unit of the positions.
    positions : float array, (views,)
    probability : float array, (views,)
        The probability of the answer to the first view.
    top1 : int array, (views,)
        The answer to each view.
    answers : tuple of str
        The answers in words, or their numbers if the network has no labels.
    pictures : float32 array, (views, H, W, 3), or (views, channels, …) of a signal
        The views themselves; pictures in 0…255.
    shifts : float array, (views, D)
        How the content of each view has moved: (dy, dx) in pixels, or the samples along each axis of a signal.
    confidence : float array, (views,)
        The probability of each view's own answer.
    pairs : tuple of (int, int)
        The views that the protocol compares.
    leading : tuple of str
        The five classes that become most probable anywhere along the path, in words, the most probable first.
    leading_probabilities : float array, (views, classes)
        The probabilities of these classes.
    """

    model: str
    image: str
    unit: str
    positions: npt.NDArray[np.float64]
    probability: Array
    top1: npt.NDArray[np.intp]
    answers: tuple[str, ...]
    pictures: Array
    shifts: npt.NDArray[np.float64]
    confidence: Array
    pairs: tuple[tuple[int, int], ...]
    leading: tuple[str, ...]
    leading_probabilities: Array

    @property
    def total_variation(self) -> float:
        """The total variation of the probability along the path: the sum of its absolute changes."""
        return float(np.abs(np.diff(self.probability)).sum())

    @property
    def jumps(self) -> npt.NDArray[np.intp]:
        """The views whose answer differs from that of the view before."""
        return np.flatnonzero(np.diff(self.top1)) + 1

    def numbers(self) -> dict[str, Any]:
        """Everything but the pictures, for JSON."""
        return {
            "model": self.model,
            "image": self.image,
            "unit": self.unit,
            "positions": self.positions.tolist(),
            "answers": list(self.answers),
            "probability_of_first_answer": self.probability.tolist(),
            "total_variation": self.total_variation,
            "jumps": self.positions[self.jumps].tolist(),
            "leading": [
                {"answer": answer, "probability": probability}
                for answer, probability in zip(self.leading, self.leading_probabilities.T.tolist(), strict=True)
            ],
        }


@surroundings_kept()
def trace(
    model: ShownNetwork,
    image: Loaded,
    protocol: str | ViewProtocol = "crop",
    *,
    batch_size: int = 16,
    seed: int = 0,
    execution: Execution = ON_CPU,
) -> Trace:
    """Follow one image through a protocol's views, one after the other.

    Parameters
    ----------
    model : Classifier
    image : Image or Clip
    protocol : str or ViewProtocol
        Preferably one whose pairs follow one another (``is_path``); the order of others' views means little.
    batch_size, seed : int
    execution : Execution
        Where the network runs, and in which precision.

    Raises
    ------
    BadImage
        The image cannot be shown in this way.
    """
    network = probabilities(model, execution)
    return trace_by(network, model, image, make_protocol(protocol), batch_size=batch_size, seed=seed)


def trace_by(
    network: Network, model: ShownNetwork, image: Loaded, protocol: ViewProtocol, *, batch_size: int, seed: int
) -> Trace:
    """Like :func:`trace`, with an already prepared network, which can follow many images."""
    shown = protocol.views(image, model, seed)
    views = shown.views
    pictures = np.stack([view.draw() for view in views])
    outputs = np.stack(list(predict(network, pictures, batch_size)))
    top1 = outputs.argmax(1)
    leading = np.argsort(-outputs.max(0), kind="stable")[:_LEADING]
    return Trace(
        model.name,
        image.name,
        protocol.unit,
        np.array([view.position for view in views]),
        outputs[:, top1[0]],
        top1,
        tuple(answer_in_words(model.labels, int(index)) for index in top1),
        pictures,
        np.array([view.shift for view in views]),
        outputs.max(1),
        shown.pairs,
        tuple(answer_in_words(model.labels, int(index)) for index in leading),
        outputs[:, leading],
    )


def answer_in_words(labels: Sequence[str] | None, index: int) -> str:
    """A class by its label, or by its number if there are no labels."""
    return labels[index] if labels is not None and index < len(labels) else str(index)
