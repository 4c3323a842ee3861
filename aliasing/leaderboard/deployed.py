"""One network in the forms in which it is deployed: as it is, exported, in 16 bits, and quantised to 8.

===================== ==========================================================================================
``NAME``              torch, as it is
``NAME, onnx``        its ONNX program, run by onnxruntime
``NAME, bfloat16``    torch, its weights and maps in bfloat16
``NAME, float16``     torch, its weights and maps in float16; only if it is asked for, for few CPUs are fast at it
``NAME, int8``        the program, quantised by onnxruntime (QDQ, static): weights by channel, maps by the range that
                      they have on the images of calibration
===================== ==========================================================================================

They are measured on the same images, so each is compared with the first pair by pair.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aliasing.blackbox import BlackBox
from aliasing.errors import InputError, UsageError, first_line
from aliasing.estimates import Estimate, share
from aliasing.images import BadImage, Image, ImageSource, open_images
from aliasing.jitter import Jitter
from aliasing.models import Classifier, load_model
from aliasing.models.told import write_told
from aliasing.provenance import write_bytes
from aliasing.sites.trace import copied
from aliasing.surgery.export import INPUT, export

if TYPE_CHECKING:
    from aliasing.leaderboard import Leaderboard

__all__ = ["FORMS", "agreement", "compare_deployed", "quantise"]

FORMS = ("onnx", "bfloat16", "float16", "int8")
"""The forms of a network beside its own."""

MOST_CALIBRATING = 128
"""Images of calibration: onnxruntime keeps the range of every map for each of them."""


def compare_deployed(
    model: Classifier,
    images: Any = "sample",
    *,
    forms: Sequence[str] = (),
    calibrate: Any = None,
    out: str | Path | None = None,
    **options: Any,
) -> tuple["Leaderboard", list[dict[str, Any]]]:
    """Measure one network in the forms in which it is deployed, on the same images.

    Parameters
    ----------
    model : Classifier
    images, out, **options
        As for :func:`aliasing.compare_networks`. The programs are kept in ``out/programs``.
    forms : sequence of str
        Some of :data:`FORMS`; by default all but float16, int8 if ``calibrate`` is given.
    calibrate : as images, optional
        The first 128 calibrate int8; they should not be those that are measured.

    Returns
    -------
    (Leaderboard, list of dict)
        The board of the forms, and for each form what the board does not have: ``run_by``, ``megabytes`` (of a
        program's file, or of the weights) and ``agreement``, the share of the views that both were shown to which it
        gives the network's own answer.

    Raises
    ------
    UsageError
        There is no such form, or int8 is asked for without images that calibrate it.
    """
    from aliasing.leaderboard import compare_networks  # which imports more than the forms need

    chosen = forms or ("onnx", "bfloat16", *(["int8"] if calibrate is not None else []))
    unknown = [form for form in chosen if form not in FORMS]
    if unknown:
        raise UsageError(f"no form {unknown[0]!r}; choose some of {', '.join(FORMS)}")
    if "int8" in chosen and calibrate is None:
        raise UsageError("int8 is calibrated on images: say which, other than those that are measured (--calibrate)")
    calibration = None if calibrate is None else open_images(calibrate)
    made, failed = {model.name: model}, dict[str, str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary if out is None else out) / "programs" / model.identity[:16]
        folder.mkdir(parents=True, exist_ok=True)
        for form in chosen:
            name = f"{model.name}, {form}"
            try:
                made[name] = _in_form(form, model, name, folder, calibration)
            except (InputError, UsageError) as error:
                failed[name] = str(error)
        board = compare_networks([*made.values()], images, out=out, **options)
        board = replace(board, unmeasured={**failed, **board.unmeasured})
        return board, [_beside(board, model.name, name, form) for name, form in made.items() if name in board.networks]


def _in_form(form: str, model: Classifier, name: str, folder: Path, calibration: ImageSource | None) -> Classifier:
    """The network in one form; programs are written to the folder, unless they are there."""
    if form in ("bfloat16", "float16"):
        return replace(model, module=copied(model.module).to(getattr(torch, form)), name=name)
    program = folder / "float32.onnx"
    if not program.is_file():
        export(model, program, any_size=False)
    if form == "onnx" or calibration is None:
        return _loaded(program, name)
    shown = [*_calibrating(model, calibration)]
    if not shown:
        raise InputError(f"no image of {calibration.description} can calibrate int8: none can be read")
    digest = hashlib.blake2b(b"".join(array.tobytes() for array in shown), digest_size=8).hexdigest()
    path = folder / f"int8-{digest}.onnx"
    if not path.is_file():
        quantise(model, program, path, shown)
    return _loaded(path, name, f"calibrated on {len(shown)} images of {calibration.description}")


def _loaded(path: Path, name: str, *notes: str) -> Classifier:
    loaded = load_model(f"onnx:{path}")
    assert isinstance(loaded, Classifier)
    return replace(loaded, name=name, notes=(*loaded.notes, *notes))


def quantise(model: Classifier, program: Path, path: Path, shown: list[Any]) -> None:
    """Quantise an ONNX program of a network to 8 bits, by onnxruntime: QDQ, static, weights by channel.

    Parameters
    ----------
    model : Classifier
        The network, whose preprocessing is kept in the metadata.
    program : Path
        Its program in float32, as `aliasing.surgery.export` writes it.
    path : Path
        Where the quantised program is written.
    shown : list of float32 arrays, 1×C×H×W
        The network's inputs, whose maps tell the ranges.

    Raises
    ------
    InputError
        If onnxruntime cannot quantise the program.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(shown)

        def get_next(self) -> Any:
            array = next(self.left, None)
            return None if array is None else {INPUT: array}

    try:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
            ready, done = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(program, ready, skip_symbolic_shape=True)
            types = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QUInt8}
            quantize_static(ready, done, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **types)
            made = onnx.load(done)
    except Exception as error:  # onnxruntime's errors have no ancestor but Exception
        raise InputError(f"onnxruntime cannot quantise {model.name} ({first_line(error)})") from error
    del made.metadata_props[:]
    for key, value in write_told(model).items():
        made.metadata_props.add(key=key, value=value)
    write_bytes(path, made.SerializeToString())


