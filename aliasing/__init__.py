"""See, measure and cure aliasing in downsampling.

Look at a signal's spectrum, subsample it and see what folds, filter so that less folds, put those operators into a
pretrained network, shift its input by one pixel, and measure how much its answer jitters, and at which depth.

Everything here is loaded when it is first used, so that ``import aliasing`` loads neither torch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aliasing import (
        depth,
        downsample,
        errors,
        estimates,
        filters,
        images,
        jitter,
        layers,
        leaderboard,
        models,
        plots,
        protocols,
        records,
        report,
        runs,
        sampling,
        sites,
        spectrum,
        surgery,
    )
    from aliasing.depth import probe_depth
    from aliasing.depth.features import probe_features
    from aliasing.downsample.survey import compare_operators
    from aliasing.jitter import measure_jitter
    from aliasing.leaderboard import compare_networks
    from aliasing.models import Classifier, load_model
    from aliasing.report import write_report
    from aliasing.sites import find_sites
    from aliasing.surgery import antialias, restore
    from aliasing.surgery.recalibrate import recalibrate

__version__ = "0.1.0"

# Public name -> the module that defines it; the modules stand in the order of the story that they tell.
_MODULES = (
    "spectrum",
    "sampling",
    "filters",
    "downsample",
    "layers",
    "models",
    "sites",
    "surgery",
    "images",
    "protocols",
    "estimates",
    "records",
    "runs",
    "jitter",
    "depth",
    "leaderboard",
    "plots",
    "report",
    "errors",
)
_FUNCTIONS = {
    "Classifier": "models",
    "load_model": "models",
    "find_sites": "sites",
    "antialias": "surgery",
    "recalibrate": "surgery",
    "restore": "surgery",
    "measure_jitter": "jitter",
    "probe_depth": "depth",
    "probe_features": "depth.features",
    "compare_operators": "downsample.survey",
    "compare_networks": "leaderboard",
    "write_report": "report",
}

__all__ = [  # noqa: RUF022 - the order of the story, not of the alphabet
    "spectrum",
    "sampling",
    "filters",
    "downsample",
    "layers",
    "models",
    "sites",
    "surgery",
    "images",
    "protocols",
    "estimates",
    "records",
    "runs",
    "jitter",
    "depth",
    "leaderboard",
    "plots",
    "report",
    "errors",
    "Classifier",
    "load_model",
    "find_sites",
    "antialias",
    "recalibrate",
    "restore",
    "measure_jitter",
    "probe_depth",
    "probe_features",
    "compare_operators",
    "compare_networks",
    "write_report",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"aliasing.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"aliasing.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'aliasing' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
