"""Functions from views to a network's outputs, on a device and in a precision.

`aliasing.jitter.engine` decides what a network is shown, and in which order. What runs here is a copy in channels_last
in which batch norms are folded (`aliasing.surgery.folding`) and, on a CPU, convolutions pad and clamp
(`aliasing.surgery.fusing`); the network itself stays untouched. The copy shares all weights but those of convolutions.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aliasing.blackbox import BlackBox
from aliasing.errors import InputError, UsageError, one_line
from aliasing.jitter.dependence import Independence
from aliasing.models import ShownNetwork, penultimate_features
from aliasing.models.changes import tensor_of
from aliasing.models.classifier import AnyNetwork
from aliasing.rounding import rounded
from aliasing.scales import find_scale, to_probabilities
from aliasing.sites.trace import laid_out, twin
from aliasing.surgery.filtering import fold_filters
from aliasing.surgery.folding import fold_batch_norms
from aliasing.surgery.fusing import fuse_convolutions
from aliasing.undisturbed import in_evaluation

if TYPE_CHECKING:
    from aliasing.outputs.instances import Masked

Array: TypeAlias = npt.NDArray[np.float32]
Network: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class Execution:
    """Where and how a network runs.

    Attributes
    ----------
    device : str
        "cpu", "cuda" (or "cuda:1") or "mps"; UsageError if it is another or this machine does not have it.
    compiled : bool
        Compile it with torch.compile.
    half : bool
        Run it in bfloat16 wherever torch's autocast considers that safe.
    counts_writes : bool
        Let torch count the writes to each tensor, which it does not do in inference mode.
    """

    device: str = "cpu"
    compiled: bool = False
    half: bool = False
    counts_writes: bool = False

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
_SUMS_TO_ONE = 1e-2  # bfloat16 has eight bits
_COVERED = 0.5  # the share from which a pixel belongs to a mask


def execution_of(settings: dict[str, Any]) -> Execution:
    """The execution to look at a few views of a finished run again, from its settings.

    The answers of a verified run are float32's; compiling does not pay for a few views.
    """
    return Execution(settings["device"], half=settings["precision"] == "bfloat16")


def device_of(models: Any) -> str:
    """Where the first of some networks is; "cpu" for one that is still to be loaded."""
    given = models if isinstance(models, (str, nn.Module, ShownNetwork)) else next(iter(models), "")
    module = given.module if isinstance(given, ShownNetwork) else given
    first = next(module.parameters(), None) if isinstance(module, nn.Module) else None
    return "cpu" if first is None else str(first.device).replace("mps:0", "mps")


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether a device multiplies bfloat16 in hardware, faster than float32.

    CPUs with AVX512-BF16 or AMX do, and CUDA devices that do not emulate it; for MPS it is not known.
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


def probabilities(model: ShownNetwork, execution: Execution = ON_CPU) -> Network:
    """Views → class probabilities N×C, whatever the scale of the network's answer."""
    if model.scale is None:
        model = replace(model, scale=find_scale(model).name)
    return probabilities_of(prepare(model, execution), execution)


def probabilities_of(running: ShownNetwork, execution: Execution) -> Network:
    """Like :func:`probabilities`, for a copy that is already prepared."""

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            return class_probabilities(running, torch.from_numpy(views).to(execution.device))

    return network


def class_probabilities(model: ShownNetwork, views: Array | Tensor) -> Array:
    """The class probabilities of one batch of views; the scale must be known, and the network in evaluation mode."""
    assert model.scale is not None
    answer = model.module(model.normalize(views))
    outputs: Array = to_probabilities(answer, model.scale, model.name).float().cpu().numpy()
    return outputs


def maps_of(running: ShownNetwork, execution: Execution) -> Network:
    """Views N×H×W×3 → the maps of the network's answer N×C×h×w, for a copy that is already prepared."""

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            return _maps(running, torch.from_numpy(views).to(execution.device)).cpu().numpy()

    return network