def _calibrating(model: Classifier, calibration: ImageSource) -> Iterator[Any]:
    """The inputs that the first pictures of calibration become."""
    count = 0
    for entry in calibration:
        if count == MOST_CALIBRATING:
            return
        try:
            image = entry.load()
        except BadImage:
            continue
        if isinstance(image, Image):
            count += 1
            yield model.normalize(model.preprocess(image.pixels)[None]).float().contiguous().numpy()


def agreement(first: Jitter, one: str, second: Jitter, other: str) -> Estimate | None:
    """The share of views to which two networks give the same top class, with its interval over the images.

    None if the output has no classes, or no image was measured with both.
    """
    answers, theirs = _answers(first, one), _answers(second, other)
    if answers is None or theirs is None:
        return None
    both = answers.keys() & theirs.keys()
    of_image: dict[str, list[bool]] = {}
    for view in sorted(both):
        of_image.setdefault(view[0], []).append(answers[view] == theirs[view])
    return share(sum(same) / len(same) for same in of_image.values()) if of_image else None


def _answers(jitter: Jitter, name: str) -> dict[tuple[Any, ...], int] | None:
    """The top class of each view that was shown, by its image and its place in the pairs."""
    found: dict[tuple[Any, ...], int] = {}
    for part in jitter._records.parts(name):
        table = part.table
        if "first_top1" not in table.column_names:
            return None
        for which in ("first", "second"):
            columns = [table[f"{which}_{what}"].to_pylist() for what in ("dy", "dx", "position", "top1")]
            for image, *place, top in zip(table["image"].to_pylist(), *columns, strict=True):
                if top is not None:  # the design drew it
                    found[image, *place] = top
    return found


def _beside(board: "Leaderboard", first: str, name: str, form: Classifier) -> dict[str, Any]:
    """What a form has beside the measures of the board."""
    found = None
    if name != first and first in board.networks:
        found = agreement(board.networks[first].jitter, first, board.networks[name].jitter, name)
    ran = form.module.program.runtime["library"] if isinstance(form.module, BlackBox) else f"torch {torch.__version__}"
    size = round(_bytes(form) / 1e6, 2)
    return {"network": name, "run_by": ran, "megabytes": size, "agreement": None if found is None else found.as_dict()}


def _bytes(form: Classifier) -> int:
    """The size of a file, or of a network's weights."""
    if isinstance(form.module, BlackBox):
        return Path(form.origin["source"]).stat().st_size
    weights = (*form.module.parameters(), *form.module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in weights)
