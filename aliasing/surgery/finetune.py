"""Getting the accuracy back: a few epochs of ordinary training, from where the network is.

SGD with Nesterov momentum, the learning rate falling to zero along half a cosine, cross-entropy; random crops and
mirror images. Whatever is needed to go on is on disk after every epoch, so a run that was stopped goes on there and
ends as it would have. The images are read once, and kept beside it.
"""

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from aliasing.classes import MatchedLabels, count_labels, match_labels
from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, Image, ImageSource, open_images
from aliasing.models import Classifier
from aliasing.models.classifier import fingerprint
from aliasing.progress import watched
from aliasing.provenance import whole_file, write_json
from aliasing.resizers import crop_centre, resize_shorter_side

__all__ = ["PRECISIONS", "Recipe", "finetune"]

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs : passes over the images.
    learning_rate : of the first step.
    batch_size : images a step.
    momentum, weight_decay : of SGD; the decay acts on weights of convolutions and linear layers only.
    seed : of the order, the crops and the mirror images.
    precision : {"float32", "bfloat16"}
        What convolutions and matrix products are computed in. Weights, their updates and the loss stay float32, and the
        result is a float32 network; bfloat16 is about twice as fast where the processor has instructions for it.
    """

    epochs: int = 3
    learning_rate: float = 0.01
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0
    precision: str = "float32"


def finetune(
    model: Classifier, images: Any, out: Path, recipe: Recipe | None = None, *, limit: int | None = None
) -> Classifier:
    """Fine-tune a network on labelled images, in steps that can be taken up again.

    Parameters
    ----------
    model : Classifier
        It is copied; converted or not.
    images : Any
        What `aliasing.images.open_images` takes or gives, with labels.
    out : Path
        A folder for what is needed to go on.
    recipe : Recipe, optional
    limit : int, optional
        Take the first so many images.

    Returns
    -------
    Classifier
        In evaluation mode.

    Raises
    ------
    UsageError
        For a recipe that makes no sense, or a folder that holds another run.
    InputError
        If there are no labelled images, a label is no class of the network, or the loss is no number any more.
    """
    recipe = recipe or Recipe()
    if recipe.epochs < 1 or recipe.batch_size < 2 or recipe.learning_rate <= 0:
        raise UsageError(
            f"epochs {recipe.epochs}, batch size {recipe.batch_size}, learning rate {recipe.learning_rate}; "
            "expected at least 1, at least 2, and a positive number"
        )
    if recipe.precision not in PRECISIONS:
        raise UsageError(f"precision {recipe.precision!r}; expected {' or '.join(PRECISIONS)}")
    settings = {**asdict(recipe), "weights": fingerprint(model.module), "model": model.name, "limit": limit}
    source = images if isinstance(images, ImageSource) else open_images(images)
    pixels, labels = _training_set(model, source, out, settings)
    module = copy.deepcopy(model.module).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        _groups(module, recipe.weight_decay), recipe.learning_rate, momentum=recipe.momentum, nesterov=True
    )
    checkpoint = out / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    trained = replace(model, module=module)
    for epoch in range(first, recipe.epochs):
        module.train()
        _epoch(trained, optimizer, pixels, labels, recipe, epoch)
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        with whole_file(checkpoint) as file:
            torch.save(state, file)
    module.eval()
    return trained


def _epoch(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    epoch: int,
) -> None:
    """One pass; its order, crops and mirror images follow from the seed and its number alone."""
    random = np.random.default_rng((recipe.seed, epoch))
    torch.manual_seed(recipe.seed + 1_000_003 * epoch)  # dropout
    order = random.permutation(len(labels))
    batches = max(len(order) // recipe.batch_size, 1)
    steps = batches * recipe.epochs
    device = next(model.module.parameters()).device
    progress = tqdm(range(batches), desc=f"epoch {epoch + 1} of {recipe.epochs}", disable=not watched(), leave=False)
    for batch in progress:
        chosen = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * (epoch * batches + batch) / steps)) / 2
        views = _augment(pixels[np.sort(chosen)], model, random)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            scores = model.module(model.normalize(views).to(device))
        loss = F.cross_entropy(scores.float(), torch.from_numpy(labels[np.sort(chosen)]).to(device))
        if not math.isfinite(loss.item()):
            raise InputError(f"the loss is {loss.item()} in epoch {epoch + 1}; a lower learning rate may help")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")


def _augment(pixels: npt.NDArray[np.uint8], model: Classifier, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Random windows, each mirrored or not; beyond the image there is the mean colour."""
    count, side, size = len(pixels), pixels.shape[1], model.input_size
    margin = size // 8 if side == size else 0
    views = np.empty((count, size, size, 3), np.float32)
    views[:] = model.mean_colour
    for view, image in zip(views, pixels, strict=True):
        top, left = random.integers(0, side + 2 * margin - size + 1, 2) - margin
        y, x = max(top, 0), max(left, 0)
        window = image[y : min(top + size, side), x : min(left + size, side)]
        if random.random() < 0.5:
            window, left = window[:, ::-1], side - size - left
            x = max(left, 0)
        view[y - top : y - top + window.shape[0], x - left : x - left + window.shape[1]] = window
    return views


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of normalisation do not."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _training_set(
    model: Classifier, images: ImageSource, out: Path, settings: dict[str, Any]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The centre squares at the size that the network resizes to, and their labels; read once.

    The folder belongs to the run from when there are any: wrong images leave it to the next.
    """
    file, claim = out / "images.npz", out / "settings.json"
    if claim.exists() and json.loads(claim.read_text()) != settings:
        raise UsageError(f"{out} holds another run; give another folder, or delete it")
    if not (claim.exists() and file.exists()):
        written = count_labels(islice(images, settings["limit"]))
        classes = match_labels(model, written, defined=images.class_names, source=images.description)
        if classes.matched < classes.labelled:
            raise InputError(classes.cautions[0].removeprefix("no accuracy: "))
        squares, labels = [], []
        for square, label in tqdm(
            _squares(model, images, settings["limit"], classes),
            desc="reading images",
            disable=not watched(),
            leave=False,
        ):
            squares.append(square)
            labels.append(label)
        if not labels:
            raise InputError(
                f"no labelled images in {images.description}; give a folder for each class, or a labels.csv"
            )
        write_json(claim, settings)
        with whole_file(file) as partial:
            np.savez(partial, pixels=np.stack(squares), labels=np.array(labels, np.int64))
    content = np.load(file)
    return content["pixels"], content["labels"]


def _squares(
    model: Classifier, images: ImageSource, limit: int | None, classes: MatchedLabels
) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    side = model.resize_size
    for entry in islice(images, limit):
        label = classes(entry.label)
        if label is None:
            continue
        try:
            image = entry.load()
        except BadImage:
            continue
        if isinstance(image, Image):
            resized = resize_shorter_side(image.pixels, side, model.interpolation)
            yield crop_centre(resized, side, side).round().astype(np.uint8), label
