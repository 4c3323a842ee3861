"""Converting a network, and restoring it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from torch import nn

from aliasing.downsample import PADDINGS
from aliasing.errors import UsageError
from aliasing.filters import is_one_filter, one_filter_per_axis
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.models import Classifier, ShownNetwork
from aliasing.sites.find import LocatedSite, Site, locate, named_sites, probe_of, with_unpooled
from aliasing.sites.trace import copied, record_calls
from aliasing.surgery.plan import make_plan
from aliasing.surgery.rewrite import TreatedForward
from aliasing.surgery.schemes import SCHEMES, Scheme, Treatment, check_treatment

__all__ = ["Conversion", "antialias", "antialias_", "conversion_of", "restore", "restore_"]

Network = TypeVar("Network", Classifier, ShownNetwork, nn.Module)
DEFAULT_TAPS = "binomial4"
NONLINEARITIES = ("afc", "polynomial")
NORMALIZATIONS = ("chw",)
POSITIONS = ("anchored",)
SITES = "sites="
"""How a scheme begins that names the sites to treat: ``"sites=maxpool+layer2.0.conv1"``."""


@dataclass(frozen=True)
class Conversion:
    """How a network was converted."""

    scheme: str | Scheme
    operator: str
    taps: Any
    placement: str
    padding: str | None
    sites: tuple[Site, ...]
    nonlinearity: str | None = None
    upsampling: bool = False
    normalization: str | None = None
    positions: str | None = None

    def __str__(self) -> str:
        """As in a model's name; see `aliasing.surgery.specification`."""
        words = [] if self.operator == DEFAULT_OPERATOR else [self.operator]
        if self.operator == DEFAULT_OPERATOR or (OPERATORS[self.operator].takes_taps and self.taps != DEFAULT_TAPS):
            filters = one_filter_per_axis(self.taps, 1 if is_one_filter(self.taps) else len(self.taps))
            words.append("/".join(map(_written, filters if len(set(filters)) > 1 else filters[:1])))
        words += [self.placement] if self.placement != "after" else []
        if self.scheme != "zhang2019":
            words.append(
                self.scheme if isinstance(self.scheme, str) else getattr(self.scheme, "__name__", "own scheme")
            )
        words += ["upsampling"] if self.upsampling else []
        return ",".join([*words, *filter(None, (self.padding, self.nonlinearity, self.normalization, self.positions))])


def _written(taps: str | tuple[float, ...]) -> str:
    """A filter's name, or the shortest exact texts of its taps."""
    return taps if isinstance(taps, str) else "-".join(repr(tap).removesuffix(".0") for tap in taps)


