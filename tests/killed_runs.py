"""Kill one and the same run again and again: ``python -m tests.killed_runs IMAGES OUT KILLS SEED``.

Everything is loaded once; each run is a fork of this process, killed (``kill -9``) at random: after so many images and
a moment more, or (every other one) when it is writing after so many images. One that comes to its end first is compared
with the undisturbed one, and what follows begins from nothing, until so many have been killed. In the end one is
interrupted, and one left in peace. ``OUT/whole`` is a run that nobody disturbed, ``OUT/killed`` the other. Prints as
JSON how the runs ended, how many left a file half written, and how many images each loaded.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pandas  # noqa: F401
import PIL.Image
import tabulate  # noqa: F401

import aliasing.plots  # noqa: F401
from aliasing import cli, jitter, provenance  # noqa: F401
from aliasing.images import Entry
from aliasing.models import load_model
from tests.small_network import NAME

MODELS = (NAME, "module:tests.small_network:another")


def start(images: str, out: Path) -> int:
    """A run in a process of its own, which writes the names of the images that it loads to a file beside ``out``."""
    process = os.fork()
    if process:
        return process
    loaded = os.open(out.with_suffix(".loaded"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(os.open(out.with_suffix(".err"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    load, fsync = Entry.load, os.fsync

    def load_and_tell(entry):  # type: ignore[no-untyped-def]
        os.write(loaded, f"{entry.name}\n".encode())
        return load(entry)

    def slow_fsync(file):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        fsync(file)
        time.sleep(0.02)

    Entry.load = load_and_tell  # type: ignore[method-assign]
    provenance.os.fsync = slow_fsync  # type: ignore[attr-defined]
    code = cli.main(["jitter", "--models", *MODELS, "--images", images, "--out", str(out)])
    sys.stderr.flush()
    os._exit(code)


def parts(out: Path) -> dict[str, tuple[int, int]]:
    """When each part was written, and which file it is."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in out.glob("records/*/*.parquet")
    }


def ends(process: int) -> bool:
    """Has it ended by itself? It stays to be waited for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def records_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all records."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("records/*/*")}


def wait_for_moment(process: int, out: Path, images: int, moment: float, writes: bool) -> None:
    """Return when so many images have been loaded, and either that time has passed or it is writing."""
    log = out.with_suffix(".loaded")
    while not ends(process) and not (log.exists() and log.read_text().count("\n") >= images):
        time.sleep(0.002)
    if not writes:
        time.sleep(moment)
    while writes and not ends(process) and not any(out.rglob("*.partial")):
        time.sleep(0.002)


def main() -> None:
    images, out, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    PIL.Image.init()
    load_model(NAME)
    chance = random.Random(seed)
    assert os.waitstatus_to_exitcode(os.waitpid(start(images, out / "whole"), 0)[1]) == 0
    whole = len((out / "whole.loaded").read_text().split())
    killed, runs = out / "killed", []
    written: dict[str, tuple[int, int]] = {}

    def run_until(signal_sent: int | None, writes: bool = False) -> dict[str, Any]:
        killed.with_suffix(".loaded").unlink(missing_ok=True)
        process = start(images, killed)
        if signal_sent is not None:
            wait_for_moment(process, killed, chance.randint(0, 60), chance.uniform(0, 0.1), writes)
            os.kill(process, signal_sent)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        found = parts(killed)
        assert written.items() <= found.items(), "what was on disk was written again"
        run = {
            "code": code,
            "loaded": len(killed.with_suffix(".loaded").read_text().split()),
            "parts_before": len(written),
            "half_written": sum(1 for _ in killed.rglob("*.partial")),
            "told": killed.with_suffix(".err").read_text(),
        }
        written.clear()
        written.update(found)
        return run

    while len(runs) < kills:
        run = run_until(signal.SIGKILL, writes=len(runs) % 2 == 1)
        if run["code"] == -signal.SIGKILL:
            runs.append(run)
            continue
        # It had come to its end before its moment; the next begins from nothing.
        assert run["code"] == 0, run["told"]
        assert records_of(killed) == records_of(out / "whole"), "a run that was killed does not end as one that was not"
        shutil.rmtree(killed)
        written.clear()
    runs += [run_until(signal.SIGINT), run_until(None)]
    json.dump({"whole": whole, "runs": runs}, sys.stdout)


if __name__ == "__main__":
    main()
