"""What is malformed ends as a counted, named, one-line skip; what stands beside it is measured as if it were alone.

Bounded memory is tested by what is kept, and bounded time by the bombs themselves: without the bounds they would take
gigabytes and minutes.
"""

import gzip
import io
import json
import os
import pickle
import socket
import struct
import sys
import tarfile
import weakref
import zipfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

import aliasing as al
from aliasing import plots
from aliasing.cli import main
from aliasing.fitting import crop_centre
from aliasing.images import decode, entries, open_images
from aliasing.images.entries import shown
from aliasing.jitter.trace import Trace
from aliasing.plots.jitter import _path as draw_path
from aliasing.plots.jitter import names_in
from aliasing.plots.style import plain
from tests.hostile import ELONGATED, MALFORMED, PHOTO, UNUSUAL, encode, patched
from tests.image_files import BAD_BYTES, outcome, tar_bytes, zip_bytes
from tests.test_jitter import CornerParity, network

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")

RESNET20 = "module:tests.cifar_resnet:resnet20"  # untrained: for paths and counts, never for numbers
FLOAT64 = "module:tests.cifar_resnet:resnet20_float64"
PNG = encode(PHOTO)

# Each is a good image's name. A slash cannot be in one; everything else can.
NAMES = (
    "new\nline.png",
    "<img src=x onerror=alert(1)>.png",
    "<script>alert(1)<script>.svg.png",
    '&lt;&amp;&#39;".png',
    "$x^$.png",
    "$\\frac{1}.png",
    "_hidden\\_^{a}$.png",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred.png",
    "\u202egnp.exe.png",
    "zero\u200bwidth\ufeff.png",
    "-rf --out.png",
    "..\\..\\up.png",
    "C:\\windows.png",
    " .png",
    "%s%n{0}${HOME}`id`;'.png",
    "=cmd|' \\C calc'!A0.png",
    "日本語🙂.png",
    "l" * 250 + ".png",
    "NUL.png",
    "\udcff\udcfe not unicode.png",
)


def images_of(folder: Path, seed: int = 0) -> list[str]:
    """Good images under every name of NAMES; the names under which they must be shown."""
    for index, name in enumerate(NAMES):
        pixels = np.random.default_rng([seed, index]).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        (folder / name).write_bytes(encode(pixels))
    return [entry.name for entry in open_images(folder)]


def test_there_are_enough_of_them() -> None:
    assert len(MALFORMED) + len(ELONGATED) + len(BAD_BYTES) + len(BAD_SOURCES) + len(BAD_MEMBERS) >= 160


@pytest.mark.parametrize("case", UNUSUAL)
def test_what_only_looks_malformed_is_decoded(case: str) -> None:
    content, expected = UNUSUAL[case]
    np.testing.assert_array_equal(decode(content), expected)


# Members of archives and rows of tables, none of which may stop what stands beside it


