"""Does a network of raw sound change its answer less often under small shifts once its strides are anti-aliased?

Zhang's (2019) claim for photographs, asked of sound. A network as M5 (Dai et al. 2017), with one stride of 4 and three
maxima over four samples, learns to tell the spoken digits apart: plain, and with blur-pool, FLC and APS at every place
where it subsamples. Two of the five recordings of each speaker and digit are held out. P(top-1 change) and the mean
absolute change of the probability compare the answer to a recording with that to the recording moved by up to ±32
samples (4 ms), a part of a cell of the last map, which is 256 samples wide. There are three seeds; the interval of a
difference is over recordings, averaged over the seeds.

Nothing is published for this network and these recordings.
"""

from dataclasses import asdict, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import aliasing as al
from aliasing.estimates import Estimate, mean
from aliasing.models.classifier import fingerprint
from aliasing.plots.style import COLOURS, save, style
from aliasing.sounds import read_sound
from experiments._data import Labelled
from experiments._run import Run
from experiments._training import Recipe, train

LENGTH, REACH = 8192, 32  # samples that the network sees, and that a recording is moved by at most
RATE = 8000
SHIFTS = 16  # of each recording
HELD_OUT = ("3", "4")  # takes
OPERATORS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blur-pool": {"operator": "blur", "taps": "binomial3"},
    "FLC": {"operator": "flc"},
    "APS": {"operator": "aps"},
}


def run(run: Run) -> dict[str, Any]:
    """Train every variant with every seed, measure and draw."""
    seeds = (0,) if run.quick else (0, 1, 2)
    recipe = Recipe(1 if run.quick else 30, "adam", 2e-3, 20, cosine=True, weight_decay=1e-4)
    training, test = recordings(run)
    if run.quick:
        training, test = some(training, 20), some(test, 10)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in OPERATORS}
    weights = {}
    for seed in seeds:
        for name in OPERATORS:
            torch.manual_seed(seed)
            module = converted(m5(), name)
            file = run.out / "training" / f"{name}-seed{seed}.safetensors"
            train(module, training, test, prepare, show, replace(recipe, seed=seed), file)
            weights[f"{name}, seed {seed}"] = {"sha256": fingerprint(module), "source": "trained here"}
            answers[name].append(answer(module, test))
    numbers = {name: summary(found, answers["plain"]) for name, found in answers.items()}
    with style():
        save(draw(numbers, answers), run.out / "figure.png")
    settings = {
        "length": LENGTH,
        "reach": REACH,
        "shifts": SHIFTS,
        "rate": RATE,
        "seeds": seeds,
        "operators": OPERATORS,
    }
    return {
        "settings": {**settings, "recipe": asdict(recipe)},
        "data": {"train": training.description(), "test": test.description()},
        "weights": weights,
        "numbers": numbers,
    }


def recordings(run: Run) -> tuple[Labelled, Labelled]:
    """The recordings to train on and those held out, in the middle of silence, as int16."""
    found: dict[bool, tuple[list[npt.NDArray[np.int16]], list[int]]] = {False: ([], []), True: ([], [])}
    for path in sorted(run.folder("spoken-digits").glob("*.wav")):
        digit, _, take = path.stem.split("_")
        samples = read_sound(path).samples[0][:LENGTH]
        whole = np.zeros(LENGTH + 2 * REACH, np.int16)
        begin = (len(whole) - len(samples)) // 2
        whole[begin : begin + len(samples)] = np.rint(32767 * samples)
        sounds, labels = found[take in HELD_OUT]
        sounds.append(whole)
        labels.append(int(digit))
    parts: Any = ((np.stack(sounds), np.array(labels, np.int64)) for sounds, labels in found.values())
    (train_sounds, train_labels), (test_sounds, test_labels) = parts
    return (
        Labelled("spoken digits, takes 0 to 2", train_sounds, train_labels),
        Labelled(f"spoken digits, takes {' and '.join(HELD_OUT)}", test_sounds, test_labels),
    )


def some(sounds: Labelled, count: int) -> Labelled:
    """That many recordings at even steps."""
    chosen = np.arange(count) * len(sounds) // count
    return Labelled(f"{sounds.name}, {count} of them", sounds.pixels[chosen], sounds.labels[chosen])


