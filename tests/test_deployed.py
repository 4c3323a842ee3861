"""Files that onnxruntime, OpenVINO and LiteRT run: the answers of the network itself, and nothing from elsewhere."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.models.classifier import IMAGENET_MEAN, IMAGENET_STD
from aliasing.models.told import write_told
from aliasing.scales import find_scale
from tests.deployed_files import (
    CLASSES,
    ROUNDING,
    SIDE,
    Small,
    onnx_model,
    tflite_bytes,
    tflite_model,
    write_onnx,
    write_openvino,
    write_tflite,
)

onnx = pytest.importorskip("onnx")
needs = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "ai_edge_litert"}
HALF = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def deployed(source: str, folder: Path, network: Small, **how: Any) -> str:
    """The name of a file of this network for this source."""
    pytest.importorskip(needs[source])
    if source == "tflite":
        return f"tflite:{write_tflite(folder / 'net.tflite', network, **how)}"
    if source == "openvino":
        return f"openvino:{write_openvino(folder / 'net.xml', network, **how)}"
    return f"onnx:{write_onnx(folder / 'net.onnx', network, **how)}"


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("source", needs)
def test_a_file_answers_as_its_network(source: str, softmax: bool, tmp_path: Path) -> None:
    network = Small(softmax)
    loaded = al.load_model(deployed(source, tmp_path, network), input_size=SIDE, **HALF)
    batch = torch.rand(5, 3, SIDE, SIDE)
    expected = network(batch)
    assert torch.allclose(loaded.module(batch), expected, rtol=0, atol=ROUNDING)
    assert torch.allclose(loaded.module(batch[:2]), expected[:2], rtol=0, atol=ROUNDING)
    found = find_scale(loaded)
    assert (found.name, found.caution) == ("probabilities" if softmax else "logits", None)


@pytest.mark.parametrize("source", needs)
def test_a_run_of_a_file_is_a_run_of_its_network(source: str, tmp_path: Path) -> None:
    """Whatever is measured of the one is measured of the other: the records differ by rounding."""
    network = Small()
    own = al.Classifier.of(network, SIDE, **HALF, name="own")
    name = deployed(source, tmp_path, network)
    other = al.load_model(name, input_size=SIDE, resize_size=SIDE, **HALF)
    result = al.measure_jitter([own, other], "sample", "pad", limit=3)
    summary = result.summary()["models"]
    mine, theirs = summary["own"], summary[name]
    assert theirs["top1_change"] == mine["top1_change"]
    assert theirs["mac"]["value"] == pytest.approx(mine["mac"]["value"], abs=ROUNDING)
    told = theirs["weights"]
    library = {"onnx": "onnxruntime", "openvino": "OpenVINO", "tflite": "LiteRT"}[source]
    assert told["library"].startswith(library)
    assert told["threads"] == "1"
    assert "provider" in told
    assert (told.get("precision") == "f32") is (source == "openvino")
    assert any(note.startswith(f"run by {told['library']}") for note in theirs["notes"])
    if source != "openvino":  # whose network is in two files
        assert told["sha256"] == hashlib.sha256(Path(name.partition(":")[2]).read_bytes()).hexdigest()


@pytest.mark.parametrize("source", needs)
def test_a_fixed_batch_is_filled_up(source: str, tmp_path: Path) -> None:
    network = Small()
    how: dict[str, Any] = {"batch": 4} if source == "tflite" else {"shape": (4, 3, SIDE, SIDE)}
    loaded = al.load_model(deployed(source, tmp_path, network, **how), **HALF)
    assert loaded.input_size == SIDE
    for count in (1, 4, 6):
        batch = torch.rand(count, 3, SIDE, SIDE)
        assert torch.allclose(loaded.module(batch), network(batch), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("shape", "layout"), [((1, 3, SIDE, SIDE), "NCHW"), (("n", SIDE, SIDE, 3), "NHWC"), (("n", "h", "w", 3), "NHWC")]
)
def test_the_layout_is_that_of_the_channels(shape: tuple[Any, ...], layout: str, tmp_path: Path) -> None:
    network = Small()
    loaded = al.load_model(deployed("onnx", tmp_path, network, shape=shape), input_size=SIDE, **HALF)
    assert loaded.module.layout == layout
    batch = torch.rand(2, 3, SIDE, SIDE)
    assert torch.allclose(loaded.module(batch), network(batch), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        (("n", "c", "h", "w"), {}, "does not tell where the channels are"),
        (("n", 3, "h", 3), {}, "does not tell where the channels are"),
        (("n", 4, 8, 8), {}, "expected one or three channels"),
        (("n", 3, 8, 8), {"layout": "NHWC"}, "which is not NHWC"),
        (("n", 3, 8, 8), {"layout": "HWC"}, "expected NCHW or NHWC"),
        (("n", 3, 8, 8), {"input_size": 16}, "takes N×3×8×8 only"),
        (("n", 3, 8), {}, "expected pictures"),
    ],
)
def test_a_shape_that_tells_too_little_or_otherwise_is_refused(
    shape: tuple[Any, ...], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    from aliasing.blackbox import Port, Program, layout_of

    port = Port("x", tuple(size if isinstance(size, int) else None for size in shape), "float32")
    program = Program(digest="", runtime={"library": "none 1"}, port=port, run=lambda images: {})
    from aliasing.models.told import classifier_of

    with pytest.raises(UsageError, match=message):
        classifier_of(program, "net", tmp_path, changes)
    assert layout_of(Port("x", (None, None, None, None), "float32"), "net", "NHWC") == "NHWC"


def test_whole_numbers_are_shown_grey_levels(tmp_path: Path) -> None:
    """A uint8 input takes pixels as they are; the network divides them itself or not."""
    network = Small()
    loaded = al.load_model(deployed("onnx", tmp_path, network, dtype="uint8"), input_size=SIDE)
    view = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    expected = network(torch.from_numpy(view).permute(0, 3, 1, 2))
    found = loaded.module(loaded.normalize(view))
    assert torch.allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)
    assert any("uint8, of 0 to 255" in note for note in loaded.notes)


@pytest.mark.parametrize(("step", "zero", "mean", "std"), [(1 / 255, -128, 0.0, 1.0), (2 / 255, 0, 0.5, 0.5)])
def test_a_quantised_input_says_its_own_range(step: float, zero: int, mean: float, std: float, tmp_path: Path) -> None:
    network = Small()
    loaded = al.load_model(deployed("tflite", tmp_path, network, quantised=(step, zero)))
    assert (loaded.mean, loaded.std) == ((mean,) * 3, (std,) * 3)
    view = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    real = loaded.normalize(view)
    # Each input is off by at most half a step, which 27 weights of order one and then 8 hand on.
    assert torch.allclose(loaded.module(real), network(real), rtol=0, atol=step / 2 * 27 * 8)
    assert al.load_model(f"tflite:{tmp_path / 'net.tflite'}", **HALF).mean == HALF["mean"]


def test_a_float16_input_is_given_float16(tmp_path: Path) -> None:
    network = Small()
    loaded = al.load_model(deployed("onnx", tmp_path, network, dtype="float16"), input_size=SIDE, **HALF)
    batch = torch.rand(2, 3, SIDE, SIDE)
    assert torch.allclose(loaded.module(batch), network(batch.half().float()), rtol=0, atol=ROUNDING)


def test_metadata_tell_the_preprocessing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    own = al.Classifier.of(Small(), (SIDE, SIDE + 8), **HALF, labels=[f"class {n}" for n in range(CLASSES)])
    model = onnx_model(own.module)
    for key, value in write_told(own).items():
        model.metadata_props.add(key=key, value=value)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = al.load_model(f"onnx:{path}")
    assert loaded.preprocessing() == own.preprocessing()
    assert loaded.labels == own.labels
    assert not any("assumed" in note for note in loaded.notes)
    told = json.loads(write_told(own)["aliasing"])
    for key, value in [("mean", "red"), ("input_size", [1, 2, 3]), ("std", [0.0] * 3), ("more", 1)]:
        del model.metadata_props[:]
        model.metadata_props.add(key="aliasing", value=json.dumps({**told, key: value}))
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="metadata"):
            al.load_model(f"onnx:{path}")


def test_names_of_classes_in_the_metadata_are_labels(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = onnx_model(Small())
    model.metadata_props.add(key="names", value=str({number: f"class {number}" for number in range(CLASSES)}))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    loaded = al.load_model(f"onnx:{tmp_path / 'net.onnx'}", input_size=SIDE, **HALF)
    assert loaded.labels == tuple(f"class {number}" for number in range(CLASSES))


def test_what_is_not_said_is_assumed_and_noted(tmp_path: Path) -> None:
    loaded = al.load_model(deployed("onnx", tmp_path, Small()))
    assert (loaded.input_size, loaded.mean, loaded.std) == (224, IMAGENET_MEAN, IMAGENET_STD)
    assert any("ImageNet's was assumed" in note for note in loaded.notes)


def test_an_identity_is_of_the_file_and_the_library(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    said = {"input_size": SIDE, **HALF}
    path = write_onnx(tmp_path / "net.onnx")
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    first, again, other = (
        al.load_model(f"{name}:{file}", **said).identity
        for name, file in (("onnx", path), ("onnx", copy), ("openvino", path))
    )
    assert first == again != other
    path.write_bytes(onnx_model(Small(softmax=True)).SerializeToString())
    assert al.load_model(f"onnx:{path}", **said).identity != first


def external(model: Any, place: str) -> bytes:
    """The bytes of a model whose weights are said to be in another file."""
    import onnx.external_data_helper

    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, place, 0, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


def test_external_data_of_the_folder_are_read_and_hashed(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network, path = Small(), tmp_path / "net.onnx"
    onnx.save(onnx_model(network), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    said = {"input_size": SIDE, **HALF}
    loaded = al.load_model(f"onnx:{path}", **said)
    batch = torch.rand(2, 3, SIDE, SIDE)
    assert torch.allclose(loaded.module(batch), network(batch), rtol=0, atol=ROUNDING)
    before = loaded.identity
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[2] ^= 1
    (tmp_path / "weights.bin").write_bytes(content)
    assert al.load_model(f"onnx:{path}", **said).identity != before


@pytest.mark.parametrize("source", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("../secret.bin", "leads out of"),
        ("{outside}", "leads out of"),
        ("link.bin", "leads out of"),
        ("linked/secret.bin", "leads out of"),
        ("missing.bin", "cannot be read"),
        ("", "is a folder"),
        ("*/_ORT_MEM_ADDR_/*", "not a file"),
    ],
)
def test_external_data_that_leave_the_folder_are_refused(source: str, place: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip(needs[source])
    folder, secret = tmp_path / "net", tmp_path / "secret.bin"
    folder.mkdir()
    secret.write_bytes(bytes(2**16))
    (folder / "link.bin").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "net.onnx").write_bytes(external(onnx_model(Small()), place.format(outside=secret)))
    with pytest.raises(InputError, match=message) as caught:
        al.load_model(f"{source}:{folder / 'net.onnx'}", input_size=SIDE)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("source", ["onnx", "openvino"])
@pytest.mark.parametrize("domain", ["my.library", "com.microsoft"])
def test_custom_operators_of_onnx_are_refused(source: str, domain: str, tmp_path: Path) -> None:
    pytest.importorskip(needs[source])
    model = onnx_model(Small(softmax=True))
    model.graph.node[-1].domain = domain
    model.graph.node[-1].op_type = "Jitter" if domain == "my.library" else "EPContext"
    model.opset_import.add(domain=domain, version=1)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"custom operator .*needs a library of its own, and none is loaded"):
        al.load_model(f"{source}:{tmp_path / 'net.onnx'}")


def test_custom_operators_and_other_files_of_tflite_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    path = tmp_path / "net.tflite"
    for name, message in [("FlexConv2D", "custom operator FlexConv2D, which needs"), (None, "custom operator without")]:
        model = tflite_model(Small())
        code = model.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, name
        path.write_bytes(tflite_bytes(model))
        with pytest.raises(InputError, match=message):
            al.load_model(f"tflite:{path}")
    model = tflite_model(Small())
    model.externalBufferGroups = [schema.ExternalBufferGroupT()]
    model.externalBufferGroups[0].name = "/etc/passwd"
    path.write_bytes(tflite_bytes(model))
    with pytest.raises(InputError, match="keeps its weights in other files"):
        al.load_model(f"tflite:{path}")


@pytest.mark.parametrize("source", needs)
def test_damaged_files_are_refused_in_one_line(source: str, tmp_path: Path) -> None:
    name = deployed(source, tmp_path, Small())
    path = Path(name.partition(":")[2])
    whole, random = path.read_bytes(), np.random.default_rng(0)
    damaged = [
        b"",
        b"TFL3",
        bytes(64),
        b"<net",
        whole[: len(whole) // 2],
        random.bytes(500),
        whole[:8] + random.bytes(99),
    ]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises((InputError, UsageError)) as caught:
            al.load_model(name, input_size=SIDE)
        assert str(caught.value).isprintable(), content


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aliasing.models.source import Source

    monkeypatch.setattr(Source, "installed", None)
    for source, extra in [("onnx", "onnx"), ("openvino", "openvino"), ("tflite", "tflite")]:
        with pytest.raises(InputError, match=rf"not installed; pip install 'aliasing\[{extra}\]'"):
            al.load_model(f"{source}:net.{extra if extra != 'openvino' else 'xml'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.onnx", "run by which library. give onnx:net.onnx"),
        ("net.tflite", "give tflite:net.tflite"),
        ("onnx:net.pb", "expected onnx:PATH.onnx"),
        ("openvino:net.bin", "expected openvino:PATH.xml or openvino:PATH.onnx"),
    ],
)
def test_a_wrong_name_is_told_how_it_is_named(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        al.load_model(name)


def test_layers_of_a_file_cannot_be_seen_or_changed(tmp_path: Path) -> None:
    loaded = al.load_model(deployed("onnx", tmp_path, Small()), input_size=SIDE, **HALF)
    for use in (al.find_sites, al.antialias, lambda model: al.attribute(model, "sample", limit=1)):
        with pytest.raises(UsageError, match=r"run by onnxruntime .*give the original network"):
            use(loaded)
    with pytest.raises(UsageError, match="has no layout to be said"):
        al.load_model(Small(), input_size=SIDE, layout="NHWC")


@pytest.mark.parametrize(
    ("how", "option"),
    [({"precision": "bfloat16"}, "--precision bfloat16"), ({"compiled": True}, "--compile")],
)
def test_ways_of_running_that_are_torchs_are_refused(how: dict[str, Any], option: str, tmp_path: Path) -> None:
    loaded = al.load_model(deployed("onnx", tmp_path, Small()), input_size=SIDE, **HALF)
    with pytest.raises(UsageError, match=f"not by torch; leave out {option}"):
        al.measure_jitter(loaded, "sample", limit=1, **how)


def test_other_outputs_of_a_file(tmp_path: Path) -> None:
    """Maps, values and embeddings come from a file as from a module; several outputs are a dict by name."""
    pytest.importorskip("onnxruntime")
    model = onnx_model(Small(), shape=("n", "h", "w", 3))
    maps = onnx.helper.make_node("Transpose", ["positive"], ["out"], perm=(0, 2, 3, 1))
    model.graph.node.append(maps)
    model.graph.output.append(onnx.helper.make_tensor_value_info("out", 1, ["n", "a", "b", 8]))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = al.load_model(f"onnx:{path}", input_size=SIDE, **HALF)
    answer = loaded.module(loaded.blank(2))
    assert {name: tuple(part.shape) for name, part in answer.items()} == {"logits": (2, 10), "out": (2, 8, 15, 15)}
    masks = al.measure_jitter(loaded, "sample", limit=2, output="masks")
    assert 0 < masks.summary()["models"][loaded.name]["pixel_agreement"]["value"] <= 1
    del model.graph.output[1], model.graph.node[-1]
    path.write_bytes(model.SerializeToString())
    loaded = al.load_model(f"onnx:{path}", input_size=SIDE, **HALF)
    for output in ("values", "embedding"):
        assert al.measure_jitter(loaded, "sample", limit=3, output=output).summary()["models"][loaded.name]["pairs"] > 0


def test_the_commands_take_files_and_what_they_do_not_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], complaint: Callable[..., str]
) -> None:
    from aliasing.cli import main

    name = deployed("onnx", tmp_path, Small(), shape=("n", "c", "h", "w"))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(CLASSES)))
    words = ["jitter", "--models", name, "--limit", "2", "--json", "--input-size", str(SIDE), "--labels", str(labels)]
    words += ["--input-mean", "0.5,0.5,0.5", "--input-std", "0.25,0.25,0.25"]
    complaint(words, 2, "give layout='NCHW' or 'NHWC' (--layout)")
    assert main([*words, "--layout", "NCHW", "--resize-size", str(SIDE)]) == 0
    (told,) = json.loads(capsys.readouterr().out)["models"].values()
    assert (told["mean"], told["input_size"], told["resize_size"]) == ([0.5] * 3, SIDE, SIDE)
    assert main(["models"]) == 0
    assert "files of deployed networks: onnx:PATH.onnx (onnxruntime " in capsys.readouterr().out


def test_the_how_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "net.onnx")
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "deployed.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for example in re.findall("```python\n(.*?)```", page, re.DOTALL):
        exec(example, names)
    assert names["network"].resize_size == 72
    assert names["result"].summary()["models"]["onnx:net.onnx"]["images"] == 2
