"""A run that is shared, killed, refused or out of room ends as one process that nobody disturbs."""

import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aliasing import provenance
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import open_images
from aliasing.records import Records
from aliasing.runs import ALONE, Ranks, Run, hold
from tests.image_files import noise
from tests.killed_runs import records_of
from tests.small_network import NAME

ROOT = Path(__file__).parents[1]
ANOTHER = "module:tests.small_network:another"
COUNT = 100  # images: three blocks of 32 and one of 4


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of just the canvas's size, one of them broken."""
    folder = noise(tmp_path_factory.mktemp("photographs"), COUNT, (32, 32))
    (folder / "040.png").write_bytes(b"no picture")
    return folder


def summary_of(folder: Path) -> dict[str, Any]:
    """What a run says, but for how it was started."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {key: value for key, value in summary.items() if key not in ("command", "digest")}


def left_over(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


def started(command: list[object], **environment: str) -> subprocess.CompletedProcess[str]:
    words, variables = list(map(str, command)), os.environ | environment
    return subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=600)


def torchrun(processes: int, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "-m", *words]
    return started(command, **environment)


def test_any_number_of_processes_gives_the_same_bytes_and_one_that_dies_is_named(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three processes measure depth and embeddings whole and jitter until one is killed; two others go on with it."""
    images = ["--images", photographs]
    depth = ["depth", "--models", NAME, *images, "--sites-every", 4, "--out"]
    embedding = ["jitter", "--models", NAME, *images, "--output", "embedding", "--out"]
    jitter = ["jitter", "--models", NAME, ANOTHER, *images, "--out"]
    for command, out in ((depth, "depth"), (embedding, "embedding"), (jitter, "jitter")):
        assert main([*map(str, command), str(tmp_path / out)]) == 0
    printed = capsys.readouterr().out
    shared = tmp_path / "shared"
    # The killed one has written its share (block 1) of depth, the gallery, the embeddings and the first network of
    # jitter; it dies in the second.
    three = torchrun(
        3,
        *("tests.small_network", *depth, shared / "depth", "--then", *embedding, shared / "embedding"),
        *("--then", *jitter, shared / "jitter"),
        DIES="1:4",
    )
    assert three.returncode == 1
    assert "rank      : 1 (local_rank: 1)" in three.stderr  # torchrun's own report
    assert "Signal 9 (SIGKILL)" in three.stderr
    before = {path: path.stat().st_mtime_ns for path in shared.glob("jitter/records/*/*")}
    assert 4 <= sum(path.suffix == ".parquet" for path in before) < 8
    assert left_over(shared)
    two = torchrun(2, "aliasing", *jitter, shared / "jitter")
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("written to") == 1  # one of them speaks
    assert two.stdout.strip() in printed.replace(str(tmp_path / "jitter"), str(shared / "jitter"))
    for path, written in before.items():
        assert not path.exists() or path.stat().st_mtime_ns == written  # measured once, or half written
    for out in ("depth", "embedding", "jitter"):
        assert records_of(shared / out) == records_of(tmp_path / out)
        assert summary_of(shared / out) == summary_of(tmp_path / out)
        assert (shared / out / "figure.png").exists()
    assert not left_over(shared)


