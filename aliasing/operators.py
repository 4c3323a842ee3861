"""The operators that `antialias` can put into a network, by name: blur-pool, FLC and APS, and those of other packages.

An operator is a subclass of `aliasing.downsample.operator.Operator`, which says what it must hold. `antialias`,
attribution, the names of converted networks, ``--operator``, its help and its completion ask this registry.
"""

from typing import TYPE_CHECKING

from aliasing.registry import Registry

if TYPE_CHECKING:
    from aliasing.downsample.operator import Operator

__all__ = ["DEFAULT", "OPERATORS"]

#: The operator of a specification that names none, as ``antialiased:binomial4:resnet50``.
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
