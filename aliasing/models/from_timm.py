"""timm's networks: ``timm:resnet50.a1_in1k``, each with its own data configuration.

timm resizes the shorter side to ⌊input size / crop share⌋ and keeps the centre.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import timm
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.models import PretrainedCfg
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError
from aliasing.models.catalogue import AvailableModel, did_you_mean
from aliasing.models.checkpoints import differences, read_checkpoint, strip_prefixes
from aliasing.models.classifier import RESAMPLING, Classifier, record_weights
from aliasing.models.downloads import cached_file, cached_hub_file, fetch, fetch_hub_file


@cache
def architectures() -> tuple[str, ...]:
    """The names of timm's architectures."""
    return tuple(timm.list_models())


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
    remedy = f"fetch it elsewhere and give it as file:PATH@timm:{_canonical(config)}"
    if config.hf_hub_id:
        path = fetch_hub_file(config.hf_hub_id, remedy, config.hf_hub_filename)
    else:
        path = fetch(str(config.url), remedy)
    classifier = assemble(name, read_checkpoint(path), str(path))
    return record_weights(classifier, _origin(config), config.tag or "untagged")


def assemble(name: str, state_dict: dict[str, Tensor], source: str) -> Classifier:
    """Build the architecture with these weights, preprocessing as for the published ones of that name.

    timm itself loads them: it knows the formats that an architecture was published in.
    """
    config = _resolve(name)
    state_dict = strip_prefixes(state_dict, ())
    try:
        module = timm.create_model(
            _canonical(config), pretrained=True, pretrained_cfg_overlay={"state_dict": state_dict}
        )
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:  # of the many converters of formats
        expected = timm.create_model(_canonical(config), pretrained=False)
        reason = differences(expected, state_dict) or str(error).splitlines()[0]
        raise InputError(f"{source} does not fit timm:{_canonical(config)}: {reason}") from error
    del module.pretrained_cfg["state_dict"]  # type: ignore[operator,union-attr]  # a second copy of the weights, which every deep copy would copy
    return describe(module, f"timm:{_canonical(config)}")


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
    if data["interpolation"] not in RESAMPLING:
        raise UsageError(f"{name}: interpolation {data['interpolation']!r}; expected {', '.join(RESAMPLING)}")
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
        raise UsageError(f"timm has no network {architecture!r}{did_you_mean(architecture, architectures())}")
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
