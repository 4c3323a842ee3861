# What `import aliasing as al` offers, in the order of the story that it tells; type checkers and __init__.py read it.
# ruff: noqa: A004, I001
from aliasing import (
    spectrum as spectrum,
    sampling as sampling,
    filters as filters,
    downsample as downsample,
    layers as layers,
    resamplers as resamplers,
    models as models,
    sites as sites,
    surgery as surgery,
    images as images,
    protocols as protocols,
    outputs as outputs,
    estimates as estimates,
    records as records,
    runs as runs,
    jitter as jitter,
    metrics as metrics,
    depth as depth,
    leaderboard as leaderboard,
    plots as plots,
    report as report,
    errors as errors,
)
from aliasing.models import Classifier as Classifier
from aliasing.models import load_model as load_model
from aliasing.sites import find_sites as find_sites
from aliasing.surgery import antialias as antialias
from aliasing.surgery import recalibrate as recalibrate
from aliasing.surgery import restore as restore
from aliasing.surgery.finetune import Recipe as Recipe
from aliasing.surgery.finetune import finetune as finetune
from aliasing.jitter import measure_jitter as measure_jitter
from aliasing.depth import probe_depth as probe_depth
from aliasing.depth.attribution import attribute as attribute
from aliasing.depth.features import probe_features as probe_features
from aliasing.downsample.survey import compare_operators as compare_operators
from aliasing.downsample.guarantees import guarantees as guarantees
from aliasing.curing import cure as cure
from aliasing.leaderboard import compare_networks as compare_networks
from aliasing.report import write_report as write_report
from aliasing.result import open as open

__version__: str
