"""The text of a conversion, in a model's name and in the metadata of a file.

``antialiased:binomial4:torchvision:resnet50`` is a network with the defaults; further words, separated by commas,
change them: ``antialiased:binomial3,before,all:…``, ``antialiased:flc,afc:…`` (with alias-free activations),
``antialiased:aps,all,upsampling,circular:…``. Your own taps are written as numbers, ``antialiased:1-2-1:…``; filters
of each axis are separated by slashes, ``antialiased:binomial4/1-2-1:…``. ``sites=maxpool+layer2.0.conv1`` treats these
sites alone, by their names in ``aliasing sites``. Operators have their names in `aliasing.kinds.OPERATORS`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from aliasing.downsample import PADDINGS
from aliasing.downsample.operator import without_operators
from aliasing.errors import InputError, UsageError, first_line
from aliasing.kinds import OPERATORS
from aliasing.models import ShownNetwork, load_model
from aliasing.models.classifier import record_weights
from aliasing.provenance import write_bytes
from aliasing.state import check_fits, parse_json
from aliasing.surgery.convert import (
    NONLINEARITIES,
    NORMALIZATIONS,
    POSITIONS,
    SITES,
    Conversion,
    antialias,
    conversion_of,
)
from aliasing.surgery.operators import make_operator
from aliasing.surgery.schemes import SCHEMES

__all__ = ["describe", "load", "parse", "read_taps", "reapply", "save"]

METADATA_KEY = "aliasing.conversion"
_KEPT = ("steps", "root")  # of the weights' origin; see `aliasing.models.Classifier`
_DEFAULTS = {name: value for name, value in (antialias.__kwdefaults__ or {}).items() if name != "example_input"}
_WORDS = {
    **dict.fromkeys(("after", "before"), "placement"),
    **dict.fromkeys(SCHEMES, "scheme"),
    **dict.fromkeys(PADDINGS, "padding"),
    **dict.fromkeys(NONLINEARITIES, "nonlinearity"),
    **dict.fromkeys(NORMALIZATIONS, "normalization"),
    "upsampling": "upsampling",
    **dict.fromkeys(POSITIONS, "positions"),
}

MOST_TAPS = 256  # that a name or a file can ask for: their response is computed and convolved
_LONGEST = 2**16  # characters of a specification, which may name many sites
_NUMBER = r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?"


def parse(text: str) -> dict[str, Any]:
    """The arguments of `antialias` that a specification means; UsageError if one is unknown or given twice.

    Examples
    --------
    >>> given = parse("binomial3,before")
    >>> given["operator"], given["taps"], given["placement"], given["scheme"]
    ('blur', 'binomial3', 'before', 'zhang2019')
    """
    if len(text) > _LONGEST:
        raise UsageError(f"antialiased:{text[:40]}…: {len(text)} characters; expected at most {_LONGEST}")
    given: dict[str, Any] = {}
    for word in text.split(","):
        key = "operator" if word in OPERATORS else "scheme" if word.startswith(SITES) else _WORDS.get(word, "taps")
        if key in given:
            raise UsageError(f"antialiased:{text}: {key} is given twice; expected, for example, binomial4,before,all")
        given[key] = read_taps(word) if key == "taps" else key == word or word
    arguments = {**_DEFAULTS, **given}
    make_operator(arguments["operator"], arguments["taps"], arguments["padding"])  # refuses a wrong filter
    if "taps" in given and not OPERATORS[arguments["operator"]].takes_taps:
        raise UsageError(f"antialiased:{text}: {arguments['operator']} is a filter too, so it is given twice; drop one")
    return arguments


def describe(conversion: Conversion) -> str:
    """The specification of a conversion, for `parse`; UsageError if its scheme is a function."""
    if not isinstance(conversion.scheme, str):
        raise UsageError("a scheme that is a function can't be written to a name or a file; name a scheme")
    return str(conversion)


def load(name: str, **changes: Any) -> ShownNetwork:
    """``SPECIFICATION:MODEL`` → the model, converted; changes as in `aliasing.load_model`."""
    text, colon, model = name.partition(":")
    if not colon or not model:
        raise UsageError(f"antialiased:{name}; expected antialiased:FILTER:MODEL, as antialiased:binomial4:resnet50")
    arguments = parse(text)  # before the weights are fetched
    return antialias(load_model(model, **changes), **arguments)


def save(model: ShownNetwork | nn.Module, path: str | Path) -> None:
    """Write the weights of a converted network, with the architecture and the conversion in the file's metadata.

    ``load_model(f"file:{path}@…")`` applies it again.

    Parameters
    ----------
    model : Classifier or nn.Module
    path : str or Path
        A file that ends in ``.safetensors``.

    Raises
    ------
    UsageError
        The file has another ending, or the network was converted by a scheme that is a function.
    """
    path = Path(path)
    if isinstance(model, nn.Module):
        model = load_model(model)
    conversion = conversion_of(model.module)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: the conversion is kept in a .safetensors file's metadata; use that suffix")
    metadata = {"architecture": model.name}
    if conversion is not None:
        metadata[METADATA_KEY] = json.dumps({"specification": describe(conversion)})
    metadata |= {f"aliasing.{key}": model.origin[key] for key in _KEPT if key in model.origin}
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.module.state_dict().items()}
    write_bytes(path, safetensors.torch.save(state, metadata))


def reapply(model: ShownNetwork, path: Path) -> ShownNetwork:
    """Convert a network as the metadata of its weights' file says; without such metadata it stays as it is."""
    if path.suffix != ".safetensors":
        return model
    with safetensors.safe_open(path, "pt") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
        names = dict.fromkeys(file.keys())
        learned = {name: file.get_tensor(name) for name in names.keys() - without_operators(names).keys()}
    model = replace(
        model, origin=model.origin | {k: metadata[f"aliasing.{k}"] for k in _KEPT if f"aliasing.{k}" in metadata}
    )
    if METADATA_KEY not in metadata:
        if learned:
            raise InputError(
                f"{path}: holds weights of operators but no conversion; write it with aliasing.surgery.save"
            )
        return model
    written = metadata[METADATA_KEY]
    try:
        found = parse_json(written[: 2 * _LONGEST])
        check_fits(found, {str: str}, path)
        conversion = parse(found["specification"])
    except (ValueError, KeyError, RecursionError) as error:
        said = f"{written[:80]}{'…' * (len(written) > 80)}"
        told = f"{path}: its metadata says {said!r}, which is not a conversion"
        raise InputError(f"{told} ({first_line(error)})") from None
    converted = antialias(model, **conversion)
    _, unexpected = converted.module.load_state_dict(learned, strict=False)
    if unexpected:
        raise InputError(f"{path}: {found['specification']} has no operator with {unexpected[0]}")
    return record_weights(replace(converted, name=model.name), str(path))


def read_taps(word: str) -> str | list[float] | list[Any]:
    """Read taps from a specification: a filter's name, numbers separated by hyphens, or one of these per axis.

    Examples
    --------
    >>> read_taps("binomial3"), read_taps("1-2-1"), read_taps("-1-9-9--1")
    ('binomial3', [1.0, 2.0, 1.0], [-1.0, 9.0, 9.0, -1.0])
    >>> read_taps("binomial3/1-2-1")
    ['binomial3', [1.0, 2.0, 1.0]]
    """
    if "/" in word:
        return [read_taps(part) for part in word.split("/")]
    numbers: list[float] = []
    if re.fullmatch(f"{_NUMBER}(-{_NUMBER})*", word):
        numbers = [float(number) for number in re.findall(f"(?:^|-)({_NUMBER})", word)]
    length = len(numbers) or int(f"0{re.search('[0-9]*$', word)[0]}"[:9])  # type: ignore[index]
    if length > MOST_TAPS:
        raise UsageError(f"a filter of {length} taps; a name or a file can ask for at most {MOST_TAPS}")
    return numbers or word
