"""Whether torch runs an operator, or records its calls into a program that runs later.

Fast code for eager mode (a hand-written gradient, a choice by the size of the image) cannot be recorded: then an
operator uses only torch's own calls, according to its definition.
"""

import warnings
from typing import Any

import torch


def is_traced() -> bool:
    """Whether the calls go into a trace, where sizes are tensors: `torch.jit.trace`, and the older ONNX exporter."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced


def is_recorded() -> bool:
    """Whether the calls go into a program that is compiled, exported or traced."""
    return torch.compiler.is_compiling() or is_traced()


def is_recorded_for_elsewhere() -> bool:
    """Whether that program may run in another library: ONNX and Core ML start from exported or traced programs."""
    return torch.compiler.is_exporting() or is_traced()


def constant(size: Any) -> int:
    """A size as a number that will be the same whenever a trace runs; a trace warns about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(size)
