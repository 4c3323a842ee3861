"""People's own networks: an object, or ``module:package.path:factory``.

A factory takes no arguments and returns an nn.Module, or a Classifier where the network's preprocessing is not
ImageNet's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aliasing.errors import UsageError
from aliasing.models import from_timm
from aliasing.models.checkpoints import first_line, load_weights, strip_prefixes
from aliasing.models.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Classifier,
    record_weights,
    require_weights,
)
from aliasing.sites.trace import twin_or_itself
from aliasing.undisturbed import in_evaluation, surroundings_kept

_ASSUMED = "no preprocessing was given: ImageNet's was assumed (256, centre 224, bilinear)"


def load(name: str) -> Classifier:
    """Call the factory and take the network as it comes, with whatever weights it gave it."""
    classifier = _build(name)
    module_path = name.partition(":")[0]
    release = getattr(sys.modules.get(module_path.partition(".")[0]), "__version__", "unversioned")
    return record_weights(classifier, f"module:{name}", str(release))


def assemble(name: str, state_dict: dict[str, Tensor], source: str) -> Classifier:
    """Call the factory and load these weights into what it returns."""
    classifier = _build(name)
    load_weights(classifier.module, strip_prefixes(state_dict, classifier.module.state_dict()), source)
    return classifier


def adopt(module: nn.Module, name: str) -> Classifier:
    """Wrap a network: with the preprocessing that it carries if timm built it, else with ImageNet's, noted as assumed.

    Raises
    ------
    UsageError
        If it has no weights yet, or does not answer one image of that size with one tensor.
    """
    require_weights(module, name)
    if getattr(module, "pretrained_cfg", None):
        classifier = from_timm.describe(module, name)
    else:
        classifier = Classifier(
            module, name, 224, IMAGENET_MEAN, IMAGENET_STD, "bilinear", 256, 224 / 256, notes=(_ASSUMED,)
        )
    _require_answer(classifier)
    return classifier


def _build(name: str) -> Classifier:
    made = _call_factory(name)
    if isinstance(made, Classifier):
        require_weights(made.module, f"module:{name}")
        classifier = replace(made, name=f"module:{name}")
        _require_answer(classifier)
        return classifier
    if isinstance(made, nn.Module):
        return adopt(made, f"module:{name}")
    raise UsageError(f"module:{name} returned a {type(made).__name__}; expected an nn.Module or a Classifier")


def _call_factory(name: str) -> Any:
    module_path, _, attribute = name.partition(":")
    if not module_path or not attribute:
        raise UsageError(f"module:{name}; expected module:package.path:factory")
    with _current_folder_importable():
        try:
            module = import_module(module_path)
        except (Exception, SystemExit) as error:  # whatever the person's own code raises
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UsageError(f"module:{name}: cannot import {module_path} from {Path.cwd()} ({reason})") from error
        factory = getattr(module, attribute, None)
        if not callable(factory):
            raise UsageError(f"module:{name}: {module_path} has no function {attribute!r}")
        try:
            return factory()
        except SystemExit as error:
            raise UsageError(f"module:{name}: {attribute}() calls sys.exit({error}) instead of a return") from error
        except Exception as error:  # whatever the person's own code raises
            raise UsageError(
                f"module:{name}: {attribute}() failed ({type(error).__name__}: {first_line(error)})"
            ) from error


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Look for modules in the current folder too, as ``python -m`` does."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@surroundings_kept()
def _require_answer(classifier: Classifier) -> None:
    """Show the network one grey image and see that it answers with one tensor, a row for the image."""
    size = classifier.input_size
    example = next(classifier.module.parameters(), torch.zeros(()))
    image = torch.zeros(1, 3, size, size, device=example.device, dtype=classifier.dtype)
    try:
        module = twin_or_itself(classifier.module)
        with torch.no_grad(), in_evaluation(module):
            answer = module(image)
    except SystemExit as error:
        raise UsageError(f"{classifier.name} calls sys.exit({error}) where it is asked for an answer") from error
    except Exception as error:  # whatever the person's own code raises
        raise UsageError(
            f"{classifier.name} does not take 1×3×{size}×{size} ({first_line(error)}); "
            "a network of another size comes as a Classifier, which says so"
        ) from error
    if not isinstance(answer, Tensor) or answer.ndim < 1 or len(answer) != 1:
        found = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise UsageError(f"{classifier.name} answers one image with {found}; expected a tensor 1×classes")
