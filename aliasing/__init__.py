"""See, measure and cure aliasing in downsampling.

Look at a signal's spectrum, subsample it and see what folds, filter so that less folds, put those operators into a
pretrained network, shift its input by one pixel, and measure how much its answer jitters, and at which depth.

Everything here is loaded when it is first used, so that ``import aliasing`` loads neither torch nor matplotlib.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "1.0.0"

# Public name -> the module that it is imported from: the stub, which type checkers read too, alone says it.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
_PLACES = {name.name: line.module for line in _STUB.body if isinstance(line, ast.ImportFrom) for name in line.names}

__all__ = [*_PLACES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'aliasing' has no attribute {name!r}; it has {', '.join(__all__)}")
    if _PLACES[name] == __name__:
        return import_module(f"aliasing.{name}")
    return getattr(import_module(str(_PLACES[name])), name)


def __dir__() -> list[str]:
    return sorted(__all__)
