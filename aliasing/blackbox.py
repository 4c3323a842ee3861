"""A network that another library runs from a file: from pixels to an answer, and nothing in between.

onnxruntime, OpenVINO and LiteRT run the network that is deployed. `Program` is the file as one of them has opened it,
and `BlackBox` is it as a module, so that whatever is measured of a network can be measured of it. Its layers cannot be
seen or changed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aliasing.errors import UsageError

LAYOUTS = ("NCHW", "NHWC")
LISTS = (frozenset(("boxes", "scores", "labels")), frozenset(("keypoints", "scores", "descriptors")))
"""The names of the outputs of a file that answers with what it finds, which are many or few."""
LAST_CALLS = {
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid",
    "Gemm": "linear", "MatMul": "linear", "QGemm": "linear", "Conv": "conv2d", "FULLY_CONNECTED": "linear",
    "SOFTMAX": "softmax", "LOG_SOFTMAX": "log_softmax", "LOGISTIC": "sigmoid", "CONV_2D": "conv2d",
}  # fmt: skip
"""The torch function that does what an operator of a file does, for those that tell the scale of an answer."""


@dataclass(frozen=True)
class Port:
    """The one input of a file.

    Attributes
    ----------
    name : under which the file takes it.
    shape : its four sizes; None where any is taken.
    dtype : of its numbers, as NumPy names it.
    step, zero : of a quantised input, whose numbers q mean step · (q − zero); a step of 0 if it is not quantised.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    step: float = 0.0
    zero: int = 0

    @property
    def written_shape(self) -> str:
        """The shape in words: ``N×3×224×224``."""
        return "×".join("N" if size is None else str(size) for size in self.shape)

    def encode(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Real numbers as the input's own; whole ones are rounded, and clipped to what the dtype holds.

        Examples
        --------
        >>> Port("x", (1, 2), "int8", step=0.5, zero=-10).encode(np.float32([0, 0.6, 1000]))
        array([-10,  -9, 127], dtype=int8)
        """
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return numbers.astype(kind, copy=False)
        if self.step:
            numbers = numbers / np.float32(self.step) + np.float32(self.zero)
        bounds = np.iinfo(kind)
        return np.rint(numbers).clip(bounds.min, bounds.max).astype(kind)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A file as a library has opened it.

    Attributes
    ----------
    digest : SHA-256 of the file's bytes, and of those files that it takes its weights from.
    runtime : what runs it, for summaries: ``library`` and ``threads``, and what else may change its numbers.
    port : its input.
    outputs : the names of its outputs, in order.
    run : from an input of the file's own shape and dtype to its outputs by name.
    ends_in : the torch function that its last operator is called after (``"softmax"``, ``"linear"``), if it is known.
    told : what the file itself says of the preprocessing.
    inner : the names of those outputs that are inner values, which keep their own layout.
    """

    digest: str
    runtime: Mapping[str, str]
    port: Port
    outputs: tuple[str, ...] = ()
    run: Callable[[npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]
    ends_in: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    inner: tuple[str, ...] = ()

    @property
    def answers_lists(self) -> bool:
        """Whether it answers one picture with the boxes or the key points in it, by the names of its outputs."""
        return any(names <= {*self.outputs} for names in LISTS)

    def named(self, outputs: Sequence[str]) -> "Program":
        """The same, its outputs called so, in order; UsageError if they are others in number."""
        if len(outputs) != len(self.outputs):
            raise UsageError(f"outputs={tuple(outputs)}; the file has {len(self.outputs)}: {', '.join(self.outputs)}")
        if len({*outputs}) < len(outputs):
            raise UsageError(f"outputs={tuple(outputs)}: a name is there twice; give each output its own")
        return replace(
            self,
            outputs=tuple(outputs),
            runtime={**self.runtime, "outputs": ", ".join(outputs)},  # with other names the answer is another one
            run=lambda images: dict(zip(outputs, self.run(images).values(), strict=True)),
        )

    def of_single_pictures(self) -> "Program":
        """The same as if its input had a batch of one, if it takes a picture C×H×W and answers with lists."""
        if len(self.port.shape) != 3 or not self.answers_lists:
            return self
        port = replace(self.port, shape=(1, *self.port.shape))
        return replace(self, port=port, run=lambda images: self.run(images[0]))


class BlackBox(nn.Module):
    """A file that another library runs, as a module: N×C×H×W → its answer.

    A file with one output answers with a tensor, one with several with a dict of tensors by name. A batch of another
    size than a file takes is shown in parts. Of a file of the layout NHWC, maps N×H×W×C are answered as N×C×H×W. A file
    that detects (`Program.answers_lists`) is shown one picture at a time, and answers with a list of dicts.
    """

    def __init__(self, program: Program, layout: str) -> None:
        super().__init__()
        self.program, self.layout = program, layout
        height, width = (1, 2) if layout == "NHWC" else (2, 3)
        self.image_size = (program.port.shape[height], program.port.shape[width])

    def __deepcopy__(self, memo: Any) -> "BlackBox":
        return BlackBox(self.program, self.layout)  # what a library has opened cannot be copied, and has no state

    def extra_repr(self) -> str:
        """What runs it."""
        return f"{', '.join(self.program.runtime.values())}; {self.layout} {self.program.port.written_shape}"

    @property
    def computation(self) -> str:
        """The hash of what is computed: of the file, the library and the precision (SHA-256, hexadecimal)."""
        library = self.program.runtime["library"].partition(" ")[0]
        told = f"{self.program.digest} {library} {self.program.runtime.get('precision')} {self.layout}"
        if "outputs" in self.program.runtime:
            told += f" {self.program.runtime['outputs']}"
        return hashlib.sha256(told.encode()).hexdigest()

    def forward(self, batch: Tensor) -> Tensor | dict[str, Tensor] | list[dict[str, Tensor]]:
        """The answer to a batch N×C×H×W."""
        images = batch.detach().cpu().numpy()
        if self.layout == "NHWC":
            images = images.transpose(0, 2, 3, 1)
        given = np.ascontiguousarray(self.program.port.encode(images))
        if self.program.answers_lists:
            return [self._found(one) for one in _parts(given, 1)]
        parts = [self._answer(part) for part in _parts(given, self.program.port.shape[0])]
        answers = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
        return answers if len(answers) > 1 else next(iter(answers.values()))

    def _found(self, picture: npt.NDArray[Any]) -> dict[str, Tensor]:
        """What is found in one picture: without the axis of a batch of one, which some exporters leave."""
        answer = self.program.run(picture)
        places = "boxes" if "boxes" in answer else "keypoints"
        return {
            name: torch.from_numpy(np.ascontiguousarray(part[0] if answer[places].ndim == 3 else part))
            for name, part in answer.items()
        }

    def _answer(self, part: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        count, size = len(part), self.program.port.shape[0] or len(part)
        if count < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - count, 0)])
        return {name: self._as_torch(name, answer)[:count] for name, answer in self.program.run(part).items()}

    def _as_torch(self, name: str, answer: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if answer.dtype == np.float16:
            answer = answer.astype(np.float32)
        is_last = self.layout == "NHWC" and answer.ndim == 4 and name not in self.program.inner
        return answer.transpose(0, 3, 1, 2) if is_last else answer


def _parts(images: npt.NDArray[Any], size: int | None) -> Iterator[npt.NDArray[Any]]:
    step = size or len(images)
    return (images[start : start + step] for start in range(0, len(images), step))


def layout_of(port: Port, name: str, said: str | None = None) -> str:
    """The layout of a file's input: that in which there are one or three channels, or the one that is said.

    Raises UsageError if the input is no batch of pictures, if it does not tell the layout and none is said, or if what
    is said cannot be.

    Examples
    --------
    >>> layout_of(Port("x", (None, 3, 224, 224), "float32"), "net"), layout_of(Port("x", (1, 96, 96, 1), "int8"), "net")
    ('NCHW', 'NHWC')
    """
    if said is not None and said not in LAYOUTS:
        raise UsageError(f"{name}: layout {said!r}; expected {' or '.join(LAYOUTS)}")
    if len(port.shape) != 4:
        raise UsageError(
            f"{name} takes {port.name!r} of shape {port.written_shape or 'no axes'}; expected pictures, N×3×H×W or"
            " N×H×W×3"
        )
    possible = [layout for layout in LAYOUTS if port.shape[layout.index("C")] in (1, 3, None)]
    certain = [layout for layout in possible if port.shape[layout.index("C")] is not None]
    if said is None:
        if len(certain) == 1:
            return certain[0]
        if not possible:
            raise UsageError(
                f"{name} takes {port.name!r} of shape {port.written_shape}; expected one or three channels"
            )
        raise UsageError(
            f"{name} takes {port.name!r} of shape {port.written_shape}, which does not tell where the channels are;"
            " give layout='NCHW' or 'NHWC' (--layout)"
        )
    if said not in possible:
        raise UsageError(
            f"{name} takes {port.name!r} of shape {port.written_shape}, which is not {said} of one or three channels"
        )
    return said