class ClassMap(NamedTuple):
    """What a network answers to the pixels of a view.

    Attributes
    ----------
    probable : float32 array (C, H, W)
        The class probabilities.
    labels : uint8 array (H, W), or uint16 of more than 256 classes
        The most probable class.
    """

    probable: Array
    labels: npt.NDArray[Any]

    @classmethod
    def of(cls, probable: Array) -> "ClassMap":
        """The class map of these probabilities; of equal ones the first class counts."""
        return cls(probable, _greatest(probable)[1])

    @classmethod
    def of_logits(cls, logits: Array) -> "ClassMap":
        """The class map of these logits, which become the probabilities, exp(x) over its sum over the classes."""
        greatest, labels = _greatest(logits)
        total = np.zeros_like(greatest)
        with np.errstate(invalid="ignore"):  # a logit that is infinite has no probability
            for one in logits:  # a class at a time stays in the processor's cache
                np.subtract(one, greatest, out=one)
                cv2.exp(one, dst=one)
                total += one
        np.reciprocal(total, out=total)
        for one in logits:
            one *= total
        return cls(logits, labels)


def _greatest(scores: Array) -> tuple[Array, npt.NDArray[Any]]:
    """The greatest of the classes' scores C×H×W at each pixel, and the first class that has it."""
    # Three passes for each class, in wide registers, are ten times as fast as an arg-max over the classes.
    greatest = scores[0].copy()
    labels = np.zeros(greatest.shape, np.min_scalar_type(len(scores) - 1))
    above = np.empty(greatest.shape, np.bool_)
    for number, one in enumerate(scores[1:], 1):
        np.greater(one, greatest, out=above)
        np.maximum(one, greatest, out=greatest)
        np.maximum(labels, above * labels.dtype.type(number), out=labels)
    return greatest, labels


def class_maps_of(running: ShownNetwork, execution: Execution) -> Callable[[Array], list[ClassMap]]:
    """Views N×H×W×3 → the classes of their pixels, for a copy that is already prepared."""

    def network(views: Array) -> list[ClassMap]:
        with running_on(execution), in_evaluation(running.module):
            answer = _maps(running, torch.from_numpy(views).to(execution.device))
            scale = _scale_of(answer)
            # View by view, because memory for a batch would come in fresh pages each time.
            return [_class_map(one, scale, views.shape[1:3]) for one in answer]

    return network


def _scale_of(answer: Tensor) -> str:
    """Whether an answer N×C×H×W holds ``"logits"`` or probabilities; a single channel is between 0 and 1 then."""
    for one in answer:  # the first that is out of bounds tells, which is mostly the first of all
        # Two reductions: comparisons are ten times as slow, and so is aminmax() in channels_last.
        if not (float(one.amin()) >= 0 and float(one.amax()) <= 1):
            return "logits"
        if len(one) > 1 and not bool(((one.sum(0) - 1).abs() < _SUMS_TO_ONE).all()):
            return "logits"
    return "probabilities"


def _class_map(answer: Tensor, scale: str, size: tuple[int, ...]) -> ClassMap:
    """The class map of a view's logits C×H×W, or of its probabilities, which a second softmax would flatten.

    A single channel is of two classes. A smaller answer is enlarged to ``size``, bilinearly.
    """
    if answer.shape[1:] != size:
        answer = nn.functional.interpolate(answer[None], size, mode="bilinear", align_corners=False)[0]
    if len(answer) == 1:
        second = answer if scale == "probabilities" else answer.sigmoid()
        answer, scale = torch.cat([1 - second, second]), "probabilities"
    scores = _class_by_class(answer.cpu().numpy())
    return ClassMap.of(scores) if scale == "probabilities" else ClassMap.of_logits(scores)


def _class_by_class(scores: Array) -> Array:
    """A copy of C×H×W scores whose memory is in this order."""
    pixels = scores.transpose(1, 2, 0)
    if not pixels.flags.c_contiguous:
        return scores.copy("C")
    by_class: Any = cv2.transpose(pixels.reshape(-1, len(scores)))  # in half the time of a copy
    found: Array = by_class.reshape(scores.shape)
    return found


