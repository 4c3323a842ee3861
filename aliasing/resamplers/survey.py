"""`survey`: many resamplers measured side by side, sorted by what folds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from aliasing.errors import InputError, UsageError
from aliasing.kinds import RESAMPLERS
from aliasing.progress import watched
from aliasing.provenance import made_with
from aliasing.registry import did_you_mean
from aliasing.resamplers import Resampler
from aliasing.resamplers.characteristics import FREQUENCIES, Characteristics, characterise
from aliasing.resamplers.probing import Shape
from aliasing.resamplers.weights import Numbers
from aliasing.result import Result, read_summary
from aliasing.rounding import rounded
from aliasing.tables import Format, render

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

__all__ = ["CURVE", "ResamplerSurvey", "by_what_folds", "chosen", "survey"]

CURVE = np.linspace(0, 0.5, 129)
"""The frequencies of the gains that are kept, in cycles per input sample."""
_LARGEST = 8192  # samples along an axis
_FILE = "zones.npz"


@dataclass(frozen=True, repr=False)
class ResamplerSurvey(Result):
    """What several resamplers do, those that fold most first."""

    rows: list[dict[str, Any]]  #: `Characteristics.row`, with the library, its version, the caveats and the gain
    skipped: dict[str, str]  #: resamplers that could not be measured, and why
    settings: dict[str, Any]
    zones: Mapping[str, Numbers]  #: zone plates and rising tones, by name and dtype

    def summary(self) -> dict[str, Any]:
        """The rows, what was skipped, the settings and the versions; nothing is sampled, so there are no intervals."""
        return {"resamplers": self.rows, "skipped": self.skipped, **made_with(self.settings)}

    def table(self) -> "pa.Table":
        """One row a resampler and dtype; of the gain, that at some frequencies."""
        import pyarrow as pa

        return pa.Table.from_pylist([{key: row[key] for key in row if key != "gain"} for row in self.rows])

    def plot(self) -> "Figure":
        """The figure of `aliasing.plots.resamplers`."""
        from aliasing import plots

        return plots.resamplers(self)

    def readable(self, form: Format) -> list[str]:
        """The table that the command prints."""
        return [
            render(
                [
                    {
                        "resampler": row["name"],
                        "dtype": row["dtype"],
                        "by": row["reduction"],
                        "folds": _share(row["folded"]),
                        **{f"{at:g}": f"{rounded(row[f'gain_{at:g}'], '.3f')}" for at in FREQUENCIES},
                        "offset": _range(row["offset_low"], row["offset_high"]),
                        "faults": ", ".join(row["faults"]),
                    }
                    for row in self.rows
                ],
                form,
            )
        ]

    def remarks(self) -> list[str]:
        """What the columns mean, and what was skipped."""
        said = [
            "folds: of the energy above the new Nyquist frequency; then the gain at some frequencies (cycles per input"
            " sample), and where output samples of the middle sit, in input samples off their place",
        ]
        if len(self.rows) <= 3:
            said += [f"{row['name']}, {row['dtype']}: {text}" for row in self.rows for text in row["caveats"]]
        return said + [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]

    @classmethod
    def open(cls, folder: str | Path) -> "ResamplerSurvey":
        """Read the results of `aliasing resamplers --out FOLDER`."""
        summary = read_summary(Path(folder), "resamplers")
        path = Path(folder) / "records" / _FILE
        zones = dict(np.load(path)) if path.is_file() else {}
        return cls(summary["resamplers"], summary["skipped"], summary["settings"], zones)

    def _write_records(self, folder: Path) -> None:
        path = folder / "records" / _FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        zones: dict[str, Any] = dict(self.zones)
        np.savez_compressed(path, **zones)


def chosen(patterns: Iterable[str] = ()) -> list[str]:
    """The names of resamplers that patterns such as ``"opencv-*"`` match, or all; UsageError if one matches none."""
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in RESAMPLERS):
            raise UsageError(f"no resampler is called {pattern!r}{did_you_mean(pattern, RESAMPLERS)}")
    return [name for name in RESAMPLERS if not patterns or any(fnmatchcase(name, one) for one in patterns)]


def survey(
    names: Iterable[str | Characteristics], reduction: float = 4, size: int | None = None, progress: bool = False
) -> ResamplerSurvey:
    """Measure resamplers by name, in each of their kernels and dtypes.

    Parameters
    ----------
    names : iterable of str or Characteristics
        Names in `aliasing.kinds.RESAMPLERS`, or what `characterise` found in others.
    reduction : float
        By how much they reduce.
    size : int, optional
        As for `characterise`.
    progress : bool
        Whether to show a bar, if somebody sees it.

    Returns
    -------
    ResamplerSurvey
        Those of libraries that are not installed are skipped, with the reason.

    Examples
    --------
    >>> found = survey(["numpy-slice", "opencv-area"])
    >>> [(row["name"], row["dtype"], round(row["folded"], 2)) for row in found.rows][1:3]
    [('numpy-slice', 'uint8', 1.0), ('opencv-area', 'float32', 0.07)]
    """
    if size is not None and size > _LARGEST:
        raise UsageError(f"size {size} is too large to be measured along two axes; expected at most {_LARGEST}")
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    zones: dict[str, Numbers] = {}
    for name in tqdm(list(names), disable=not (progress and watched()), unit="resampler"):
        try:
            found = [(_row(name), name)] if isinstance(name, Characteristics) else _measured(name, reduction, size)
        except (InputError, UsageError) as error:
            skipped[str(name)] = str(error)
            continue
        for row, characteristics in found:
            rows.append(row)
            if characteristics.zone is not None:
                zones[f"{row['name']}, {row['dtype']}"] = characteristics.zone.astype(np.float32)
    rows.sort(key=by_what_folds)
    return ResamplerSurvey(rows, skipped, {"reduction": reduction, "size": size}, zones)


def by_what_folds(row: Mapping[str, Any]) -> tuple[float, str]:
    """The order of rows: those that fold most first, equals by name."""
    return -round(row["folded"], 3), row["name"]


def _measured(name: str, reduction: float, size: int | None) -> list[tuple[dict[str, Any], Characteristics]]:
    resampler = RESAMPLERS[name]
    found = []
    for interpolation in resampler.interpolations or ("",):
        for dtype in resampler.dtypes:
            function = partial(_call, resampler=resampler, interpolation=interpolation)
            one = characterise(
                function,
                reduction,
                resampler.axes,
                dtype,
                channels="last" if resampler.axes == 2 else None,
                positions=resampler.positions,
                size=size,
                name=f"{name} {interpolation}".strip(),
            )
            found.append((resampler.provenance(interpolation) | _row(one), one))
    return found


def _call(array: Any, shape: Shape, resampler: Resampler, interpolation: str) -> Any:
    return resampler.function(array, shape, interpolation)


def _row(found: Characteristics) -> dict[str, Any]:
    """A row of the summary: NaN is not JSON."""
    row = {key: None if isinstance(value, float) and value != value else value for key, value in found.row().items()}
    more = {"axes": len(found.along), "faults": found.faults, "caveats": found.caveats}
    return row | more | {"gain": [round(float(gain), 5) for gain in found.gain(CURVE)]}


def _share(folded: float) -> str:
    """A share of a hundred; what is less than a ten-thousandth is rounding."""
    return "< 0.01 %" if folded < 1e-4 else f"{rounded(100 * folded, '.3g')} %"


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "none"
    if max(abs(low), abs(high)) < 0.02:
        return "0"
    return rounded(low, "+.2f") if high - low < 0.02 else f"{rounded(low, '+.2f')} … {rounded(high, '+.2f')}"
