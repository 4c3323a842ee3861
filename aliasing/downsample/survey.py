"""`compare_operators`: how much each downsampling operator aliases on photographs, with intervals and a figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aliasing.axes import whole
from aliasing.downsample.comparison import compare, find_operator, prepare
from aliasing.downsample.spectra import FILE, Spectra
from aliasing.errors import InputError, UsageError
from aliasing.estimates import mean, share
from aliasing.filters import TapsLike, get_taps
from aliasing.images import BadImage, Image, open_images
from aliasing.provenance import command_line, versions
from aliasing.result import Result, read_summary
from aliasing.tables import Format, cell, flat, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DEFAULT_OPERATORS", "MEASURES", "OperatorSurvey", "compare_operators"]

DEFAULT_OPERATORS = ("max", "convolution", "blur")
MEASURES = {
    "alias_fraction": "aliased energy",
    "baseband_kept": "baseband kept",
    "gaussian_alias_fraction": "Gaussian of equal baseband",
}


@dataclass(frozen=True, repr=False)
class OperatorSurvey(Result):
    """How much operators alias on photographs, and how much of the baseband they keep."""

    labels: dict[str, str]  #: the label of each operator in a figure
    images: list[dict[str, Any]]  #: for each photograph its name, identity, size and, for each operator, the measures
    skipped: dict[str, str]  #: images that could not be used, and why
    settings: dict[str, Any]
    spectra: Spectra | None = None  #: those of the first photograph; None if the folder holds none

    def summary(self) -> dict[str, Any]:
        """Each operator's shares of energy as ``{"value", "low", "high"}``, the 95 % interval, and the settings."""
        operators = {name: {"label": label, **self._estimates(name)} for name, label in self.labels.items()}
        return {
            "command": command_line(),
            "settings": self.settings,
            "operators": operators,
            "images": {"used": len(self.images), "skipped": self.skipped, "each": self.images},
            "versions": versions(),
            "reading": list(_reading(operators, self.settings["stride"])),
        }

    def table(self) -> pa.Table:
        """One row per operator: its name and label, and each measure with the ends of its interval."""
        rows = ({"operator": name, "label": label, **self._estimates(name)} for name, label in self.labels.items())
        return pa.Table.from_pylist(flat(rows))

    def plot(self) -> "Figure":
        """The figure of the first photograph (:func:`aliasing.plots.spectrum`); InputError without its spectra."""
        from aliasing import plots

        if self.spectra is None:
            raise InputError("this folder holds no spectra to draw; run `aliasing spectrum` again with --out")
        return plots.spectrum(self.spectra)

    def readable(self, form: Format) -> list[str]:
        """The shares of each operator as text."""
        rows = [
            {f"stride {self.settings['stride']}": label}
            | {MEASURES[name]: cell(estimate) for name, estimate in self._estimates(operator).items()}
            for operator, label in self.labels.items()
        ]
        return [render(rows, form)]

    @classmethod
    def open(cls, folder: str | Path) -> "OperatorSurvey":
        """Read the results of `aliasing spectrum --out FOLDER`."""
        folder = Path(folder)
        summary = read_summary(folder, "spectrum")
        images = summary["images"]
        labels = {name: found["label"] for name, found in summary["operators"].items()}
        spectra = Spectra.open(folder / "spectra") if (folder / "spectra" / FILE).is_file() else None
        return cls(labels, images["each"], images["skipped"], summary["settings"], spectra)

    def _write_records(self, folder: Path) -> None:
        if self.spectra is not None:
            self.spectra.write(folder / "spectra")

    def _estimates(self, operator: str) -> dict[str, Any]:
        """The mean over the photographs, with its interval; a single photograph gives a value without one."""
        found: dict[str, Any] = {}
        for measure in MEASURES:
            values = [image["operators"][operator][measure] for image in self.images]
            values = [value for value in values if value is not None]
            if len(values) > 1:
                # A maximum is not a filter: it can raise the baseband's share above one.
                found[measure] = (mean if measure == "baseband_kept" else share)(values).as_dict()
            else:
                found[measure] = {"value": values[0] if values else None, "low": None, "high": None}
        return found


