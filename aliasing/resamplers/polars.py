"""Polars: windows of time, whose mean bears the time of their beginning."""

from functools import partial
from typing import Any

import polars as pl

from aliasing.resamplers import Resampler, factors, named


def _windows(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    frame = pl.DataFrame({"place": range(len(samples)), "sample": samples})
    means = frame.group_by_dynamic("place", every=f"{factors(samples, shape)[0]}i").agg(pl.col("sample").mean())
    return means["sample"].to_numpy()


_call = partial(Resampler, library="polars", version=pl.__version__, antialias=True, dtypes=("float64",))
RESAMPLERS = named(_call(name="polars-mean", function=_windows, axes=1, positions="steps"))
