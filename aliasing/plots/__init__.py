"""Figures from results. Nothing here computes a result; each function takes one and returns a matplotlib figure."""

from aliasing.plots.depth import depth, lie
from aliasing.plots.jitter import jitter
from aliasing.plots.spectrum import spectrum
from aliasing.plots.style import save

__all__ = ["depth", "jitter", "lie", "save", "spectrum"]
