"""Following one image along a path: the network's answer at each step, as a probability or as it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.images import Loaded
from aliasing.jitter.engine import predict
from aliasing.jitter.network import ON_CPU, Array, Execution, prepare
from aliasing.models import ShownNetwork
from aliasing.outputs import OUTPUTS
from aliasing.outputs.drawn import Drawing
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.undisturbed import surroundings_kept

LEADING = 5


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One image along a path, and what a network answers to it.

    Attributes
    ----------
    model, image : str
        Their names.
    unit : str
        The unit of the positions.
    positions : float array, (views,)
    pictures : float32 array, (views, H, W, 3), or (views, channels, …) of a signal
        The views themselves; pictures in 0…255.
    shifts : float array, (views, D)
        How the content of each view has moved: (dy, dx) in pixels, or the samples along each axis of a signal.
    pairs : tuple of (int, int)
        The views that the protocol compares.
    answers : tuple of str
        The answer to each view in words; of classes their names, or their numbers if the network has no labels.
    curve : float array, (views,)
        How much of the answer to the first view is in that to each view, 0…1.
    stays : str
        What `curve` is, on an axis.
    drawings : tuple of Drawing
        The answer to each view as it is drawn over it, and what of it differs from the answer to the first; empty for
        an answer without places.
    """

    model: str
    image: str
    unit: str
    positions: npt.NDArray[np.float64]
    pictures: Array
    shifts: npt.NDArray[np.float64]
    pairs: tuple[tuple[int, int], ...]
    answers: tuple[str, ...]
    curve: npt.NDArray[np.floating[Any]]
    stays: str
    drawings: tuple[Drawing, ...] = ()

    @property
    def jumps(self) -> npt.NDArray[np.intp]:
        """The views whose answer differs from that of the view before, if answers are the same or not."""
        return np.zeros(0, np.intp)

    def numbers(self) -> dict[str, Any]:
        """Everything but the pictures, for JSON."""
        return {
            "model": self.model,
            "image": self.image,
            "unit": self.unit,
            "positions": self.positions.tolist(),
            "answers": list(self.answers),
        }


@dataclass(frozen=True, kw_only=True)
class PlaceTrace(Followed):
    """The answers of one network with places: label maps, boxes or key points.

    Attributes
    ----------
    steps : tuple of Drawing
        For each pair the answer to its second view, and what of it differs from the answer to its first.
    heat : float32 array (H, W)
        Where the answer is unstable, in the places of the first view (:func:`aliasing.outputs.drawn.heat_map`).
    """

    steps: tuple[Drawing, ...]
    heat: Array

    def numbers(self) -> dict[str, Any]:
        return super().numbers() | {"kept": [None if np.isnan(share) else share for share in self.curve.tolist()]}


@dataclass(frozen=True, kw_only=True)
class Trace(Followed):
    """The answers of one network of classes; its `curve` is the probability of the answer to the first view.

    Attributes
    ----------
    top1 : int array, (views,)
        The answer to each view.
    confidence : float array, (views,)
        The probability of each view's own answer.
    leading : tuple of str
        The five classes that become most probable anywhere along the path, in words, the most probable first.
    leading_probabilities : float array, (views, classes)
        The probabilities of these classes.
    """

    stays: str = "probability of the\nfirst view's answer"
    top1: npt.NDArray[np.intp]
    confidence: Array
    leading: tuple[str, ...]
    leading_probabilities: Array

    @property
    def probability(self) -> npt.NDArray[np.floating[Any]]:
        """The probability of the answer to the first view, (views,)."""
        return self.curve

    @property
    def total_variation(self) -> float:
        """The total variation of the probability along the path: the sum of its absolute changes."""
        return float(np.abs(np.diff(self.probability)).sum())

    @property
    def jumps(self) -> npt.NDArray[np.intp]:
        """The views whose answer differs from that of the view before."""
        return np.flatnonzero(np.diff(self.top1)) + 1

    def numbers(self) -> dict[str, Any]:
        return super().numbers() | {
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
    output: str = "probabilities",
) -> Any:
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
    output : str
        One of `aliasing.outputs.OUTPUTS` that can be followed: classes, or what is drawn over a picture.

    Returns
    -------
    Trace or PlaceTrace

    Raises
    ------
    BadImage
        The image cannot be shown in this way.
    """
    follow = follower(output, model, execution)
    return follow(image, make_protocol(protocol), batch_size=batch_size, seed=seed)


def follower(output: str, model: ShownNetwork, execution: Execution) -> Callable[..., Any]:
    """Like :func:`trace`, for many images: a function of image and protocol, with ``batch_size`` and ``seed``."""
    compared = OUTPUTS[output].of(model)
    network = compared.network(prepare(compared.model, execution), execution)

    def follow(image: Loaded, protocol: ViewProtocol, *, batch_size: int, seed: int) -> Followed:
        shown = protocol.views(image, model, seed)
        views = shown.views
        pictures = np.stack([view.draw() for view in views])
        common = {
            "model": model.name,
            "image": image.name,
            "unit": protocol.unit,
            "positions": np.array([view.position for view in views]),
            "pictures": pictures,
            "shifts": np.array([view.shift for view in views]),
            "pairs": shown.pairs,
        }
        return compared.follow(list(predict(network, pictures, batch_size)), shown, common)

    return follow


def answer_in_words(labels: Sequence[str] | None, index: int) -> str:
    """A class by its label, or by its number if there are no labels."""
    return labels[index] if labels is not None and index < len(labels) else str(index)
