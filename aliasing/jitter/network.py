"""How does a network give its answer, on this machine: which copy of it, on which device, in which precision?

What is shown to it, and in which order, is `aliasing.jitter.engine`'s; this is the function from views to outputs. It
runs a copy in which batch norms are folded (`aliasing.surgery.folding`) and, on a processor, convolutions pad and clamp
(`aliasing.surgery.fusing`), in channels_last; the network itself stays untouched. The copy shares what it can of the
weights: convolutions are there twice.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aliasing.errors import InputError, UsageError
from aliasing.models import Classifier, penultimate_features
from aliasing.surgery.folding import fold_batch_norms
from aliasing.surgery.fusing import fuse_convolutions

Array: TypeAlias = npt.NDArray[np.float32]
Network: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class Execution:
    """Where and how a network runs.

    Attributes
    ----------
    device : str
        "cpu", "cuda" (or "cuda:1"), "mps".
    compiled : bool
        By torch.compile.
    half : bool
        In bfloat16, where torch's autocast takes that for safe.

    Raises
    ------
    UsageError
        An unknown device, or one that this machine does not have.
    """

    device: str = "cpu"
    compiled: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", self.device):
            raise UsageError(f"unknown device {self.device!r}; choose cpu, cuda or mps")
        kind, _, number = self.device.partition(":")
        if kind == "cuda" and not torch.cuda.is_available():
            raise UsageError("device cuda: this machine has none, or torch was built without it; use --device cpu")
        if number and int(number) >= torch.cuda.device_count():
            raise UsageError(f"device {self.device}: this machine has {torch.cuda.device_count()} of them, from cuda:0")
        if kind == "mps" and not torch.backends.mps.is_available():
            raise UsageError("device mps: this machine has none, or torch was built without it; use --device cpu")


ON_CPU = Execution()


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether a device multiplies bfloat16 in hardware, faster than float32.

    A processor with AVX512-BF16 or AMX, a CUDA device that does not emulate it; of MPS it is not known.
    """
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.9
    if known:
        return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in asked)


def probabilities(model: Classifier, execution: Execution = ON_CPU) -> Network:
    """Views N×H×W×3 → class probabilities N×C (softmax of the network's output)."""
    return probabilities_of(prepare(model, execution), execution)


def probabilities_of(running: Classifier, execution: Execution) -> Network:
    """As :func:`probabilities`, of a copy that is prepared already."""

    def network(views: Array) -> Array:
        with running_on(execution):
            return class_probabilities(running, torch.from_numpy(views).to(execution.device))

    return network


def class_probabilities(model: Classifier, views: Array | Tensor) -> Array:
    """The class probabilities of one batch of views; gradients are the caller's to switch off."""
    logits = model.module(model.normalize(views))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(
            f"{model.name} gives {_describe(logits)}, not N×classes; if it is no classifier, measure its"
            " embedding (--output embedding)"
        )
    outputs: Array = logits.float().softmax(1).cpu().numpy()
    return outputs


def embeddings(model: Classifier, execution: Execution = ON_CPU) -> Network:
    """Views N×H×W×3 → embeddings N×D of unit length."""
    return embeddings_of(prepare(model, execution), execution)


def embeddings_of(running: Classifier, execution: Execution) -> Network:
    """As :func:`embeddings`, of a copy that is prepared already."""
    features = penultimate_features(running)

    def network(views: Array) -> Array:
        with running_on(execution):
            vectors = features(running.normalize(torch.from_numpy(views).to(execution.device))).float()
            outputs: Array = (vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)).cpu().numpy()
            return outputs

    return network


def prepare(model: Classifier, execution: Execution = ON_CPU) -> Classifier:
    """The copy of a network that is run, on its device; the network itself is left untouched."""
    # torch.compile fuses by itself what oneDNN's operators would hide from it.
    fewer_steps = fuse_convolutions if execution.device == "cpu" and not execution.compiled else fold_batch_norms
    try:
        module = fewer_steps(model.module, model.blank(2))
    except Exception:  # it cannot be copied
        module = model.module
    module.eval()  # what stands in for other modules is new, and in training mode
    module.to(execution.device)
    module.to(memory_format=torch.channels_last)
    if execution.compiled:
        module.compile()
    return replace(model, module=module)


@contextmanager
def running_on(execution: Execution) -> Iterator[None]:
    """Without gradients, in the precision that was asked for.

    Raises
    ------
    InputError
        The network cannot be compiled here.
    """
    kind = execution.device.partition(":")[0]
    try:
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=execution.half):
            yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"torch.compile fails here ({reason}); leave out --compile") from error


def _describe(output: object) -> str:
    return "×".join(map(str, output.shape)) if isinstance(output, Tensor) else f"a {type(output).__name__}"
