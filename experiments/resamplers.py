"""The step before the network: what every resampler folds, and what it costs a network to be served by another one.

Claim (Parmar, Zhang & Zhu 2022; for this subject Azulay & Weiss 2019, section on sampling): Pillow and torch with
``antialias=True`` low-pass before they subsample, OpenCV's area interpolation averages, torch without antialias and
OpenCV's linear interpolation do neither and fold what lies above the new Nyquist frequency.

Published: no number to compare; what folds is a property of the kernels.

Three parts: a table of all resamplers (``survey.png``, ``.md`` and ``.json``); how much of photographs, whose spectra
fall, is alias after five of them; and *skew*, the answers of networks that are shown the same photographs through
another resampler than Pillow's. The table holds the libraries that are installed and, with ``--download``, the others:
pip installs each into an environment of its own for as long as it is measured, which takes some gigabytes and most of
an hour. What is found of each is kept in ``records/survey``; without that folder all are measured anew.

The alias of a linear resampler R is R(x) − R(x₀), with x₀ the photograph without what lies at and above the new Nyquist
frequency (`aliasing.sampling.ideal_lowpass`). Both are rounded to grey levels, which sets a floor of about 1e-4.
"""

import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aliasing import sampling
from aliasing.estimates import mean, share
from aliasing.images import Image, ImageSource
from aliasing.kinds import OF_LIBRARIES
from aliasing.plots.style import COLOURS, save, style
from aliasing.provenance import versions, write_json
from aliasing.resamplers import measure_skew, resize
from aliasing.resamplers.survey import ResamplerSurvey, by_what_folds
from experiments._photographs import FLATTERED, bounds, networks_here, photographs, title, weights
from experiments._run import Run

FACTOR = 4
REFERENCE = "pil"
WORDS = {
    "pil": "Pillow",
    "torch": "torch, antialias",
    "opencv-area": "OpenCV area",
    "torch-aliased": "torch, no antialias",
    "opencv-linear": "OpenCV linear",
    "opencv-nearest": "OpenCV nearest",
}
# What pip installs of a library if that is not the name of its file here: which others it needs, too.
REQUIREMENTS = {
    "browser": "selenium",
    "keras": "keras tensorflow-cpu",
    "litert": "ai-edge-litert tensorflow-cpu",
    "onnxruntime": "onnxruntime onnx",
    "opencv": "opencv-python-headless",
    "pytorch": "torch",
    "pyvips": "pyvips[binary]",
    "skia": "skia-python",
    "skimage": "scikit-image",
    "tensorflow": "tensorflow-cpu",
}
MEASURES = {"top1_change": "P(top-1 change)", "accuracy_change": "accuracy, minus Pillow's"}


def run(run: Run) -> dict[str, Any]:
    """Survey, reduce every photograph with every resampler, and show them to the networks."""
    libraries = dict.fromkeys(library for library, _ in OF_LIBRARIES)
    found = apart(("pillow", "opencv") if run.quick else libraries, run.out / "records" / "survey", run.download)
    save(found.plot(), run.out / "survey.png")
    (run.out / "survey.md").write_text("\n".join(found.readable("markdown")) + "\n", encoding="utf-8")
    told = {"resamplers": [shown(row) for row in found.rows], "skipped": found.skipped}
    write_json(run.out / "survey.json", told | {"settings": found.settings, "versions": versions()})
    source, data = photographs(run, full=200, quick=2)
    alias = of_photographs(source)
    skew, weighed = of_networks(run, networks_here(run), source)
    save(draw(alias, skew, data), run.out / "figure.png")
    return {
        "settings": {
            "factor": FACTOR,
            "kernel": "bilinear for alias, each network's own for skew",
            "reference": REFERENCE,
        },
        "data": data,
        "weights": weighed,
        "numbers": {"alias": alias, "skew": skew},
    }


def apart(libraries: Iterable[str], folder: Path, download: bool = False) -> ResamplerSurvey:
    """What resamplers do, each library's in a process of its own: TensorFlow and MONAI do not fit into one.

    Of a library that is not installed, and may be downloaded, it is an environment of its own, too. The folder keeps
    what was found of each, so that a run that was interrupted goes on with the next.
    """
    found = [of_library(library, folder / library, download) for library in libraries]
    return ResamplerSurvey(
        sorted((row for one in found for row in one.rows), key=by_what_folds),
        {name: reason for one in found for name, reason in one.skipped.items()},
        {"reduction": FACTOR, "size": None},
        {name: zone for one in found for name, zone in one.zones.items()},
    )


def of_library(library: str, folder: Path, download: bool) -> ResamplerSurvey:
    """What the folder has of a library, or this Python finds, or one for which the library is installed."""
    if (folder / "summary.json").is_file() and (kept := ResamplerSurvey.open(folder)).rows:
        return kept
    found = measured(library, sys.executable, folder)
    if found.rows or not download:
        return found
    requirements = REQUIREMENTS.get(library, library.replace("_", "-")).split()
    with TemporaryDirectory() as place:
        return measured(library, environment(Path(place), requirements), folder)


