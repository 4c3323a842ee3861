"""Networks and checkpoints made for the tests of the sources."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

import aliasing as al
from aliasing.models.classifier import IMAGENET_MEAN, IMAGENET_STD, fingerprint
from tests.image_files import tar_bytes

ROOT = Path(__file__).parents[1]
LITES = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")
SQUEEZENET = "torchvision:squeezenet1_0"


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return fingerprint(one) == fingerprint(other)


def tiny(module: nn.Module, size: int = 8) -> al.Classifier:
    return al.Classifier(module, "tiny", size, IMAGENET_MEAN, IMAGENET_STD, "bilinear", size, 1.0)


def hub_cache(root: Path, name: str, network: nn.Module) -> nn.Module:
    """The network, whose weights lie where Hugging Face's hub would have left those of timm's of that name."""
    folder = root / f"models--timm--{name}"
    for part in ("refs", "snapshots/0123"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123")
    safetensors.torch.save_file(network.state_dict(), folder / "snapshots" / "0123" / "model.safetensors")
    return network


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


class CreatesFile:
    """Unpickled by an unsuspecting reader, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def lying_safetensors(path: Path, header: bytes, length: int | None = None, body: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


def header_of(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


def truncated(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def made_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def safetensors_file(weights: dict[str, Tensor], path: Path) -> Path:
    safetensors.torch.save_file(weights, path)
    return path


def torchscript(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)), path)
    return path


def without(weights: dict[str, Tensor], *dropped: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if not key.startswith(dropped)}


FIRST = "features.0.weight"
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, thing: Any) -> Path:
    """The format of torch 0.1: a tar of pickles."""
    names = ("sys_info", "pickle", "storages", "tensors")
    return written(path, tar_bytes(dict.fromkeys(names, pickle.dumps(thing, 2))))


def endless() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    return content


