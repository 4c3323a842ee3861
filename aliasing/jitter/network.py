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

from aliasing.errors import InputError, UsageError, one_line
from aliasing.jitter.dependence import Independence
from aliasing.models import Classifier, penultimate_features
from aliasing.scales import find_scale, to_probabilities
from aliasing.sites.trace import twin
from aliasing.surgery.folding import fold_batch_norms
from aliasing.surgery.fusing import fuse_convolutions
from aliasing.undisturbed import in_evaluation

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


def execution_of(settings: dict[str, Any]) -> Execution:
    """How a run's networks were run, by its settings: for what is looked at once more, a few views of them.

    The answers of a verified run are float32's; compiling does not pay for a few views.
    """
    return Execution(settings["device"], half=settings["precision"] == "bfloat16")


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
    """Views N×H×W×3 → class probabilities N×C, whatever the scale of the network's answer."""
    if model.scale is None:
        model = replace(model, scale=find_scale(model).name)
    return probabilities_of(prepare(model, execution), execution)


def probabilities_of(running: Classifier, execution: Execution) -> Network:
    """As :func:`probabilities`, of a copy that is prepared already."""

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            return class_probabilities(running, torch.from_numpy(views).to(execution.device))

    return network


def class_probabilities(model: Classifier, views: Array | Tensor) -> Array:
    """The class probabilities of one batch of views, of a network whose scale is known.

    Gradients and the evaluation mode are the caller's to see to.
    """
    assert model.scale is not None
    answer = model.module(model.normalize(views))
    outputs: Array = to_probabilities(answer, model.scale, model.name).float().cpu().numpy()
    return outputs


def embeddings(model: Classifier, execution: Execution = ON_CPU) -> Network:
    """Views N×H×W×3 → embeddings N×D of unit length."""
    return embeddings_of(prepare(model, execution), execution)


def embeddings_of(running: Classifier, execution: Execution) -> Network:
    """As :func:`embeddings`, of a copy that is prepared already."""
    features = penultimate_features(running)

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            vectors = features(running.normalize(torch.from_numpy(views).to(execution.device))).float()
            outputs: Array = (vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)).cpu().numpy()
            return outputs

    return network


def prepare(model: Classifier, execution: Execution = ON_CPU) -> Classifier:
    """The copy of a network that is run, on its device; the network itself is left untouched.

    A network that cannot be copied is run as it is and where it is.

    Raises
    ------
    InputError
        A network that cannot be copied, and would have to be: for another device, or to be compiled.
    """
    # torch.compile fuses by itself what oneDNN's operators would hide from it.
    fewer_steps = fuse_convolutions if execution.device == "cpu" and not execution.compiled else fold_batch_norms
    try:
        if model.dtype in (torch.float32, torch.float64):
            module = fewer_steps(model.module, model.blank(2))
        else:  # folded weights would be rounded once more, which is no small thing in 8 or 11 bits
            module = twin(model.module)
    except Exception as error:
        _require_in_place(model, execution, error)
        return model
    module.to(execution.device)
    module.to(memory_format=torch.channels_last)
    if execution.compiled:
        module.compile()
    return replace(model, module=module)


def evaluated(model: Classifier, device: str = "cpu") -> Classifier:
    """A copy in evaluation mode that shares what it can of the weights, on a device; for what hooks into a network.

    A network that cannot be copied is given back as it is: run it in :func:`aliasing.undisturbed.in_evaluation`.

    Raises
    ------
    InputError
        It cannot be copied, and is on another device.
    """
    try:
        return replace(model, module=twin(model.module).to(device))
    except Exception as error:  # it cannot be copied
        _require_in_place(model, Execution(device), error)
        return model


def as_array(answer: Tensor) -> Array:
    """A network's answer as it is, a row of numbers a view."""
    rows: Array = answer.reshape(len(answer), -1).float().cpu().numpy()
    return rows


def answers_of(running: Classifier, device: str = "cpu") -> Network:
    """Views N×H×W×3 → the network's answers as they are, a row of numbers a view."""

    def network(views: Array) -> Array:
        with torch.inference_mode(), in_evaluation(running.module):
            return as_array(running.module(running.normalize(torch.from_numpy(views).to(device))))

    return network


def require_independence(running: Classifier, views: Array, device: str = "cpu") -> None:
    """Refuse a network whose answers to some views follow from more than the views; one look, for a short measurement.

    Raises
    ------
    InputError
        From what else they follow; see :mod:`aliasing.jitter.dependence`.
    """
    with torch.inference_mode(), in_evaluation(running.module):
        answer = running.module(running.normalize(torch.from_numpy(views).to(device)))
    if isinstance(answer, Tensor):  # of a network that answers with several, layers may be looked at all the same
        unit = rounding_unit(running, device)
        Independence(running.name, answers_of(running, device), unit).look(views, as_array(answer))


def _require_in_place(model: Classifier, execution: Execution, error: Exception) -> None:
    """Refuse what could not be done to a network that is not copied without changing it for its owner."""
    where = {tensor.device for tensor in (*model.module.parameters(), *model.module.buffers())}
    if execution.compiled or any(place.type != execution.device.partition(":")[0] for place in where):
        reason = one_line((str(error).splitlines() or [type(error).__name__])[0])
        todo = "leave out --compile" if execution.compiled else f"put it on {execution.device} yourself"
        raise InputError(f"{model.name} cannot be copied ({reason}), and is left as it is; {todo}") from error


def rounding_unit(model: Classifier, device: str = "cpu", half: bool = False) -> float:
    """The distance from 1 to the next number in the arithmetic that a network is run in."""
    multiplied = [model.dtype, *([torch.bfloat16] if half else [])]
    unit = max(torch.finfo(dtype).eps for dtype in multiplied)
    tensor_float = device.startswith("cuda") and (
        torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    )
    return max(unit, 2**-10) if tensor_float else unit  # TensorFloat-32 has float16's bits


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
