"""Whether torch runs an operator, or records its calls into a program that runs later.

What is fast in eager mode (a gradient written by hand, a choice by the size of the image) cannot be recorded: there an
operator is made of torch's own calls alone, by its definition.
"""

import torch


def is_recorded() -> bool:
    """Whether the calls go into a program: one that is compiled, exported or traced."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_recorded_for_elsewhere() -> bool:
    """Whether that program may run in another library: exported or traced, which ONNX and Core ML start from."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()