# Each: how to make it in a folder from good weights, and what the message must say.
BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path, dict[str, Tensor]], Path], str]] = {
    "no file": (lambda f, w: f / "none.pth", "no such file"),
    "a folder": (lambda f, w: made_folder(f / "a.pth"), "is a folder"),
    "a pipe": (lambda f, w: made_pipe(f / "a.pth"), "not a regular file"),
    "empty .pth": (lambda f, w: written(f / "a.pth", b""), "is empty"),
    "empty .safetensors": (lambda f, w: written(f / "a.safetensors", b""), "is empty"),
    "text": (lambda f, w: written(f / "a.pth", b"Not Found\n"), "not a complete PyTorch checkpoint"),
    "a web page": (lambda f, w: written(f / "a.safetensors", b"<!DOCTYPE html><html>"), "not a complete .safetensors"),
    "a picture": (lambda f, w: written(f / "a.pth", b"\x89PNG\r\n\x1a\n" + bytes(99)), "complete PyTorch checkpoint"),
    "truncated .pth": (lambda f, w: truncated(saved(w, f / "a.pth"), 0.6), "not a complete PyTorch checkpoint"),
    "truncated old .pth": (
        lambda f, w: truncated(saved(w, f / "a.pth", _use_new_zipfile_serialization=False), 0.6),
        "not a complete PyTorch checkpoint",
    ),
    "truncated .safetensors": (lambda f, w: truncated(safetensors_file(w, f / "a.safetensors"), 0.6), "complete"),
    "a pickle in a .safetensors": (lambda f, w: saved(w, f / "a.safetensors"), "not a complete .safetensors"),
    "a .safetensors called .pth": (lambda f, w: safetensors_file(w, f / "a.pth"), "not a complete PyTorch checkpoint"),
    "a header longer than the file": (
        lambda f, w: lying_safetensors(f / "a.safetensors", b"{}", length=1 << 40),
        "not a complete .safetensors",
    ),
    "a header that is no JSON": (lambda f, w: lying_safetensors(f / "a.safetensors", b"{]"), "a complete .safetensors"),
    "offsets beyond the file": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={"dtype": "F32", "shape": [99], "data_offsets": [0, 396]}), body=bytes(8)
        ),
        "not a complete .safetensors",
    ),
    "a shape that its bytes do not fill": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={"dtype": "F32", "shape": [99], "data_offsets": [0, 8]}), body=bytes(8)
        ),
        "not a complete .safetensors",
    ),
    "code in torch's format": (lambda f, w: saved(CreatesFile(f / "ran"), f / "a.pth"), "would have to execute code"),
    "code in the old format": (
        lambda f, w: saved(CreatesFile(f / "ran"), f / "a.pth", _use_new_zipfile_serialization=False),
        "would have to execute code",
    ),
    "code in a bare pickle": (
        lambda f, w: written(f / "a.pth", pickle.dumps(CreatesFile(f / "ran"), 2)),
        "would have to execute code",
    ),
    "code beside the weights": (
        lambda f, w: saved({"state_dict": w, "args": CreatesFile(f / "ran")}, f / "a.pth"),
        "would have to execute code",
    ),
    "a whole network": (lambda f, w: saved(nn.Conv2d(3, 4, 1), f / "a.pth"), "would have to execute code"),
    "TorchScript": (lambda f, w: torchscript(f / "a.pt"), "TorchScript archive"),
    "a lone tensor": (lambda f, w: saved(torch.zeros(3), f / "a.pth"), "holds a Tensor"),
    "a list": (lambda f, w: saved(list(w.values()), f / "a.pth"), "holds a list"),
    "nothing in it": (lambda f, w: saved({}, f / "a.pth"), "holds nothing"),
    "an optimiser's state": (
        lambda f, w: saved({"epoch": 1, "optimizer": {"state": {}}}, f / "a.pth"),
        "more than tensors (epoch, optimizer)",
    ),
    "numbers for names": (lambda f, w: saved(dict(enumerate(w.values())), f / "a.pth"), "more than tensors"),
    "keys missing": (lambda f, w: saved(without(w, "features.0"), f / "a.pth"), "2 of 52 keys missing (features.0"),
    "keys too many": (
        lambda f, w: saved({**w, "a": torch.ones(1), "b": torch.ones(1)}, f / "a.pth"),
        "2 unexpected (a, b)",
    ),
    "many keys too many": (
        lambda f, w: saved({**w, **{f"extra{i}": torch.ones(1) for i in range(9)}}, f / "a.pth"),
        "9 unexpected (extra0, extra1, extra2 and 6 more)",
    ),
    "a head of two numbers of classes": (
        lambda f, w: saved(
            {**w, "classifier.1.weight": torch.zeros(10, 512, 1, 1), "classifier.1.bias": torch.zeros(11)}, f / "a.pth"
        ),
        "2 of the wrong shape (classifier.1.weight: 10×512×1×1, expected 1000×512×1×1",
    ),
    "a head of as many classes as the world has people": (
        lambda f, w: saved(
            {
                **w,
                "classifier.1.weight": torch.zeros(1).expand(2**33, 512, 1, 1),
                "classifier.1.bias": torch.zeros(1).expand(2**33),
            },
            f / "a.pth",
        ),
        "2 of the wrong shape",
    ),
    "whole numbers for real ones": (
        lambda f, w: saved({**w, FIRST: w[FIRST].long()}, f / "a.pth"),
        "1 of the wrong kind (features.0.weight: int64, expected float32)",
    ),
    "complex numbers for real ones": (
        lambda f, w: saved({**w, FIRST: w[FIRST].to(torch.complex64)}, f / "a.pth"),
        "1 of the wrong kind (features.0.weight: complex64, expected float32)",
    ),
    "a sparse tensor": (lambda f, w: saved({**w, FIRST: w[FIRST].to_sparse()}, f / "a.pth"), f"({FIRST}: sparse_coo)"),
    "a quantised tensor": (
        lambda f, w: saved({**w, FIRST: torch.quantize_per_tensor(w[FIRST], 0.1, 0, torch.qint8)}, f / "a.pth"),
        f"({FIRST}: quantised)",
    ),
    "a nested tensor": (
        lambda f, w: saved({**w, FIRST: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, f / "a.pth"),
        f"({FIRST}: nested)",
    ),
    "a tensor on the meta device": (lambda f, w: saved({**w, FIRST: w[FIRST].to("meta")}, f / "a.pth"), "no values"),
    "a tensor as large as the world": (
        lambda f, w: saved({**w, FIRST: torch.zeros(1).expand(2**40)}, f / "a.pth"),
        "1 of the wrong shape",
    ),
    "names that a terminal would obey": (
        lambda f, w: saved({"\x1b[2J\n<b>": torch.zeros(1), "y" * 1_000_000: torch.zeros(1)}, f / "a.pth"),
        r"2 unexpected (\x1b[2J\n<b>, yyy",
    ),
    "names that hold themselves": (lambda f, w: saved(endless(), f / "a.pth"), "more than tensors"),
    "an archive that expands a thousand times": (
        lambda f, w: zipped(f / "a.pth", {"archive/data.pkl": bytes(2**28 + 1), "archive/version": b"3"}),
        "decompression bomb",
    ),
    "an archive that leads out": (
        lambda f, w: zipped(f / "a.pth", {"../../ran": b"x", "archive/data.pkl": b"}.", "archive/version": b"3"}),
        "not a complete PyTorch checkpoint",
    ),
    "code in a compressed archive": (
        lambda f, w: zipped(f / "a.pth", {"archive/data.pkl": pickle.dumps(CreatesFile(f / "ran"), 2)}),
        "",
    ),
    "code in the tar of old": (lambda f, w: tarred(f / "a.pth", CreatesFile(f / "ran")), "complete PyTorch checkpoint"),
    "a name of 2^40 bytes": (
        lambda f, w: written(f / "a.pth", b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc."),
        "not a complete PyTorch checkpoint",
    ),
    "a header that is nested without end": (
        lambda f, w: lying_safetensors(f / "a.safetensors", b"[" * 100_000),
        "not a complete .safetensors",
    ),
    "a header of 2^63 bytes": (lambda f, w: lying_safetensors(f / "a.safetensors", b"{}", length=1 << 63), "complete"),
    "the same name twice": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors",
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            body=bytes(8),
        ),
        "",
    ),
    "tensors that lie on one another": (
        lambda f, w: lying_safetensors(f / "a.safetensors", header_of(a=ONE, b=ONE), body=bytes(8)),
        "not a complete .safetensors",
    ),
    "a shape that overflows": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={**ONE, "shape": [2**40, 2**40]}), body=bytes(8)
        ),
        "not a complete .safetensors",
    ),
    "another network": (
        lambda f, w: safetensors_file(torchvision.models.resnet18().state_dict(), f / "a.safetensors"),
        "does not fit SqueezeNet: 52 of 52 keys missing",
    ),
}