def _maps(running: ShownNetwork, views: Tensor) -> Tensor:
    """A network's answer N×C×h×w; InputError if it is of another shape."""
    answer = tensor_of(running.ask(running.normalize(views)), running.name).float()
    if answer.ndim != 4:
        shape = "×".join(map(str, answer.shape))
        raise InputError(f"{running.name} answers with {shape}; maps are N×channels×height×width")
    return answer


def detections_of(
    running: ShownNetwork, execution: Execution, most: int, least: float
) -> Callable[[Array], list[Array]]:
    """Views N×H×W×3 → the detections of each, 6×n: corners, confidence, class, for a copy that is already prepared.

    At most ``most`` of them, those with the highest confidence, of at least ``least``.
    """

    def network(views: Array) -> list[Array]:
        with running_on(execution), in_evaluation(running.module):
            answers = running.ask(running.normalize(torch.from_numpy(views).to(execution.device)))
        return [rows[:, _surest(rows, most, least)] for rows in (_detections(one, running.name) for one in answers)]

    return network


def _surest(rows: Array, most: int, least: float) -> npt.NDArray[np.intp]:
    """The detections 6×n with the highest confidence, of at least ``least``; those that are not numbers are kept."""
    order = np.argsort(-np.nan_to_num(rows[4], nan=np.inf), kind="stable")
    found: npt.NDArray[np.intp] = order[~(rows[4, order] < least)][:most]
    return found


def instances_of(
    running: ShownNetwork, execution: Execution, most: int, least: float
) -> "Callable[[Array], list[Masked]]":
    """Views N×H×W×3 → the detections of each with their masks, as `detections_of` gives those without."""

    def network(views: Array) -> "list[Masked]":
        with running_on(execution), in_evaluation(running.module):
            answers = running.ask(running.normalize(torch.from_numpy(views).to(execution.device)))
        return [_instances(answer, running.name, views.shape[1:3], most, least) for answer in answers]

    return network


def _instances(answer: Any, name: str, size: tuple[int, ...], most: int, least: float) -> "Masked":
    """One image's instances."""
    from aliasing.outputs.instances import Mask, Masked

    if not (isinstance(answer, Mapping) and {"boxes", "scores", "labels", "masks"} <= set(answer)):
        raise InputError(
            f"{name} answers an image with a {type(answer).__name__}; expected a mapping with boxes, scores, labels and"
            " masks n×H×W"
        )
    rows, masks = _detections(answer, name), torch.as_tensor(answer["masks"])
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.shape != (rows.shape[1], *size):
        given, expected = ("×".join(map(str, shape)) for shape in (masks.shape, (rows.shape[1], *size)))
        raise InputError(f"{name} answers a view with masks of {given}; expected {expected}, one for each box")
    chosen = _surest(rows, most, least)
    found = rows[:, chosen]
    packed = []
    for place, number in enumerate(chosen.tolist()):
        mask = masks[number].float().cpu().numpy()
        if not np.isfinite(mask).all():
            found[:4, place] = np.nan  # no place, so that the image is counted as one without an answer
        packed.append(Mask.of(mask >= _COVERED))
    return Masked.of(found, packed)


def _detections(answer: Any, name: str) -> Array:
    """One image's detections, 6×n."""
    if isinstance(answer, Mapping) and {"boxes", "scores", "labels"} <= set(answer):
        parts = [answer["boxes"], answer["scores"][:, None], answer["labels"][:, None]]
        answer = torch.cat([part.float() for part in parts], 1)
    rows: Array = np.asarray(answer.float().cpu() if isinstance(answer, Tensor) else answer, np.float32)
    if rows.ndim != 2 or rows.shape[1] != 6:
        shape = "×".join(map(str, rows.shape))
        raise InputError(
            f"{name} answers an image with {shape}; detections are n×6 (corners, confidence, class), or boxes, scores"
            " and labels"
        )
    finite = rows[np.isfinite(rows[:, 4]), 4]
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        raise InputError(
            f"{name} gives confidences of {rounded(finite.min(), '.3g')} to {rounded(finite.max(), '.3g')}; detections"
            " have 0…1 in column 5 (corners, confidence, class)"
        )
    return rows.T


