"""What the page draws: the effect of a shift at every layer, and the spectrum of the view."""

from collections.abc import Callable, Mapping, Sequence
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
from aliasing.plots.depth import Networks, name_layers, unexplained
from aliasing.plots.spectrum import log_spectrum, profile
from aliasing.plots.style import plain
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
    """How much of each layer's change the shift does not explain, as HTML: for wide pages and for phones.

    Networks with the same layers share a chart. Of others each has its own, in which its layers have their names.
    """
    models = profiles.summary()["models"]
    names = short_names(models)
    charts: dict[tuple[str, ...], list[tuple[str, int, dict[str, Any]]]] = {}
    for number, (name, model) in enumerate(models.items()):
        charts.setdefault(tuple(layer["name"] for layer in model["layers"]), []).append((names[name], number, model))
    drawn = [_measured(layer) for model in models.values() for layer in model["layers"]]
    highest = 1.05 * max((value for value in drawn if value is not None), default=1)

    def draw(networks: Networks, axes: Axes) -> None:
        unexplained(axes, networks)
        axes.set_ylim(0, max(highest, 1.05))  # that of all charts
        name_layers(axes, [layer for layer in networks[0][2]["layers"] if _measured(layer) is not None])
        if len(charts) > 1:
            axes.set_xlabel(f"layers of {plain(networks[0][0])}; ▲ downsampling")

    with TURN:  # matplotlib's settings belong to the whole process
        return "".join(
            own_ids(panels(partial(draw, networks), *_SIZE, narrow=_NARROW), f"depth{number}")
            for number, networks in enumerate(charts.values())
        )


def _measured(layer: Mapping[str, Any]) -> float | None:
    """The unexplained change of a layer; None of one without places, such as a vector."""
    found = layer["unexplained_change"]
    return None if found is None else found["value"]


def spectra(view: Array, anti_aliasing: str) -> Spectra:
    """The spectrum of a view, and what a stride of two aliases without and with the filter."""
    shown = prepare(view.clip(0, 255).astype(np.uint8), STRIDE)
    results = [compare(shown, "subsample", STRIDE)]
    chosen = parse(anti_aliasing)
    if not OPERATORS[chosen["operator"]].shares_choice:  # those select samples and do not filter
        results.append(compare(shown, chosen["operator"], STRIDE, chosen["taps"]))
    return Spectra.of(shown, results, STRIDE)


def draw_spectra(view: Array, anti_aliasing: str) -> str:
    """The samples, the spectrum and the power by frequency of a view and of each operator, as HTML."""
    found = spectra(view, anti_aliasing)
    with TURN:
        return "".join(_look(look, found, number) for number, look in enumerate(found.looks))


def _look(look: Look, found: Spectra, number: int) -> str:
    height, width = look.samples.shape[:2]
    numbers, spectrum, power = "before any downsampling", "spectrum", "power"
    if look.alias_fraction is not None and look.baseband_kept is not None:
        aliased, kept = 100 * max(look.alias_fraction, 0), 100 * look.baseband_kept
        numbers = f"{rounded(aliased, '.2f')} % of its energy folds, {rounded(kept, '.1f')} % of the baseband is kept"
        if look.operator == "subsample":
            numbers = f"not filtered: {numbers}"
        spectrum, power = "spectrum before every second pixel is kept", f"power of the {height}×{width} pixels"
    samples = webp(PIL.Image.fromarray((255 * look.samples.clip(0, 1)).round().astype(np.uint8)))
    figures = [f'<img src="{samples}" alt="{height}×{width} pixels">']

    def bare(draw: Callable[[Axes, Look, Spectra], Any], axes: Axes) -> None:
        draw(axes, look, found)
        axes.set(title="", xlabel="cycles per pixel of the original")  # the text above the chart says the rest

    charts = (log_spectrum, spectrum, 3.1), (profile, power, 2.3)
    for place, (draw, said, tall) in enumerate(charts):
        drawing = own_ids(panel(partial(bare, draw), 3.2, tall), f"look{number}{place}")
        figures.append(f"<figure><figcaption>{said}</figcaption>{drawing}</figure>")
    return f'<div class="look"><h3>{look.label}, {height}×{width}</h3><p>{numbers}</p>{"".join(figures)}</div>'
