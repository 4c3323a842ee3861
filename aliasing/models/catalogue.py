"""An entry in the list of what can be loaded, and the nearest names to one that is not in it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class AvailableModel:
    """A network that can be loaded by name.

    Parameters
    ----------
    name : str
        What ``load_model`` takes.
    origin : str
        The package or the URL that its weights come from.
    installed : bool
        Whether the weights are on this machine: loading needs no network.
    """

    name: str
    origin: str
    installed: bool


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The nearest names, as the end of a message.

    Examples
    --------
    >>> did_you_mean("resnet5", ["resnet50", "vgg16"])
    '; did you mean resnet50?'
    >>> did_you_mean("quark", ["resnet50", "vgg16"])
    ''
    """
    nearest = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else ""