def test_a_process_with_other_weights_stops_and_one_that_dies_is_named(tmp_path: Path) -> None:
    """On two machines, without a torchrun that could tell: the first finds a connection closed."""
    code = f"""
        import os, platform, signal
        from pathlib import Path
        import numpy
        from aliasing.errors import InputError
        from aliasing.images import open_images
        from aliasing.records import Records
        from aliasing.runs import Run, join_ranks
        platform.node = lambda: "machine" + os.environ["RANK"]
        ranks = join_ranks()
        run = Run(open_images([numpy.zeros((8, 8, 3), numpy.uint8)]), Records(Path({str(tmp_path)!r})), ranks)
        try:
            run.measure("net", ["net"], {{"weights": platform.node()}}, lambda blocks, seen: iter(()))
        except InputError as error:
            print(error, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT,
            env={**variables, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    )
    assert "weights was 'machine0' and is now 'machine1'; choose another --out" in second.communicate(timeout=120)[0]
    assert "rank 1 on machine1 has died or stopped; what was measured is on disk" in first.communicate(timeout=120)[0]


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_is_not(
    photographs: Path, tmp_path: Path, kills: int
) -> None:
    run = started([sys.executable, "-m", "tests.killed_runs", photographs, tmp_path, kills, kills])
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    *killed, interrupted, last = found["runs"]
    assert [one["code"] for one in killed] == [-9] * kills
    assert sum(one["half_written"] for one in killed) >= kills // 4  # killed while they wrote
    assert interrupted["code"] in (130, 0)
    assert interrupted["told"].count("\n") <= 1
    assert last["code"] == 0
    # The images of the blocks that were missing, and those that are shown as examples, no more.
    sizes, examples = sorted([32, 32, 32, 4] * 2), found["whole"] - 2 * COUNT
    assert 0 < examples < COUNT / 2
    assert last["loaded"] <= sum(sizes[last["parts_before"] :]) + examples
    assert all(one["half_written"] <= 1 for one in killed)
    assert records_of(tmp_path / "killed") == records_of(tmp_path / "whole")
    assert summary_of(tmp_path / "killed") == summary_of(tmp_path / "whole")
    assert not left_over(tmp_path)


def test_a_second_run_on_the_same_folder_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    with hold(tmp_path, ALONE), hold(tmp_path, ALONE), ThreadPoolExecutor() as pool:  # twice by the same is no matter

        def second() -> None:
            with hold(tmp_path, ALONE):
                pass

        error = pool.submit(second).exception()
    assert isinstance(error, InputError)
    assert f"{tmp_path} is in use by process {os.getpid()} on {platform.node()} since 2" in str(error)
    with ThreadPoolExecutor() as pool:
        assert pool.submit(second).exception() is None
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_processes_that_share_no_folder_are_told_so(photographs: Path) -> None:
    with pytest.raises(UsageError, match="2 processes share a run through its folder: add --out DIR"):
        Run(open_images(photographs), Records(), Ranks(0, ("here", "there")))


COMMANDS = {
    "jitter": "--models NETWORK --images IMAGES --out OUT",
    "depth": "--models NETWORK --images IMAGES --out OUT",
    "attribute": "NETWORK --images IMAGES --out OUT",
    "features": "NETWORK IMAGES --out OUT",
    "spectrum": "IMAGES --out OUT",
    "finetune": "NETWORK --data IMAGES --epochs 1 --batch-size 2 --out OUT",
    "antialias": "NETWORK --out OUT/net.safetensors",
}


@pytest.fixture(scope="module")
def labelled(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few photographs with labels."""
    folder = tmp_path_factory.mktemp("labelled")
    for index in range(4):
        shutil.copy(photographs / f"{index:03d}.png", folder)
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{k:03d}.png,{k % 2}\n" for k in range(4)))
    return folder


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_full_disk_and_a_folder_that_cannot_be_written_to_are_one_line(
    name: str, fault: str, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    number, what = {"full": (errno.ENOSPC, "free some"), "read-only": (errno.EROFS, "choose another --out")}[fault]

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    place, function = (provenance.os, "fsync") if fault == "full" else (provenance.tempfile, "mkstemp")
    monkeypatch.setattr(place, function, fail)
    given = {"NETWORK": NAME, "IMAGES": str(labelled), "OUT": str(tmp_path / "out")}
    words = [given.get(word, word.replace("OUT", given["OUT"])) for word in COMMANDS[name].split()]
    assert main([name, *words]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert os.strerror(number) in captured.err
    assert what in captured.err
    assert not left_over(tmp_path)


def test_a_file_in_place_of_the_folder_is_one_line(
    photographs: Path, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        complaint(["jitter", "--models", NAME, "--images", str(photographs), "--out", str(out)], 1, "cannot be written")


def test_a_run_goes_on_when_there_is_room_again(photographs: Path, tmp_path: Path, capsys: Any) -> None:
    """On a real file system that is too small, and read-only for a while."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(disk)], check=True, capture_output=True)

    try:
        mount("-o", "size=40k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a file system")
    try:
        run = ["jitter", "--models", NAME, "--images", str(photographs), "--out"]
        assert main([*run, str(disk / "run")]) == 1
        assert "No space left on device); free some space, and the same command continues\n" in capsys.readouterr().err
        parts = {path: path.stat().st_mtime_ns for path in disk.rglob("*.parquet")}
        assert 0 < len(parts) < 4
        mount("-o", "remount,size=4m,ro")
        assert main([*run, str(disk / "run")]) == 1
        assert "Read-only file system); choose another --out\n" in capsys.readouterr().err
        mount("-o", "remount,rw")
        assert main([*run, str(disk / "run")]) == 0
        assert main([*run, str(tmp_path / "whole")]) == 0
        assert all(path.stat().st_mtime_ns == written for path, written in parts.items())
        assert records_of(disk / "run") == records_of(tmp_path / "whole")
        assert summary_of(disk / "run") == summary_of(tmp_path / "whole")
        assert not left_over(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_damaged_and_missing_parts_are_measured_again(photographs: Path, tmp_path: Path) -> None:
    run = ["jitter", "--models", NAME, "--images", str(photographs), "--out", str(tmp_path)]
    assert main(run) == 0
    whole, summary = records_of(tmp_path), summary_of(tmp_path)
    first, second, third, _ = sorted(tmp_path.glob("records/*/*.parquet"))
    first.write_bytes(first.read_bytes()[:-1000])
    second.write_bytes(b"\0" * second.stat().st_size)  # what a power cut may leave
    content = bytearray(third.read_bytes())
    content[len(content) // 4] ^= 1  # a single bit
    third.write_bytes(content)
    with pytest.warns(UserWarning, match="is not a part of a run") as told:
        assert main(run) == 0
    assert len(told) == 3
    assert records_of(tmp_path) == whole
    third.unlink()
    assert main(run) == 0
    assert records_of(tmp_path) == whole
    assert summary_of(tmp_path) == summary


def test_a_network_may_be_added_later_but_nothing_else_may_change(
    photographs: Path, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    few = ["--images", str(photographs), "--limit", "3", "--out"]
    jitter, depth = [*few, str(tmp_path / "jitter")], [*few, str(tmp_path / "depth")]
    assert main(["jitter", "--models", NAME, *jitter]) == 0
    (part,) = tmp_path.glob("jitter/records/*/*.parquet")
    written = part.stat().st_mtime_ns
    assert main(["jitter", "--models", NAME, ANOTHER, *jitter]) == 0
    assert part.stat().st_mtime_ns == written
    assert len(summary_of(tmp_path / "jitter")["differences"]) == 1
    assert main(["depth", "--models", NAME, *depth]) == 0
    for change, difference in [
        (["jitter", "--models", NAME, "--protocol", "grid", *jitter], "protocol was {'name': 'crop'"),
        (["jitter", "--models", NAME, "--seed", "1", *jitter], "seed was 0 and is now 1"),
        (["jitter", "--models", NAME, *jitter, "--limit", "2"], "limit was 3 and is now 2"),
        (["depth", "--models", NAME, "--layers", "leaves", *depth], "layers was 'blocks' and is now 'leaves'"),
    ]:
        complaint(change, 1, difference)
    complaint(["depth", "--models", NAME, *jitter], 2, "holds a run of jitter, and this is depth")


def test_ranks_that_cannot_be_reached_are_one_line(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, complaint: Callable[..., str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    words = ["jitter", "--models", NAME, "--images", str(photographs)]
    complaint(words, 1, "the other processes of this run cannot be reached")
