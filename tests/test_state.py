"""What a run keeps is read as it was written, or refused in one line; and nothing is written over that is another's."""

import contextlib
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image as Pillow

import aliasing as al
from aliasing.cli import main
from aliasing.downsample.spectra import Spectra
from aliasing.errors import InputError, UsageError
from aliasing.runs import ALONE, hold
from aliasing.state import (
    DamagedError,
    check_sealed,
    claim,
    parse_json,
    read_json,
    seal_parquet,
    sealed_file,
    unsealed_parquet,
    write_json,
)
from tests.small_network import NAME, make


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six of noise, with labels."""
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(6):
        noise = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Pillow.fromarray(noise).save(folder / f"{index}.png")
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{k}.png,{k}\n" for k in range(6)))
    return folder


@pytest.fixture(scope="module")
def once(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `jitter`."""
    out = tmp_path_factory.mktemp("once") / "run"
    assert main(jitter(photographs, out)) == 0
    return out


@pytest.fixture
def run(once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(once, tmp_path / "run"))


def jitter(photographs: Path, out: Path) -> list[str]:
    return ["jitter", "--models", NAME, "--images", str(photographs), "--out", str(out)]


def numbers(folder: Path) -> Any:
    return numbers_in(al.open(folder).summary())


def numbers_in(summary: Any) -> Any:
    return {key: summary[key] for key in ("models", "differences", "images")}


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    {
        '{"a": NaN}': "NaN is not a number",
        '{"a": -Infinity}': "-Infinity is not a number",
        '{"a": 1e999}': "1e999 is not a number",
        f'{{"a": {"9" * 400}}}': "9999 is not a number",
        '{"a": 1, "a": 2}': "twice",
        f"{'[' * 100}{']' * 100}": "lists in lists",
        f"{'[' * 100_000}": "recursion",
        '{"a": ': "Expecting value",
        "[1]": "does not hold what a run writes there",
        "": "Expecting value",
    }.items(),
)
def test_json_is_that_of_a_run_or_one_line(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(content)
    with pytest.raises(DamagedError, match=rf"summary.json.*{says}.*; measure again") as error:
        read_json(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300 + len(str(path))


def test_what_is_not_a_file_of_the_run_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_json(tmp_path / "outside.json", {})
    os.mkfifo(run / "pipe")
    (run / "folder").mkdir()
    (run / "link").symlink_to(tmp_path / "outside.json")
    (run / "there").symlink_to(tmp_path)
    (run / "device").symlink_to("/dev/zero")
    for name, what in {"pipe": "named pipe", "folder": "folder", "link": "leads out", "device": "leads out"}.items():
        with pytest.raises(DamagedError, match=what):
            read_json(run / name)
    with pytest.raises(DamagedError, match="leads out"):
        read_json(run / "there" / "outside.json", run)
    (tmp_path / "elsewhere").symlink_to(run)  # the run itself may lie anywhere
    write_json(tmp_path / "elsewhere" / "own.json", {"a": [1]})
    assert read_json(tmp_path / "elsewhere" / "own.json") == {"a": [1]}


@pytest.mark.parametrize("kind", ["json", "parquet", "zip"])
def test_no_bit_can_be_flipped_and_nothing_cut(kind: str, tmp_path: Path) -> None:
    """Every bit of a small file; in the digest's own name they make it one without a digest, whose content is whole."""
    path = tmp_path / "file"
    read: Callable[[], Any]
    if kind == "json":
        write_json(path, {"value": 0.25, "names": ["a"]})
        read = lambda: read_json(path)  # noqa: E731
    elif kind == "parquet":
        pq.write_table(pa.table({"pair": [0, 1]}), path)
        path.write_bytes(seal_parquet(path.read_bytes()))
        read = lambda: unsealed_parquet(path.read_bytes())  # noqa: E731
    else:
        with sealed_file(path) as file:
            np.savez(file, a=np.arange(3))
        read = lambda: (check_sealed(path), np.load(path)["a"].tolist())[1]  # noqa: E731
    whole, content = path.read_bytes(), read()
    bits = random.Random(0).sample(range(8 * len(whole)), min(1500, 8 * len(whole)))
    damaged = [bytes([*whole[: bit // 8], whole[bit // 8] ^ 1 << bit % 8, *whole[bit // 8 + 1 :]]) for bit in bits]
    refused = 0
    for changed in [*damaged, *(whole[:length] for length in range(0, len(whole) - 60, 7))]:
        path.write_bytes(changed)
        try:
            found = read()
        except ValueError:
            refused += 1
        else:  # what was written, with what is not known as a digest any more beside it
            if kind == "json":
                found = {key: found[key] for key in content}
            if kind == "parquet":
                assert b"aliasing digest " not in changed
                found = content
            assert found == content
    assert refused > 0.8 * len(damaged)


def test_pictures_that_a_listing_names_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a picture")
    write_json(tmp_path / "list.json", {"shown": 1}, ["a.png"])
    assert read_json(tmp_path / "list.json") == {"shown": 1}
    (tmp_path / "a.png").write_bytes(b"another")
    with pytest.raises(DamagedError, match=r"a.png was changed after it was written"):
        read_json(tmp_path / "list.json")


def test_numbers_of_any_size_are_as_json_has_them() -> None:
    assert parse_json("[-1, 0.1, 1e-300, 12345678901234567890]") == [-1, 0.1, 1e-300, 12345678901234567890]


# --- a run ----------------------------------------------------------------------------------------------------------


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from _places(inner, (*place, key))


VALUES = (None, True, -1, 0, 0.5, 1e308, 10**19, "", "x", "\ud800", "a\nb", [], {}, [[]], {"a": 1})


def edited(content: Any, chance: random.Random) -> Any:
    """JSON in which one value is another, or gone."""
    content = json.loads(json.dumps(content))
    *way, last = chance.choice(list(_places(content)))
    inner = content
    for key in way:
        inner = inner[key]
    if chance.random() < 0.2:
        del inner[last]
    else:
        inner[last] = chance.choice([value for value in VALUES if value != inner[last]])
    return content


def files_of(run: Path) -> list[Path]:
    """One of each kind that a run keeps and reads again."""
    kinds = ("summary.json", "records/*/settings.json", "records/*/*.parquet", "examples/examples.json")
    kinds += ("examples/*/*.webp", "examples/spectra/spectra.json", "examples/spectra/*.png", ".run.json")
    return [next(iter(sorted(run.glob(kind)))) for kind in kinds]


def look_at(run: Path) -> Any:
    """All that is read of a run: its numbers, also computed again from the records, its pictures, whose it is."""
    opened: Any = al.open(run)
    look_at_pictures(run)
    again = opened.summary(next(iter(opened.models)))["models"]
    return json.dumps((opened.summary(), again, opened.table().to_pylist(), repr(opened)))


def look_at_pictures(run: Path) -> None:
    """As the page reads them; it tells of what these raise."""
    with hold(run, ALONE, "jitter"):
        pass
    try:
        read_json(run / "examples" / "examples.json", run)
        Spectra.open(run / "examples" / "spectra")
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError("the page says so") from error


def damaged(content: bytes, is_json: bool, chance: random.Random) -> bytes:
    """With one value, one bit or the end changed."""
    kind = chance.choice(["value", "bit", "end"] if is_json else ["bit", "end"])
    if kind == "value":
        return json.dumps(edited(json.loads(content), chance)).encode()
    if kind == "end":
        return content[: chance.randrange(len(content))]
    bit = chance.randrange(8 * len(content))
    return bytes([*content[: bit // 8], content[bit // 8] ^ 1 << bit % 8, *content[bit // 8 + 1 :]])


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_no_damage_to_a_run_gives_other_numbers_or_a_traceback(run: Path, count: int) -> None:
    chance, whole, refused = random.Random(count), look_at(run), 0
    for number in range(count):
        path = chance.choice(files_of(run))
        before = path.read_bytes()
        path.write_bytes(damaged(before, path.suffix == ".json", chance))
        try:
            assert look_at(run) == whole, (number, path)
        except (InputError, UsageError) as error:
            refused += refuses(error)
        path.write_bytes(before)
    assert refused > 0.9 * count  # the others changed a space, or the name of the digest


def refuses(error: Exception) -> int:
    assert str(error).isprintable()
    assert len(str(error)) < 2000
    return 1


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_a_file_without_a_digest_whatever_it_holds_ends_in_no_traceback(run: Path, count: int) -> None:
    """A file of a version before, or of a stranger: what it says cannot be checked, but it is a run's or one line."""
    chance, refused = random.Random(count), 0
    for _ in range(count):
        path = chance.choice([path for path in files_of(run) if path.suffix == ".json"])
        before = path.read_bytes()
        content = json.loads(before)
        content.pop("digest")
        path.write_text(json.dumps(edited(content, chance)))
        try:
            look_at_pictures(run)
            list(al.open(run).records)
        except (InputError, UsageError) as error:
            refused += refuses(error)
        path.write_bytes(before)
    assert refused


def test_a_folder_of_a_version_before_is_opened_and_continued(
    run: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files have no digests, and it does not say whose it is."""
    found = look_at(run)
    (run / ".run.json").unlink()
    for path in run.rglob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: inner for key, inner in content.items() if key not in ("digest", "files")}))
    for path in run.glob("records/*/*.parquet"):
        path.write_bytes(unsealed_parquet(path.read_bytes()))
    before = numbers(run)
    assert before == numbers_in(json.loads(found)[0])
    assert main(jitter(photographs, run)) == 0
    assert read_json(run / ".run.json")["command"] == "jitter"
    assert all('"digest": ' in path.read_text() for path in run.rglob("*.json"))
    assert numbers(run) == before


@pytest.mark.parametrize("what", ["part", "settings", "example", "summary", "mark"])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    run: Path, photographs: Path, what: str, complaint: Callable[..., str], tmp_path: Path
) -> None:
    path = {
        "part": next(run.glob("records/*/00000.parquet")),
        "settings": next(run.glob("records/*/settings.json")),
        "example": run / "examples" / "examples.json",
        "summary": run / "summary.json",
        "mark": run / ".run.json",
    }[what]
    before = numbers(run)
    path.unlink()
    os.mkfifo(path)
    if what in ("settings", "mark"):
        complaint(jitter(photographs, run), 1, path.name, "named pipe, not a regular file; choose another --out")
        return
    with contextlib.suppress(InputError):
        look_at(run)
    with contextlib.nullcontext() if what != "part" else pytest.warns(match="named pipe"):
        assert main(jitter(photographs, run)) == 0  # it is measured again
    assert numbers(run) == before


OTHERS = {
    "attribute": [NAME, "--images", "IMAGES"],
    "spectrum": ["IMAGES"],
    "depth": ["--models", NAME, "--images", "IMAGES"],
    "features": [NAME, "IMAGES"],
    "finetune": [NAME, "--data", "IMAGES"],
    "compare": ["--models", NAME, "--images", "IMAGES"],
    "resamplers": ["numpy-slice"],
}


@pytest.mark.parametrize("command", OTHERS)
def test_another_command_leaves_a_finished_run_as_it_is(
    command: str, once: Path, photographs: Path, complaint: Callable[..., str]
) -> None:
    before = {path: path.read_bytes() for path in once.rglob("*") if path.is_file() and path.name[:5] != ".lock"}
    words = [word.replace("IMAGES", str(photographs)) for word in OTHERS[command]]
    complaint([command, *words, "--out", str(once)], 2, f"{once} holds a run of jitter, and this is {command}")
    assert before == {path: path.read_bytes() for path in before}


def test_what_a_run_has_not_made_is_not_replaced(photographs: Path, tmp_path: Path, complaint: Any) -> None:
    (tmp_path / "figure.png").write_bytes(b"a holiday")
    complaint(jitter(photographs, tmp_path), 2, f"{tmp_path}/figure.png was not made by a run and would be replaced")
    assert (tmp_path / "figure.png").read_bytes() == b"a holiday"
    (tmp_path / "figure.png").unlink()
    (tmp_path / "notes.txt").write_text("")  # is in nobody's way
    claim(tmp_path, "jitter")
    with pytest.raises(UsageError, match="holds a run of jitter, and this is depth"):
        claim(tmp_path, "depth")
    (tmp_path / "notes.txt").unlink()
    claim(tmp_path, "depth")  # it failed before it made anything


def test_a_photograph_that_vanishes_at_the_end_is_named_and_the_summary_stays(
    run: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Callable[..., str]
) -> None:
    """After the numbers and before the pictures, where it ended in a KeyError and with another summary."""
    from aliasing.jitter import examples

    own = Path(shutil.copytree(photographs, tmp_path / "own"))
    before, write = (run / "summary.json").read_bytes(), examples.write_examples

    def vanish(*arguments: Any) -> Any:
        for path in own.glob("*.png"):
            path.rename(path.with_suffix(".gone"))
        return write(*arguments)

    monkeypatch.setattr(examples, "write_examples", vanish)
    complaint(jitter(own, run), 1, "0.png")
    assert (run / "summary.json").read_bytes() == before


# --- training -------------------------------------------------------------------------------------------------------

RECIPE = al.Recipe(epochs=3, batch_size=2)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "foreign": lambda content: b"not a checkpoint",
    "a bit": lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:],
}


@pytest.fixture(scope="module")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """The folder of a training, and what came of it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, al.finetune(make(), photographs, out, RECIPE).module.state_dict()


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("both", [False, True])
def test_training_falls_back_on_the_checkpoint_before(
    damage: str, both: bool, trained: tuple[Path, dict[str, torch.Tensor]], photographs: Path, tmp_path: Path
) -> None:
    out, state = Path(shutil.copytree(trained[0], tmp_path / "run")), trained[1]
    for name in ("checkpoint.pt", "checkpoint.before.pt")[: 1 + both]:
        (out / name).write_bytes(DAMAGE[damage]((out / name).read_bytes()))
    said: list[str] = []
    with pytest.warns(match="checkpoint.pt is damaged"):
        again = al.finetune(make(), photographs, out, RECIPE, tell=said.append).module.state_dict()
    assert len(said) == (3 if both else 1)
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize("damage", DAMAGE)
def test_images_of_a_training_that_are_damaged_are_read_again(
    damage: str, trained: tuple[Path, dict[str, torch.Tensor]], photographs: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained[0], tmp_path / "run"))
    whole = (out / "images.npz").read_bytes()
    (out / "images.npz").write_bytes(DAMAGE[damage](whole))
    with pytest.warns(match="images.npz is damaged .* read again"):
        al.finetune(make(), photographs, out, RECIPE)
    check_sealed(out / "images.npz")


def test_a_checkpoint_of_a_version_before_or_of_another_architecture(
    trained: tuple[Path, dict[str, torch.Tensor]], photographs: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained[0], tmp_path / "run"))
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    torch.save(state, out / "checkpoint.pt")
    al.finetune(make(), photographs, out, RECIPE)  # without a word
    first = next(iter(state["module"]))
    torch.save(state | {"module": state["module"] | {first: torch.zeros(2)}}, out / "checkpoint.pt")
    with pytest.warns(match=r"checkpoint.pt cannot be used"):
        al.finetune(make(), photographs, out, RECIPE)
    for value in (0, math.nan, math.inf, -1):
        with pytest.raises(UsageError, match=f"learning rate {float(value):g}|learning rate {value}"):
            al.finetune(make(), photographs, tmp_path / "other", al.Recipe(learning_rate=value))
    for wrong in ({"momentum": math.nan}, {"weight_decay": -1.0}, {"epochs": 1.5}, {"seed": -1}, {"seed": 2**70}):
        with pytest.raises(UsageError, match=r"expected a momentum in 0…1|expected at least 1"):
            al.finetune(make(), photographs, tmp_path / "other", al.Recipe(**wrong))  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["folder", "itself", "large"])
def test_what_cannot_be_a_file_of_a_run_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "itself":
        path.symlink_to(path.name)
    else:
        with path.open("wb") as file:
            file.truncate(2**40)  # no block of it is on the disk
    with pytest.raises(DamagedError, match=r"folder, not|leads nowhere|has more than 128 MB"):
        read_json(path)


def test_a_folder_in_the_place_of_what_a_run_writes_is_one_line(
    run: Path, photographs: Path, complaint: Callable[..., str]
) -> None:
    (run / "examples" / "examples.json").unlink()
    (run / "examples" / "examples.json").mkdir()
    (run / ".lock.json").mkdir()
    complaint(jitter(photographs, run), 1, ".json cannot be written (Is a directory)")


@pytest.mark.parametrize(
    "edit", [{"images": 10**18}, {"images": -1}, {"block_size": 0}, {"images": True}, {"images": "6"}]
)
def test_a_listing_that_nobody_can_have_written_is_refused_at_once(edit: dict[str, Any], run: Path) -> None:
    path = next(run.glob("records/*/settings.json"))
    settings = read_json(path)
    write_json(path, {**settings, "found": settings["found"] | edit})
    with pytest.raises(InputError, match=r"does not (say which images it is about|hold what a run writes there)"):
        al.open(run)
