r"""The scale of a network's answers: logits, log-probabilities or probabilities, of classes or of labels.

Every measure needs probabilities, and a second softmax would flatten them: a network that is sure, (1, 0, …, 0), would
seem nearly undecided between its classes. The scale follows from

* the last call that makes the answer (``softmax``, ``log_softmax``, ``sigmoid``), as a module, a function or a method,
  whatever reshapes it afterwards (`aliasing.sites.trace`),
* and the numbers for a few pictures: rows in 0…1 that sum to 1 are probabilities, and rows whose exponentials sum to 1
  are their logarithms, however they were computed.

============================= ========= =====================================================================
scale                         answer    probabilities
============================= ========= =====================================================================
``logits``                    N×classes softmax
``log-probabilities``         N×classes exp
``probabilities``             N×classes as they are
``one logit``                 N×1 or N  (1 − σ, σ): two classes
``one probability``           N×1 or N  (1 − p, p): two classes
``multi-label logits``        N×labels  σ of each: labels that are there or not, independently of one another
``multi-label probabilities`` N×labels  as they are
============================= ========= =====================================================================
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aliasing.blackbox import BlackBox
from aliasing.errors import InputError, UsageError
from aliasing.models import ShownNetwork
from aliasing.rounding import rounded
from aliasing.sites.trace import on_trial, record_calls
from aliasing.undisturbed import surroundings_kept

__all__ = ["SCALES", "Found", "Scale", "find_scale", "rows_of", "scale_of", "to_log_probabilities", "to_probabilities"]


@dataclass(frozen=True)
class Scale:
    """A scale of answers.

    Attributes
    ----------
    convert : answers N×D on this scale, in float32 or float64 → probabilities N×C.
    columns : the number of values that a view may have.
    is_bounded : the answers themselves must lie in 0…1.
    of_labels : each number belongs to a label, which is present or not; otherwise one class is the answer.
    logarithm : answers → the logarithm of the probabilities, if it can be computed without them.
    """

    convert: Callable[[Tensor], Tensor]
    columns: range
    is_bounded: bool = False
    of_labels: bool = False
    logarithm: Callable[[Tensor], Tensor] | None = None


def _of_two_logits(x: Tensor) -> Tensor:
    return torch.cat([(-x).sigmoid(), x.sigmoid()], 1)  # 1 − σ(x), without the cancellation


_SEVERAL, _ONE, _ANY = range(2, 2**31), range(1, 2), range(1, 2**31)

SCALES = {
    "logits": Scale(lambda x: x.softmax(1), _SEVERAL, logarithm=lambda x: x.log_softmax(1)),
    "log-probabilities": Scale(torch.exp, _SEVERAL, logarithm=lambda x: x),
    "probabilities": Scale(lambda x: x, _SEVERAL, is_bounded=True),
    "one logit": Scale(_of_two_logits, _ONE),
    "one probability": Scale(lambda x: torch.cat([1 - x, x], 1), _ONE, is_bounded=True),
    "multi-label logits": Scale(torch.sigmoid, _ANY, of_labels=True),
    "multi-label probabilities": Scale(lambda x: x, _ANY, is_bounded=True, of_labels=True),
}


@dataclass(frozen=True)
class Found:
    """The scale of a network's answers, how it was found, and what is doubtful about it."""

    name: str
    how: str
    caution: str | None = None

    @property
    def scale(self) -> Scale:
        """The conversion to probabilities."""
        return SCALES[self.name]

    def as_dict(self) -> dict[str, str]:
        """As the summary holds it."""
        doubt = {} if self.caution is None else {"caution": self.caution}
        return {"name": self.name, "found_by": self.how, **doubt}


def to_probabilities(answer: object, scale: str, model: str) -> Tensor:
    """The probabilities N×C of a network's answer, in float32 (float64 for a network in double precision).

    Raises InputError if the answer cannot be on this scale.
    """
    rows = rows_of(answer, model)
    known = SCALES[scale]
    if rows.shape[1] not in known.columns:
        raise _not_on(scale, f"{model} gives {_described(answer)}")
    if known.is_bounded:
        beyond = float(torch.maximum(-rows, rows - 1).detach().nan_to_num(0).amax()) if rows.numel() else 0.0
        if beyond > _tolerance(rows):
            raise _not_on(scale, f"{model} gives numbers outside 0…1 (by {rounded(beyond, '.3g')})")
    return known.convert(rows)


