"""What a stride of two folds of a brain whose voxels are not cubes, along each axis and along all.

Claim (sampling, in three dimensions): keeping every second voxel along an axis folds what lies at or above a quarter of
a cycle per voxel there, whatever the other axes hold; in millimetres that is another frequency for each size of voxel.

Published: nothing that is measured so; beside the measured shares stand the closed forms. White noise of the same size
folds 1 − (Π K − 1) / (Π N − 1), with K of N frequencies below the new Nyquist frequency along each axis. A linear
operator folds Σ P |H|² over what is above, by the volume's power P and the response H of its taps.

Measured here (``figures/volume``), two scans that nibabel brings along. In an echo-planar one (2.2 × 2 × 2 mm), a
head in the dark, a stride along depth, height or width folds 0.7 %, 0.5 % or 0.8 % of the energy, and all three 1.6 %;
in the middle of a brain (T1, 2 mm cubes) 11 %, 9 % and 11 %, and 21 %. Of what is above, the mean of two voxels lets a
quarter through along one axis and a sixth along three, and the 4-tap binomial filter 4 % and 1.6 %.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from aliasing import sampling, spectrum
from aliasing.downsample.comparison import compare
from aliasing.downsample.survey import compare_operators
from aliasing.downsample.volume_spectra import AXES, VolumeSpectra
from aliasing.filters import get_taps, response
from aliasing.images.volume import import_nibabel
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from aliasing.volumes import read_volume
from experiments._run import Run, hash_files

FILES = ("example4d.nii.gz", "anatomical.nii")
STRIDES = {"D": (2, 1, 1), "H": (1, 2, 1), "W": (1, 1, 2), "all": (2, 2, 2)}
OPERATORS = ("subsample", "max", "average", "blur", "flc")
LINEAR = {"subsample": [1.0], "average": "box2", "blur": "binomial4"}
VOXEL_AXES = (1, 2, 3)


def run(run: Run) -> dict[str, Any]:
    """Compare the operators on each scan, with every stride, and on white noise of its size."""
    import_nibabel()
    folder = Path(str(resources.files("nibabel"))) / "tests" / "data"
    files = [folder / name for name in (FILES[1:] if run.quick else FILES)]
    found = {file.name: measure(file) for file in files}
    save(draw(found), run.out / "figure.png")
    drawn = compare_operators(files[0], 2, OPERATORS)
    save(drawn.plot(), run.out / "operators.png")
    for numbers in found.values():
        del numbers["power"]
    return {
        "settings": {"strides": STRIDES, "operators": OPERATORS, "periodic": drawn.settings["periodic"]},
        "data": {
            file.name: {"name": f"nibabel/tests/data/{file.name}", "sha256": hash_files([file])} for file in files
        },
        "weights": {},
        "numbers": found,
    }


def measure(file: Path) -> dict[str, Any]:
    """The shares of a scan that fold, by stride and operator, beside their closed forms, and those of white noise."""
    volume = read_volume(file)
    samples = volume.samples[(..., *(slice(size // 2 * 2) for size in volume.samples.shape[1:]))]
    samples = np.asarray(spectrum.periodic(samples / abs(samples).max(), axes=VOXEL_AXES))
    noise = np.random.default_rng(0).normal(size=(1, *samples.shape[1:]))
    shares: dict[str, Any] = {}
    for name, stride in STRIDES.items():
        results = {operator: compare(samples, operator, stride) for operator in OPERATORS}
        white = float(sampling.decompose(noise[0], stride, axes=(0, 1, 2)).alias_fraction)
        shares[name] = {
            "alias fraction": {operator: result.alias_fraction for operator, result in results.items()},
            "folds of what is above": {operator: result.above_kept for operator, result in results.items()},
            "baseband kept": {operator: result.baseband_kept for operator, result in results.items()},
            "closed form": {operator: predicted(samples, stride, taps) for operator, taps in LINEAR.items()},
            "white noise": {"measured": white, "closed form": of_white_noise(samples.shape[1:], stride)},
            "largest |baseband + alias − samples|": max(
                float(abs(result.baseband + result.alias - result.samples).max()) for result in results.values()
            ),
        }
    spectra = VolumeSpectra.of(samples, [], (2, 2, 2), volume.rates, file.name, volume.directions)
    return {
        "voxels": samples.shape[1:],
        "channels": len(samples),
        "size of a voxel, mm": [1 / rate for rate in volume.rates],
        "axes run towards": volume.directions,
        "Nyquist frequency at stride 2, cycles per mm": spectra.nyquist,
        "shares": shares,
        "power": [profile["power"] for profile in spectra.looks[0].power],
    }


def of_white_noise(sizes: tuple[int, ...], stride: tuple[int, ...]) -> float:
    """The expected alias fraction of white noise: along an axis of stride 1 all frequencies stay."""
    kept = [size if step == 1 else 2 * ((size - 1) // (2 * step)) + 1 for size, step in zip(sizes, stride, strict=True)]
    return float(1 - (np.prod(kept) - 1) / (np.prod(sizes) - 1))


def predicted(samples: np.ndarray[Any, Any], stride: tuple[int, ...], taps: Any) -> float:
    """The alias fraction behind a filter, from the power of the signal and the filter's response alone."""
    power = spectrum.power(samples, VOXEL_AXES).sum(0)
    power[tuple(size // 2 for size in power.shape)] = 0  # without the mean
    for axis, step in enumerate(stride):
        if step > 1:
            frequency = spectrum.axis_frequencies(power.shape[axis])
            gain = abs(response(get_taps(taps, step), frequency)) ** 2
            power = power * np.expand_dims(gain, tuple({0, 1, 2} - {axis}))
    return float(1 - power[sampling.below_nyquist(power.shape, stride)].sum() / power.sum())


def draw(found: dict[str, Any]) -> Figure:
    """For each scan, power by frequency along each axis, and what every operator folds at each stride."""
    with style():
        figure, grid = plt.subplots(len(found), 2, figsize=(11, 0.4 + 3.4 * len(found)), squeeze=False)
        for (name, numbers), (left, right) in zip(found.items(), grid, strict=True):
            sizes, edges = numbers["size of a voxel, mm"], numbers["Nyquist frequency at stride 2, cycles per mm"]
            for axis, (size, edge, profile) in enumerate(zip(sizes, edges, numbers["power"], strict=True)):
                frequency, power = np.array(profile).T
                left.semilogy(frequency, power, color=COLOURS[axis], label=f"{AXES[axis]}, {rounded(size, '.3g')} mm")
                left.axvline(edge, 0, 0.92 - 0.04 * axis, color=COLOURS[axis], linestyle="--", linewidth=1)
            left.set(xlabel="cycles per mm", ylabel="power per cycle per mm", xlim=(0, None))
            left.set_title(f"{name}: dashed, the Nyquist frequency at stride 2", fontsize=10)
            left.legend()
            for index, operator in enumerate(OPERATORS[:-1]):
                shares = [100 * numbers["shares"][stride]["alias fraction"][operator] for stride in STRIDES]
                places = np.arange(len(STRIDES)) + 0.2 * (index - 1.5)
                right.bar(places, shares, 0.18, color=COLOURS[index], label=operator)
                if operator in LINEAR:
                    closed = [100 * numbers["shares"][stride]["closed form"][operator] for stride in STRIDES]
                    right.plot(places, closed, "k_", markersize=9, label="closed form" if index == 0 else None)
            right.set_yscale("log")
            right.set_xticks(range(len(STRIDES)), ["D", "H", "W", "all three"])
            right.set(xlabel="stride 2 along", ylabel="aliased, % of its energy")
            right.set_title("what each operator folds; the ideal low-pass: nothing", fontsize=10)
            if numbers is next(iter(found.values())):
                right.legend(fontsize=8, ncols=2)
                right.set_ylim(top=10 * right.get_ylim()[1])
        return figure