def antialias(
    model: Network,
    *,
    operator: str = DEFAULT_OPERATOR,
    taps: Any = DEFAULT_TAPS,
    placement: Literal["after", "before"] = "after",
    scheme: str | Scheme | Sequence[str] = "zhang2019",
    padding: str | None = None,
    upsampling: bool = False,
    nonlinearity: str | None = None,
    normalization: str | None = None,
    positions: str | None = None,
    example_input: Any = None,
) -> Network:
    """Return the network with anti-aliased operators at its downsampling sites; the old one stays as it is.

    Networks of sounds, pictures and volumes are treated alike, and mixed ones too, along one, two or three axes.

    Parameters
    ----------
    model : Classifier or nn.Module
        It is copied; see `antialias_` for the network itself.
    operator : str
        One of `aliasing.kinds.OPERATORS`: "blur", blur-pool (Zhang 2019); "kaiser", designed from an attenuation;
        "wavelet", a wavelet's low band; "adaptive", predicted for every place (DDAC); "flc", "asap", "ideal" and
        "spectral", alias-free low-passes in the Fourier domain; "aps", "lps" and "tips-anchored", which choose a phase,
        the same in branches that meet again; "tips", a mixture of the phases; or another package's. `aliasing
        guarantees` shows what each keeps. Its parameters, if any, become parameters of the new network.
    taps : str or sequence of float, or one of these per axis
        The filter of "blur" (or another operator that takes one), for all axes, or one each. A name such as
        "binomial4" is a filter for stride 2 and is stretched to other strides; numbers are taken as they are. An axis
        that is not subsampled is not filtered.
    placement : {"after", "before"}
        "after": convolution at stride 1, activation, operator; a convolution of stride s then costs s² as much.
        "before": low-pass, then the original strided convolution at its own cost. Only "after" removes what the
        convolution and the activation add above the new Nyquist frequency. Pooling is the same in both.
    scheme : {"zhang2019", "all", "pool"}, sequence of str, or function
        "zhang2019", the published placement: a stem keeps its stride (of AlexNet's stride of 4, a stride of 2 is kept),
        the operator replaces an average, and the padded 3×3 maximum of a ResNet becomes 2×2 without padding, which at
        odd sizes gives one sample less; every other output size stays. "all": every site. "pool": pooling only.
        Names of sites, or ``"sites=NAME+NAME"``: these alone (see ``aliasing sites``).
        A function returns a `Treatment` or None for a `Site`.
    padding : {"reflect", "replicate", "circular", "zero"}, optional
        What the blur sees beyond the border, by default "reflect"; "circular" makes every padding of the network
        circular too, for exact experiments.
    upsampling : bool
        Also treat the sites that upsample, by whole factors: transposed convolutions, interpolation, pixel shuffle and
        the unpooling of maxima, in decoders, U-Nets and generators. Behind each stands the operator's transposed
        low-pass, which rejects the images; an operator that chooses a phase puts the samples back at the phase that
        its pool on the way down has kept, and needs ``padding="circular"`` to be exact.
    nonlinearity : {"afc", "polynomial"}, optional
        "afc": every activation of a map or its tokens is put between an interpolation by two and an ideal low-pass
        (`aliasing.layers.AliasFreeActivation2d`), where a convolution, a pooling, batch normalisation or a permutation
        shows which axes are spatial. It costs a multiple of the activation. "polynomial": the same, with a polynomial
        of degree two that is learned in the place of the function, as published (Michaeli et al. 2023), so that
        nothing folds; it needs training.
    normalization : {"chw"}, optional
        "chw": every layer normalisation over the channels of a map or its tokens takes one mean and one variance over
        all positions too (Michaeli et al. 2023): divided position by position, a map has new frequencies.
    positions : {"anchored"}, optional
        "anchored": a learned code that is added to tokens or to a map, one value for each place, begins at the token
        with the largest norm instead of the corner, and continues on the circle, so that it moves with the content.
    example_input : Any, optional
        An input of the network, as for `aliasing.find_sites`.

    Returns
    -------
    Classifier or nn.Module
        The same kind, with the same parameters under the same names; ``find_sites`` tells what was done where.

    Raises
    ------
    UsageError
        If the scheme, operator, filter or placement is unknown, if nothing in the network can be treated, if it is
        scripted or already converted, or if it can't be copied.
    InputError
        If the network fails on the example.

    Notes
    -----
    Sites are found in eval mode, so heads that run only in training are not treated. To train on several devices use
    DistributedDataParallel: the replicas of nn.DataParallel would share one network's parameters.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2))
    >>> fixed = antialias(net, scheme="all", example_input=torch.zeros(1, 3, 32, 32))
    >>> [site.note for site in fixed.antialiased_sites]
    ['blur behind 1', 'blur behind it: no activation before the output']
    >>> list(fixed.state_dict()) == list(net.state_dict())
    True
    """
    if not isinstance(model, ShownNetwork | nn.Module):
        raise UsageError(f"got a {type(model).__name__}; expected a Classifier or an nn.Module")
    module, example = probe_of(model, example_input)
    _refuse(module)
    how: Any = {"operator": operator, "taps": taps, "placement": placement, "scheme": scheme}
    how |= {"padding": padding, "upsampling": upsampling, "positions": positions}
    how |= {"nonlinearity": nonlinearity, "normalization": normalization}
    converted = antialias_(copied(module), **how, example_input=example)
    same_kind: Any = _rewrap(model, converted) if isinstance(model, ShownNetwork) else converted
    return same_kind  # type: ignore[no-any-return]


def _rewrap(classifier: ShownNetwork, converted: nn.Module) -> ShownNetwork:
    """The classifier of the converted network; its name and notes say what was done."""
    conversion = conversion_of(converted)
    notes = (*classifier.notes, f"anti-aliased: {conversion}")
    origin = dict(classifier.origin)
    if "loaded_as" in origin:
        origin["loaded_as"] = f"antialiased:{conversion}:{origin['loaded_as']}"
    name = f"antialiased:{conversion}:{classifier.name}"
    return replace(classifier, module=converted, notes=notes, name=name, origin=origin)


