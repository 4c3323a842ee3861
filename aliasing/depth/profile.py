"""What was measured layer by layer: the networks, and the records that every number follows from."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from aliasing.estimates import Mean
from aliasing.protocols import Protocol
from aliasing.provenance import command_line, versions
from aliasing.records import Records

__all__ = ["LAYER_MEASURES", "Profile", "schema"]

LAYER_MEASURES = ("relative_change", "cosine_similarity", "equivariance_error")


def schema() -> pa.Schema:
    """The rows: one an image and layer, each measure averaged over the pairs of views of that image."""
    return pa.schema(
        [
            ("model", pa.string()),
            ("image", pa.string()),  # identity: hash of the image's bytes
            ("name", pa.string()),  # name in its source: unique, where an image may stand twice
            ("place", pa.string()),  # the layer
            *((measure, pa.float64()) for measure in LAYER_MEASURES),
        ]
    )


@dataclass(frozen=True)
class Profile:
    """A network, or several, looked at layer by layer.

    Attributes
    ----------
    models : dict of str to dict
        Each network's weights, geometry and layers, by name.
    protocol : Protocol
    settings : dict
        What was asked for.
    """

    models: dict[str, dict[str, Any]]
    protocol: Protocol
    settings: dict[str, Any]
    _records: Records = field(repr=False)

    @property
    def records(self) -> pa.Table:
        """One row an image and layer, of all networks."""
        return self._records.table(list(self.models))

    def summary(self) -> dict[str, Any]:
        """Every estimate as ``{"value", "low", "high"}`` with its 95 % interval, and what it was made with.

        ``models`` has for each network its ``layers``, in the order of the run; ``images`` how many were skipped and
        why; ``settings`` and ``versions`` what it was made with. An estimate is null where a layer has no map.
        """
        networks: dict[str, Any] = {}
        skipped: dict[str, str] = {}
        found = 0
        for name, description in self.models.items():
            means: dict[tuple[str, str], Mean] = {}
            not_finite: list[str] = []
            measured, found = 0, 0
            for part in self._records.parts(name):
                _accumulate(means, part.table)
                measured += len(set(part.table["name"].to_pylist()))
                found += len(part.images)
                skipped |= part.skipped
                not_finite += part.not_finite
            layers = [
                {**layer, **{measure: _estimate(means.get((layer["name"], measure))) for measure in LAYER_MEASURES}}
                for layer in description["layers"]
            ]
            networks[name] = {**description, "images": measured, "not_finite": not_finite, "layers": layers}
        return {
            "models": networks,
            "images": {"source": self.settings["images"], "found": found, "skipped": skipped},
            "settings": self.settings,
            "versions": versions(),
            "command": command_line(),
        }

    def table(self) -> pa.Table:
        """One row a layer: its geometry, and each measure with the ends of its interval (``…_low``, ``…_high``)."""
        rows = []
        for name, network in self.summary()["models"].items():
            for layer in network["layers"]:
                stride, field_of_view = layer["cumulative_stride"], layer["receptive_field"]
                row = {
                    "model": name,
                    "layer": layer["name"],
                    "depth": layer["depth"],
                    "kind": layer["kind"],
                    "shape": "×".join(map(str, layer["shape"])),
                    "form": layer["form"],
                    "cumulative_stride": None if stride is None else stride[0],
                    "receptive_field": _number(field_of_view),
                }
                for measure in LAYER_MEASURES:
                    estimate = layer[measure] or dict.fromkeys(("value", "low", "high"))
                    row |= {measure: estimate["value"]}
                    row |= {f"{measure}_low": estimate["low"], f"{measure}_high": estimate["high"]}
                rows.append(row | {"note": layer["note"]})
        return pa.Table.from_pylist(rows)


def _accumulate(means: dict[tuple[str, str], Mean], table: pa.Table) -> None:
    places = table["place"].to_pylist()
    for measure in LAYER_MEASURES:
        for place, value in zip(places, table[measure].to_pylist(), strict=True):
            if value is not None:
                means.setdefault((place, measure), Mean()).add(value)


def _estimate(mean: Mean | None) -> dict[str, float | None] | None:
    return None if mean is None else mean.estimate().as_dict()


def _number(receptive_field: Any) -> float | None:
    if receptive_field is None:
        return None
    return float("inf") if receptive_field[0] == "whole image" else float(receptive_field[0])
