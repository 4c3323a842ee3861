"""Programs of a network for other libraries: ONNX, torch's ExportedProgram, TorchScript.

A program is written to a temporary file, run by the library that will run it, and compared with the network on
photographs at two sizes. Only if the answers are equal but for rounding is the file kept. Filters in front of
convolutions are folded into them where that pays (`aliasing.surgery.filtering`).
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aliasing.errors import InputError, UsageError, first_line
from aliasing.fitting import Size
from aliasing.models.classifier import Classifier
from aliasing.models.told import KEY, write_told
from aliasing.provenance import write_bytes
from aliasing.sites.trace import twin
from aliasing.state import may_replace
from aliasing.surgery.filtering import fold_filters
from aliasing.undisturbed import surroundings_kept

__all__ = ["SUFFIXES", "Exported", "export"]

SUFFIXES = {".onnx": "ONNX", ".pt2": "an ExportedProgram", ".pt": "TorchScript"}
TOLERANCE = 1e-4
"""The largest difference of an answer that counts as rounding, in parts of the largest number of the answer."""

INPUT = "pixels"
"""The name of the input of an ONNX program."""

_PRODUCER = "aliasing"
_PHOTOGRAPHS = 3
_LARGER = 32  # pixels by which the second size is larger: a whole number of samples of the last map
# Layers of timm's that compute their padding from the size. torch.export would follow it through all layers, for hours.
_OF_ONE_SIZE = ("Conv2dSame", "MaxPool2dSame", "AvgPool2dSame")


@dataclass(frozen=True)
class Exported:
    """A program that answers as its network.

    Attributes
    ----------
    path : the file.
    sizes : of the photographs on which both were compared, in batches of two and of three.
    difference : the largest difference of an answer, in parts of the largest number of the answer.
    any_size : whether it takes pictures of other sizes.
    runtime : what ran it.
    """

    path: Path
    sizes: tuple[Size, ...]
    difference: float
    any_size: bool
    runtime: str

    def __str__(self) -> str:
        compared = " and ".join("×".join(map(str, size)) for size in self.sizes)
        taken = (
            "batches and pictures of any size" if self.any_size else "batches of any size, pictures of this size only"
        )
        return (
            f"{self.path} takes {taken}; {self.runtime} answers photographs of {compared} pixels as the network does,"
            f" but for {self.difference:.1e} of the largest number"
        )


@surroundings_kept()
def export(
    model: Classifier, path: str | Path, *, images: Any = "sample", any_size: bool = True, opset: int = 18
) -> Exported:
    """Write a network as a program for another library, once that library answers as the network does.

    Parameters
    ----------
    model : Classifier
        Converted or not.
    path : str or Path
        Ends in ``.onnx`` (written by torch.export; its metadata hold the preprocessing and the labels), ``.pt2`` or
        ``.pt``.
    images : as for :func:`aliasing.images.open_images`
        The first three are shown. Without the package's sample, test pictures are.
    any_size : bool
        Whether pictures of any size are taken, as batches always are. A network whose padding follows from the size is
        written for its own size only.
    opset : int
        ONNX's version of its operators.

    Returns
    -------
    Exported

    Raises
    ------
    UsageError
        The file has another ending, or is not one that was written here.
    InputError
        The network cannot be written, or the program answers otherwise; then there is no file.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".onnx":
        may_replace(path, _PRODUCER.encode(), "an ONNX file")
    elif path.exists():
        raise UsageError(f"{path} is there already; remove it, or choose another --out")
    any_size = any_size and not any(type(part).__name__ in _OF_ONE_SIZE for part in model.module.modules())
    height, width = model.view_size
    sizes = ((height, width), (height + _LARGER, width + _LARGER)) if any_size else ((height, width),)
    module = twin(model.module).cpu().to(memory_format=torch.contiguous_format)
    with tempfile.TemporaryDirectory() as folder, _quiet(path), torch.no_grad():
        file = Path(folder) / path.name
        _write(fold_filters(module, model.blank(2).float()), replace(model, module=module), file, any_size, opset)
        runtime, program = _RUNTIMES[path.suffix](file)
        difference = max(
            _difference(program(batch), module(batch))
            for count, size in enumerate((sizes[0], sizes[-1]), 2)
            for batch in [_photographs(replace(model, module=module), images, size, count)]
        )
        if not difference <= TOLERANCE:
            raise InputError(
                f"{runtime} answers otherwise than the network, by {difference:.1e} of the largest number, so {path}"
                " was not kept; try --fixed-size"
            )
        write_bytes(path, file.read_bytes())
    return Exported(path, sizes, difference, any_size, runtime)


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """Whatever exporters and libraries say or raise as an InputError of one line."""
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (InputError, UsageError):
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} needs {error.name}, which is not installed; pip install 'aliasing[export]'"
        ) from error
    except Exception as error:  # exporters fail in many ways
        raise InputError(
            f"the network cannot be written as {SUFFIXES[path.suffix]} ({type(error).__name__}: {first_line(error)});"
            " try --fixed-size, or another format"
        ) from error


