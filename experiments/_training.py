"""Training that can be stopped at any moment: it resumes from its last complete epoch and ends at the same weights.

Everything random in an epoch (order, augmentation, dropout) follows from the seed and the epoch's number alone. One
safetensors file, replaced whole after every epoch, holds what is needed to resume.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from aliasing.errors import InputError, UsageError
from aliasing.estimates import mean
from aliasing.models.classifier import fingerprint
from aliasing.provenance import write_bytes
from aliasing.rounding import rounded
from experiments._data import Labelled

# Takes uint8 pixels N×H×W(×3), or samples, and a random generator; gives the network's float32 input.
Prepare = Callable[[npt.NDArray[Any], np.random.Generator], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs : passes over the images.
    optimizer : "adam", "adamw", or "sgd" with Nesterov momentum 0.9.
    learning_rate : of the first step.
    batch_size : images per step; an incomplete last batch is left out.
    cosine : the learning rate falls to zero along half a cosine; otherwise it is constant.
    weight_decay : of weights of convolutions and linear layers.
    bf16 : matrix products of training in bfloat16 (autocast); measuring is always in float32.
    warm_up : share of the steps in which the learning rate first rises from zero along a line, with ``cosine``: one
        cycle, without which a deep network's first steps are too large.
    seed : of order, augmentation and dropout; the first weights are the caller's.
    """

    epochs: int
    optimizer: str
    learning_rate: float
    batch_size: int
    cosine: bool = False
    weight_decay: float = 0.0
    bf16: bool = False
    seed: int = 0
    warm_up: float = 0.0


def train(
    module: nn.Module,
    images: Labelled,
    test: Labelled,
    prepare: Prepare,
    show: Callable[[npt.NDArray[Any]], Tensor],
    recipe: Recipe,
    file: Path,
) -> list[dict[str, float]]:
    """Train a network in place and on its device, and leave it in evaluation mode.

    Parameters
    ----------
    module : nn.Module
    images, test : Labelled
        To train on, and to measure on after every epoch.
    prepare : callable
        Augments and normalises a batch of pixels for training.
    show : callable
        Normalises pixels for measuring.
    recipe : Recipe
    file : Path
        ``NAME.safetensors``, for the final weights. After every epoch ``NAME.checkpoint.safetensors`` beside it holds
        the weights, the optimizer's state and the history; training resumes from it.

    Returns
    -------
    list of dict
        One per epoch: ``loss`` (mean over the steps), ``test_accuracy``.

    Raises
    ------
    UsageError
        If the file comes from a run with other settings.
    InputError
        If the loss becomes NaN or infinite.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(module, recipe)
    # Where the learning rate stays, a longer run begins with the shorter one; no warm-up is as before there was one.
    left_out = {"epochs": not recipe.cosine, "warm_up": not recipe.warm_up}
    settings = {key: value for key, value in asdict(recipe).items() if not left_out.get(key)}
    settings |= {"images": images.description(), "start": fingerprint(module), "threads": torch.get_num_threads()}
    checkpoint = file.with_suffix(".checkpoint.safetensors")
    history = _resume(checkpoint, module, optimizer, settings) if checkpoint.exists() else []
    for epoch in range(len(history), recipe.epochs):
        begin = time.perf_counter()
        loss = _epoch(module, optimizer, images, prepare, recipe, epoch, file.stem)
        correct = probabilities(module, show, test.pixels).argmax(1) == test.labels
        history.append({"loss": loss, "test_accuracy": float(correct.mean())})
        _save(checkpoint, module, optimizer, settings, history)
        seconds = time.perf_counter() - begin
        tqdm.write(
            f"{file.stem}: epoch {epoch + 1} of {recipe.epochs}, {_shown(history[-1])}, {rounded(seconds, '.0f')} s"
        )
    module.eval()
    _replace(file, {key: value.contiguous() for key, value in module.state_dict().items()}, {})
    return history


def probabilities(
    module: nn.Module, show: Callable[[npt.NDArray[Any]], Tensor], pixels: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """The network's class probabilities in evaluation mode and float32, N×classes."""
    module.eval()
    device = next(module.parameters()).device
    with torch.inference_mode():
        parts = [
            module(show(pixels[start : start + 250]).to(device)).softmax(1) for start in range(0, len(pixels), 250)
        ]
    return torch.cat(parts).cpu().numpy()