def _not_on(scale: str, found: str) -> InputError:
    return InputError(f"{found}, and its scale is {scale!r}; give another scale= to al.load_model")


def to_log_probabilities(answer: object, scale: str, model: str) -> Tensor:
    """The logarithm of :func:`to_probabilities`; it has gradients and is never −∞."""
    logarithm = SCALES[scale].logarithm
    if logarithm is not None:
        return logarithm(rows_of(answer, model))
    found = to_probabilities(answer, scale, model)
    return found.clamp_min(torch.finfo(found.dtype).tiny).log()


def rows_of(answer: object, model: str) -> Tensor:
    """A network's answer as N×D, in float32 or float64, without axes of one element.

    Raises InputError if it is not a tensor with one row of numbers per view.
    """
    if isinstance(answer, Tensor) and answer.ndim >= 1 and not answer.is_complex():
        rows = answer if answer.dtype == torch.float64 else answer.float()
        if math.prod(answer.shape[1:]) == max(answer.shape[1:], default=1):
            return rows.reshape(len(rows), -1)
    raise InputError(
        f"{model} gives {_described(answer)}, not N×classes; if it is not a classifier, measure its embedding"
        " (--output embedding)"
    )


@surroundings_kept()
def find_scale(model: ShownNetwork) -> Found:
    """Find the scale of a network's answers: the one that its classifier states, or the one that a run shows.

    Raises UsageError if the classifier states a scale that does not exist.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> half = (0.5, 0.5, 0.5)
    >>> layers = nn.Conv2d(3, 10, 8), nn.Flatten()
    >>> find_scale(Classifier(nn.Sequential(*layers), "a", 8, half, half, "bilinear", 8, 1.0)).name
    'logits'
    >>> found = find_scale(Classifier(nn.Sequential(*layers, nn.Softmax(1)), "a", 8, half, half, "bilinear", 8, 1.0))
    >>> found.name, found.how
    ('probabilities', 'its last call is softmax, and its rows sum to 1')
    """
    said = model.scale
    if said is not None:
        if said not in SCALES:
            raise UsageError(f"{model.name}: no scale {said!r}; expected one of {', '.join(SCALES)}")
        return Found(said, "it was said")
    try:
        with on_trial(model.module) as module:
            rows = rows_of(module(model.normalize(model.trial_views()).to(model.device)), model.name)
    except Exception:  # measuring reports how it fails
        rows = None
    return scale_of(rows, last_call(model), _unit_of(model.module))


def scale_of(rows: Tensor | None, call: str | None, unit: float = 0.0) -> Found:
    """The scale of answers N×D to several pictures, from the last torch function that made them; None if not known.

    ``unit`` is the rounding unit of the network, if it is larger than that of ``rows``.
    """
    called = "its calls cannot be recorded" if call is None else f"its last call is {call}"
    kind = _KINDS.get(call or "")
    is_free = call in _FREE
    if rows is None or not bool(rows.isfinite().all()):
        name = _SAID_BY.get(kind or "", "logits")
        if rows is not None and rows.shape[1] == 1:
            name = "one probability" if kind == "sigmoid" else "one logit"
        return Found(name, f"{called}; its numbers for a test picture are not finite or not known")
    numbers = rows.double()
    inside = bool(((numbers >= 0) & (numbers <= 1)).all())
    if rows.shape[1] == 1:
        how = f"{called}, and it gives one number per view"
        if kind == "sigmoid":
            return Found("one probability", how)
        doubt = _DOUBT.format(what="one number in 0…1 per view", taken="a logit") if inside and not is_free else None
        return Found("one logit", how, doubt)
    tolerance = max(_tolerance(rows), unit * (8 + math.sqrt(rows.shape[1])))
    tells = not is_free or bool((numbers != numbers[:1]).any())  # rows that are all the same may be so by chance
    sums = numbers.sum(1)
    if inside and tells and bool(((sums - 1).abs() <= tolerance).all()):
        return Found("probabilities", f"{called}, and its rows sum to 1")
    if inside and tells and kind == "softmax":
        found = (
            f"its rows sum to {rounded(float(sums.min()), '.4g')}…{rounded(float(sums.max()), '.4g')} after a softmax"
        )
        return Found("probabilities", called, f"{found}; they are taken for probabilities as they are")
    if tells and bool((numbers.logsumexp(1).abs() <= tolerance * max(1.0, float(numbers.abs().max()))).all()):
        return Found("log-probabilities", f"{called}, and the exponentials of its rows sum to 1")
    if inside and kind == "sigmoid":
        return Found(
            "multi-label probabilities",
            f"{called}, and its rows do not sum to 1",
            "it ends in a sigmoid: each number is taken for the probability of its own label, so no single class is"
            " the answer; if one is, give scale='probabilities' to al.load_model",
        )
    doubt = None
    if kind is not None:
        taken = "its numbers are not probabilities: they are taken for logits"
        doubt = f"{called}, and {taken}; give scale= to al.load_model"
    elif inside and not is_free:
        doubt = _DOUBT.format(what="numbers in 0…1 that do not sum to 1", taken="logits")
    elif bool((numbers <= 0).all()) and not is_free:
        doubt = _DOUBT.format(what="no number above 0", taken="logits")
    return Found("logits", f"{called}, and its rows are neither probabilities nor their logarithms", doubt)