def _tar_of_odd_members() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("symlink.png", tarfile.SYMTYPE),
            ("hardlink.png", tarfile.LNKTYPE),
            ("device.png", tarfile.CHRTYPE),
            ("block.png", tarfile.BLKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, content in {
            "good.png": PNG,
            "../up.png": PNG,
            "/root.png": PNG,
            "a/../../b.png": PNG,
            "x\x1b[2J\n.png": PNG,
            "empty.png": b"",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def _zip_patched(signature: bytes, offset: int, new: bytes, *, second: bool = False) -> bytes:
    """A zip of two images, a field of whose directory lies."""
    content = zip_bytes({"good.png": PNG, "z.png": PNG}, zipfile.ZIP_STORED)
    place = content.index(signature)
    if second:
        place = content.index(signature, place + 4)
    return patched(content, place + offset, new)


_ONE = tar_bytes({"good.png": PNG})[: 512 + -(-len(PNG) // 512) * 512]  # a tar without its end
_DIRECTORY = b"PK\x01\x02"
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# A file, and how many of its entries must be skipped; one named good is in each.
BAD_MEMBERS: dict[str, tuple[bytes, int]] = {
    "odd members.tar": (_tar_of_odd_members(), 9),
    "an attribute of 2^60 bytes.tar": (_ONE + _header("x", 2**60, tarfile.XHDTYPE) + bytes(1024), 1),
    "a name of 2^60 bytes.tar": (_ONE + _header("x", 2**60, tarfile.GNUTYPE_LONGNAME) + bytes(1024), 1),
    "a name of 8 GiB.tar.gz": (gzip.compress(_ONE + _header("x", 2**33 - 1, tarfile.GNUTYPE_LONGNAME)), 1),
    "a file of 2^60 bytes.tar": (_ONE + _header("b.png", 2**60, tarfile.REGTYPE) + bytes(1024), 2),
    "a sparse file.tar": (_ONE + _header("b.png", 100, tarfile.GNUTYPE_SPARSE) + bytes(1024), 1),
    "a damaged header.tar": (_ONE + patched(_header("b.png", 9, tarfile.REGTYPE), 148, b"0000000") + _ONE, 1),
    "cut within a header.tar": (_ONE + _header("b.png", 9, tarfile.REGTYPE)[:300], 1),
    "slips.zip": (
        zip_bytes(dict.fromkeys(("good.png", "../up.png", "/root.png", "a/../../b.png", "x\ny.png"), PNG)),
        3,
    ),
    "backslashes.zip": (zip_bytes({"good.png": PNG, "..\\..\\up.png": PNG, "C:\\root.png": PNG}), 0),
    "overlapping.zip": (_zip_patched(_DIRECTORY, 42, bytes(4), second=True), 1),
    "an entry beyond its end.zip": (_zip_patched(_DIRECTORY, 42, b"\xff\xff\xff\x7f", second=True), 1),
    "an unknown compression.zip": (_zip_patched(_DIRECTORY, 10, b"\x63\0", second=True), 1),
    "encrypted.zip": (_zip_patched(_DIRECTORY, 8, b"\1\0", second=True), 1),
    "a size of 4 GiB.zip": (_zip_patched(_DIRECTORY, 24, b"\xfe\xff\xff\xff", second=True), 1),
    "a checksum that is wrong.zip": (_zip_patched(_DIRECTORY, 16, b"\1\2\3\4", second=True), 1),
    "an archive within.zip": (zip_bytes({"good.png": PNG, "inner.png": zip_bytes({"a.png": PNG})}), 1),
}


def _parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _shared_value() -> bytes:
    """A few kilobytes that are 400 MiB to whoever reads all rows at once."""
    which = pa.array([0] + [1] * 100, pa.int32())
    images = pa.DictionaryArray.from_arrays(which, pa.array([PNG, bytes(2**22)], pa.binary()))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": images}), buffer, compression="zstd", store_schema=False)
    return buffer.getvalue()


def _rows(*images: Any, label: Any = None) -> bytes:
    cells = pa.array([{"bytes": content, "path": "x"} for content in images], _IMAGE)
    return _parquet(image=cells, label=pa.array(label if label is not None else list(range(len(images)))))


BAD_MEMBERS |= {
    "rows that are no images.parquet": (_rows(PNG, b"", None, b"text", b"\x89PNG\r\n\x1a\n"), 4),
    "labels beyond all bounds.parquet": (_rows(PNG, PNG, PNG, label=[0, 2**31, 2**62]), 2),
    "labels that are words.parquet": (_rows(PNG, PNG, label=["<b>", "\x1b[2J"]), 0),
    "labels that are numbers of another kind.parquet": (_rows(PNG, PNG, label=[0.5, float("nan")]), 0),
    "a hundred rows of one value.parquet": (_shared_value(), 100),
}


OUT = "its path leads out of the archive"
REASONS = {
    "odd members.tar": {
        "symlink.png": "symbolic link to /etc/passwd",
        "hardlink.png": "hard link to /etc/passwd",
        **dict.fromkeys(("device.png", "block.png", "pipe.png"), "not a regular file"),
        **dict.fromkeys(("../up.png", "/root.png", "a/../../b.png"), OUT),
    },
    "slips.zip": dict.fromkeys(("../up.png", "/root.png", "a/../../b.png"), OUT),
    "encrypted.zip": {"z.png": "encrypted in its archive"},
    "a size of 4 GiB.zip": {"z.png": "file of more than 256 MiB"},
    "a checksum that is wrong.zip": {"z.png": "Bad CRC-32"},
}


@pytest.mark.parametrize("case", BAD_MEMBERS)
def test_bad_members_are_counted_and_the_good_ones_load(case: str, tmp_path: Path) -> None:
    content, bad = BAD_MEMBERS[case]
    (tmp_path / case).write_bytes(content)
    found = outcome(tmp_path / case)
    reasons = [reason for reason in found.values() if reason is not None]
    assert len(reasons) == bad
    assert all(reason in (found[name] or "") for name, reason in REASONS.get(case, {}).items())
    assert len(found) > bad
    assert all(name.isprintable() for name in found)
    assert all(reason.isprintable() for reason in reasons)
    assert [path.name for path in tmp_path.rglob("*")] == [case]  # nothing was unpacked


def _nested_json() -> bytes:
    table = pa.table({"image": [PNG], "label": [0]}).replace_schema_metadata({"huggingface": "[" * 100_000})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_class_names_that_are_nested_without_end_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(_nested_json())
    assert open_images(tmp_path / "a.parquet").class_names is None


def _twice() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([PNG])] * 2, names=["image", "image"]), buffer)
    return buffer.getvalue()


# What is damaged as a whole, so that there is nothing beside it: a file's name and content.
BAD_SOURCES: dict[str, bytes] = {
    "empty.zip": b"",
    "half.zip": zip_bytes({"a.png": PNG})[:-30],
    "a directory beyond its end.zip": _zip_patched(b"PK\x05\x06", 12, b"\xff\xff\xff\x7f"),
    "names that are no unicode.zip": zip_bytes({"é.png": PNG}).replace("é".encode(), b"\xff\xfe"),
    "nul names.zip": zip_bytes({"aXb.png": PNG}).replace(b"aXb", b"a\0b"),
    "empty.tar": b"",
    "zeros.tar": bytes(10_240),
    "noise.tar": np.random.default_rng(0).bytes(10_240),
    "an attribute of a TiB.tar.gz": gzip.compress(_header("x", 2**40, tarfile.XHDTYPE) + bytes(1024)),
    "gzip of gzip.tar.gz": gzip.compress(gzip.compress(_ONE)),
    "empty.parquet": b"",
    "half.parquet": _rows(PNG)[:-20],
    "a footer of 4 GiB.parquet": _rows(PNG)[:-8] + b"\xff\xff\xff\xffPAR1",
    "no images.parquet": _parquet(text=["<script>", "\x1b[2J"]),
    "two columns of one name.parquet": _twice(),
    "sixteen megabytes of zeros.parquet": _parquet(image=[bytes(2**24 + 1)], label=[0]),
    "t10k-images-idx3-ubyte": struct.pack(">4I", 0x803, 2**32 - 1, 2**16, 2**16),
    "train-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\x03")[:-4],
    "test_batch.bin.zip": b"PK\x03\x04",
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_a_source_that_is_damaged_as_a_whole_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / case).write_bytes(BAD_SOURCES[case])
    assert main(["jitter", "--models", RESNET20, "--images", str(tmp_path / case)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "table",
    [
        b"file,label\na.png,<script>alert(1)</script>\n",
        b"file,label\na.png,\x1b[2J\n",
        b"file,label\na\0.png,1\n",
        b"file,label\n../../etc/passwd,1\n/etc/passwd,2\n/dev/zero,3\n",
        b"file,label\n,1\n",
        b"file,label\na.png,1\na.png,1\n",
        b"file,label,label\na.png,1,2\n",
        b"file,label\na.png," + b"9" * 100_000 + b"\n",
        b"file,label\na.png\n",
        b"file,label\na.png,1,2,3\n",
        b'file,label\na.png,"x\ny"\n',
        b'file,label\n"a.png,1\n',
    ],
)
def test_tables_of_labels_neither_lead_out_nor_print_what_they_hold(tmp_path: Path, table: bytes) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "labels.csv").write_bytes(table)
    assert all(name.isprintable() for name in open_images(tmp_path).class_names or ())
    found = outcome(tmp_path)
    assert found.pop("a.png") is None
    assert all(reason == "listed in labels.csv, but not there" for reason in found.values())
    assert all(name.isprintable() for name in found)


