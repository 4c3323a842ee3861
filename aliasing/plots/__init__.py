"""Figures from results. Nothing here computes a result; each function takes one and returns a matplotlib figure."""

from aliasing.plots.across import across
from aliasing.plots.attribution import attribution
from aliasing.plots.cure import cure
from aliasing.plots.depth import depth, lie, local_errors
from aliasing.plots.differences import differences
from aliasing.plots.feature_maps import filters, layers, moving_maps
from aliasing.plots.film import save_film
from aliasing.plots.guarantees import guarantees
from aliasing.plots.jitter import jitter
from aliasing.plots.leaderboard import leaderboard
from aliasing.plots.moving import animated_maps, animation
from aliasing.plots.resamplers import resampler, resamplers
from aliasing.plots.responses import alias, folding, response
from aliasing.plots.sound import sound
from aliasing.plots.spectrum import spectrum
from aliasing.plots.style import save
from aliasing.plots.volume import volume

__all__ = [
    "across",
    "alias",
    "animated_maps",
    "animation",
    "attribution",
    "cure",
    "depth",
    "differences",
    "filters",
    "folding",
    "guarantees",
    "jitter",
    "layers",
    "leaderboard",
    "lie",
    "local_errors",
    "moving_maps",
    "resampler",
    "resamplers",
    "response",
    "save",
    "save_film",
    "sound",
    "spectrum",
    "volume",
]
