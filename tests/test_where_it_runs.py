"""What is looked at beside a measurement runs where the measurement runs, and in its precision."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aliasing as al
from aliasing.cli import main
from aliasing.depth import lie_error
from aliasing.depth.feature_maps import follow_maps
from aliasing.errors import UsageError
from aliasing.jitter import network, trace_most_jittery
from aliasing.jitter.examples import write_examples
from aliasing.jitter.network import Execution, execution_of
from tests.test_jitter import photographs
from tests.test_scales import body, classifier

NAME = "module:tests.small_network:make"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Every device and precision that a network is prepared for, or put on; there is no other device here."""
    found: list[tuple[str, bool]] = []
    prepare, evaluated = network.prepare, network.evaluated

    def preparing(model: Any, execution: Execution = network.ON_CPU) -> Any:
        found.append((execution.device, execution.half))
        return prepare(model, execution)

    def putting(model: Any, device: str = "cpu") -> Any:
        found.append((device, False))
        return evaluated(model)

    monkeypatch.setattr("aliasing.jitter.network.prepare", preparing)
    monkeypatch.setattr("aliasing.jitter.prepare", preparing)
    monkeypatch.setattr(sys.modules["aliasing.jitter.trace"], "prepare", preparing)  # its package has a function trace
    for place in ("depth.lie", "depth.feature_maps", "depth.probe"):
        monkeypatch.setattr(f"aliasing.{place}.evaluated", putting)
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_examples_and_films_take_the_precision_of_the_run(precision: str, asked: list[Any], tmp_path: Path) -> None:
    model, pictures = classifier(body()), photographs(3)
    result = al.measure_jitter(model, pictures, precision=precision)
    before = len(asked)
    write_examples(result, [model], pictures, tmp_path)
    assert trace_most_jittery(result, [model], pictures)
    assert asked[before:] == [("cpu", precision == "bfloat16")] * 2


def test_the_answers_shown_are_those_recorded(tmp_path: Path) -> None:
    """In bfloat16, whose probabilities are not float32's: bit for bit, in batches of the same size."""
    model, pictures = classifier(body()), photographs(1)
    result = al.measure_jitter(model, pictures, precision="bfloat16")
    (followed,) = write_examples(result, [model], pictures, tmp_path)
    recorded = result.records["first_probability"].to_numpy()
    np.testing.assert_allclose(followed.confidence[:-1], recorded, atol=1e-6)
    exact = al.measure_jitter(model, pictures).records["first_probability"].to_numpy()
    assert np.abs(exact - recorded).max() > 1e-6


def test_a_verified_run_shows_what_float32_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    execution = execution_of({"device": "cuda:1", "precision": "verified"})
    assert (execution.device, execution.half) == ("cuda:1", False)


def test_the_lie_derivative_and_the_film_run_on_the_device(asked: list[Any], tmp_path: Path) -> None:
    pytest.importorskip("av")
    out = str(tmp_path / "out")
    command = ["depth", "--models", NAME, "--limit", "1", "--lie", "1", "--animate", "--protocol", "crop:span=2"]
    assert main([*command, "--out", out]) == 0
    assert len(asked) == 4  # the profile, the Lie derivative, the film, and the layers that it chooses


@pytest.mark.parametrize("measure", [lie_error, follow_maps, al.attribute])
def test_a_device_that_there_is_not_is_refused(measure: Any) -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        measure(classifier(body()), photographs(1)[0], device="gpu")
