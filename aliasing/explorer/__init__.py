"""The explorer: a local page on which one drags a photograph by pixels or fractions and watches two networks answer.

The page runs on this machine alone: it fetches nothing and sends nothing. It shows the results of the library: answers
(:mod:`aliasing.explorer.walk`), depth and spectra (:mod:`aliasing.explorer.drawings`).
"""

from aliasing.explorer.page import serve

__all__ = ["serve"]