def measured(library: str, python: str | Path, out: Path) -> ResamplerSurvey:
    """What `aliasing resamplers` finds of a library, run by a Python; a library may end its process."""
    names = [name for one, held in OF_LIBRARIES if one == library for name in held.split()]
    command = [python, "-m", "aliasing", "resamplers", *names, "--reduce", str(FACTOR), "--out", out]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        return ResamplerSurvey([], {library: f"its process ended with {ended.returncode}"}, {}, {})
    return ResamplerSurvey.open(out)


def environment(folder: Path, requirements: list[str]) -> Path:
    """A Python that sees what pip installs for it, and behind that the packages of this one."""
    venv.create(folder)
    (own,) = folder.glob("lib/*/site-packages")
    above = (f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages"))
    (own / "above.pth").write_text("\n".join(above))
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--quiet", *requirements], check=False)
    return python


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Of the survey what the gallery tells; the rest is in the figure."""
    return {
        key: row[key]
        for key in ("name", "library", "version", "dtype", "folded", "offset_low", "offset_high", "faults")
    }


def of_photographs(source: ImageSource) -> dict[str, Any]:
    """The share of the energy that is alias, and the baseband that is kept, reduced by 4 with bilinear kernels."""
    names = [name for name in WORDS if name != "opencv-nearest"]
    alias: dict[str, list[float]] = {name: [] for name in names}
    kept: dict[str, list[float]] = {name: [] for name in names}
    for entry in source:
        image = entry.load()
        assert isinstance(image, Image)
        picture = _contrast_reduced(image.pixels, 256)
        below = _rounded(sampling.ideal_lowpass(picture.astype(np.float64).transpose(2, 0, 1), FACTOR))
        ideal = sampling.subsample(below.astype(np.float64).transpose(2, 0, 1), FACTOR)
        size = picture.shape[0] // FACTOR
        for name in names:
            whole = resize(picture, size, size, "bilinear", name).astype(np.float64)
            folded = whole - resize(below, size, size, "bilinear", name)
            alias[name].append(_energy(folded) / _energy(whole))
            kept[name].append(_energy(whole - folded) / _energy(ideal.transpose(1, 2, 0)))
    return {name: {"alias_fraction": share(alias[name]), "baseband_kept": mean(kept[name])} for name in names}


def of_networks(run: Run, networks: list[str], source: ImageSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """For each network and resampler, what changes against Pillow's; and where the weights come from."""
    found: dict[str, Any] = {}
    for name in WORDS:
        if name == REFERENCE:
            continue
        out = None if run.quick else run.out / "records" / name
        skew = measure_skew(networks, source, (REFERENCE, name), out=out, progress=True)
        for network, numbers in skew.summary()["models"].items():
            found.setdefault(network, {})[name] = numbers
    return found, weights(skew.jitter)


def draw(alias: dict[str, Any], skew: dict[str, Any], data: dict[str, Any]) -> Figure:
    """What aliases, and what another resampler changes in each network's answers."""
    rows = list(WORDS)
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.1), width_ratios=[0.8, 1, 1])
        for row, name in enumerate(rows):
            if name in alias:
                estimate = alias[name]["alias_fraction"]
                panels[0].errorbar(estimate.value, row, xerr=bounds([estimate]), fmt="o", capsize=3, color=COLOURS[6])
        panels[0].set_xscale("log")
        panels[0].set_xlim(1e-3, 1)
        panels[0].minorticks_off()
        panels[0].set_xlabel(f"alias in photographs,\nshare of the energy, reduced by {FACTOR}")
        for axes, (measure, label) in zip(panels[1:], MEASURES.items(), strict=True):
            _of_networks(axes, skew, measure)
            axes.set_xlabel(f"{label}\n(same photograph, other resampler)")
        for axes in panels:
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
            axes.set_yticks(range(len(rows)), [WORDS[name] for name in rows] if axes is panels[0] else [""] * len(rows))
        panels[2].axvline(0, color="0.4", linewidth=0.8)
        panels[1].legend(fontsize=8, loc="best")
        note = "" if data["name"] == "sample" else f"; {FLATTERED}"
        figure.suptitle(f"{data['images']} photographs, 95 % intervals{note}", fontsize=10.5)
    return figure


def _of_networks(axes: Axes, skew: dict[str, Any], measure: str) -> None:
    rows = list(WORDS)
    for index, (network, found) in enumerate(skew.items()):
        told = [(rows.index(name), numbers[measure]) for name, numbers in found.items() if measure in numbers]
        if not told:
            continue
        places = np.array([row for row, _ in told]) + 0.16 * (index - (len(skew) - 1) / 2)
        estimates = [estimate for _, estimate in told]
        values = [estimate["value"] for estimate in estimates]
        axes.errorbar(
            values,
            places,
            xerr=bounds(estimates),
            fmt="o",
            markersize=4,
            capsize=2,
            color=COLOURS[index],
            label=title(network),
        )


def _contrast_reduced(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre square in grey levels from 32 to 223; its sides are multiples of the factor."""
    size = min(size, *(length // FACTOR * FACTOR for length in pixels.shape[:2]))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return _rounded(32 + 0.75 * pixels[top : top + size, left : left + size].transpose(2, 0, 1))


def _rounded(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(picture.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)


def _energy(picture: NDArray[Any]) -> float:
    """The energy without each colour's mean and without a border of two pixels, where the picture is not periodic."""
    inner = picture[2:-2, 2:-2]
    return float(((inner - inner.mean((0, 1))) ** 2).sum())