def m5() -> nn.Module:
    """As M5: a wide first layer, then three of three samples, each followed by a maximum over four."""
    layers: list[nn.Module] = []
    for wide, out, kernel, stride in ((1, 32, 79, 4), (32, 32, 3, 1), (32, 64, 3, 1)):
        layers += [nn.Conv1d(wide, out, kernel, stride, kernel // 2), nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(4)]
    layers += [nn.Conv1d(64, 64, 3, 1, 1), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 10))


def converted(module: nn.Module, name: str) -> nn.Module:
    """The network with the operator at every site; itself for plain."""
    if not OPERATORS[name]:
        return module
    return al.antialias(module.eval(), scheme="all", example_input=torch.zeros(1, 1, LENGTH), **OPERATORS[name])


def prepare(sounds: npt.NDArray[np.int16], random: np.random.Generator) -> Tensor:
    """Recordings at random places within 50 ms, which no voice keeps, and at random loudness."""
    steps = random.integers(-RATE // 20, RATE // 20, len(sounds))
    moved = np.stack([np.roll(sound, step) for sound, step in zip(sounds, steps, strict=True)])
    return show(moved) * torch.from_numpy(random.uniform(0.5, 1.5, (len(sounds), 1, 1))).float()


def show(sounds: npt.NDArray[np.int16], by: int = 0) -> Tensor:
    """The window that the network sees, with the recording ``by`` samples later."""
    return torch.from_numpy(sounds[:, REACH - by : REACH - by + LENGTH].astype(np.float32) / 3000)[:, None]


def answer(module: nn.Module, test: Labelled) -> dict[str, Any]:
    """Of each recording: is it right, how often does a shift change the answer, and by how much its probability."""
    steps = [int(step) for step in np.random.default_rng(0).permutation(np.r_[-REACH:0, 1 : REACH + 1])[:SHIFTS]]
    with torch.inference_mode():
        views = [module(show(test.pixels, by)).softmax(1).numpy() for by in (0, *steps)]
    first, top = views[0], views[0].argmax(1)
    changed = np.mean([view.argmax(1) != top for view in views[1:]], 0)
    rows = np.arange(len(top))
    moved = np.mean([abs(view[rows, top] - first[rows, top]) for view in views[1:]], 0)
    return {"accuracy": (top == test.labels).astype(float), "top1_change": changed, "mac": moved}


def summary(found: list[dict[str, Any]], plain: list[dict[str, Any]]) -> dict[str, Any]:
    """Each measure over recordings, averaged over the seeds, and its paired difference to the plain network."""
    numbers: dict[str, Any] = {}
    for measure in ("accuracy", "top1_change", "mac"):
        ours, theirs = (np.mean([seed[measure] for seed in seeds], 0) for seeds in (found, plain))
        numbers[measure] = mean(ours.tolist())
        numbers[f"{measure}_minus_plain"] = mean((ours - theirs).tolist()) if found is not plain else None
        numbers[f"{measure}_seeds"] = [float(seed[measure].mean()) for seed in found]
    return numbers


def draw(numbers: dict[str, Any], answers: dict[str, Any]) -> Figure:
    """A panel a measure: each operator's mean with its interval over recordings, and the seeds."""
    titles = {
        "accuracy": "accuracy",
        "top1_change": f"P(top-1 change), moved by up to ±{REACH} samples",
        "mac": "mean absolute change of the probability",
    }
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4))
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        for row, found in enumerate(numbers.values()):
            estimate: Estimate = found[measure]
            spread = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes.errorbar([estimate.value], [row], xerr=spread, fmt="s", color=COLOURS[row], capsize=3)
            seeds = found[f"{measure}_seeds"]
            axes.plot(seeds, [row + 0.22] * len(seeds), "o", color=COLOURS[row], alpha=0.45, markersize=4)
        axes.set_yticks(range(len(numbers)), numbers if axes is panels[0] else [""] * len(numbers))
        axes.set(title=title, ylim=(len(numbers) - 0.5, -0.5))
        axes.title.set_fontsize(10)
        axes.set_xlim(left=None if measure == "accuracy" else 0)
        axes.grid(axis="x", alpha=0.3)
    recordings = len(answers["plain"][0]["accuracy"])
    figure.suptitle(
        f"{recordings} held-out spoken digits, raw sound at 8 kHz; squares: mean and 95 % interval over recordings;"
        " dots: seeds",
        fontsize=10,
    )
    return figure