def keypoints_of(running: ShownNetwork, execution: Execution) -> Callable[[Array], list[Array]]:
    """Views N×H×W×3 → the key points of each, (3 + D)×n: x, y, score, descriptor of unit length."""

    def network(views: Array) -> list[Array]:
        with running_on(execution), in_evaluation(running.module):
            answers = running.ask(running.normalize(torch.from_numpy(views).to(execution.device)))
            return [_keypoints(answer, running.name) for answer in answers]

    return network


def _keypoints(answer: Any, name: str) -> Array:
    """One image's key points, (3 + D)×n."""
    if isinstance(answer, Mapping) and {"boxes", "keypoints", "keypoints_scores"} <= set(answer):
        answer = _joints(answer)
    if not (isinstance(answer, Mapping) and {"keypoints", "scores", "descriptors"} <= set(answer)):
        raise InputError(
            f"{name} answers an image with a {type(answer).__name__}; expected keypoints n×2, scores n, descriptors n×D"
        )
    places, scores, descriptors = (answer[key].float() for key in ("keypoints", "scores", "descriptors"))
    unit = nn.functional.normalize(descriptors, dim=1)
    found: Array = torch.cat([places, scores.reshape(-1, 1), unit], 1).T.cpu().numpy()
    return found


def _joints(answer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The joints of the persons that torchvision's network is sure of; which joint it is stands for a descriptor."""
    from aliasing.outputs.boxes import CONFIDENCE

    sure = answer["scores"] >= CONFIDENCE
    places, scores = answer["keypoints"][sure][..., :2], answer["keypoints_scores"][sure]
    kinds = torch.eye(scores.shape[1], device=scores.device).repeat(len(scores), 1)
    return {"keypoints": places.flatten(0, 1), "scores": scores.flatten(), "descriptors": kinds}


def embeddings_of(running: ShownNetwork, execution: Execution) -> Network:
    """Views → embeddings N×D of unit length, for a copy that is already prepared."""
    features = penultimate_features(running)

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            vectors = features(running.normalize(torch.from_numpy(views).to(execution.device))).float()
            outputs: Array = (vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)).cpu().numpy()
            return outputs

    return network


def values_of(running: ShownNetwork, execution: Execution) -> Network:
    """Views → the numbers of the network's answer N×K, for a copy that is already prepared."""

    def network(views: Array) -> Array:
        with running_on(execution), in_evaluation(running.module):
            answer = running.module(running.normalize(torch.from_numpy(views).to(execution.device)))
        if not isinstance(answer, Tensor):
            raise InputError(f"{running.name} gives a {type(answer).__name__}; expected a tensor N×numbers")
        return as_array(answer)

    return network


def prepare(model: AnyNetwork, execution: Execution = ON_CPU) -> AnyNetwork:
    """The copy of a network that runs, on its device; the network itself stays untouched.

    A network that cannot be copied runs as it is and where it is; if it would have to be copied, for another device or
    to be compiled, this raises InputError.
    """
    if isinstance(model.module, BlackBox):
        return _as_it_is(model, model.module, execution)
    # torch.compile does its own fusing, which oneDNN's operators would prevent.
    fewer_steps = fuse_convolutions if execution.device == "cpu" and not execution.compiled else fold_batch_norms
    try:
        if model.dtype in (torch.float32, torch.float64):
            module = fewer_steps(fold_filters(model.module, model.blank(2)), model.blank(2))
        else:  # folded weights would be rounded once more, which matters in 8 or 11 bits
            module = twin(model.module)
    except Exception as error:
        _require_in_place(model, execution, error)
        return model
    module.to(execution.device)
    with suppress(NotImplementedError):  # an exported network: its mode is part of its graph
        module.eval()  # what folding and fusing made too, or each batch would switch the modes of all modules
    laid_out(module)
    if execution.compiled:
        module.compile()
    return replace(model, module=module)


