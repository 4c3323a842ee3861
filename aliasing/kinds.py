"""Registries of the package's kinds by name: sources of networks, inputs, resamplers and protocols.

Each kind is one file; nothing else in the package knows it by name. Another package adds one through an entry point of
the registry's group, a script by `Registry.add`. Loading this module loads none of them, so that ``--help`` and shell
completion can list the names.
"""

from typing import TYPE_CHECKING

from aliasing.registry import Registry

if TYPE_CHECKING:
    from aliasing.resamplers import Resampler

__all__ = ["RESAMPLERS"]

RESAMPLERS: Registry["Resampler"] = Registry(
    "resampler",
    "aliasing.resamplers",
    {
        "pil": "aliasing.resamplers.pillow:pil",
        "torch": "aliasing.resamplers.pytorch:antialiased",
        "torch-aliased": "aliasing.resamplers.pytorch:aliased",
        "opencv-linear": "aliasing.resamplers.opencv:linear",
        "opencv-area": "aliasing.resamplers.opencv:area",
    },
)
