"""timm's networks: ``timm:resnet50.a1_in1k``, each with its own data configuration.

timm resizes to ⌊input size / crop share⌋ according to the crop mode and keeps the centre. If it publishes a larger
input size for testing, ``timm:resnet50.a1_in1k@test`` is the network at that size; otherwise the training size is used.
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

from aliasing.errors import InputError, UsageError, first_line
from aliasing.models.changes import BORDER, BUILT, EVALUATED, apply_changes, for_one_channel, size_of
from aliasing.models.checkpoints import (
    Checkpoint,
    classes_in,
    differences,
    load_weights,
    read_checkpoint,
    strip_prefix,
    with_notes,
)
from aliasing.models.classifier import Classifier, one_number, record_weights
from aliasing.models.declared import built_for
from aliasing.models.downloads import cached_file, cached_hub_file, fetch, fetch_hub_file
from aliasing.models.source import AvailableModel, Source
from aliasing.registry import did_you_mean

TEST = "@test"


@cache
def architectures() -> tuple[str, ...]:
    """The names of timm's architectures."""
    return tuple(timm.list_models())


def knows(name: str) -> bool:
    """Whether timm has this architecture, and weights under this tag if one is given."""
    name = name.removesuffix(TEST)
    architecture, _, tag = name.partition(".")
    return architecture in architectures() and (not tag or name in timm.list_pretrained(f"{architecture}.*"))


def available() -> Iterator[AvailableModel]:
    """Every architecture and tag for which timm has weights."""
    for name in timm.list_pretrained():
        config = _config(name)
        yield AvailableModel(f"timm:{name}", _origin(config), _cached(config) is not None)


def load(name: str, **changes: Any) -> Classifier:
    """Load a network with its published weights, from the cache or a download, built for the input size given."""
    config = _resolve(name)
    if not (config.hf_hub_id or config.url):
        raise UsageError(f"timm has no weights for {name!r}; give your own as file:PATH@timm:{name}")
    full_name = f"timm:{_canonical(config)}"
    if config.hf_hub_id:
        path = fetch_hub_file(config.hf_hub_id, config.hf_hub_filename, full_name)
    else:
        path = fetch(str(config.url), full_name)
    classifier = assemble(name, read_checkpoint(path), **changes)
    return record_weights(classifier, _origin(config), config.tag or "untagged")


def assemble(name: str, checkpoint: Checkpoint, **changes: Any) -> Classifier:
    """Build the architecture with these weights, and the preprocessing of the published ones of that name."""
    config, size = _resolve(name), size_of(changes)
    options: dict[str, Any] = {"img_size": one_number(size)} if size is not None and config.fixed_input_size else {}
    full_name = _canonical(config)
    module = _build(full_name, **options)
    checkpoint = strip_prefix(checkpoint, module.state_dict())
    classes = classes_in(checkpoint, _head(module))
    if classes is not None:
        options["num_classes"] = classes
        module = _build(full_name, **options)
    if differences(module, checkpoint.tensors):
        module = _convert(full_name, module, checkpoint, options)
    else:
        load_weights(module, checkpoint)
    classifier = describe(module.eval(), f"timm:{full_name}{TEST if name.endswith(TEST) else ''}")
    return apply_changes(with_notes(classifier, checkpoint, classes), changes)


