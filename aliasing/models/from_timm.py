"""timm's networks: ``timm:resnet50.a1_in1k``, each with its own data configuration.

timm resizes the shorter side to ⌊input size / crop share⌋ and keeps the centre.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.models import PretrainedCfg
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError
from aliasing.models.catalogue import AvailableModel, did_you_mean
from aliasing.models.checkpoints import differences, load_weights, read_checkpoint, strip_prefixes
from aliasing.models.classifier import Classifier, record_weights
from aliasing.models.downloads import cached_file, cached_hub_file, fetch, fetch_hub_file
from aliasing.resizers import INTERPOLATIONS


@cache
def architectures() -> tuple[str, ...]:
    """The names of timm's architectures."""
    return tuple(timm.list_models())


def knows(name: str) -> bool:
    """Whether timm has this architecture, and weights under this tag where one is given."""
    architecture, _, tag = name.partition(".")
    return architecture in architectures() and (not tag or name in timm.list_pretrained(f"{architecture}.*"))


def available() -> Iterator[AvailableModel]:
    """Every architecture and tag that timm has weights for."""
    for name in timm.list_pretrained():
        config = _config(name)
        yield AvailableModel(f"timm:{name}", _origin(config), _cached(config) is not None)


def load(name: str) -> Classifier:
    """Load a network with its published weights, from the cache or the network."""
    config = _resolve(name)
    if not (config.hf_hub_id or config.url):
        raise UsageError(f"timm has no weights for {name!r}; give your own as file:PATH@timm:{name}")
    full_name = f"timm:{_canonical(config)}"
    if config.hf_hub_id:
        path = fetch_hub_file(config.hf_hub_id, config.hf_hub_filename, full_name)
    else:
        path = fetch(str(config.url), full_name)
    classifier = assemble(name, read_checkpoint(path), str(path))
    return record_weights(classifier, _origin(config), config.tag or "untagged")


def assemble(name: str, state_dict: dict[str, Tensor], source: str) -> Classifier:
    """Build the architecture with these weights, preprocessing as for the published ones of that name."""
    full_name = _canonical(_resolve(name))
    module = _build(full_name)
    state_dict = strip_prefixes(state_dict, module.state_dict())
    if differences(module, state_dict):
        module = _convert(full_name, module, state_dict, source)
    else:
        load_weights(module, state_dict, source)
    return describe(module, f"timm:{full_name}")


def _build(full_name: str, **options: Any) -> nn.Module:
    """Build an architecture, its initial weights always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(full_name, **options)


def _convert(full_name: str, initial: nn.Module, state_dict: dict[str, Tensor], source: str) -> nn.Module:
    """Let timm load weights of a format that it was published in but does not save.

    For some architectures timm passes over what is missing. A tensor that is still as it was initialised shows that.
    """
    reason = differences(initial, state_dict)
    try:
        module = _build(full_name, pretrained=True, pretrained_cfg_overlay={"state_dict": state_dict})
    except Exception as error:  # timm has a converter for each family, and each fails in its own way
        raise InputError(f"{source} does not fit timm:{full_name}: {reason}") from error
    before = initial.state_dict()
    if any(torch.equal(value, before[key]) and not _is_constant(value) for key, value in module.state_dict().items()):
        raise InputError(f"{source} does not fit timm:{full_name}: {reason}")
    # A second copy of the weights, which every deep copy of the network would copy.
    del module.pretrained_cfg["state_dict"]  # type: ignore[operator,union-attr]
    return module


def _is_constant(tensor: Tensor) -> bool:
    return bool((tensor == tensor.flatten()[:1]).all())


def describe(module: nn.Module, name: str) -> Classifier:
    """Read the preprocessing of a network that timm built from the configuration it carries.

    Raises
    ------
    UsageError
        If it does not take square RGB images.
    """
    config: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    data = resolve_data_config(pretrained_cfg=config)  # type: ignore[no-untyped-call]
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise UsageError(f"{name} takes {channels}×{height}×{width}; expected three channels and a square")
    if data["interpolation"] not in INTERPOLATIONS:
        raise UsageError(f"{name}: interpolation {data['interpolation']!r}; expected {', '.join(INTERPOLATIONS)}")
    share, mode = data["crop_pct"], data["crop_mode"]
    notes = []
    if mode != "center":
        notes.append(f"timm's crop mode {mode!r} was not used: the shorter side is resized and the centre kept")
    if share > 1:
        notes.append(f"timm's crop share {share:g} leaves a border; the centre was enlarged to fill the input instead")
    if getattr(module, "num_classes", None) == 0:
        notes.append("no classifier head: only its embedding can be measured (--output embedding)")
    subset = infer_imagenet_subset(module)
    return Classifier(
        module,
        name,
        input_size=height,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
        resize_size=max(height, math.floor(height / share)),
        crop_share=share,
        labels=tuple(ImageNetInfo(subset).label_descriptions()) if subset else None,
        notes=tuple(notes),
    )


def _resolve(name: str) -> PretrainedCfg:
    """``resnet50.a1_in1k`` → its configuration; without a tag timm's default."""
    architecture, _, tag = name.partition(".")
    if architecture not in architectures():
        nearest = did_you_mean(architecture, architectures())
        raise UsageError(f"timm has no network {architecture!r}{nearest or '; `aliasing models timm:` lists them'}")
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise UsageError(f"timm:{architecture} has no weights {tag!r}; it has {', '.join(tags) or 'none'}")
    return _config(name)


def _config(name: str) -> PretrainedCfg:
    return timm.get_pretrained_cfg(name) or PretrainedCfg(architecture=name)


def _canonical(config: PretrainedCfg) -> str:
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def _origin(config: PretrainedCfg) -> str:
    return f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else str(config.url)


def _cached(config: PretrainedCfg) -> Path | None:
    if config.hf_hub_id:
        return cached_hub_file(config.hf_hub_id, config.hf_hub_filename)
    return cached_file(str(config.url))
