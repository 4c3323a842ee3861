"""What the page draws: the effect of a shift at every layer, and the spectrum of the view."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
from matplotlib.axes import Axes

from aliasing.called import short_names
from aliasing.depth import Profile, probe_depth
from aliasing.downsample.comparison import compare, prepare
from aliasing.downsample.spectra import Look, Spectra
from aliasing.explorer.walk import TURN, Place
from aliasing.images import Image
from aliasing.kinds import OPERATORS
from aliasing.models import Classifier
from aliasing.plots.depth import name_layers, unexplained
from aliasing.plots.spectrum import log_spectrum, profile
from aliasing.plots.svg import own_ids, panel, panels, webp
from aliasing.protocols import Drag
from aliasing.protocols.base import Array
from aliasing.rounding import rounded
from aliasing.surgery.specification import parse

STRIDE = 2
_SIZE, _NARROW = (11.2, 3.1), 3.9  # inches: where there is room, and the width on tablets and phones


def depth_profile(networks: Sequence[Classifier], image: Image, place: Place) -> Profile:
    """The effect of the shift in each network, layer by layer."""
    with TURN:
        return probe_depth(networks, [image.pixels], Drag(down=place[0], right=place[1]))


def draw_depth(profiles: Profile) -> str:
    """The share of each layer's change that the shift does not explain, as HTML: for wide pages and for phones."""
    models = profiles.summary()["models"]
    names = short_names(models)
    networks = [(names[name], number, model) for number, (name, model) in enumerate(models.items())]

    def draw(axes: Axes) -> None:
        unexplained(axes, networks)
        name_layers(axes, networks)

    with TURN:  # matplotlib's settings belong to the whole process
        return panels(draw, *_SIZE, narrow=_NARROW)


def spectra(view: Array, anti_aliasing: str) -> Spectra:
    """The spectrum of a view, and what a stride of two aliases without and with the filter."""
    shown = prepare(view.clip(0, 255).astype(np.uint8), STRIDE)
    results = [compare(shown, "subsample", STRIDE)]
    chosen = parse(anti_aliasing)
    if "before" in OPERATORS[chosen["operator"]].placements:  # others select samples and do not filter
        results.append(compare(shown, chosen["operator"], STRIDE, chosen["taps"]))
    return Spectra.of(shown, results, STRIDE)


def draw_spectra(view: Array, anti_aliasing: str) -> str:
    """The samples, the spectrum and the power by frequency of a view and of each operator, as HTML."""
    found = spectra(view, anti_aliasing)
    with TURN:
        return "".join(_look(look, found, number) for number, look in enumerate(found.looks))


def _look(look: Look, found: Spectra, number: int) -> str:
    numbers = "before any downsampling"
    if look.alias_fraction is not None and look.baseband_kept is not None:
        aliased, kept = 100 * max(look.alias_fraction, 0), 100 * look.baseband_kept
        numbers = (
            f"{rounded(aliased, '.2f')} % of its energy is aliased, {rounded(kept, '.1f')} % of the baseband is kept"
        )
    samples = webp(PIL.Image.fromarray((255 * look.samples.clip(0, 1)).round().astype(np.uint8)))
    title = f"{look.label}, {found.size[0]}×{found.size[1]}" if number == 0 else look.label

    def bare(draw: Callable[[Axes, Look, Spectra], Any], axes: Axes) -> None:
        draw(axes, look, found)
        axes.set_title("")  # the text above the chart says it

    drawn = [panel(partial(bare, draw), 3.2, height) for draw, height in ((log_spectrum, 2.9), (profile, 2.2))]
    charts = "".join(own_ids(drawing, f"look{number}{place}") for place, drawing in enumerate(drawn))
    return f'<div class="look"><h3>{title}</h3><p>{numbers}</p><img src="{samples}" alt="its samples">{charts}</div>'
