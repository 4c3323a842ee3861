"""Texts for other people's eyes: absolute paths become the names of their files and folders."""

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

__all__ = ["shareable", "without_folders"]

T = TypeVar("T")

# From a word's beginning, or after what a network's name, an option or a bracket may have before a path. A path in
# quotes may have spaces in it.
_BEFORE = r"(?<![^\s\"'“‘`(\[{=:@,;>|+→—·])(?:file://(?=/))?(?:[A-Za-z]:(?=[\\/]))?(?!//)"
_NAME = r"[\\/]+(?=[\w.~(\[{+@#&%!$^=-])"
_FOLDERS = re.compile(rf"{_BEFORE}(?:[\\/]+[^\s\\/\"'<>|]+)*{_NAME}")
_QUOTED_FOLDERS = re.compile(
    rf"(?<!\w)([\"'](?:[^\s\\/\"']{{2,}}?[=:@])?){_BEFORE}(?:[\\/]+[^\\/\"'<>|]+)*{_NAME}(?=[^\"']*[\"'])"
)
_LITERAL = ("data:", "<svg")  # a picture's bytes, and a drawing, whose names are shareable before it is drawn


def without_folders(text: str) -> str:
    r"""A text in which each absolute path is its last part; relative paths and addresses stay.

    Examples
    --------
    >>> without_folders("aliasing depth --models file:/home/me/net.pth@module:nets:net --images /data/val --out runs/a")
    'aliasing depth --models file:net.pth@module:nets:net --images val --out runs/a'
    >>> without_folders(r"folder C:\Users\me\photos, unlabelled; 5 views/s; https://pytorch.org/hub")
    'folder photos, unlabelled; 5 views/s; https://pytorch.org/hub'
    >>> without_folders("--models 'file:/home/J. Doe/net.pth@module:nets:net' --images /data/+new")
    "--models 'file:net.pth@module:nets:net' --images +new"
    """
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub(r"\1", text))


def shareable(value: T) -> T:
    """The same blocks, texts and data, without absolute paths."""
    made: Any = value
    if isinstance(value, str) and not value.startswith(_LITERAL):
        made = without_folders(value)
    elif isinstance(value, list | tuple):
        made = type(value)(map(shareable, value))
    elif isinstance(value, dict):
        made = {shareable(key): shareable(inner) for key, inner in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        made = replace(value, **{field.name: shareable(getattr(value, field.name)) for field in fields(value)})
    return made  # type: ignore[no-any-return]