_DOUBT = (
    "it gives {what}, which does not tell the scale: taken for {taken}; if that is wrong, give scale= to al.load_model"
)


# --- the last call --------------------------------------------------------------------------------------------------

_KINDS = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    **dict.fromkeys(("sigmoid", "hardsigmoid", "special_expit", "expit"), "sigmoid"),
}
_SAID_BY = {"softmax": "probabilities", "log_softmax": "log-probabilities", "sigmoid": "multi-label probabilities"}
# Calls that give the same numbers in another order, shape or type.
_PASSES = frozenset((
    "reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "movedim", "t",
    "contiguous", "clone", "detach", "alias", "identity", "view_as", "reshape_as", "expand", "getitem", "select",
    "float", "double", "half", "bfloat16", "to", "to_copy", "type", "type_as", "cpu", "cuda", "requires_grad",
    "dropout", "alpha_dropout", "feature_dropout", "dropout1d", "dropout2d", "dropout3d", "native_dropout",
))  # fmt: skip
# Calls that give numbers of any size, whatever their input: their rows lie in 0…1 only by chance.
_FREE = frozenset(("linear", "addmm", "matmul", "mm", "bmm", "conv2d", "convolution", "einsum", "batch_norm"))


def last_call(model: ShownNetwork) -> str | None:
    """The name of the last torch function that makes the answer, apart from those that only move or reshape it.

    None if the network's run cannot be recorded.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> half = (0.5, 0.5, 0.5)
    >>> net = nn.Sequential(nn.Conv2d(3, 10, 8), nn.Sigmoid(), nn.Flatten(), nn.Dropout())
    >>> last_call(Classifier(net, "a", 8, half, half, "bilinear", 8, 1.0))
    'sigmoid'
    """
    if isinstance(model.module, BlackBox):
        return model.module.program.ends_in
    try:
        record = record_calls(model.module, model.normalize(model.trial_views()[:2]).to(model.device))
    except Exception:  # scripted, or it fails on a picture of zeros
        return None
    made = [call for call in record.calls if any(value.is_output for value in call.outputs)]
    if not made:
        return None
    call = made[-1]
    while _plain(call.name) in _PASSES:
        before = next(iter(call.signals), None)
        if before is None or before.producer is None:
            break
        call = before.producer
    return _plain(call.name)


def _plain(name: str) -> str:
    """``sigmoid`` for ``sigmoid_`` and for ``sigmoid.default``, as it is called in an exported network."""
    return name.partition(".")[0].strip("_")


# --- rounding -------------------------------------------------------------------------------------------------------


def _unit_of(module: nn.Module) -> float:
    """The coarsest rounding of any of the network's parameters."""
    return max((torch.finfo(p.dtype).eps for p in module.parameters() if p.is_floating_point()), default=0.0)


def _tolerance(rows: Tensor) -> float:
    """The tolerance of a sum of D rounded probabilities: errors of a few units add like a random walk."""
    return float(torch.finfo(rows.dtype).eps * (8 + math.sqrt(rows.shape[1])))


def _described(answer: object) -> str:
    return "×".join(map(str, answer.shape)) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
