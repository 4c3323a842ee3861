"""`compare_operators`: how much each downsampling operator aliases on pictures, sounds or volumes, with intervals."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import scipy

from aliasing import remarks, sampling
from aliasing.axes import PerAxis, are_several, per_axis, whole
from aliasing.downsample import sound_spectra, volume_spectra
from aliasing.downsample.comparison import DEFAULT_TAPS, Comparison, Picture, Steps, compare, find_operator, prepare
from aliasing.downsample.sound_spectra import SoundSpectra
from aliasing.downsample.spectra import FILE, Spectra
from aliasing.downsample.volume_spectra import VolumeSpectra
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate, mean, share
from aliasing.filters import TapsLike, get_taps
from aliasing.images import BadImage, Clip, Entry, Image, Loaded, Signal, open_images
from aliasing.images.volume import Volume
from aliasing.kinds import OPERATORS
from aliasing.provenance import command_line, versions
from aliasing.result import Result, read_summary
from aliasing.rounding import rounded
from aliasing.sounds import Sound, write_sound
from aliasing.spectrum import periodic
from aliasing.tables import Format, cell, counted, flat, pair, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DEFAULT_OPERATORS", "MEASURES", "OperatorSurvey", "compare_operators"]

AnySpectra: TypeAlias = Spectra | SoundSpectra | VolumeSpectra
_SPECTRA: dict[str, type[AnySpectra]] = {
    FILE: Spectra,
    sound_spectra.FILE: SoundSpectra,
    volume_spectra.FILE: VolumeSpectra,
}
DEFAULT_OPERATORS = ("max", "convolution", "blur")
# What the samples of an input are called, and where those are that come first.
_PLACES = {
    "image": ("pixel", "further up and to the left"),
    "sound": ("sample", "earlier"),
    "signal": ("sample", "earlier"),
    "volume": ("voxel", "nearer to its first voxel"),
}
_FADE, _LEAST_FADE = 0.005, 16  # seconds and samples, at each end of a sound
MEASURES = {
    "alias_fraction": "aliased energy",
    "baseband_kept": "baseband kept",
    "gaussian_alias_fraction": "Gaussian of equal baseband",
    "above_kept": "folds of what is above",
}


@dataclass(frozen=True, repr=False)
class OperatorSurvey(Result):
    """How much operators alias on photographs, sounds or volumes, and how much of the baseband they keep."""

    labels: dict[str, str]  #: the label of each operator in a figure
    images: list[dict[str, Any]]  #: for each input its name, identity, size and, for each operator, the measures
    skipped: dict[str, str]  #: inputs that could not be used, and why
    settings: dict[str, Any]
    spectra: AnySpectra | None = None  #: those of the first input; None if the folder holds none

    def summary(self) -> dict[str, Any]:
        """Each operator's shares of energy as ``{"value", "low", "high"}``, the 95 % interval, and the settings."""
        operators = {name: {"label": label, **self._estimates(name)} for name, label in self.labels.items()}
        return {
            "command": command_line(),
            "settings": self.settings,
            "operators": operators,
            "images": {"used": len(self.images), "skipped": self.skipped, "each": self.images},
            "versions": versions(),
            "reading": [*_reading(operators, self._edge()), *self._delays(), *self._assumed()],
        }

    def table(self) -> pa.Table:
        """One row per operator: its name and label, and each measure with the ends of its interval."""
        rows = ({"operator": name, "label": label, **self._estimates(name)} for name, label in self.labels.items())
        return pa.Table.from_pylist(flat(rows))

    def plot(self) -> "Figure":
        """The figure of the first input, by `aliasing.plots`: ``spectrum``, ``sound`` or ``volume``.

        InputError if the folder holds no spectra.
        """
        from aliasing import plots

        if self.spectra is None:
            raise InputError("this folder holds no spectra to draw; run `aliasing spectrum` again with --out")
        match self.spectra:
            case SoundSpectra():
                return plots.sound(self.spectra)
            case VolumeSpectra():
                return plots.volume(self.spectra)
        return plots.spectrum(self.spectra)

    def remarks(self) -> list[str]:
        """What the shares are of, what a ratio above 1 means, and what the numbers say."""
        return [*remarks.of_operators(self.summary())]

    def readable(self, form: Format) -> list[str]:
        """The shares of each operator as text."""
        rows = [
            {f"stride {pair(self.settings['stride'])}": label}
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
        kept = [kind for file, kind in _SPECTRA.items() if (folder / "spectra" / file).is_file()]
        spectra = kept[0].open(folder / "spectra") if kept else None
        return cls(labels, images["each"], images["skipped"], summary["settings"], spectra)

    def _write_records(self, folder: Path) -> None:
        if self.spectra is not None:
            self.spectra.write(folder / "spectra")

    def _edge(self) -> str:
        """The new Nyquist frequency: in hertz, or cycles per millimetre, if all sounds or volumes have one rate."""
        stride, rates = self.settings["stride"], [image.get("rate") for image in self.images]
        if rates[0] is not None and all(rate == rates[0] for rate in rates):
            unit = "cycles per mm" if are_several(rates[0]) else "Hz"
            return f"{pair(sampling.nyquist(stride, rates[0]))} {unit}"
        what, _ = _PLACES[self.settings["inputs"]]
        return f"{pair(sampling.nyquist(stride))} cycles per {what} of the original"

    def _delays(self) -> Iterator[str]:
        """Which filters have their middle between two samples, and where that puts the result."""
        what, where = _PLACES[self.settings["inputs"]]
        steps = [step for step in np.atleast_1d(self.settings["stride"]).tolist() if step > 1]
        for name, label in self.labels.items():
            if name in OPERATORS and OPERATORS[name].takes_taps:
                counts = {len(get_taps(self.settings["taps"] or DEFAULT_TAPS, step)) for step in steps}
                even = " or ".join(str(count) for count in sorted(counts) if count % 2 == 0)
                if even:
                    yield (
                        f"{label.capitalize()}: an even number of taps ({even}) has its middle between two {what}s, so"
                        f" the result lies half a {what} of the original {where}. None of the shares depends on that."
                    )

    def _assumed(self) -> Iterator[str]:
        """What volumes do not say of their grid, and how many of them."""
        for told, count in Counter(told for image in self.images for told in image.get("assumed", ())).items():
            yield f"{counted(count, 'volume')}: {told}."

    def _estimates(self, operator: str) -> dict[str, Any]:
        """The mean over the inputs, with its interval; a single one gives a value without one."""
        found: dict[str, Any] = {}
        for measure in MEASURES:
            values = [image["operators"][operator].get(measure) for image in self.images]
            values = [value for value in values if value is not None]
            if len(values) > 1:
                found[measure] = (_ratio if measure in ("baseband_kept", "above_kept") else share)(values).as_dict()
            else:
                found[measure] = {"value": values[0] if values else None, "low": None, "high": None}
        return found


def _ratio(values: list[float]) -> Estimate:
    """The mean of a ratio of energies, which is not a share: a maximum is not a filter, and can raise either part."""
    found = mean(values)
    return Estimate(found.value, max(found.low, 0.0), found.high)


def compare_operators(
    images: Any = "sample",
    stride: PerAxis = 4,
    operators: Sequence[str] = DEFAULT_OPERATORS,
    taps: TapsLike | None = None,
    *,
    channels: str = "luminance",
) -> OperatorSurvey:
    """See aliasing: how much each operator aliases on photographs, sounds or volumes, and what baseband it keeps.

    Photographs and volumes are made periodic (Moisan 2011). Sounds lose their mean and fade in and out within 5 ms, or
    16 samples if that is longer. All are filtered with circular padding, so that the split of their samples into
    baseband and alias is exact (:func:`aliasing.sampling.decompose`).

    Parameters
    ----------
    images : array (H, W, 3) or (N,), or as in :func:`aliasing.images.open_images`, or sounds or volumes
        One photograph, or many; the first is drawn. Or sounds or volumes, in files or as a `aliasing.sounds.Sound` or
        a `aliasing.volumes.Volume`: their channels are taken one by one, at their own rate. What can be read first says
        of which kind all are; others are skipped. The frequencies of an array (N,) are in cycles per sample of it.
    stride : int, or of a volume one int per axis
        Distance between samples kept, at least 2. Of a volume that is (D, H, W), where 1 leaves an axis as it is.
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
    <BLANKLINE>
    (shares of energy, of one image alone)
    """
    names = list(dict.fromkeys(operators))
    for name in names:
        find_operator(name)
    if taps is not None:
        get_taps(taps)  # refuses a wrong name before any image is read
    measured: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    labels: dict[str, str] = {}
    spectra: AnySpectra | None = None
    kind: _Kind | None = None
    if getattr(images, "ndim", 0) == 1:
        images, kind = Sound(images, 1.0, name="signal"), _ARRAY
    for entry in open_images(images):
        try:
            loaded = entry.load()
            kind = kind or _kind_of(loaded)
            if kind is not _ARRAY and _kind_of(loaded) is not kind:
                raise BadImage(f"{loaded.what}; what can be read first is {kind.what}")
            step = kind.step(stride)
            signal = kind.ready(loaded, step, channels)
        except InputError as error:
            skipped[entry.name] = str(error)
            continue
        results = [compare(signal.samples, name, step, taps) for name in names]
        spectra = spectra or signal.spectra(signal.samples, results, step)
        labels = {result.operator: result.label for result in results}
        shares = {result.operator: {name: _number(getattr(result, name)) for name in MEASURES} for result in results}
        measured.append(signal.described | {"operators": shares})
    if kind is None or not measured:
        what = "input" if kind is None else kind.word
        first = next((f"no {what} could be used: {name}: {reason}" for name, reason in skipped.items()), None)
        raise InputError(first or f"no {what} was found")
    settings = {
        "inputs": kind.word,
        "stride": list(step) if isinstance(step, tuple) else step,
        "operators": names,
        "taps": taps if taps is None or isinstance(taps, str) else get_taps(taps).tolist(),
        "channels": channels if kind is _PICTURE else "each",
        "periodic": f"{kind.periodic}, circular padding",
    }
    return OperatorSurvey(labels, measured, skipped, settings, spectra)


def write_folds(
    sounds: Any, folder: Path, stride: int, operators: Sequence[str], taps: TapsLike | None = None
) -> list[Path]:
    """Write what each operator makes of a sound, and the part of that which has folded, as WAV files to listen to.

    The folder then holds ``OPERATOR.wav`` and ``OPERATOR-folded.wav`` for each operator, at the new rate.

    Parameters
    ----------
    sounds : Sound, path, or several of these
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
    signal = next(_usable_sounds(open_images(sounds), stride), None)
    if signal is None:
        raise InputError("no sound could be used")
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
    spectra: Callable[[Picture, Sequence[Comparison], Any], AnySpectra]


@dataclass(frozen=True)
class _Kind:
    """A kind of inputs, and what is done to one so that it can be compared."""

    word: str
    periodic: str  #: how one is made periodic
    ready: Callable[[Any, Any, str], _Signal]  #: an input, its stride and the channels of a picture
    axes: int = 1  #: how many strides it may have

    @property
    def what(self) -> str:
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"

    def step(self, stride: PerAxis) -> int | Steps:
        """The stride: one number, or of a volume one per axis; UsageError if it is none."""
        if self.axes == 1:
            step: int | Steps = whole(stride, f"stride, of {self.what},")
        else:
            step = per_axis(stride, self.axes, "stride")
        if np.max(step) < 2:
            raise UsageError(f"stride is a whole number, at least 2; got {stride}")
        return step


def _kind_of(loaded: Loaded) -> _Kind:
    """The kind of what an entry gives; BadImage if there is no such kind."""
    if isinstance(loaded, Image):
        return _PICTURE
    if isinstance(loaded, Signal) and loaded.axes in _OF_AXES:
        return _OF_AXES[loaded.axes]
    raise BadImage("a video; give its frames as images" if isinstance(loaded, Clip) else f"{loaded.what}, not 1 or 3")


def _photograph(image: Image, stride: int, channels: str) -> _Signal:
    picture = prepare(image.pixels, stride, channels)
    height, width = picture.shape[-2:]
    described = {"name": image.name, "identity": image.identity, "height": height, "width": width}
    return _Signal(picture, described, partial(Spectra.of, photograph=image.name))


def _sound(sound: Signal, stride: int, channels: str) -> _Signal:
    samples, (rate,) = _faded(sound, stride), sound.rates
    described = {"name": sound.name, "identity": sound.identity, "samples": samples.shape[-1], "rate": rate}
    return _Signal(samples, described, partial(SoundSpectra.of, rate=rate, name=sound.name))


def _volume(volume: Signal, steps: Steps, channels: str) -> _Signal:
    samples = _periodic(volume, steps)
    directions = volume.directions if isinstance(volume, Volume) else ""
    described = {"name": volume.name, "identity": volume.identity, "size": list(samples.shape[1:])}
    described |= {"rate": list(volume.rates), "directions": directions, "assumed": list(volume.assumed)}
    spectra = partial(VolumeSpectra.of, rates=volume.rates, name=volume.name, directions=directions)
    return _Signal(samples, described, spectra)


def _array(signal: Signal, stride: int, channels: str) -> _Signal:
    """A sound of unknown rate."""
    found = _sound(signal, stride, channels)
    spectra = partial(SoundSpectra.of, rate=None, name=signal.name)
    return replace(found, described={**found.described, "rate": None}, spectra=spectra)


_PICTURE = _Kind("image", "the periodic part of each image (Moisan 2011)", _photograph)
_FADED = "each sound without its mean, faded in and out"
_ARRAY = _Kind("signal", _FADED.replace("sound", "signal"), _array)
_OF_AXES = {
    1: _Kind("sound", _FADED, _sound),
    3: _Kind("volume", "the periodic part of each volume (Moisan 2011)", _volume, axes=3),
}


def _usable_sounds(entries: Iterable[Entry], stride: int) -> Iterator[_Signal]:
    for entry in entries:
        with suppress(InputError):
            loaded = entry.load()
            if isinstance(loaded, Signal) and loaded.axes == 1:
                yield _sound(loaded, stride, "each")


def _reading(operators: Mapping[str, Any], edge: str) -> Iterable[str]:
    """What the numbers say about the input, and about the claim that pooling keeps high and drops low frequencies.

    ``edge`` is the new Nyquist frequency.
    """

    def percent(name: str, measure: str) -> str:
        value = operators[name][measure]["value"]
        return "–" if value is None else f"{rounded(100 * value, '.3g')} %"

    if "max" not in operators:
        return
    kept, alias = operators["max"]["baseband_kept"]["value"], operators["max"]["alias_fraction"]["value"]
    if kept is None:
        return
    verb = "adds to" if kept > 1 else "does not drop" if kept > 0.9 else "loses part of"
    much = f"{rounded(kept, '.3g')} times" if kept > 1 else f"{percent('max', 'baseband_kept')} of"
    yield (
        f"Max-pooling {verb} the low frequencies: below {edge}, the new Nyquist frequency, their energy is {much} the"
        " original's."
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


def _periodic(volume: Signal, steps: Steps) -> Picture:
    """The periodic part of a volume, cropped to whole strides, between −1 and 1: shares of energy have no unit."""
    size = volume.samples.shape[1:]
    if any(count < 4 * step for count, step in zip(size, steps, strict=True) if step > 1):
        raise InputError(
            f"{'×'.join(map(str, size))} voxels are too few for stride {pair(steps)}: take 4 strides along an axis"
        )
    depth, height, width = (count // step * step for count, step in zip(size, steps, strict=True))
    cropped = volume.samples[:, :depth, :height, :width].astype(np.float64)
    cropped = cropped / (abs(cropped).max() or 1.0)
    if np.ptp(cropped, axis=(1, 2, 3)).max() <= 1e-12:  # rounding
        raise InputError("all voxels are equal: there is nothing that could fold")
    return np.asarray(periodic(cropped, axes=(1, 2, 3)))


def _faded(sound: Signal, stride: int) -> Picture:
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
    faded: Picture = cropped * scipy.signal.windows.tukey(
        size, min(2 * max(_FADE * sound.rates[0], _LEAST_FADE) / size, 1)
    )
    return faded
