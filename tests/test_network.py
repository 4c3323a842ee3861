"""The copy of a network that is run: its device, its precision, its compilation, and the network itself untouched."""

import platform
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing import memory
from aliasing.errors import InputError, UsageError
from aliasing.jitter import engine
from aliasing.jitter import network as running
from aliasing.jitter.network import Execution, has_fast_bfloat16, prepare, probabilities
from tests.test_jitter import photographs
from tests.test_precision import small_network


def test_a_network_that_cannot_be_copied_is_run_as_it_is() -> None:
    class Uncopyable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.open = small_network().module, (number for number in range(3))

        def forward(self, views: Tensor) -> Tensor:
            return self.layers(views)

    model, views = small_network(), np.random.default_rng(0).uniform(0, 255, (3, 24, 24, 3)).astype(np.float32)
    same = probabilities(al.models.Classifier(Uncopyable(), "it", 24, *[(0.5,) * 3] * 2, "bilinear", 32, 0.75))
    np.testing.assert_allclose(same(views), probabilities(model)(views), atol=1e-6)


def test_views_and_weights_go_to_the_device_and_the_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other device is here: the meta device is one too, though nothing comes back from it."""
    execution, model = Execution(), small_network()
    object.__setattr__(execution, "device", "meta")
    assert {weight.device.type for weight in prepare(model, execution).module.state_dict().values()} == {"meta"}
    assert {weight.device.type for weight in model.module.state_dict().values()} == {"cpu"}
    seen: list[Tensor] = []
    monkeypatch.setattr(running, "class_probabilities", lambda model, views: seen.append(model.normalize(views)))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: torch.no_grad())
    probabilities(model, execution)(np.zeros((2, 24, 24, 3), np.float32))
    assert (seen[0].device.type, seen[0].shape) == ("meta", (2, 3, 24, 24))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "device cuda: this machine has none"),
        ("mps", "device mps: this machine has none"),
        ("gpu", "unknown device 'gpu'; choose cpu, cuda or mps"),
        ("cuda:x", "unknown device 'cuda:x'"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch, complaint: Callable[..., str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=message):
        Execution(device)
    for command in ("jitter", "compare", "depth"):
        complaint([command, "--device", device], 2, message)


def test_a_number_beyond_the_devices_that_there_are_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Execution("cuda:1").device == "cuda:1"
    with pytest.raises(UsageError, match="device cuda:2: this machine has 2 of them, from cuda:0"):
        Execution("cuda:2")


def test_fast_bfloat16_is_known_by_what_the_processor_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert has_fast_bfloat16("cuda:1")
    assert not has_fast_bfloat16("mps")
    for known, fast in [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert has_fast_bfloat16("cpu") == fast
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert has_fast_bfloat16("cpu")


def test_a_compiled_network_gives_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torch.compile's front end, which must read the folded network; its code generator is torch's matter."""
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_(module, backend="eager", fullgraph=True))
    pictures, model = photographs(2), small_network()
    compiled, plain = (al.measure_jitter(model, pictures, compiled=compiled) for compiled in (True, False))
    assert compiled.summary()["settings"]["compile"]
    for column in ("first_probability", "second_probability"):
        first, second = (run.records[column].to_numpy() for run in (compiled, plain))
        np.testing.assert_allclose(first, second, atol=1e-6)  # float32 probabilities, sums in another order


@pytest.mark.slow  # half a minute, and a C++ compiler: pytest -m slow tests/test_network.py
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_torchs_own_code_generator_gives_the_same_answers(precision: str) -> None:
    pictures, model = photographs(4), small_network()
    compiled, plain = (
        al.measure_jitter(model, pictures, compiled=compiled, precision=precision) for compiled in (True, False)
    )
    first, second = (run.records["first_probability"].to_numpy() for run in (compiled, plain))
    np.testing.assert_allclose(first, second, atol=1e-6 if precision == "float32" else 0.02)


def test_a_compiler_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("no C++ compiler\nin many lines")

    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_(module, backend=no_compiler))
    with pytest.raises(InputError, match=r"torch.compile fails here .*; leave out --compile") as caught:
        al.measure_jitter(small_network(), photographs(1), compiled=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_embeddings_are_of_unit_length_in_either_precision(precision: str) -> None:
    result = al.measure_jitter(small_network(), photographs(3), output="embedding", precision=precision)
    summary = result.summary()["models"]["known"]
    assert 0 < summary["cosine_distance"]["value"] < 2


@pytest.mark.parametrize(("images", "protocol", "views"), [(500, "crop", 9), (10, "grid:radius=10", 441)])
def test_freed_memory_is_given_back_every_2048_views(
    images: int, protocol: str, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of many images, or of many views of each, would grow by what the allocator cannot use again."""
    returned: list[int] = []
    monkeypatch.setattr(engine, "return_freed_memory", lambda: returned.append(1))
    al.measure_jitter(small_network(), photographs(images), protocol)
    assert len(returned) == images * views // 2048


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_glibc_keeps_freed_memory_and_gives_it_back() -> None:
    assert memory.keep_freed_memory()
    kept = np.ones(2**23)
    del kept
    assert memory.return_freed_memory()
