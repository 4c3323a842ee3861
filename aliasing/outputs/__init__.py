"""Outputs: what of a network's answer is compared between two views, such as class probabilities,
an embedding or the numbers of a regression.

An output is a class (see :class:`aliasing.outputs.base.Output`) in its own file. It defines the columns of its records,
how two views are compared, and its *measures*, with their names, values, pooling and intervals. Another package adds
one through an entry point of the group ``aliasing.outputs``, a script or a notebook through ``OUTPUTS.add``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aliasing.errors import UsageError
from aliasing.kinds import OUTPUTS

if TYPE_CHECKING:
    import pyarrow as pa

    from aliasing.outputs.base import Measure, Output

__all__ = ["OUTPUTS", "measures_in", "output_of", "output_of_table"]


def output_of(settings: Mapping[str, Any]) -> "type[Output] | None":
    """The output that a run's settings name, class probabilities if they name none; None if it is not installed."""
    return OUTPUTS.get(settings.get("output", "probabilities"))


def output_of_table(table: "pa.Table") -> "type[Output]":
    """The first output that has a measure for these records; UsageError if none has."""
    for name in OUTPUTS:
        if any(measure.is_told_by(table) for measure in OUTPUTS[name].measures):
            return OUTPUTS[name]
    raise UsageError(f"no output has a measure for records with the columns {', '.join(table.column_names)}")


def measures_in(summary: Mapping[str, Any], place: str) -> "list[Measure]":
    """The measures of the networks in a summary that are shown in this place, in order.

    Places are those of :attr:`aliasing.outputs.base.Output.shown`. The list is empty if the output is not installed.
    """
    found = summary.get("settings")
    settings = found if isinstance(found, Mapping) else {}
    output = output_of(settings)
    networks = (summary.get("models") or summary.get("variants") or {}).values()
    shown = [] if output is None else output.shown_in(place)
    return [one for one in shown if one.is_called_so(settings) and any(one.name in network for network in networks)]
