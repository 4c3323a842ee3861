"""What comes from a stranger cannot occupy the machine, be believed, or speak in the package's name."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.explorer.guard import Guard
from aliasing.report.commands import command_again
from aliasing.report.runs import Run
from aliasing.surgery.specification import METADATA_KEY, MOST_TAPS, parse, reapply
from tests.small_network import make


@pytest.mark.parametrize(
    "written",
    [
        *(json.dumps({"specification": text}) for text in ("binomial300", "binomial150000", f"kaiser{'9' * 500}")),
        json.dumps({"specification": "-".join(["1"] * 3000)}),
        json.dumps({"specification": "/".join(["binomial4"] * 9)}),
        *(json.dumps({"specification": value}) for value in (3, None, True, ["binomial4"], {"a": 1}, 1.5, "")),
        json.dumps({"specification": "x" * 10**6}),
        *("3", "[]", "null", "[" * 50_000, '"binomial4"', "{}", "", '{"specification": NaN}'),
    ],
)  # fmt: skip
def test_a_conversion_in_a_file_is_bounded_and_refused_in_one_short_line(written: str, tmp_path: Path) -> None:
    model, path = make(), tmp_path / "weights.safetensors"
    safetensors.torch.save_file(model.module.state_dict(), path, {METADATA_KEY: written})
    with pytest.raises((InputError, UsageError)) as error:
        reapply(model, path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 700 + len(str(path))


def test_a_name_asks_for_as_many_taps_as_a_filter_may_have() -> None:
    assert parse(f"binomial{MOST_TAPS}")["taps"] == f"binomial{MOST_TAPS}"
    with pytest.raises(UsageError, match="a filter of 257 taps; a name or a file can ask for at most 256"):
        parse(f"binomial{MOST_TAPS + 1}")


SETTINGS = {"limit": 3, "seed": 1, "protocol": {"name": "crop", "span": 2}}


@pytest.mark.parametrize("hostile", ["x; curl example.org | sh", "x\nreboot", "$(reboot)", "`reboot`", "--out=/x", "'"])
def test_a_command_on_a_page_is_made_of_settings_and_quoted(hostile: str) -> None:
    summary = {
        "models": {hostile: {"weights": {"loaded_as": hostile}}},
        "settings": SETTINGS | {"device": hostile, "output": hostile, "sample": [hostile]},
        "command": f"aliasing jitter --models resnet50; {hostile}",
    }
    command = command_again(Run(Path("run"), "networks", summary))
    words = shlex.split(command)
    assert words[:2] == ["aliasing", "jitter"]
    assert "resnet50" not in command
    assert command.isprintable()
    allowed = [] if "\n" in hostile or hostile.startswith("-") else [hostile]
    options = [
        "--models",
        "--images",
        "IMAGES",
        "--protocol",
        "crop:span=2",
        "--limit",
        "3",
        "--seed",
        "1",
        "--out",
        "run",
    ]
    assert {*words[2:]} == {*options, "--device", "--output", "--sample", *(allowed or ["…"])}


def asked(headers: dict[bytes, bytes], kind: str = "http", body: list[bytes] | None = None) -> tuple[list[Any], int]:
    """What a guarded application of ten bytes is sent, and how many bytes it has read."""
    sent: list[Any] = []
    pieces, read = list(body or [b""]), 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal read
        more = True
        while more:
            message = await receive()
            read, more = read + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = Guard(app, ["http://127.0.0.1:8080", "http://localhost:8080"], 10)
    asyncio.run(guard({"type": kind, "headers": list(headers.items())}, receive, send))
    return sent, read


def test_the_explorer_answers_its_own_pages_only() -> None:
    assert asked({})[0][0]["status"] == 200
    assert asked({b"origin": b"http://localhost:8080"})[0][0]["status"] == 200
    for origin in (b"http://example.org", b"null", b"http://127.0.0.1:8081", b"https://localhost:8080", b"\xff"):
        assert asked({b"Origin": origin})[0][0]["status"] == 403
        assert asked({b"origin": origin}, "websocket")[0] == [{"type": "websocket.close", "code": 1008}]


def test_an_upload_is_read_no_further_than_its_limit() -> None:
    assert asked({}, body=[b"12345", b"67890"])[1] == 10
    sent, read = asked({}, body=[b"12345"] * 100)
    assert (sent[0]["status"], read) == (413, 10)
    for length in (b"11", b"9" * 400):
        sent, read = asked({b"content-length": length}, body=[b"12345"])
        assert (sent[0]["status"], read) == (413, 0)


def test_a_folder_of_examples_that_leads_out_of_the_run_is_not_shown(tmp_path: Path) -> None:
    from aliasing.report.examples import example_sections, spectra_section
    from aliasing.report.runs import Names

    (tmp_path / "outside" / "spectra").mkdir(parents=True)
    for file in ("examples.json", "spectra/spectra.json"):
        (tmp_path / "outside" / file).write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "examples").symlink_to(tmp_path / "outside")
    run = Run(tmp_path / "run", "networks", {"models": {}})
    with pytest.raises(InputError, match="leads out of"):
        example_sections(run, 1, Names({}, {}))
    assert not [*spectra_section([run])]


def test_a_complaint_is_short_whatever_it_is_about(complaint: Any) -> None:
    assert len(complaint(["sites", f"file:{'x' * 20_000}"], 2)) < 4200


@pytest.mark.parametrize("rows", [True, False])
def test_a_table_of_labels_is_read_in_bounded_time_and_memory(
    rows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aliasing.images import labels

    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{k}.png,1\n" for k in range(20)))
    monkeypatch.setattr(labels, "MOST_ROWS" if rows else "MOST_BYTES", 10)
    with pytest.raises(InputError, match=f"labels.csv has more than {'10 rows' if rows else '0 MB'}"):
        al.images.open_images(tmp_path)
    monkeypatch.undo()
    assert len(list(al.images.open_images(tmp_path))) == 21


def test_a_page_and_weights_replace_their_like_only(tmp_path: Path, complaint: Any) -> None:
    for command in (["report", str(tmp_path), "--out"], ["antialias", "module:tests.small_network:make", "--out"]):
        out = tmp_path / "own.safetensors"
        out.write_text("{}")
        complaint([*command, str(out)], 2, f"{out} is not a ", "would be replaced; choose another --out")
        assert out.read_text() == "{}"
    out.unlink()
    for _ in range(2):
        assert main([*command, str(out)]) == 0


# --- networks of one's own ------------------------------------------------------------------------------------------


def wandering() -> Any:
    os.chdir("/")
    return make()


def described_in_words() -> Any:
    network = make().module
    network.pretrained_cfg = "resnet50"  # type: ignore[assignment]
    return network


def test_a_factory_may_go_elsewhere_and_carry_any_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    al.load_model("module:tests.test_strangers:wandering")
    assert Path.cwd() == tmp_path
    assert al.load_model("module:tests.test_strangers:described_in_words").preprocessing()["input_size"] == 224


ODD = """
import os, sys, threading, time
import aliasing.cli, aliasing.start