def evaluated(model: AnyNetwork, device: str = "cpu") -> AnyNetwork:
    """A copy on a device, in evaluation mode, that shares the weights where possible, for code that adds hooks.

    A network that cannot be copied is returned as it is: run it in :func:`aliasing.undisturbed.in_evaluation`. If it is
    on another device, this raises InputError.
    """
    try:
        return replace(model, module=twin(model.module).to(device))
    except Exception as error:  # it cannot be copied
        _require_in_place(model, Execution(device), error)
        return model


def as_array(answer: Tensor) -> Array:
    """A network's unconverted answer, one row of numbers per view."""
    rows: Array = answer.reshape(len(answer), -1).float().cpu().numpy()
    return rows


def answers_of(running: ShownNetwork, device: str = "cpu") -> Network:
    """Views → the network's unconverted answers, one row of numbers per view."""

    def network(views: Array) -> Array:
        with torch.inference_mode(), in_evaluation(running.module):
            return as_array(running.module(running.normalize(torch.from_numpy(views).to(device))))

    return network


def require_independence(running: ShownNetwork, views: Array, device: str = "cpu") -> None:
    """Raise InputError if a network's answers depend on more than the views: one check, for a short measurement.

    See :mod:`aliasing.jitter.dependence`.
    """
    with torch.inference_mode(), in_evaluation(running.module):
        answer = running.module(running.normalize(torch.from_numpy(views).to(device)))
    if isinstance(answer, Tensor):  # the layers of a network with several answers can still be measured
        unit = rounding_unit(running, device)
        Independence(running.name, answers_of(running, device), unit, running.full_scale).look(views, as_array(answer))


def _as_it_is(model: AnyNetwork, module: BlackBox, execution: Execution) -> AnyNetwork:
    """A file that another library runs; UsageError if torch's ways of running it are asked for."""
    if execution.device != "cpu" or execution.compiled or execution.half:
        asked = "--compile" if execution.compiled else f"--device {execution.device}"
        asked = "--precision bfloat16" if execution.half else asked
        raise UsageError(f"{model.name} is run by {module.program.runtime['library']}, not by torch; leave out {asked}")
    return model


def _require_in_place(model: ShownNetwork, execution: Execution, error: Exception) -> None:
    """Refuse to move or compile a network that cannot be copied, which would change it for its owner."""
    where = {tensor.device for tensor in (*model.module.parameters(), *model.module.buffers())}
    if execution.compiled or any(place.type != execution.device.partition(":")[0] for place in where):
        reason = one_line((str(error).splitlines() or [type(error).__name__])[0])
        todo = "leave out --compile" if execution.compiled else f"put it on {execution.device} yourself"
        raise InputError(f"{model.name} cannot be copied ({reason}) and stays as it is; {todo}") from error


def rounding_unit(model: ShownNetwork, device: str = "cpu", half: bool = False) -> float:
    """The distance from 1 to the next number in the arithmetic in which a network runs."""
    multiplied = [model.dtype, *([torch.bfloat16] if half else [])]
    unit = max(torch.finfo(dtype).eps for dtype in multiplied)
    tensor_float = device.startswith("cuda") and (
        torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    )
    return max(unit, 2**-10) if tensor_float else unit  # TensorFloat-32 has float16's bits


@contextmanager
def running_on(execution: Execution) -> Iterator[None]:
    """Run without gradients, in the given precision; InputError if the network cannot be compiled here."""
    kind = execution.device.partition(":")[0]
    without_gradients = torch.no_grad if execution.counts_writes else torch.inference_mode
    try:
        with torch.autocast(kind, torch.bfloat16, enabled=execution.half), without_gradients():
            yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"torch.compile fails here ({reason}); leave out --compile") from error
