"""Whether torch runs an operator, or records its calls into a program that runs later.

What is fast in eager mode (a gradient written by hand, a choice by the size of the image) cannot be recorded: there an
operator is made of torch's own calls alone, by its definition.
"""

import warnings
from typing import Any

import torch


def is_traced() -> bool:
    """Whether the calls go into a trace: `torch.jit.trace`, and the older ONNX exporter. Sizes are tensors there."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced


def is_recorded() -> bool:
    """Whether the calls go into a program: one that is compiled, exported or traced."""
    return torch.compiler.is_compiling() or is_traced()


def is_recorded_for_elsewhere() -> bool:
    """Whether that program may run in another library: exported or traced, which ONNX and Core ML start from."""
    return torch.compiler.is_exporting() or is_traced()


def constant(size: Any) -> int:
    """A size that is the same whenever a trace runs, as a number; a trace warns of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(size)
