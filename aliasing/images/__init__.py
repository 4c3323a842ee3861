"""Streams of images from a file, a folder, an archive, a table, a data set, a bundled sample or memory.

A source is iterated entry by entry, always in the same order. An entry costs nothing until it is loaded, and then gives
uint8 RGB pixels, upright by default, a video, or the samples of a signal; or the reason why it cannot. Labels are kept
as they are written.
"""

from aliasing.images.chosen import choose_images
from aliasing.images.entries import Clip, Entry, Image, ImageSource, Loaded, Signal
from aliasing.images.opening import open_images
from aliasing.images.pixels import BadImage, decode

__all__ = [
    "BadImage",
    "Clip",
    "Entry",
    "Image",
    "ImageSource",
    "Loaded",
    "Signal",
    "choose_images",
    "decode",
    "open_images",
]
