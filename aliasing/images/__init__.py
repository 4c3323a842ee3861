"""Which images are measured? A stream from a file, a folder, an archive, a table, a data set, a sample or memory.

A source is iterated entry by entry, always in the same order; an entry costs nothing until it is loaded, and then
gives uint8 RGB pixels, upright unless it is said otherwise, or the reason why it cannot. Labels are what is written.
"""

from aliasing.images.entries import Clip, Entry, Image, ImageSource
from aliasing.images.opening import open_images
from aliasing.images.pixels import BadImage, decode

__all__ = ["BadImage", "Clip", "Entry", "Image", "ImageSource", "decode", "open_images"]