def over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds with its t interval, spread, and each seed's own estimate with its interval over images."""
    values = [row["value"] for row in rows]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": mean(values), "standard_deviation": spread, "seeds": rows}


def normalise(pixels: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels N×H×W×3 as (x / 255 − mean) / std, N×3×H×W in channels-last memory."""
    scaled = torch.from_numpy(pixels).float().div_(255)
    return scaled.sub_(torch.tensor(mean)).div_(torch.tensor(std)).permute(0, 3, 1, 2)


def crop_and_mirror(
    pixels: npt.NDArray[np.uint8], random: np.random.Generator, margin: int = 4
) -> npt.NDArray[np.uint8]:
    """Windows of the images' own size at random places of the images with a black margin, half of them mirrored."""
    padded = np.pad(pixels, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    return window_and_mirror(padded, pixels.shape[1], random)


def window_and_mirror(pixels: npt.NDArray[np.uint8], size: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Windows of ``size`` pixels at random places of square images, half of them mirrored."""
    count = len(pixels)
    top, left = random.integers(0, pixels.shape[1] - size + 1, (2, count, 1))
    rows, columns = top + np.arange(size), left + np.arange(size)
    mirrored = random.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    return pixels[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Labelled,
    prepare: Prepare,
    recipe: Recipe,
    epoch: int,
    title: str,
) -> float:
    """One pass; the mean loss of its steps."""
    module.train()
    random = np.random.default_rng((recipe.seed, epoch))
    torch.manual_seed(recipe.seed + 1_000_003 * epoch)  # dropout
    batches = len(images) // recipe.batch_size
    order = random.permutation(len(images))[: batches * recipe.batch_size].reshape(batches, recipe.batch_size)
    device, total = next(module.parameters()).device, 0.0
    progress = tqdm(order, desc=f"{title}, epoch {epoch + 1} of {recipe.epochs}", disable=None, leave=False)
    for step, chosen in enumerate(progress, epoch * batches):
        if recipe.cosine:
            fraction = step / (batches * recipe.epochs)
            rise = min(1.0, (step + 1) / max(1.0, recipe.warm_up * batches * recipe.epochs))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rise * (1 + math.cos(math.pi * fraction)) / 2
        x, labels = (
            prepare(images.pixels[chosen], random).to(device),
            torch.from_numpy(images.labels[chosen]).to(device),
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
            loss = F.cross_entropy(module(x), labels)
        if not math.isfinite(loss.item()):
            raise InputError(f"{title}: the loss is {loss.item()} in epoch {epoch + 1}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / batches


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.learning_rate)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.learning_rate)
    return torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9, nesterov=True)


def _save(
    file: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
    history: list[dict[str, float]],
) -> None:
    """The weights under their own names; the optimizer's state, parameter by parameter, beside them."""
    tensors = {key: value.contiguous() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value.contiguous() for key, value in state.items()}
    _replace(file, tensors, {"settings": json.dumps(settings, sort_keys=True), "history": json.dumps(history)})


def _replace(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    write_bytes(file, safetensors.torch.save(tensors, metadata))


def _resume(
    file: Path, module: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> list[dict[str, float]]:
    with safetensors.safe_open(file, "pt") as content:
        metadata = content.metadata()
    if metadata["settings"] != json.dumps(settings, sort_keys=True):
        raise UsageError(f"{file} is of a run with other settings; delete it, or give another --out")
    tensors = safetensors.torch.load_file(file)
    module.load_state_dict({key: value for key, value in tensors.items() if not key.startswith("optimizer/")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            state.setdefault(int(index), {})[name] = value.contiguous(memory_format=layout)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return list(json.loads(metadata["history"]))


def _shown(row: dict[str, float]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {rounded(value, '.4f')}" for key, value in row.items())
