"""`compare_operators`: how much each downsampling operator aliases on photographs or sounds, with intervals."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from scipy.signal import windows

from aliasing.axes import whole
from aliasing.downsample import sound_spectra
from aliasing.downsample.comparison import Comparison, Picture, compare, find_operator, prepare
from aliasing.downsample.sound_spectra import SoundSpectra
from aliasing.downsample.spectra import FILE, Spectra
from aliasing.errors import InputError, UsageError
from aliasing.estimates import mean, share
from aliasing.filters import TapsLike, get_taps
from aliasing.images import BadImage, Image, open_images
from aliasing.images.entries import Entry, UniqueNames, shown
from aliasing.provenance import command_line, versions
from aliasing.result import Result, read_summary
from aliasing.sounds import Sound, find_sounds, load_sound, write_sound
from aliasing.tables import Format, cell, flat, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DEFAULT_OPERATORS", "MEASURES", "OperatorSurvey", "compare_operators"]

DEFAULT_OPERATORS = ("max", "convolution", "blur")
_FADE, _LEAST_FADE = 0.005, 16  # seconds and samples, at each end of a sound
MEASURES = {
    "alias_fraction": "aliased energy",
    "baseband_kept": "baseband kept",
    "gaussian_alias_fraction": "Gaussian of equal baseband",
    "above_kept": "folds of what is above",
}


@dataclass(frozen=True, repr=False)
class OperatorSurvey(Result):
    """How much operators alias on photographs or sounds, and how much of the baseband they keep."""

    labels: dict[str, str]  #: the label of each operator in a figure
    images: list[dict[str, Any]]  #: for each input its name, identity, size and, for each operator, the measures
    skipped: dict[str, str]  #: inputs that could not be used, and why
    settings: dict[str, Any]
    spectra: Spectra | SoundSpectra | None = None  #: those of the first input; None if the folder holds none

    def summary(self) -> dict[str, Any]:
        """Each operator's shares of energy as ``{"value", "low", "high"}``, the 95 % interval, and the settings."""
        operators = {name: {"label": label, **self._estimates(name)} for name, label in self.labels.items()}
        return {
            "command": command_line(),
            "settings": self.settings,
            "operators": operators,
            "images": {"used": len(self.images), "skipped": self.skipped, "each": self.images},
            "versions": versions(),
            "reading": list(_reading(operators, self._edge())),
        }

    def table(self) -> pa.Table:
        """One row per operator: its name and label, and each measure with the ends of its interval."""
        rows = ({"operator": name, "label": label, **self._estimates(name)} for name, label in self.labels.items())
        return pa.Table.from_pylist(flat(rows))

    def plot(self) -> "Figure":
        """The figure of the first input (`aliasing.plots.spectrum` or `sound`); InputError without its spectra."""
        from aliasing import plots

        if self.spectra is None:
            raise InputError("this folder holds no spectra to draw; run `aliasing spectrum` again with --out")
        return plots.sound(self.spectra) if isinstance(self.spectra, SoundSpectra) else plots.spectrum(self.spectra)

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
        kinds: dict[str, type[Spectra] | type[SoundSpectra]] = {FILE: Spectra, sound_spectra.FILE: SoundSpectra}
        kept = [kind for file, kind in kinds.items() if (folder / "spectra" / file).is_file()]
        spectra = kept[0].open(folder / "spectra") if kept else None
        return cls(labels, images["each"], images["skipped"], summary["settings"], spectra)

    def _write_records(self, folder: Path) -> None:
        if self.spectra is not None:
            self.spectra.write(folder / "spectra")

    def _edge(self) -> str:
        """The new Nyquist frequency: in hertz if all inputs are sounds of one rate."""
        stride, rates = self.settings["stride"], {image.get("rate") for image in self.images}
        (rate, *others) = rates
        if rate is not None and not others:
            return f"{rate / (2 * stride):g} Hz"
        return f"{1 / (2 * stride):g} cycles per {'pixel' if rates == {None} else 'sample'}"

    def _estimates(self, operator: str) -> dict[str, Any]:
        """The mean over the inputs, with its interval; a single one gives a value without one."""
        found: dict[str, Any] = {}
        for measure in MEASURES:
            values = [image["operators"][operator].get(measure) for image in self.images]
            values = [value for value in values if value is not None]
            if len(values) > 1:
                # A maximum is not a filter: it can raise the energy of either part.
                found[measure] = (mean if measure in ("baseband_kept", "above_kept") else share)(values).as_dict()
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
    """See aliasing: how much each downsampling operator aliases on photographs or sounds, and what baseband it keeps.

    Photographs are made periodic (Moisan 2011). Sounds lose their mean and fade in and out within 5 ms, or 16 samples
    if that is longer. Both are filtered with circular padding, so that the split of their samples into baseband and
    alias is exact (:func:`aliasing.sampling.decompose`).

    Parameters
    ----------
    images : array (H, W, 3), or as in :func:`aliasing.images.open_images`, or sounds
        One photograph, or many; the first is drawn. Or sounds: the path of a WAV, FLAC, OGG or AIFF file, of a folder
        of them, or a `aliasing.sounds.Sound`; their channels are taken one by one, at their own rate.
    stride : int
        Distance between samples kept, at least 2.
    operators : sequence of str
        Names, as for :func:`aliasing.downsample.comparison.compare`.
    taps : str or sequence of float, optional
        The filter of "convolution" and "blur" (:func:`aliasing.downsample.comparison.compare`).
    channels : {"luminance", "rgb"}
        Of a photograph: one weighted sum (Rec. 709), or each colour by itself.

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
    stride 2     aliased energy    baseband kept    Gaussian of equal baseband    folds of what is above
    -----------  ----------------  ---------------  ----------------------------  ------------------------
    subsampled   0.7566            1.0000           0.7566                        1.0000
    2×2 average  0.3434            0.6869           0.4250                        0.1156
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
    spectra: Spectra | SoundSpectra | None = None
    if getattr(images, "ndim", 0) == 1:
        raise UsageError(
            f"an array of shape {tuple(images.shape)} has no rate; give aliasing.sounds.Sound(array, rate)"
        )
    sounds = [images] if isinstance(images, Sound) else find_sounds(images)
    found = _sounds(sounds, stride) if sounds is not None else _photographs(open_images(images), stride, channels)
    for name, load in found:
        try:
            signal = load()
        except InputError as error:
            skipped[name] = str(error)
            continue
        results = [compare(signal.samples, name, stride, taps) for name in names]
        spectra = spectra or signal.spectra(signal.samples, results, stride)
        labels = {result.operator: result.label for result in results}
        shares = {result.operator: {name: _number(getattr(result, name)) for name in MEASURES} for result in results}
        measured.append(signal.described | {"operators": shares})
    what = "image" if sounds is None else "sound"
    if not measured:
        first = next((f"no {what} could be used: {name}: {reason}" for name, reason in skipped.items()), None)
        raise InputError(first or f"no {what} was found")
    made_periodic = (
        "the periodic part of each image (Moisan 2011)"
        if sounds is None
        else "each sound without its mean, faded in and out"
    )
    settings = {
        "stride": stride,
        "operators": names,
        "taps": taps if taps is None or isinstance(taps, str) else get_taps(taps).tolist(),
        "channels": channels if sounds is None else "each",
        "periodic": f"{made_periodic}, circular padding",
    }
    return OperatorSurvey(labels, measured, skipped, settings, spectra)


def write_folds(
    sounds: Any, folder: Path, stride: int, operators: Sequence[str], taps: TapsLike | None = None
) -> list[Path]:
    """Write what each operator makes of a sound, and the part of that which has folded, as WAV files to listen to.

    The folder then holds ``OPERATOR.wav`` and ``OPERATOR-folded.wav`` for each operator, at the new rate.

    Parameters
    ----------
    sounds : Sound or path, or several paths
        As for `compare_operators`; the first that can be used is written.
    folder : Path
    stride, operators, taps
        As for `compare_operators`.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If no sound can be used.
    """
    signal = _first_usable(_sounds([sounds] if isinstance(sounds, Sound) else find_sounds(sounds) or [], stride))
    written = []
    for name in operators:
        found = compare(signal.samples, name, stride, taps)
        for ending, heard in (("", found.samples), ("-folded", found.alias)):
            written.append(folder / f"{name}{ending}.wav")
            write_sound(written[-1], heard, signal.described["rate"] / stride)
    return written


@dataclass(frozen=True)
class _Signal:
    """An input that is ready to be compared: periodic, and cropped to whole strides."""

    samples: Picture  # (channels, *axes)
    described: dict[str, Any]
    spectra: Callable[[Picture, Sequence[Comparison], int], Spectra | SoundSpectra]


_Named = tuple[str, Callable[[], _Signal]]


def _photographs(entries: Iterable[Entry], stride: int, channels: str) -> Iterator[_Named]:
    def load(entry: Entry) -> _Signal:
        image = entry.load()
        if not isinstance(image, Image):
            raise BadImage("a video; give its frames as images")
        picture = prepare(image.pixels, stride, channels)
        height, width = picture.shape[-2:]
        described = {"name": image.name, "identity": image.identity, "height": height, "width": width}
        return _Signal(picture, described, partial(Spectra.of, photograph=image.name))

    return ((entry.name, partial(load, entry)) for entry in entries)


def _sounds(sounds: Sequence[Path | Sound], stride: int) -> Iterator[_Named]:
    names = UniqueNames()

    def load(given: Path | Sound, name: str) -> _Signal:
        sound = given if isinstance(given, Sound) else load_sound(given)
        samples = _faded(sound, stride)
        size = samples.shape[-1]
        described = {"name": name, "identity": sound.identity, "samples": size, "rate": sound.rate}
        return _Signal(samples, described, partial(SoundSpectra.of, rate=sound.rate, name=name))

    return ((name, partial(load, sound, name)) for sound in sounds for name in [names(shown(sound.name))])


def _first_usable(found: Iterable[_Named]) -> _Signal:
    for _, load in found:
        with suppress(InputError):
            return load()
    raise InputError("no sound could be used")


def _reading(operators: Mapping[str, Any], edge: str) -> Iterable[str]:
    """What the numbers say about the input, and about the claim that pooling keeps high and drops low frequencies.

    ``edge`` is the new Nyquist frequency.
    """

    def percent(name: str, measure: str) -> str:
        value = operators[name][measure]["value"]
        return "–" if value is None else f"{100 * value:.3g} %"

    if "max" not in operators:
        return
    kept, alias = operators["max"]["baseband_kept"]["value"], operators["max"]["alias_fraction"]["value"]
    if kept is None:
        return
    verb = "does not drop" if kept > 0.9 else "loses part of"
    yield (
        f"Max-pooling {verb} the low frequencies: below {edge}, the new Nyquist frequency, their energy is"
        f" {percent('max', 'baseband_kept')} of the original's."
    )
    yield (
        f"Nor does it keep high ones: nothing above {edge} survives the subsampling."
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


def _faded(sound: Sound, stride: int) -> Picture:
    """The samples of a sound, cropped to whole strides, and faded so that its end does not jump to its beginning.

    Moisan's periodic part is for pictures: in a sound near its Nyquist frequency, the step from the last sample to the
    first is the signal itself, and the part without it would lose most of the energy.
    """
    size = sound.samples.shape[-1] // stride * stride
    if size < 16 * stride:
        raise InputError(f"{sound.samples.shape[-1]} samples are too few for stride {stride}: take {16 * stride}")
    cropped = sound.samples[:, :size]
    cropped = cropped - cropped.mean(-1, keepdims=True)  # faded, an offset would be a swell
    if abs(cropped).max() <= 1e-12 * abs(sound.samples).max():  # rounding
        raise InputError("silent: there is nothing that could fold")
    faded: Picture = cropped * windows.tukey(size, min(2 * max(_FADE * sound.rate, _LEAST_FADE) / size, 1))
    return faded
