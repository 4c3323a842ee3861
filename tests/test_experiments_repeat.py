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
from conftest import DATA, run_quickly, skip_without_needs

from experiments.__main__ import claims
from experiments.coverage import examine

# Those that measure and draw in one go; the others draw from what other commands left.
NAMES = [name for name in claims() if hasattr(import_module(f"experiments.{name}"), "run")]
# A second run of these takes seconds; mlp_vs_cnn has its own in test_experiments_training.py.
FAST = ("cnn_by_hand", "dataset_bias", "location", "spectrum")
SAME = ("settings", "data", "weights", "numbers", "threads")
ALL_IN_ONE_PROCESS = """
import sys, traceback
from experiments.__main__ import main
data, out, *names = sys.argv[1:]
for name in names:
    try:
        main([name, "--quick", "--out", f"{out}/{name}", "--data", data])
    except Exception:
        traceback.print_exc()
"""


@pytest.mark.parametrize("name", FAST)
def test_a_second_run_gives_the_same(name: str, tmp_path: Path, quick: Callable[[str], dict[str, Any]]) -> None:
    again = run_quickly(name, tmp_path)
    for part in SAME:
        assert again[part] == quick(name)[part]


def test_a_network_that_is_examined_again_gives_the_same_row() -> None:
    """Of ``coverage``, whose eight networks together take long."""
    assert examine("timm:resnet26d") == examine("timm:resnet26d")


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two processes that run them all: in the other order, so that nothing left by a run before can help, and with
    other hashes, so that the order of a set cannot."""
    folders = []
    for seed, names in (("1", NAMES), ("2", NAMES[::-1])):
        out = tmp_path_factory.mktemp(f"run{seed}")
        environment = os.environ | {"PYTHONHASHSEED": seed, "MPLBACKEND": "agg"}
        command = [sys.executable, "-c", ALL_IN_ONE_PROCESS, str(DATA), str(out), *names]
        subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, check=True)
        folders.append(out)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_give_the_same(name: str, twice: list[Path]) -> None:
    skip_without_needs(name)
    first, second = (json.loads((out / name / "summary.json").read_text("utf-8")) for out in twice)
    for part in SAME:
        assert first[part] == second[part]
