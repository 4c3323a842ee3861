"""The dense maps that a network subsamples, observed while it runs.

In a plain network, counting the calls finds those that its record shows to be sites, and the dense map of each is
computed besides for the requested views. In an anti-aliased network the operators are observed instead: each receives
the dense map that it low-passes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aliasing.sites.find import Site, locate
from aliasing.sites.trace import COUNTED, Recording, name_of
from aliasing.surgery.operators import Operator, Pooling
from aliasing.surgery.rewrite import DenseAverage, DenseConvolution, DenseMaximum, DenseSlice, TreatedForward
from aliasing.surgery.upsampling import Rejection

Note: TypeAlias = Callable[[int, int, Tensor, Tensor, bool], None]
"""Takes the numbers of a place and a view, the map in front, the dense map, with channels last, and whether they
compare."""

_MET = frozenset(
    ("__getitem__", *(f"{kind}{axes}d" for kind in ("conv", "max_pool", "avg_pool") for axes in (1, 2, 3)))
)


@dataclass(frozen=True)
class Place:
    """A place where a network subsamples.

    Attributes
    ----------
    site : Site
    index : the index of its call in the record of the run; for an operator, that of a call beside it.
    call : the number of its call among those that are counted; None if it is not observed.
    operator : the module that holds the operator, and where; None in a plain network.
    axes : the spatial axes of the map that is subsampled.
    """

    site: Site
    index: int
    call: int | None = None
    operator: tuple[str, Any] | None = None
    axes: tuple[int, ...] = (-2, -1)

    @property
    def is_met(self) -> bool:
        """Whether its dense map can be observed."""
        return self.call is not None or self.operator is not None


def places(module: nn.Module, record: Recording) -> list[Place]:
    """Every place where a recorded run of a network subsamples, in order."""
    counted = {call: number for number, call in enumerate(c for c in record.calls if c.name in COUNTED)}
    found = []
    for located in locate(record):
        if located.site.status in ("subsamples", "anti-aliased", "unsupported"):
            call = located.calls[0]
            met = call.name in _MET and located.site.status != "unsupported" and not located.changes[0].grid
            found.append(Place(located.site, call.index, counted[call] if met else None, axes=located.axes))
    first_call = {call.name: call for call in reversed(record.module_calls)}
    sites: list[Site] = list(getattr(module, "antialiased_sites", ()))
    for name, key, _ in _operators(module):
        site, ran = _site_of(sites, name, key), first_call.get(name)
        if site is not None and ran is not None:
            sites.remove(site)
            index = ran.last - 1 if key[0] == "output" else ran.first
            found.append(Place(site, index, operator=(name, key)))
    return sorted(found, key=lambda place: place.index)


def _site_of(sites: Sequence[Site], name: str, key: Any) -> Site | None:
    """The site that an operator treats: its note says where the operator is."""
    treated = [site for site in sites if site.status == "anti-aliased" and site.note and not site.upsamples]
    inside = [site for site in treated if site.module == name]
    if key[0] != "rewrites":
        where = f"{'in front of' if key[0] == 'inputs' else 'behind'} {name or 'the whole'}"
        inside = [site for site in treated if site.note.endswith(where)] or inside
    return inside[0] if inside else None


@contextmanager
def watching(module: nn.Module, met: Sequence[Place], views: Sequence[int], note: Note) -> Iterator[None]:
    """Pass the maps at these places, for these rows of the batch, to ``note`` while the module runs."""
    calls = {place.call: number for number, place in enumerate(met) if place.call is not None}
    numbers = {place.operator: number for number, place in enumerate(met) if place.operator is not None}
    with ExitStack() as stack:
        for name, key, pooling in list(_operators(module)):
            if (name, key) in numbers:
                operator: Any = _Watched(pooling.operator, numbers[name, key], views, note)
                forward = vars(module.get_submodule(name))["forward"]
                stack.callback(_put, forward, key, pooling)
                _put(forward, key, replace(pooling, operator=operator))
        if calls:
            stack.enter_context(_Calls(calls, [place.axes for place in met], views, note))
        yield


@contextmanager
def operators_seen(
    module: nn.Module, met: Sequence[Place], see: Callable[[Place, Operator, Tensor], None]
) -> Iterator[None]:
    """Show each anti-aliased operator at these places, and its input, to a function before it runs."""
    of = {place.operator: place for place in met if place.operator is not None}
    with ExitStack() as stack:
        for name, key, pooling in list(_operators(module)):
            if (name, key) in of:
                told: Any = _Told(pooling.operator, of[name, key], see)
                forward = vars(module.get_submodule(name))["forward"]
                stack.callback(_put, forward, key, pooling)
                _put(forward, key, replace(pooling, operator=told))
        yield


class _Calls(TorchFunctionMode):
    """Observes the calls of a plain network."""

    def __init__(
        self, numbers: dict[int, int], axes: Sequence[tuple[int, ...]], views: Sequence[int], note: Note
    ) -> None:
        super().__init__()
        self.numbers, self.axes, self.views, self.note = numbers, axes, views, note
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if name_of(func) in COUNTED:
            number = self.numbers.get(self.count)
            self.count += 1
            if number is not None:
                self._meet(number, func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def _meet(self, number: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rest = dict(kwargs)
        given = args[0] if args else rest.pop("input")
        name = name_of(function)
        for view in self.views:
            one: Tensor = given[view : view + 1]
            maps: list[Tensor] = []

            def keep(x: Tensor, maps: list[Tensor] = maps) -> Tensor:
                maps.append(x)
                return x

            pool: Any = keep
            is_convolution = name.startswith("conv")
            if is_convolution:
                maps.append(DenseConvolution(None, (1,) * (one.ndim - 2))(function, one, *args[1:], **rest))
            elif name.startswith("max_pool"):
                DenseMaximum(pool, circular=True)(function, one, *args[1:], **rest)
            elif name.startswith("avg_pool"):
                DenseAverage(pool)(function, one, *args[1:], **rest)
            else:
                DenseSlice(pool, self.axes[number])(function, one, *args[1:], **rest)
                one = maps[0]
            dense = _one_map(maps[0])
            self.note(number, view, dense if one is maps[0] else _one_map(one), dense, not is_convolution)


@dataclass(frozen=True)
class _Watched:
    """An operator that reports its input and the filtered map before subsampling."""

    operator: Operator
    number: int
    views: Sequence[int]
    note: Note

    @property
    def stride(self) -> tuple[int, ...]:
        return self.operator.stride

    def __call__(self, x: Tensor) -> Any:
        self._tell(x)
        return self.operator(x)

    def low_pass(self, x: Tensor) -> Tensor:
        self._tell(x)
        return self.operator.low_pass(x)

    def _tell(self, x: Tensor) -> None:
        for view in self.views:
            one = x[view : view + 1]
            before = _one_map(one)
            # An operator that selects samples filters nothing.
            dense = _one_map(self.operator.low_pass(one)) if self.operator.filters else before
            self.note(self.number, view, before, dense, True)


@dataclass(frozen=True)
class _Told:
    """An operator that is shown to a function before it runs; as a low-pass alone it is not."""

    operator: Operator
    place: Place
    see: Callable[[Place, Operator, Tensor], None]

    @property
    def stride(self) -> tuple[int, ...]:
        return self.operator.stride

    def __call__(self, x: Tensor) -> Any:
        self.see(self.place, self.operator, x)
        return self.operator(x)

    def low_pass(self, x: Tensor) -> Tensor:
        return self.operator.low_pass(x)


def _one_map(x: Tensor) -> Tensor:
    """1×C×axes as axes×C."""
    return x[0].movedim(0, -1)


# --- the operators of a network that was anti-aliased ---------------------------------------------------------------


def _operators(module: nn.Module) -> Iterator[tuple[str, Any, Pooling]]:
    """For each operator that downsamples, the name of the module, the place in it, and the operator with its stride."""
    for name, inside in module.named_modules():
        forward = vars(inside).get("forward")
        if isinstance(forward, TreatedForward):
            downwards = (one for one in forward.poolings() if not isinstance(one[1], Rejection))
            yield from ((name, place, pooling) for place, pooling in downwards)


def _put(forward: TreatedForward, key: Any, pooling: Pooling) -> None:
    """Replace an operator by another."""
    if key[0] == "inputs":
        smooths = not isinstance(forward.inputs[key[1]], Pooling)
        forward.inputs[key[1]] = pooling.smooth if smooths else pooling
    elif key[0] == "output":
        forward.output = pooling
    else:
        forward.rewrites[key[1]] = replace(forward.rewrites[key[1]], pool=pooling)  # type: ignore[type-var]
