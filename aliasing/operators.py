"""The registry of operators for `antialias`: blur-pool, FLC and APS, and those of other packages.

An operator is a subclass of `aliasing.downsample.operator.Operator`. `antialias`, attribution, the names of converted
networks, and ``--operator`` with its help and completion ask this registry.
"""

from typing import TYPE_CHECKING

from aliasing.registry import Registry

if TYPE_CHECKING:
    from aliasing.downsample.operator import Operator

__all__ = ["DEFAULT", "OPERATORS"]

#: The operator of a specification that does not name one, such as ``antialiased:binomial4:resnet50``.
DEFAULT = "blur"

OPERATORS: "Registry[type[Operator]]" = Registry(
    "operator",
    "aliasing.operators",
    {
        "blur": "aliasing.downsample.blur:Blur",
        "flc": "aliasing.downsample.fourier:FourierPool",
        "aps": "aliasing.downsample.polyphase:Polyphase",
    },
)
