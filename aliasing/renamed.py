"""Old names of what has moved: they work for one release, with a warning that says the new one."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module for names that have moved: old name → where it is now, ``"module:attribute"``.

    Examples
    --------
    >>> old_name_of = renamed("aliasing.examples", {"circle": "math:pi"})
    >>> with warnings.catch_warnings(record=True) as told:
    ...     old_name_of("circle"), str(told[0].message)
    (3.141592653589793, 'aliasing.examples.circle is math.pi now')
    """

    def moved(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, attribute = names[name].partition(":")
        warnings.warn(f"{module}.{name} is {place}.{attribute} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(place), attribute)

    return moved
