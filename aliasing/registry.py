"""Registries of kinds by name: the package's own kinds, and those that other packages add.

A registry knows the names of its kinds without importing them; a kind is imported when it is first used. Another
package adds one through an entry point of the registry's group, in its ``pyproject.toml``,

.. code-block:: toml

   [project.entry-points."aliasing.resamplers"]
   nearest = "their_package.nearest:Nearest"

and a script or a notebook with `Registry.add`.
"""

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aliasing.errors import InputError, UsageError, first_line, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Kind = TypeVar("Kind")


class UnknownNameError(UsageError, KeyError):
    """There is no kind of that name. This is also a KeyError, because a registry is a mapping."""

    __str__ = ValueError.__str__  # KeyError's quotes the text


class Registry(Mapping[str, Kind]):
    """Kinds of one thing, by name.

    ``what`` is the word for one of them in messages, ``group`` the entry points through which other packages add kinds,
    and ``own`` are the package's own: name → ``"module:attribute"``, in the order of listings. The attribute is the
    kind, or a dict of several by name.

    Examples
    --------
    >>> numbers = Registry("number", "aliasing.examples", {"pi": "math:pi", "e": "math:e"})
    >>> list(numbers), numbers["e"]
    (['pi', 'e'], 2.718281828459045)
    >>> numbers["pie"]
    Traceback (most recent call last):
    ...
    aliasing.registry.UnknownNameError: unknown number 'pie'; did you mean pi?
    >>> numbers.add("tau", 6.28)
    >>> ", ".join(numbers)
    'pi, e, tau'
    """

    def __init__(self, what: str, group: str, own: Mapping[str, str]) -> None:
        self.what, self.group = what, group
        self._own = dict(own)
        self._added: dict[str, Kind] = {}

    def add(self, name: str, kind: Kind) -> None:
        """Add a kind; UsageError if the name is taken."""
        if name in self:
            raise UsageError(f"there is already a {self.what} {name!r}; choose another name")
        self._added[name] = kind

    def __iter__(self) -> Iterator[str]:
        """The names: the package's own in order, then those of entry points, then those added."""
        yield from self._own
        yield from self._entry_points
        yield from self._added

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._added or name in self._entry_points

    def __getitem__(self, name: str) -> Kind:
        """The kind of that name.

        Raises UnknownNameError, with the nearest names, if there is none, and InputError if another package's cannot be
        imported.
        """
        if name in self._own:
            module, _, attribute = self._own[name].partition(":")
            try:
                found = getattr(import_module(module), attribute)
            except ModuleNotFoundError as error:
                needed = str(error.name).partition(".")[0]
                raise InputError(f"{self.what} {name!r} needs {needed}, which is not installed; install it") from error
            except ImportError as error:  # a library that it loads is missing
                raise InputError(f"{self.what} {name!r} cannot be imported ({first_line(error)}); fix it") from error
            return cast(Kind, found[name] if isinstance(found, dict) else found)
        if name in self._added:
            return self._added[name]
        if name in self._entry_points:
            return self._load(self._entry_points[name])
        nearest = did_you_mean(name, self) or f"; choose one of {', '.join(self)}"
        raise UnknownNameError(f"unknown {self.what} {name!r}{nearest}")

    def _load(self, point: "EntryPoint") -> Kind:
        try:
            return cast(Kind, point.load())
        except (Exception, SystemExit) as error:  # another package's module may fail in any way
            package = point.dist.name if point.dist else "another package"
            reason = one_line(str(error))
            raise InputError(
                f"{self.what} {point.name!r} comes from {package}, which cannot be imported ({reason}); fix it"
            ) from error

    @cached_property
    def _entry_points(self) -> "dict[str, EntryPoint]":
        """The entry points of other packages, by name; they cannot replace the package's own kinds."""
        found: dict[str, EntryPoint] = {}
        points: Iterable[EntryPoint] = _entry_points_on(tuple(sys.path)).select(group=self.group)
        for point in sorted(points, key=lambda point: (point.name, point.value)):
            if point.name in self._own or point.name in found:
                taken = "the package's own" if point.name in self._own else found[point.name].value
                warnings.warn(f"{self.what} {point.name!r} is {taken}; {point.value} is ignored", stacklevel=2)
            else:
                found[point.name] = point
        return found


@lru_cache(maxsize=1)
def _entry_points_on(path: tuple[str, ...]) -> Any:
    """The entry points of all packages on ``sys.path``. Reading them takes a while, so all registries share them."""
    from importlib.metadata import entry_points  # imports email and zipfile

    return entry_points()


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The nearest names, as the end of a message; empty if there are none.

    Examples
    --------
    >>> did_you_mean("resnet5", ["resnet50", "vgg16"])
    '; did you mean resnet50?'
    >>> did_you_mean("quark", ["resnet50", "vgg16"])
    ''
    """
    nearest = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else ""
