"""An entry in the list of networks that can be loaded."""

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
