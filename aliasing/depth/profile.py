"""The result of a depth measurement: the networks, and the records from which every number follows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aliasing import remarks, tables
from aliasing.depth.folding import BINS
from aliasing.estimates import Mean, Share
from aliasing.jitter.metrics import FEW_IMAGES
from aliasing.protocols.base import enlarged_cautions
from aliasing.provenance import made_with
from aliasing.records import InputsDigest
from aliasing.result import Recorded
from aliasing.tables import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aliasing.tables import Format


LAYER_MEASURES = ("relative_change", "cosine_similarity", "equivariance_error", "unexplained_change")
SITE_MEASURES = ("energy_above", "alias_fraction", "baseband_kept")
# These lie between 0 and 1, so their intervals are those of a proportion.
_SHARES = ("energy_above", "alias_fraction")
_PARTS_AT_ONCE = 64  # some 500 images: enough that a place's values are added as an array, few enough for the memory


def schema() -> pa.Schema:
    """The rows: one per image and layer, with each measure averaged over pairs of views, and one per image and site."""
    return pa.schema(
        [
            ("model", pa.string()),
            ("image", pa.string()),  # identity: hash of the image's bytes
            ("name", pa.string()),  # name in its source: unique, even if the same image is there twice
            ("what", pa.string()),  # "layer" or "site"
            ("place", pa.string()),  # its name
            *((measure, pa.float64()) for measure in (*LAYER_MEASURES, *SITE_MEASURES)),
            ("spectrum", pa.list_(pa.float64())),  # of what is in front of a site
        ]
    )


@dataclass(frozen=True, repr=False)
class Profile(Recorded):
    """One or several networks, measured layer by layer; the records have a row per image and layer.

    ``models`` has each network's weights, geometry and layers, by name.
    """

    kind = "depth"

    def summary(self) -> dict[str, Any]:
        """Every estimate as ``{"value", "low", "high"}`` with its 95 % interval.

        ``models`` has for each network its ``layers`` and its ``sites``, in the order of the run. A site follows the
        layer of its ``depth``, and its ``rise`` is the rise of the unexplained change from there to the next layer,
        which is large for sites that do damage. ``images`` says how many were skipped and why. ``settings`` and
        ``versions`` follow. An estimate is null if a layer has no map, or a site no dense one.
        """
        if self._kept is not None:
            return self._kept
        networks: dict[str, Any] = {}
        skipped: dict[str, str] = {}
        found, inputs = 0, InputsDigest()
        for name, description in self.models.items():
            estimates = _Estimates(_neighbours(description))
            not_finite: list[str] = []
            measured, found, inputs = 0, 0, InputsDigest()
            enlarged: list[float] = []
            adapted: Counter[str] = Counter()
            recorded = iter(self._records.parts(name))
            while parts := list(islice(recorded, _PARTS_AT_ONCE)):
                table = pa.concat_tables(part.table for part in parts)
                estimates.add(table)
                measured += pc.count_distinct(table["name"]).as_py()
                for part in parts:
                    found += len(part.images)
                    inputs.add(part.inputs)
                    skipped |= part.skipped
                    enlarged += part.enlarged.values()
                    adapted.update(part.adapted.values())
                    not_finite += part.not_finite
            layers = [
                {
                    **layer,
                    **{measure: estimates.of("layer", layer["name"], measure) for measure in LAYER_MEASURES},
                    "images": estimates.images("layer", layer["name"], LAYER_MEASURES),
                }
                for layer in description["layers"]
            ]
            sites = [
                {
                    **site,
                    **{measure: estimates.of("site", site["name"], measure) for measure in (*SITE_MEASURES, "rise")},
                    "spectrum": estimates.spectrum(site["name"]),
                    "images": estimates.images("site", site["name"], SITE_MEASURES),
                }
                for site in description["sites"]
            ]
            networks[name] = {
                **description,
                "images": measured,
                "not_finite": not_finite,
                "cautions": _cautions(tables.word_for({name: description}), measured, sites, self.settings)
                + enlarged_cautions(description, self.protocol, enlarged, measured),
                **({"adapted": dict(adapted)} if adapted else {}),
                "layers": layers,
                "sites": sites,
            }
        return {
            "models": networks,
            "images": {
                "source": self.settings["images"],
                "identity": str(inputs),
                "found": found,
                "skipped": skipped,
                "cautions": self.settings.get("cautions", []),
            },
            **made_with(self.settings),
        }

    def table(self) -> pa.Table:
        """One row per layer: its geometry, and each measure with the ends of its interval (``…_low``, ``…_high``)."""
        rows = [
            {
                "model": name,
                "layer": layer["name"],
                **{key: layer[key] for key in ("depth", "kind")},
                "shape": "×".join(map(str, layer["shape"])),
                "form": layer["form"],
                "cumulative_stride": (layer["cumulative_stride"] or [None])[0],
                "receptive_field": _number(layer["receptive_field"]),
                **{measure: layer[measure] or tables.UNKNOWN for measure in LAYER_MEASURES},
                "note": layer["note"],
            }
            for name, network in self.summary()["models"].items()
            for layer in network["layers"]
        ]
        return pa.Table.from_pylist(tables.flat(rows))

    def plot(self) -> "Figure":
        """The measures along the depth (:func:`aliasing.plots.depth`)."""
        from aliasing import plots

        return plots.depth(self)

    def readable(self, form: "Format") -> list[str]:
        """The layers, and the downsampling sites."""
        return tables.depth_tables(self.summary(), form)

    def remarks(self) -> list[str]:
        """Where the unexplained change rises most, cautions and notes, and the images that were skipped."""
        return [*remarks.of_depth(self.summary())]


def _cautions(word: str, images: int, sites: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[str]:
    """What to know before trusting an interval."""
    found = []
    if 0 < images < FEW_IMAGES:
        found.append(f"only {counted(images, word)}: too few for narrow intervals; measure more {word}s")
    seen = max((site["images"] for site in sites), default=images)
    if 0 < seen < min(images, FEW_IMAGES):
        found.append(
            f"the sites were measured on {seen} of the {images} {word}s (--sites-every {settings.get('sites_every')}):"
            " too few for narrow intervals; --sites-every 1 measures them on all"
        )
    return found


def _neighbours(description: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    """For each site the layer before it, if any, and the first layer that contains or follows it."""
    names = [layer["name"] for layer in description["layers"]]
    return {
        site["name"]: (names[site["depth"] - 1] if site["depth"] else None, names[site["depth"]])
        for site in description["sites"]
        if site["depth"] < len(names)
    }


@dataclass
class _Estimates:
    """The estimates of every place and measure; they accumulate part by part."""

    neighbours: dict[str, tuple[str | None, str]]
    found: dict[tuple[str, str, str], Mean | Share] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Add parts of the records, of whole images."""
        for what, measures in (("layer", LAYER_MEASURES), ("site", SITE_MEASURES)):
            rows = table.filter(pc.equal(table["what"], what))
            places, where = _encoded(rows["place"])
            for measure in measures:
                self._add(what, measure, places, where, rows[measure].combine_chunks())
            if what == "site":
                of_rows = rows["spectrum"].combine_chunks()
                inside = pc.list_parent_indices(of_rows).to_numpy()
                values = of_rows.flatten()
                ring = np.arange(len(inside)) - np.searchsorted(inside, inside)
                for number in np.unique(ring):
                    chosen = ring == number
                    self._add(what, f"ring {number}", places, where[inside[chosen]], values.filter(pa.array(chosen)))
            else:
                self._add_rises(rows, places, where)

    def _add_rises(self, rows: pa.Table, places: list[str], where: npt.NDArray[np.intp]) -> None:
        """Add how much more of the change is unexplained after each site than before it, image by image."""
        images, image = _encoded(rows["name"])
        unexplained = np.full((len(places) + 1, len(images)), np.nan)
        unexplained[where, image] = rows["unexplained_change"].to_numpy()
        unexplained[-1] = 0  # the image itself moves exactly
        index: dict[str | None, int] = {None: -1} | {place: number for number, place in enumerate(places)}
        for site, (before, behind) in self.neighbours.items():
            if before in index and behind in index:
                rise = unexplained[index[behind]] - unexplained[index[before]]
                self._take("site", site, "rise", rise[~np.isnan(rise)])

    def _add(self, what: str, measure: str, places: list[str], where: npt.NDArray[np.intp], values: Any) -> None:
        """Add a column, with null for rows without a value, by the place of each row."""
        known = values.is_valid().to_numpy(zero_copy_only=False)
        where, numbers = where[known], values.to_numpy(zero_copy_only=False)[known]
        numbers = numbers[np.argsort(where, kind="stable")]
        ends = np.cumsum(np.bincount(where, minlength=len(places)))
        for place, start, end in zip(places, [0, *ends][: len(places)], ends, strict=True):
            self._take(what, place, measure, numbers[start:end])

    def _take(self, what: str, place: str, measure: str, values: npt.NDArray[np.float64]) -> None:
        if values.size:
            new = Share() if measure in _SHARES else Mean()
            self.found.setdefault((what, place, measure), new).add(values, 1)

    def of(self, what: str, place: str, measure: str) -> dict[str, float | None] | None:
        """The estimate for a summary; None without values."""
        known = self.found.get((what, place, measure))
        if known is None:
            return None
        estimate = known.estimate().as_dict()
        if measure not in ("cosine_similarity", "rise") and estimate["low"] is not None:
            estimate["low"] = max(estimate["low"], 0.0)  # the others cannot be negative
        return estimate

    def images(self, what: str, place: str, measures: Sequence[str]) -> int:
        """The number of images on which the estimates of a place rest."""
        return max((self.found[key].images for one in measures if (key := (what, place, one)) in self.found), default=0)

    def spectrum(self, place: str) -> dict[str, Any] | None:
        """The radial spectrum: the middles of its rings, and the estimate in each."""
        rings = [self.of("site", place, f"ring {ring}") for ring in range(BINS)]
        middles = [(ring + 0.5) / (2 * BINS) for ring in range(BINS)]
        return {"frequency": middles, "power": rings} if any(rings) else None


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The distinct names in order of appearance, and the index of each row's name."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp)


def _number(receptive_field: Any) -> float | None:
    if receptive_field is None:
        return None
    return math.inf if receptive_field[0] == "whole image" else float(receptive_field[0])
