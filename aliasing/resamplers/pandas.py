"""pandas: windows of time, whose mean bears the time of their beginning, and the first sample of each."""

from functools import partial
from typing import Any

import pandas as pd

from aliasing.resamplers import Resampler, factors, named


def _windows(samples: Any, shape: tuple[int, ...], _: str, kept: str) -> Any:
    series = pd.Series(samples, pd.date_range("2000-01-01", periods=len(samples), freq="s"))
    return series.resample(f"{factors(samples, shape)[0]}s").agg(kept).to_numpy()


_call = partial(Resampler, library="pandas", version=pd.__version__, dtypes=("float64",), axes=1, positions="steps")
RESAMPLERS = named(
    _call(name="pandas-mean", function=partial(_windows, kept="mean"), antialias=True),
    _call(name="pandas-first", function=partial(_windows, kept="first"), antialias=False),
)