def command():
    os.write(1, b"written by a network\\n")
    threading.Thread(target=time.sleep, args=(30,), name="a thread of a network").start()
    print('{"images": 3}')
    return 1

aliasing.cli.main, aliasing.start._PATIENCE = command, 0.2
sys.exit(aliasing.start.main())
"""


def test_a_process_prints_its_own_output_alone_and_ends() -> None:
    run = subprocess.run([sys.executable, "-c", ODD], capture_output=True, text=True, timeout=25, check=False)
    assert run.returncode == 1
    assert run.stdout == '{"images": 3}\n'
    assert run.stderr == "written by a network\naliasing: ended, although a thread of a network still runs\n"


def test_an_interruption_before_the_command_begins_is_one_line() -> None:
    code = "import sys, builtins, aliasing.start\nsys.modules['aliasing.cli'] = None\n"
    code += "def interrupted(*_): raise KeyboardInterrupt\naliasing.start._keep_output_apart = interrupted\n"
    code += "sys.exit(aliasing.start.main())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "aliasing: interrupted\n")


def test_a_disk_that_is_full_while_training_writes_is_one_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    images = [(np.full((32, 32, 3), 40 * label, np.uint8), label) for label in range(2)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (2_000, 9_000):  # the images do not fit; the checkpoint does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            with pytest.raises(InputError, match=r"cannot be written \(File too large\); free some space") as error:
                al.finetune(make(), images, tmp_path, al.Recipe(epochs=1, batch_size=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert ("images.npz" if size == 2_000 else "checkpoint.pt") in str(error.value)
    al.finetune(make(), images, tmp_path, al.Recipe(epochs=1, batch_size=2))


# --- ground truth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["maps", "boxes", "outlines"])
def test_ground_truth_is_a_file_that_can_be_read_or_one_line(kind: str, tmp_path: Path) -> None:
    """Whatever lies there, nobody waits, and the picture is skipped with the reason."""
    from aliasing.images import BadImage, Image
    from aliasing.outputs.truth import BoxFiles, LabelMaps, OutlineFiles
    from aliasing.protocols import make_protocol

    reader = {"maps": LabelMaps, "boxes": BoxFiles, "outlines": OutlineFiles}[kind]
    path = tmp_path / ("a.png" if kind == "maps" else "a.txt")
    image = Image(np.zeros((32, 32, 3), np.uint8), "a.png", "0", None)
    makers: list[Any] = [lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to("nowhere")]
    makers += [lambda text=text: path.write_text(text) for text in ("x", "nan .1 .1 .5 .5 .5 .1", "inf .5 .5 .1 .1")]
    for make_it in makers:
        make_it()
        truth = reader.open(tmp_path)
        with pytest.raises((BadImage, OSError)):
            truth.of(image, make_protocol("crop"), make(), 0)
        path.rmdir() if path.is_dir() else path.unlink()
