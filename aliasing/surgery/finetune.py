"""Fine-tuning: a few epochs of ordinary training, so that a converted network regains its accuracy.

The optimizer is SGD with Nesterov momentum, and the learning rate falls to zero along half a cosine. The loss is the
negative logarithm of the class's probability, on whichever scale the network answers (cross-entropy, for logits).
Images are cropped and mirrored at random, signals cropped. After every epoch the state is on disk, so an interrupted
run resumes there and gives the same result; ``history.json`` beside it has each epoch's loss and accuracy. The images
are read once and kept there.
"""

import hashlib
import io
import json
import math
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from aliasing.classes import MatchedLabels, count_labels, match_labels
from aliasing.errors import InputError, UsageError, first_line
from aliasing.fitting import crop_centre, fit
from aliasing.identity import identify
from aliasing.images import BadImage, Image, ImageSource, Loaded, Signal, choose_images
from aliasing.models import Classifier, ShownNetwork, SignalNetwork, load_model
from aliasing.models.classifier import retrained
from aliasing.progress import duration, watched
from aliasing.protocols.base import adaptation, as_taken
from aliasing.records import InputsDigest, input_of
from aliasing.rounding import rounded
from aliasing.runs import keep_apart
from aliasing.scales import Found, find_scale, to_log_probabilities
from aliasing.sites.trace import copied, laid_out
from aliasing.state import DamagedError, check_fits, check_sealed, read_json, sealed_file, write_json
from aliasing.surgery.recalibrate import told
from aliasing.tables import are_different
from aliasing.undisturbed import surroundings_kept

__all__ = ["PRECISIONS", "Recipe", "finetune"]

