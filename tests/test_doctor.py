"""`aliasing doctor`: what it says is so, and it tells no secret."""

import json
from importlib import metadata

import pytest
import torch

from aliasing.cli import main


def examined(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main(["doctor", "--json"]) == 0
    found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_what_is_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy")
    monkeypatch.setenv("HF_TOKEN", "secret")
    found = examined(capsys)
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["environment"]["CUDA_LAUNCH_BLOCKING"] == "1"
    assert any("CUDA_LAUNCH_BLOCKING=1 is for debugging" in remark for remark in found["remarks"])
    assert len(found["devices"]) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()
    assert "secret" not in json.dumps(found)
    assert "PROXY" not in json.dumps(found)


def test_the_table_has_it_all_and_its_lines_are_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LD_PRELOAD", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("torch", "cpu", "bfloat16", "pip install 'aliasing[EXTRA]'"))
    assert max(map(len, text.splitlines())) <= 120


def test_an_extra_is_there_or_says_what_it_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, there = metadata.version, {"av", "soundfile"}
    monkeypatch.setattr(
        metadata, "requires", lambda _: ['av>=14; extra == "film"', 'nicegui; extra == "explore"', "numpy"]
    )
    monkeypatch.setattr(metadata, "metadata", lambda _: _Extras())

    def version(name: str) -> str:
        if name == "nicegui":
            raise metadata.PackageNotFoundError(name)
        return "14.0" if name in there else asked(name)

    monkeypatch.setattr(metadata, "version", version)
    extras = examined(capsys)["extras"]
    assert extras == {
        "explore": {"packages": {"nicegui": None}, "missing": ["nicegui"]},
        "film": {"packages": {"av": "14.0"}, "missing": []},
    }


class _Extras:
    def get_all(self, _: str) -> list[str]:
        return ["test", "film", "explore"]


def test_threads_that_a_variable_takes_away_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert "torch computes on 1 of 4 cores, by OMP_NUM_THREADS" in examined(capsys)["remarks"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    assert "torch computes with 9 threads on 4 cores, which makes them wait" in examined(capsys)["remarks"]