def antialias_(
    module: nn.Module,
    *,
    operator: str = DEFAULT_OPERATOR,
    taps: Any = DEFAULT_TAPS,
    placement: Literal["after", "before"] = "after",
    scheme: str | Scheme | Sequence[str] = "zhang2019",
    padding: str | None = None,
    upsampling: bool = False,
    nonlinearity: str | None = None,
    normalization: str | None = None,
    positions: str | None = None,
    example_input: Any = None,
) -> nn.Module:
    """Convert the network itself, with the parameters of `antialias`, and return it.

    The network's parameters stay the same objects, so that an existing optimizer keeps working.
    """
    _refuse(module)
    if padding not in (None, *PADDINGS):
        raise UsageError(f"no padding {padding!r}; expected {' or '.join(map(repr, PADDINGS))}")
    if nonlinearity not in (None, *NONLINEARITIES):
        raise UsageError(f"no nonlinearity {nonlinearity!r}; expected {' or '.join(map(repr, NONLINEARITIES))}")
    if normalization not in (None, *NORMALIZATIONS):
        raise UsageError(f"no normalization {normalization!r}; expected {' or '.join(map(repr, NORMALIZATIONS))}")
    if positions not in (None, *POSITIONS):
        raise UsageError(f"no positions {positions!r}; expected {' or '.join(map(repr, POSITIONS))}")
    treatment = Treatment(operator, taps, placement)
    check_treatment(treatment, padding)
    if isinstance(scheme, Sequence) and not isinstance(scheme, str):
        scheme = SITES + "+".join(map(str, scheme))
    named = isinstance(scheme, str) and (scheme in SCHEMES or scheme.startswith(SITES))
    if not named and not callable(scheme):
        expected = f"{', '.join(map(repr, SCHEMES))}, names of sites, or a function of a site"
        raise UsageError(f"no scheme {scheme!r}; expected {expected}")
    _, example = probe_of(module, example_input)
    record = record_calls(module, example)
    located = with_unpooled(locate(record)) if upsampling else locate(record)
    statuses = ("subsamples", *["upsampling"] * upsampling)
    treatable = [place for place in located if place.site.status in statuses or place.keeps_all]
    if not treatable:
        raise UsageError(_nothing_to_treat(module, [place.site for place in located]))
    decide = _decider(type(module).__name__, scheme, treatment, treatable)
    plan = make_plan(
        record,
        located,
        decide,
        padding,
        upsampling=upsampling,
        nonlinearity=nonlinearity,
        normalization=normalization,
        positions=positions,
    )
    for forward in plan.modules.values():
        forward.attach()
    conversion = Conversion(
        scheme,
        operator,
        taps,
        placement,
        padding,
        tuple(plan.sites),
        nonlinearity,
        upsampling,
        normalization,
        positions,
    )
    module.antialiasing = conversion  # type: ignore[assignment]
    module.antialiased_sites = plan.sites  # type: ignore[assignment]
    return module


def _nothing_to_treat(module: nn.Module, sites: list[Site]) -> str:
    beyond = [site for site in sites if site.status == "unsupported"]
    if not beyond:
        return f"{type(module).__name__} never downsamples unfiltered: there is nothing to anti-alias"
    (first, *others) = beyond
    what = f"{first.name} ({first.kind}): {first.note}" + (f"; and {len(others)} more" if others else "")
    return f"{type(module).__name__} downsamples only where antialias does not reach: {what}; see find_sites"


def _decider(
    network: str, scheme: str | Scheme, treatment: Treatment, treatable: list[LocatedSite]
) -> Callable[[LocatedSite], Treatment | None]:
    if callable(scheme):
        return lambda place: scheme(place.site)
    if scheme.startswith(SITES):
        statuses = [place.site.status for place in treatable]
        chosen = [
            place for place, _ in named_sites(network, treatable, scheme.removeprefix(SITES).split("+"), statuses)
        ]
        return lambda place: treatment if any(place is one for one in chosen) else None
    downwards = partial(SCHEMES[scheme], treatment=treatment)
    return lambda place: treatment if place.site.status == "upsampling" else downwards(place)


def _refuse(module: nn.Module) -> None:
    conversion = conversion_of(module)
    if conversion is not None:
        raise UsageError(f"{type(module).__name__} is already anti-aliased ({conversion}); restore it first")
    for name, inside in module.named_modules():
        if isinstance(vars(inside).get("forward"), TreatedForward):
            raise UsageError(f"{type(module).__name__} contains an already anti-aliased network, at {name}")


def conversion_of(module: nn.Module) -> Conversion | None:
    """How a network was converted; None if it was not."""
    found = vars(module).get("antialiasing")
    return found if isinstance(found, Conversion) else None


def restore(model: Network) -> Network:
    """Return the original network with the converted one's weights; the converted one stays as it is.

    Raises
    ------
    UsageError
        If the network is not converted.

    Examples
    --------
    >>> import torch
    >>> net, image = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()).eval(), torch.rand(1, 3, 32, 32)
    >>> torch.equal(restore(antialias(net, scheme="all", example_input=image))(image), net(image))
    True
    """
    if isinstance(model, ShownNetwork):
        name = model.name.removeprefix(f"antialiased:{conversion_of(model.module)}:")
        notes = tuple(note for note in model.notes if not note.startswith("anti-aliased: "))
        return replace(model, module=restore(model.module), notes=notes, name=name)
    return restore_(copied(model))


def restore_(module: nn.Module) -> nn.Module:
    """Restore the network itself; see `restore`."""
    if conversion_of(module) is None:
        raise UsageError(f"{type(module).__name__} is not anti-aliased: there is nothing to restore")
    for inside in module.modules():
        forward = vars(inside).get("forward")
        if isinstance(forward, TreatedForward):
            forward.detach()
    del module.antialiasing, module.antialiased_sites
    return module