PRECISIONS = ("float32", "bfloat16")
BEFORE = "checkpoint.before.pt"  # that of the epoch before the last
_SEEDS = 2**32
_LABELLING = "give a folder for each class, or a labels.csv"
Network = TypeVar("Network", Classifier, ShownNetwork, nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``precision`` is that of convolutions and matrix products, "float32" or "bfloat16". Weights, their updates and the
    loss stay float32, and the result is a float32 network; bfloat16 is about twice as fast on a CPU that has
    instructions for it.
    """

    epochs: int = 3  #: passes over the images
    learning_rate: float = 0.01  #: that of the first step
    batch_size: int = 128  #: images per step
    momentum: float = 0.9
    weight_decay: float = 1e-4  #: of the weights of convolutions and linear layers only
    seed: int = 0  #: for the order, the crops and the mirroring
    precision: str = "float32"


@surroundings_kept()
def finetune(
    model: Network,
    images: Any,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    limit: int | None = None,
    sample: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> Network:
    """Fine-tune a network on labelled images; an interrupted run can be resumed.

    Parameters
    ----------
    model : Classifier or nn.Module
        It is copied, and may be converted or not. A bare module sees images as after `aliasing.load_model`.
    images : Any
        What `aliasing.images.open_images` takes or returns, with labels (see `aliasing.classes`).
    out : str or Path
        The folder for the state of the run.
    recipe : Recipe, optional
    limit : int, optional
        Use the first N images only.
    sample : int, optional
        Use N images, drawn at random by the recipe's seed and the hashes of their bytes.
    tell : callable, optional
        Is given a line after each epoch: the loss, the accuracy on the augmented images, and the time left.

    Returns
    -------
    Classifier or nn.Module
        The same kind as ``model``, in evaluation mode. A Classifier's name, origin and notes say that it was
        fine-tuned, and on how many images.

    Raises
    ------
    UsageError
        If the recipe makes no sense, the folder holds another run, or the network is frozen, returns several tensors in
        training or answers with several labels.
    InputError
        If there are no labelled images, labels are not this network's classes, or the loss is no longer finite.

    Warns
    -----
    UserWarning
        If some images could not be used.

    Examples
    --------
    >>> import tempfile, aliasing as al
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> images = [(np.full((8, 8, 3), 50 * label, np.uint8), label) for label in range(4)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tuned = al.finetune(al.antialias(network, scheme="all"), images, folder, al.Recipe(epochs=1, batch_size=2))
    >>> tuned.training
    False
    """
    out = Path(out)
    recipe = recipe or Recipe()
    network = load_model(model)
    scale = check_trainable(network, recipe)
    source = choose_images(images, limit=limit, sample=sample, seed=recipe.seed)
    settings = json.loads(json.dumps({**asdict(recipe), **asdict(identify(network)), "limit": source.limit}))
    given, network = network, replace(network, scale=scale.name)
    keep_apart(source.folders, out)
    training = _training_set(network, source, out, settings)
    if training.unused:
        warnings.warn(f"{network.name} is trained on {training.told}", stacklevel=2)
    module = laid_out(copied(network.module))
    optimizer = torch.optim.SGD(
        _groups(module, recipe.weight_decay), recipe.learning_rate, momentum=recipe.momentum, nesterov=True
    )
    checkpoint = out / "checkpoint.pt"
    history = _resume(checkpoint, training.run, module, optimizer, recipe)
    trained = replace(network, module=module)
    for epoch in range(len(history), recipe.epochs):
        module.train()
        begin = time.monotonic()
        history.append(_epoch(trained, optimizer, training.pixels, training.labels, recipe, epoch))
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        content = io.BytesIO()  # torch tells of a full disk as of a fault of its own
        torch.save({**state, "history": history, "run": training.run}, content)
        with sealed_file(checkpoint, before=BEFORE) as file:
            file.write(content.getbuffer())
        write_json(out / "history.json", {"epochs": history})
        if tell:
            left = (time.monotonic() - begin) * (recipe.epochs - epoch - 1)
            tell(_told(history[-1], epoch, recipe, left))
    module.eval()
    same_kind: Any = (
        module
        if isinstance(model, nn.Module)
        else retrained(given, module, "fine-tuned", f"trained on {training.told}")
    )
    return same_kind  # type: ignore[no-any-return]


def _resume(
    checkpoint: Path, run: str, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> list[dict[str, float]]:
    """Load the state after the last epoch, or else after the one before; what each epoch found. Empty: from the start.

    UsageError if the checkpoint belongs to another run.
    """
    for path in (checkpoint, checkpoint.with_name(BEFORE)):
        if not path.is_symlink() and not path.exists():
            continue
        try:
            check_sealed(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
            check_fits(sorted(state), [str], path)
            if state.get("run") != run:
                raise UsageError(f"{path} belongs to another run; delete it, or give another folder")
            history: list[dict[str, float]] = state.get("history", [{}] * int(state["epoch"]))
            check_fits(history, [{str: float}], path)
            if not 0 < len(history) <= recipe.epochs:
                raise ValueError(f"it is after epoch {len(history)} of {recipe.epochs}")
            before = copied(module).state_dict(), deepcopy(optimizer.state_dict())
            try:
                module.load_state_dict(state["module"])
                optimizer.load_state_dict(state["optimizer"])
                _check_momentum(optimizer)
            except Exception:
                module.load_state_dict(before[0])
                optimizer.load_state_dict(before[1])
                raise
        except UsageError:
            raise
        except Exception as error:  # torch tells of a damaged file in many ways
            told = str(error) if isinstance(error, DamagedError) else f"{path} cannot be used ({first_line(error)})"
            warnings.warn(f"{told}: training goes on from before it", stacklevel=3)
            continue
        return history
    return []


def _check_momentum(optimizer: torch.optim.Optimizer) -> None:
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape != parameter.shape:
                raise ValueError(f"{name} has another shape than its parameter: {tuple(value.shape)}")


def _told(found: dict[str, float], epoch: int, recipe: Recipe, left: float) -> str:
    loss, accuracy = (rounded(found[name], ".3f") for name in ("loss", "accuracy"))
    text = f"epoch {epoch + 1} of {recipe.epochs}: loss {loss}, accuracy {accuracy}"
    return f"{text} on the training images" + (f"; about {duration(left)} left" if epoch + 1 < recipe.epochs else "")


def check_trainable(network: ShownNetwork, recipe: Recipe) -> Found:
    """The scale of a network's answers; UsageError if it cannot be trained, or the recipe makes no sense."""
    if recipe.epochs < 1 or recipe.batch_size < 2 or not 0 < recipe.learning_rate < math.inf:
        raise UsageError(
            f"epochs {recipe.epochs}, batch size {recipe.batch_size}, learning rate {recipe.learning_rate}; "
            "expected at least 1, at least 2, and a positive number"
        )
    sensible = 0 <= recipe.momentum < 1 and 0 <= recipe.weight_decay < math.inf
    whole = all(type(number) is int for number in (recipe.epochs, recipe.batch_size, recipe.seed))
    if not (sensible and whole and 0 <= recipe.seed < _SEEDS):
        raise UsageError(
            f"momentum {recipe.momentum}, weight decay {recipe.weight_decay}, seed {recipe.seed}; expected a momentum"
            f" in 0…1, a weight decay of 0 or more, and whole numbers for epochs, batch size and a seed below {_SEEDS}"
        )
    if recipe.precision not in PRECISIONS:
        raise UsageError(f"precision {recipe.precision!r}; expected {' or '.join(PRECISIONS)}")
    _require_trainable(network)
    scale = find_scale(network)
    if scale.scale.of_labels:
        raise UsageError(f"{network.name} gives {scale.name}; training needs one class per image")
    return scale


def training_labels(model: ShownNetwork, images: ImageSource) -> MatchedLabels:
    """The labels of the images as the network's classes; InputError if there are none, or others than these."""
    matched = match_labels(model, count_labels(images), defined=images.class_names, source=images.description)
    if matched.matched < matched.labelled:
        raise InputError(matched.cautions[0].removeprefix("no accuracy: "))
    if not matched.labelled:
        raise InputError(f"no labelled images in {images.description}; {_LABELLING}")
    return matched


def _require_trainable(network: ShownNetwork) -> None:
    """Raise UsageError if no parameter is trainable, or the answer in training mode is not like that in evaluation."""
    if not any(parameter.requires_grad for parameter in network.module.parameters()):
        raise UsageError(f"{network.name} is frozen: no parameter has requires_grad; unfreeze those to train")
    module = copied(network.module).train()
    shown = network.normalize(network.trial_views()[:2]).to(_device(module))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        scores = module(shown)
    if not isinstance(scores, torch.Tensor) or scores.ndim not in (1, 2):
        raise UsageError(
            f"{network.name} answers with a {type(scores).__name__} in training; expected one tensor N×classes: build"
            " it without the parts that only training uses (such as aux_logits=False)"
        )


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _epoch(
    model: ShownNetwork,
    optimizer: torch.optim.Optimizer,
    pixels: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    epoch: int,
) -> dict[str, float]:
    """Train for one epoch; its order, crops and mirroring follow from the seed and its number alone.

    Returns the mean loss, and the accuracy before each step.
    """
    random = np.random.default_rng((recipe.seed, epoch))
    torch.manual_seed(recipe.seed + 1_000_003 * epoch)  # dropout
    order = random.permutation(len(labels))
    batches = max(len(order) // recipe.batch_size, 1)
    steps = batches * recipe.epochs
    device = _device(model.module)
    losses, right, seen = 0.0, 0, 0
    progress = tqdm(range(batches), desc=f"epoch {epoch + 1} of {recipe.epochs}", disable=not watched(), leave=False)
    for batch in progress:
        chosen = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * (epoch * batches + batch) / steps)) / 2
        views = _augment(pixels[np.sort(chosen)], model, random)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            scores = model.module(model.normalize(views).to(device))
        truth = torch.from_numpy(labels[np.sort(chosen)]).to(device)
        answers = to_log_probabilities(scores, str(model.scale), model.name)
        loss = F.nll_loss(answers, truth)
        if not math.isfinite(loss.item()):
            raise InputError(f"the loss is {loss.item()} in epoch {epoch + 1}; a lower learning rate may help")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses += loss.item()
        right += int((answers.argmax(1) == truth).sum())
        seen += len(truth)
        progress.set_postfix(loss=rounded(losses / (batch + 1), ".3f"), accuracy=rounded(right / seen, ".3f"))
    return {"loss": losses / batches, "accuracy": right / seen}


def _augment(shown: npt.NDArray[Any], model: ShownNetwork, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Random windows of the images or signals that are shown."""
    if isinstance(model, Classifier):
        return _augment_pictures(shown, model, random)
    return _windows(shown, model.view_size, random)


def _augment_pictures(
    pixels: npt.NDArray[np.uint8], model: Classifier, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Random windows, each mirrored or not, with the mean colour around the image."""
    sides, size = np.array(pixels.shape[1:3]), np.array(model.view_size)
    margins = np.where(sides == size, size // 8, 0)
    views = np.empty((len(pixels), *size, 3), np.float32)
    views[:] = model.mean_colour
    for view, image in zip(views, pixels, strict=True):
        top, left = random.integers(0, sides + 2 * margins - size + 1) - margins
        y, x = max(top, 0), max(left, 0)
        window = image[y : min(top + size[0], sides[0]), x : min(left + size[1], sides[1])]
        if random.random() < 0.5:
            window, left = window[:, ::-1], sides[1] - size[1] - left
            x = max(left, 0)
        view[y - top : y - top + window.shape[0], x - left : x - left + window.shape[1]] = window
    return views


def _windows(
    signals: npt.NDArray[np.float32], sizes: tuple[int, ...], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A random window of each signal."""
    spare = [length - size for length, size in zip(signals.shape[2:], sizes, strict=True)]
    corners = [[int(random.integers(0, more + 1)) for more in spare] for _ in signals]
    return np.stack(
        [
            signal[(slice(None), *(slice(start, start + size) for start, size in zip(corner, sizes, strict=True)))]
            for signal, corner in zip(signals, corners, strict=True)
        ]
    )


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of normalisation do not."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@dataclass(frozen=True)
class _TrainingSet:
    """The images to train on."""

    pixels: npt.NDArray[Any]  # uint8, images×height×width×3; of signals float32, signals×channels×axes
    labels: npt.NDArray[np.int64]
    run: str  # the run for which they were read: a hash of the network, the images and the recipe
    told: str  # how many images there are, and why others could not be used
    unused: int  # how many could not be used


def _training_set(model: ShownNetwork, images: ImageSource, out: Path, settings: dict[str, Any]) -> _TrainingSet:
    """The centres of the images, resized for the network, and their labels; wrong images leave the folder free."""
    file, claim = out / "images.npz", out / "settings.json"
    if claim.exists():
        inputs = InputsDigest()
        inputs.add(map(input_of, images))
        settings = {**settings, "images": str(inputs)}
        before = read_json(claim, out, mend="give another folder")
        differing = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        if differing:
            raise UsageError(
                f"{out} holds another run ({are_different(sorted(differing))}); give another folder, or delete it"
            )
        if file.exists():
            try:
                return _read(file, settings)
            except DamagedError as error:
                warnings.warn(f"{error}: the images are read again", stacklevel=3)
    matched = training_labels(model, images)
    squares, labels, inputs = [], [], InputsDigest()
    unusable: dict[str, str] = {}
    for entry in tqdm(images, desc="reading images", disable=not watched(), leave=False):
        label = matched(entry.label)
        try:
            image = entry.load()
            inputs.add([input_of(entry, image.identity)])
        except BadImage as error:
            inputs.add([input_of(entry)])
            unusable[entry.name] = str(error)
            continue
        if label is None:
            unusable[entry.name] = "no label of its classes"
            continue
        try:
            squares.append(_shown(model, image))
        except BadImage as error:
            unusable[entry.name] = str(error)
            continue
        labels.append(label)
    if not labels:
        raise InputError(f"no labelled images in {images.description} ({told(0, unusable)}); {_LABELLING}")
    settings = {**settings, "images": str(inputs)}
    content: dict[str, Any] = {"pixels": np.stack(squares), "labels": np.array(labels, np.int64)}
    content |= {"run": _digest(settings), "told": told(len(labels), unusable), "unused": len(unusable)}
    with sealed_file(file) as partial_file:
        np.savez(partial_file, **content)
    write_json(claim, settings)
    return _read(file, settings)


def _read(file: Path, settings: dict[str, Any]) -> _TrainingSet:
    check_sealed(file)
    try:
        content, run = dict(np.load(file)), _digest(settings)
        found = content["pixels"], content["labels"], run, str(content["told"]), int(content["unused"])
    except (KeyError, ValueError, TypeError, MemoryError) as error:
        raise DamagedError(f"{file} does not hold what a run writes there ({first_line(error)})") from None
    if str(content.get("run")) != run:
        raise UsageError(f"{file} belongs to another run; delete it, or give another folder")
    return _TrainingSet(*found)


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()


def _shown(model: ShownNetwork, image: Loaded) -> npt.NDArray[Any]:
    """An image or a signal, larger than a view, from which random windows are cut; BadImage if it cannot be shown."""
    if isinstance(image, Image) and isinstance(model, Classifier):
        return _square(model, image.pixels)
    if isinstance(image, Signal) and isinstance(model, SignalNetwork):
        adaptation(image, model)  # refuses one that the network does not take
        return as_taken(image, model, [size + 2 * (size // 8) for size in model.view_size])
    raise BadImage(f"{image.what}; {model.name} takes {model.takes}")


def _square(model: Classifier, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = map(max, model.resized_size, model.view_size)
    resized = fit(pixels, model.resized_size, model.crop_mode, model.interpolation, model.resizer)
    return crop_centre(resized, height, width, model.border_colour).round().astype(np.uint8)