# The whole path


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no Unicode, pipes, devices")
def test_one_run_over_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, alone = tmp_path / "images", tmp_path / "alone"
    for place in (folder, alone):
        place.mkdir()
        good = images_of(place)
    bad = {f"bad {index}": content for index, (content, _) in enumerate([*MALFORMED.values(), *BAD_BYTES.values()])}
    bad |= {f"long {index}": content for index, content in enumerate(ELONGATED.values())}
    for name, content in bad.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "nowhere.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    monkeypatch.chdir(folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket.png")
    (folder / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    special = {"self.png", "zero.png", "nowhere.jpg", "pipe.png", "socket.png", "cut.mp4", "sparse.png"}
    monkeypatch.chdir(Path(__file__).parents[1])
    there = {path for path in tmp_path.rglob("*") if path.name != "loop"}

    def run(images: Path) -> tuple[dict[str, Any], str]:
        out = tmp_path / f"out of {images.name}"
        torch.manual_seed(0)  # the network has not been trained: the same weights both times
        assert main(["jitter", "--models", FLOAT64, "--images", str(images), "--out", str(out)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        assert all(line.isprintable() for line in printed.out.splitlines())
        return summary, printed.out

    summary, printed = run(folder)
    listener.close()
    skipped = summary["images"]["skipped"]
    assert set(skipped) == {f"{name}.png" for name in bad} | special
    assert all(reason.isprintable() for reason in skipped.values())
    assert summary["images"]["found"] == len(skipped) + len(good)
    assert f"{len(skipped)} of {len(skipped) + len(good)} images skipped" in printed
    assert all("elongated" in skipped[f"long {index}.png"] for index in range(len(ELONGATED)))
    # Beside them, the good ones are measured as if they were alone. Their batches are mixed otherwise, which changes a
    # float64 logit by some 1e-14: no answer, and no probability but by the rounding of logits below 2 to float32, which
    # takes one to its neighbour 1.2e-7 away at most; that is twice as much in a probability, plus roundings of 6e-8.
    run(alone)
    records, expected = (
        pd.concat(map(pd.read_parquet, sorted((tmp_path / f"out of {images}").rglob("*.parquet"))))
        .sort_values(["name", "pair"])
        .reset_index(drop=True)
        for images in ("images", "alone")
    )
    probabilities = [column for column in records.columns if column.endswith(("probability", "margin", "variation"))]
    pd.testing.assert_frame_equal(records.drop(columns=probabilities), expected.drop(columns=probabilities))
    pd.testing.assert_frame_equal(records[probabilities], expected[probabilities], rtol=0, atol=1e-6)
    assert set(records.name) == set(good)
    assert all(name.isprintable() for name in records.name)
    # And nothing has been written but the two results.
    new = {path for path in tmp_path.rglob("*") if path.name != "loop"} - there
    assert {path.relative_to(tmp_path).parts[0] for path in new} == {"out of images", "out of alone"}


def test_names_that_are_not_unicode_reach_every_file_and_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "f\udcff\n"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    assert (
        main(["jitter", "--models", RESNET20, "--images", str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    )
    printed = json.loads(capsys.readouterr().out.encode(errors="backslashreplace"))
    assert printed["images"]["source"].endswith(r"f\udcff\n, unlabelled")
    assert json.loads((tmp_path / "out" / "summary.json").read_bytes())["images"] == printed["images"]


def test_names_in_a_figure_are_text(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """As an image, a network and its answers; drawn, because matplotlib reads mathematics only then."""
    for name in map(shown, NAMES):
        pictures = np.zeros((2, 8, 8, 3), np.float32)
        ones, both = np.ones(2, np.float32), (name, name)
        trace = Trace(
            model=name,
            image=name,
            unit="pixels",
            positions=np.arange(2.0),
            curve=ones,
            top1=np.arange(2),
            answers=both,
            pictures=pictures,
            shifts=np.zeros((2, 2)),
            confidence=ones,
            pairs=((0, 1),),
            leading=both,
            leading_probabilities=np.ones((2, 2), np.float32),
        )
        figure = plt.figure(figsize=(6, 4))
        draw_path(figure, [trace], names_in({name: {}}))
        texts = [str(text.get_text()) for text in figure.findobj(Text)]
        assert any(plain(name[:10]).strip() in text for text in texts)
        assert not any(is_math_text(text) for text in texts)
        if name in ("$x^$.png", "日本語🙂.png"):
            plots.save(figure, tmp_path / "figure.png")
        plt.close(figure)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_photographs_do_not_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine images are decoded ahead of the network: as views, not as photographs of any size."""
    for index in range(40):
        (tmp_path / f"{index:02d}.png").write_bytes(PNG)
    decoded: list[weakref.ref[Any]] = []
    most = 0

    def counted(*arguments: Any) -> Any:
        pixels = decode(*arguments)
        decoded.append(weakref.ref(pixels))
        return pixels

    class Counts(CornerParity):
        def forward(self, views: Any) -> Any:
            nonlocal most
            most = max(most, sum(reference() is not None for reference in decoded))
            return super().forward(views)

    monkeypatch.setattr(entries, "decode", counted)
    al.measure_jitter(network(Counts()), tmp_path)
    assert len(decoded) == 40
    assert 0 <= most <= 2  # one that is being decoded, and one that is being replaced


def test_a_crop_does_not_hold_what_was_cut_off() -> None:
    whole = np.zeros((10, 1000, 3), np.float32)
    assert crop_centre(whole, 10, 10).base is None


def test_pickled_batches_are_not_run_by_their_names(tmp_path: Path) -> None:
    """A file called like a CIFAR batch, outside CIFAR's folders, is an image or nothing."""
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": 1}))
    assert outcome(tmp_path / "data_batch_1") == {"data_batch_1": "not an image that Pillow can read"}
