"""Readers of where objects are and how large they are, from the box annotations of VOC, COCO and ImageNet."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aliasing.errors import InputError


@dataclass(frozen=True)
class Box:
    """An object's box, relative to its image: 0 is the left or upper edge, 1 the right or lower one.

    Attributes
    ----------
    image, category : str
    left, top, right, bottom : float
    """

    image: str
    category: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    @property
    def area(self) -> float:
        """Share of the image."""
        return (self.right - self.left) * (self.bottom - self.top)


def read_voc(folder: Path) -> Iterator[Box]:
    """PASCAL VOC: a folder of XML files; pixels are counted from 1, and both edges belong to the box.

    Difficult and truncated objects are boxes like the others.
    """
    yield from _read_xml(folder, first_pixel=1)


def read_imagenet(folder: Path) -> Iterator[Box]:
    """ImageNet's localisation: VOC's format, pixels counted from 0, classes by WordNet id, one folder per class."""
    yield from _read_xml(folder, first_pixel=0)


def read_coco(file: Path) -> Iterator[Box]:
    """COCO: one JSON file, boxes as [left, top, width, height] in pixels; crowds are left out."""
    try:
        content = json.loads(file.read_text("utf-8"))
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content["categories"]}
        for note in content["annotations"]:
            left, top, width, height = note["bbox"]
            image = images[note["image_id"]]
            if note.get("iscrowd") or width <= 0 or height <= 0:
                continue
            yield _relative(
                image["file_name"],
                categories[note["category_id"]],
                left,
                top,
                left + width,
                top + height,
                image["width"],
                image["height"],
            )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no COCO annotation of boxes: {type(error).__name__}: {error}") from error


def _read_xml(folder: Path, first_pixel: int) -> Iterator[Box]:
    for file in sorted(folder.rglob("*.xml")):
        try:
            root = ElementTree.parse(file).getroot()
            width, height = (float(_text(root, f"size/{name}")) for name in ("width", "height"))
            for thing in root.iter("object"):
                left, top, right, bottom = (
                    float(_text(thing, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")
                )
                yield _relative(
                    file.stem,
                    _text(thing, "name"),
                    left - first_pixel,
                    top - first_pixel,
                    right + 1 - first_pixel,
                    bottom + 1 - first_pixel,
                    width,
                    height,
                )
        except (ElementTree.ParseError, ValueError) as error:
            raise InputError(f"{file} is no annotation of boxes: {error}") from error


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"it has no {path}")
    return text


def _relative(
    image: str, category: str, left: float, top: float, right: float, bottom: float, width: float, height: float
) -> Box:
    """Return the box relative to the image; what lies outside is cut off."""
    if not (width > 0 and height > 0):
        raise ValueError(f"{image} is {width}×{height} pixels")
    x = [min(max(edge / width, 0.0), 1.0) for edge in (left, right)]
    y = [min(max(edge / height, 0.0), 1.0) for edge in (top, bottom)]
    return Box(image, category, x[0], y[0], x[1], y[1])
