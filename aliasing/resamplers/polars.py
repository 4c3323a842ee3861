"""Polars: windows of time, whose mean bears the time of their beginning."""

from typing import Any

import polars as pl

from aliasing.resamplers import Resampler, factors, named


def _windows(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    frame = pl.DataFrame({"place": range(len(samples)), "sample": samples})
    means = frame.group_by_dynamic("place", every=f"{factors(samples, shape)[0]}i").agg(pl.col("sample").mean())
    return means["sample"].to_numpy()


RESAMPLERS = named(
    Resampler(
        name="polars-mean",
        library="polars",
        version=pl.__version__,
        function=_windows,
        antialias=True,
        dtypes=("float64",),
        axes=1,
        whole=True,
        positions="steps",
    )
)