def _build(full_name: str, **options: Any) -> nn.Module:
    """Build an architecture with reproducible initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return timm.create_model(full_name, **options)
        except Exception as error:  # each family raises its own if the size does not divide
            if "img_size" not in options:
                raise
            size = options["img_size"]
            raise UsageError(f"timm cannot build {full_name} for an input of {size} ({first_line(error)})") from error


def _head(module: nn.Module) -> dict[str, Tensor]:
    """The weights of the layers that timm names as the classifier; of all layers if it names none."""
    names = module.pretrained_cfg.get("classifier") or ""  # type: ignore[operator,union-attr]
    starts = (names,) if isinstance(names, str) else tuple(names)
    return {key: value for key, value in module.state_dict().items() if key.startswith(starts)}


def _convert(full_name: str, initial: nn.Module, checkpoint: Checkpoint, options: dict[str, Any]) -> nn.Module:
    """Let timm load weights in a published format that it does not write itself.

    For some architectures timm ignores missing tensors; one that still has its initial values shows that.
    """
    reason = differences(initial, checkpoint.tensors)
    overlay = {"state_dict": checkpoint.tensors, **{k: v for k, v in options.items() if k == "num_classes"}}
    try:
        module = _build(full_name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except Exception as error:  # each family's converter fails in its own way
        raise InputError(f"{checkpoint.source} does not fit timm:{full_name}: {reason}") from error
    before = initial.state_dict()
    for key, value in module.state_dict().items():
        given = checkpoint.tensors.get(key)
        is_given = given is not None and given.shape == value.shape and torch.equal(given, value)
        is_constant = bool((value == value.flatten()[:1]).all())
        if torch.equal(value, before[key]) and not is_constant and not is_given:
            raise InputError(f"{checkpoint.source} does not fit timm:{full_name}: {reason}")
    # A second copy of the weights, which every deep copy of the network would copy too.
    del module.pretrained_cfg["state_dict"]  # type: ignore[operator,union-attr]
    return module


def config_of(module: nn.Module) -> dict[str, Any]:
    """The configuration with which timm built a network; empty if it did not, whatever carries that name."""
    config = getattr(module, "pretrained_cfg", None)
    return config if isinstance(config, dict) and isinstance(config.get("architecture"), str) else {}


def describe(module: nn.Module, name: str, channels: int | None = None) -> Classifier:
    """Read the preprocessing of a network that timm built from the network's configuration.

    A ``name`` that ends in ``@test`` asks for the input size of testing; ``channels`` overrides the configuration's.
    Raises UsageError if the network has neither one channel nor three.
    """
    config: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    is_test = name.endswith(TEST)
    data, other = (
        resolve_data_config(pretrained_cfg=config, use_test_size=use)  # type: ignore[no-untyped-call]
        for use in (is_test, not is_test)
    )
    published, height, width = data["input_size"]
    channels = channels or published
    notes = []
    built = built_for(module)
    if built is not None and built != (height, width) and not is_test:
        notes.append(f"{BUILT} {built[0]}×{built[1]} pixels; published for {height}×{width}")
        height, width = built
    elif other != data:
        notes.append(_note_other_size(data, other, is_test, f"timm:{config.get('architecture')}.{config.get('tag')}"))
    if data["crop_pct"] > 1:
        notes.append(f"{BORDER} of {data['crop_pct']:g}, as published")
    mean, std = tuple(data["mean"]), tuple(data["std"])
    if channels == 1 and len(mean) == 3:
        mean, std, note = for_one_channel(mean, std)
        notes.append(note)
    if channels not in (1, 3):
        raise UsageError(f"{name} takes {channels}×{height}×{width}; expected three channels, or one")
    if getattr(module, "num_classes", None) == 0:
        notes.append("no classifier head: only its embedding can be measured (--output embedding)")
    subset = infer_imagenet_subset(module)
    return Classifier(
        module,
        name,
        input_size=(height, width),
        mean=mean,
        std=std,
        interpolation=data["interpolation"],
        resize_size=(math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"])),
        crop_share=data["crop_pct"],
        labels=tuple(ImageNetInfo(subset).label_descriptions()) if subset else None,
        notes=tuple(notes),
        crop_mode=data["crop_mode"],
    )


def _note_other_size(data: dict[str, Any], other: dict[str, Any], is_test: bool, name: str) -> str:
    """A note on which of two published input sizes is used, and how to ask for the other."""

    used, unused = (
        f"{config['input_size'][1]}×{config['input_size'][2]} pixels (crop share {config['crop_pct']:g})"
        for config in (data, other)
    )
    if is_test:
        return f"{EVALUATED} that timm publishes for testing, {used}; it was trained at {unused}"
    return f"{EVALUATED} of its training, {used}; for testing timm has {unused}: {name}{TEST}"


def _resolve(name: str) -> PretrainedCfg:
    """``resnet50.a1_in1k`` or ``resnet50.a1_in1k@test`` → its configuration; without a tag, timm's default."""
    name, _, variant = name.partition("@")
    architecture, _, tag = name.partition(".")
    if architecture not in architectures():
        nearest = did_you_mean(architecture, architectures())
        raise UsageError(f"timm has no network {architecture!r}{nearest or '; `aliasing models timm:` lists them'}")
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise UsageError(f"timm:{architecture} has no weights {tag!r}; it has {', '.join(tags) or 'none'}")
    config = _config(name)
    if variant and (f"@{variant}" != TEST or not (config.test_input_size or config.test_crop_pct)):
        raise UsageError(f"timm:{name} has no input size {variant!r}, only that of its training; leave out @{variant}")
    return config


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


SOURCE = Source(load=load, available=available, architectures=architectures, knows=knows, assemble=assemble)
