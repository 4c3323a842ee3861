"""The same command twice gives the same numbers, from the same data, with the same weights: every experiment."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, NEEDS, run_quickly

from experiments.__main__ import claims

# Those that measure and draw in one go; the others draw from what other commands left.
NAMES = [name for name in claims() if hasattr(import_module(f"experiments.{name}"), "run")]
# A second run of these takes under three seconds each.
FAST = ("cnn_by_hand", "coverage", "dataset_bias", "location", "mlp_vs_cnn", "spectrum")
SAME = ("settings", "data", "weights", "numbers", "threads")


@pytest.mark.parametrize("name", FAST)
def test_a_second_run_gives_the_same(name: str, tmp_path: Path, quick: Callable[[str], dict[str, Any]]) -> None:
    again = run_quickly(name, tmp_path)
    for part in SAME:
        assert again[part] == quick(name)[part]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_command_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    """Two processes, in which sets and dictionaries hash differently and nothing is left from a run before."""
    if not (DATA / NEEDS.get(name, ".")).exists():
        pytest.skip(f"no {NEEDS[name]} in {DATA}; set ALIASING_DATA")
    summaries = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "experiments", name, "--quick", "--out", str(out), "--data", str(DATA)]
        environment = os.environ | {"PYTHONHASHSEED": seed, "MPLBACKEND": "agg"}
        subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, check=True, timeout=600)
        summaries.append(json.loads((out / "summary.json").read_text("utf-8")))
    for part in SAME:
        assert summaries[0][part] == summaries[1][part]