def _write(module: nn.Module, model: Classifier, file: Path, any_size: bool, opset: int) -> None:
    """Write the program, traced on two pictures of zeros."""
    batch = model.blank(2).float()
    told = write_told(model)
    if file.suffix == ".pt":
        traced = torch.jit.trace(module, batch, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(file), _extra_files=told)
        return
    dynamic = torch.export.Dim.DYNAMIC
    sizes = {0: dynamic, **({2: dynamic, 3: dynamic} if any_size else {})}
    program = torch.export.export(module, (batch,), dynamic_shapes=(sizes,))
    if file.suffix == ".pt2":
        torch.export.save(program, file, extra_files=told)
        return
    written: Any = torch.onnx.export(
        program, (batch,), dynamo=True, opset_version=opset, input_names=[INPUT], verbose=False
    )
    content = written.model_proto
    content.producer_name = _PRODUCER
    del content.metadata_props[:]
    content.metadata_props.add(key=KEY, value=told[KEY])
    file.write_bytes(content.SerializeToString())


def _run_onnx(file: Path) -> tuple[str, Callable[[Tensor], Any]]:
    from aliasing.models.from_onnx import open_program

    program = open_program(file)

    def run(batch: Tensor) -> list[Tensor]:
        return [torch.from_numpy(answer) for answer in program.run(batch.numpy()).values()]

    return program.runtime["library"], run


def _run_exported(file: Path) -> tuple[str, Callable[[Tensor], Any]]:
    return f"torch {torch.__version__}", torch.export.load(file).module()


def _run_script(file: Path) -> tuple[str, Callable[[Tensor], Any]]:
    return f"torch {torch.__version__}", torch.jit.load(str(file))  # type: ignore[no-untyped-call]


_RUNTIMES = {".onnx": _run_onnx, ".pt2": _run_exported, ".pt": _run_script}


def _photographs(model: Classifier, images: Any, size: Size, count: int) -> Tensor:
    """The first photographs as the network sees them, at another size."""
    from aliasing.images import open_images

    resized = max(size[0], model.resized_size[0]), max(size[1], model.resized_size[1])
    shown = replace(model, input_size=size, resize_size=resized)
    try:
        source = open_images(images)
        loaded = [entry.load() for entry, _ in zip(source, range(_PHOTOGRAPHS), strict=False)]
        views = np.stack([shown.preprocess(getattr(image, "pixels")) for image in loaded])  # noqa: B009 - of pictures
    except InputError:  # the sample is not installed
        views = shown.trial_views()
    return shown.normalize(views[np.arange(count) % len(views)]).contiguous()


def _difference(found: Any, expected: Any) -> float:
    """The largest difference of two answers, in parts of the largest number expected; infinite if one is NaN."""
    pairs = zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True)
    parts = [float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs]
    return max(part if np.isfinite(part) else float("inf") for part in parts)