def compare_operators(
    images: Any = "sample",
    stride: int = 4,
    operators: Sequence[str] = DEFAULT_OPERATORS,
    taps: TapsLike | None = None,
    *,
    channels: str = "luminance",
) -> OperatorSurvey:
    """See aliasing: how much each downsampling operator aliases on photographs, and how much of the baseband it keeps.

    Each photograph is made periodic (Moisan 2011) and filtered with circular padding, so that the split of its samples
    into baseband and alias is exact (:func:`aliasing.sampling.decompose`).

    Parameters
    ----------
    images : array (H, W, 3), or as in :func:`aliasing.images.open_images`
        One photograph, or many; the first is drawn.
    stride : int
        Distance between samples kept, at least 2.
    operators : sequence of str
        Names, as for :func:`aliasing.downsample.comparison.compare`.
    taps : str or sequence of float, optional
        The filter of "convolution" and "blur" (:func:`aliasing.downsample.comparison.compare`).
    channels : {"luminance", "rgb"}
        One weighted sum (Rec. 709), or each colour by itself.

    Returns
    -------
    OperatorSurvey
        Has ``summary()``, ``table()`` and ``plot()``.

    Raises
    ------
    InputError
        If no image can be used.
    UsageError
        If there is no such operator or filter, or the stride is below 2.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    >>> compare_operators(noise, stride=2, operators=["subsample", "average"])
    stride 2     aliased energy    baseband kept    Gaussian of equal baseband
    -----------  ----------------  ---------------  ----------------------------
    subsampled   0.7566            1.0000           0.7566
    2×2 average  0.3434            0.6869           0.4250
    """
    stride, names = whole(stride, "stride"), list(dict.fromkeys(operators))
    if stride < 2:
        raise UsageError(f"stride is a whole number, at least 2; got {stride}")
    for name in names:
        find_operator(name)
    if taps is not None:
        get_taps(taps)  # refuses a wrong name before any image is read
    measured: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    labels: dict[str, str] = {}
    spectra = None
    for entry in open_images(images):
        try:
            image = entry.load()
            if not isinstance(image, Image):
                raise BadImage("a video; give its frames as images")
            picture = prepare(image.pixels, stride, channels)
        except InputError as error:
            skipped[entry.name] = str(error)
            continue
        results = [compare(picture, name, stride, taps) for name in names]
        spectra = spectra or Spectra.of(picture, results, stride, image.name)
        labels = {result.operator: result.label for result in results}
        height, width = picture.shape[-2:]
        shares = {result.operator: {name: _number(getattr(result, name)) for name in MEASURES} for result in results}
        described = {"name": image.name, "identity": image.identity, "height": height, "width": width}
        measured.append(described | {"operators": shares})
    if not measured:
        first = next((f"no image could be used: {name}: {reason}" for name, reason in skipped.items()), None)
        raise InputError(first or "no image was found")
    settings = {
        "stride": stride,
        "operators": names,
        "taps": taps if taps is None or isinstance(taps, str) else get_taps(taps).tolist(),
        "channels": channels,
        "periodic": "the periodic part of each image (Moisan 2011), circular padding",
    }
    return OperatorSurvey(labels, measured, skipped, settings, spectra)


def _reading(operators: Mapping[str, Any], stride: int) -> Iterable[str]:
    """What the numbers say about the picture, and about the claim that pooling keeps high and drops low frequencies."""

    def percent(name: str, measure: str) -> str:
        value = operators[name][measure]["value"]
        return "–" if value is None else f"{100 * value:.3g} %"

    if "max" not in operators:
        return
    kept, alias = operators["max"]["baseband_kept"]["value"], operators["max"]["alias_fraction"]["value"]
    edge = f"{1 / (2 * stride):g} cycles per pixel"
    verb = "does not drop" if kept > 0.9 else "loses part of"
    yield (
        f"Max-pooling {verb} the low frequencies: below {edge}, the new Nyquist frequency, their energy is"
        f" {percent('max', 'baseband_kept')} of the original's."
    )
    yield (
        f"Nor does it keep high ones: nothing above {edge} survives a stride of {stride}."
        f" {percent('max', 'alias_fraction')} of the energy that it samples lies there and turns into false low"
        " frequencies, which its spectrum shows as high."
    )
    for name in ("convolution", "blur"):
        if name in operators and operators[name]["alias_fraction"]["value"] < alias:
            yield (
                f"{operators[name]['label'].capitalize()}: {percent(name, 'alias_fraction')} aliased, with"
                f" {percent(name, 'baseband_kept')} of the baseband kept; a Gaussian that keeps as much aliases"
                f" {percent(name, 'gaussian_alias_fraction')}. Compare filters only at equal baseband."
            )


def _number(value: float) -> float | None:
    return value if value == value else None  # NaN is not JSON
