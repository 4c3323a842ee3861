"""A converted network trains, compiles, exports, and runs wherever its original does."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import Net, build, difference, image
from safetensors import safe_open
from torch import nn

import aliasing as al
from aliasing.errors import UsageError
from tests.small_network import make

NAMES = ["torchvision:resnet18", "timm:tf_efficientnet_lite0"]
# Float32 sums of up to some thousand products, in another order in every layer.
FLOAT32 = 1e-4


def converted(name: str, **options: Any) -> nn.Module:
    options = {"taps": "binomial4", **options}
    return al.antialias(build(name), example_input=image(64, dtype=torch.float32), **options)


def x(batch: int = 2) -> torch.Tensor:
    return image(64, batch=batch, dtype=torch.float32)


@pytest.mark.parametrize("options", [{}, {"placement": "before"}, {"operator": "flc"}, {"operator": "aps"}], ids=str)
@pytest.mark.parametrize("name", NAMES[:1])
def test_trains(name: str, options: dict[str, Any]) -> None:
    network = converted(name, **options).train()
    network(x()).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (NAMES[0], {}),
        (NAMES[1], {}),
        (NAMES[0], {"operator": "aps"}),
        pytest.param(NAMES[1], {"placement": "before"}, marks=pytest.mark.slow),
        pytest.param(NAMES[1], {"operator": "aps"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
@torch.no_grad()
def test_compiles_in_one_graph(name: str, options: dict[str, Any]) -> None:
    network = converted(name, **options)
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert difference(compiled(x()), network(x())) < FLOAT32


def test_a_call_inside_a_container_compiles() -> None:
    def functional(net: Any, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(torch.relu(net.conv(x)), 2)
        return torch.nn.functional.avg_pool2d(x, 2)[:, :, ::2, ::2]

    network = al.antialias(Net(functional, conv=nn.Conv2d(3, 4, 3, 2)), scheme="all", example_input=x())
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert difference(compiled(x()), network(x())) < FLOAT32


@pytest.mark.slow
@torch.no_grad()
def test_compiles_to_machine_code() -> None:
    network = converted("torchvision:resnet18")
    assert difference(torch.compile(network)(x()), network(x())) < FLOAT32


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [{}, {"placement": "before"}, {"operator": "flc"}, {"operator": "aps"}], ids=str)
@torch.no_grad()
def test_exports_with_a_batch_of_any_size(options: dict[str, Any], strict: bool) -> None:
    network = converted("torchvision:resnet18", **options)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (x(),), dynamic_shapes=({0: batch},), strict=strict)
    assert list(program.state_dict) == [
        name for name, _ in [*network.named_parameters(), *network.named_buffers()]
    ] or (set(program.state_dict) == set(network.state_dict()))
    assert difference(program.module()(x(5)), network(x(5))) < FLOAT32


@pytest.mark.parametrize("options", [{}, pytest.param({"placement": "before"}, marks=pytest.mark.slow)], ids=str)
@torch.no_grad()
def test_onnx_gives_the_same_on_photographs(options: dict[str, Any], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    classifier = al.antialias(al.load_model("pypi:efficientnet_lite0"), **options)
    photographs = [entry.load().pixels for _, entry in zip(range(3), al.images.open_images("sample"), strict=False)]
    batch = classifier.normalize(np.stack([classifier.preprocess(pixels) for pixels in photographs])).contiguous()
    path = tmp_path / "network.onnx"
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.onnx.export(classifier.module, (batch[:2],), path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    expected = classifier.module(batch)
    assert difference(torch.from_numpy(found), expected) < FLOAT32
    assert (found.argmax(1) == expected.argmax(1).numpy()).all()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_autocast_keeps_the_low_precision(name: str) -> None:
    network = converted(name)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(x())
    assert found.dtype == torch.bfloat16
    # bfloat16 has 8 bits: 2⁻⁸ a rounding, and some tens of layers.
    assert difference(found.float(), network(x())) < 0.15


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@torch.no_grad()
def test_other_dtypes(dtype: torch.dtype) -> None:
    assert converted("torchvision:resnet18").to(dtype)(x().to(dtype)).dtype == dtype


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_channels_last(name: str) -> None:
    network = converted(name)
    expected = network(x())
    network.to(memory_format=torch.channels_last)
    assert difference(network(x().contiguous(memory_format=torch.channels_last)), expected) < FLOAT32


def test_distributed_data_parallel() -> None:
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29571")
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    try:
        network = converted("torchvision:resnet18").train()
        parallel = nn.parallel.DistributedDataParallel(network)
        parallel(x()).square().mean().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
    finally:
        torch.distributed.destroy_process_group()


def test_a_bare_module_is_saved_with_its_conversion(tmp_path: Path) -> None:
    fixed = al.antialias(make().module, scheme="all", taps="binomial3")
    al.surgery.save(fixed, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert "binomial3" in file.metadata()["aliasing.conversion"]
        assert set(file.keys()) == set(fixed.state_dict())


def test_a_sample_recalibrates_as_the_command_does(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 200 + number, (16, 16, 3), dtype=np.uint8) for number in range(12)]
    net = al.Classifier.of(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), 16)
    drawn = al.recalibrate(net, pictures, sample=5)
    same = al.recalibrate(net, al.images.choose_images(pictures, sample=5))
    first = al.recalibrate(net, pictures, limit=5)
    means = [one.module[1].running_mean for one in (drawn, same, first)]
    assert torch.equal(means[0], means[1])
    assert not torch.equal(means[0], means[2])
    with pytest.raises(UsageError, match="batches are not drawn from"):
        al.recalibrate(net.module, [torch.zeros(2, 3, 16, 16)], sample=1)
