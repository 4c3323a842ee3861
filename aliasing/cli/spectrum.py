"""Draw what downsampling aliases on photographs, sounds or volumes, and measure how much.

The figure shows the original, 4×4 max-pooling, a stride-4 convolution with a 5×5 box, and blur-pooling. Under each is
its spectrum before subsampling, with the region that folds, the share of its energy that does, and how much of the
baseband is kept; and the power of its samples. All are in cycles per pixel of the original. Of a sound (WAV, FLAC, OGG,
AIFF) it shows the spectrograms of what is kept and of what has folded; of a volume (NIfTI) the middle slice of both,
and the spectrum along each axis in cycles per millimetre.

examples:
  aliasing spectrum photo.jpg --out spectrum
      the figure, and summary.json with its numbers
  aliasing spectrum photos/ --operator subsample average blur --stride 2
      other operators, on a folder of photographs, with intervals
  aliasing spectrum sample --operator blur --taps kaiser8 --json
      the photographs that scikit-image bundles, another filter, the summary on standard output
  aliasing spectrum speech.wav --stride 4 --operator subsample blur flc --listen heard
      a sound; what each operator makes of it, and what of that has folded, as WAV files to listen to
  aliasing spectrum T1.nii.gz --stride 1,2,2 --operator subsample average blur --out spectrum
      a volume, of which every slice is kept: strides of its depth, height and width
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from aliasing.cli import shared
from aliasing.kinds import OPERATORS

_FILES = ("summary.json", "spectra/", "figure.png")
SUMMARY = "draw what downsampling aliases on photographs, sounds or volumes, and measure how much"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing spectrum``."""
    shared.add_drawn_images(parser)
    parser.add_argument(
        "--operator",
        nargs="+",
        metavar="NAME",
        help="subsample, max, average, convolution, fourier, or a low-pass of `aliasing antialias`"
        f" ({', '.join(OPERATORS)}); default: max convolution blur",
    )
    parser.add_argument(
        "--stride",
        type=_strides,
        default=4,
        metavar="N",
        help="distance between samples kept (default 4); of a volume also one for depth, height and width, as in 1,2,2",
    )
    parser.add_argument(
        "--taps",
        metavar="NAME",
        help="the filter of convolution and blur: box, binomial, gaussian, kaiser, lanczos or sinc with its length at"
        " stride 2, which is stretched to the stride (default: an unstretched 5×5 box, and binomial4)",
    )
    parser.add_argument(
        "--channels",
        choices=("luminance", "rgb"),
        default="luminance",
        help="measure the weighted sum of the colours (default), or each colour",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write summary.json, spectra/ and figure.png here")
    parser.add_argument(
        "--listen",
        type=Path,
        metavar="DIR",
        help="of the first sound: write the output of each operator, and what of it has folded, as WAV files",
    )
    parser.add_argument("--json", action="store_true", help="print the summary instead of a table")


def _strides(text: str) -> int | tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, nor one for each axis as in 1,2,2") from None
    return numbers if len(numbers) > 1 else numbers[0]


def run(arguments: argparse.Namespace) -> None:
    """Compare, draw, print."""
    from aliasing.downsample.survey import DEFAULT_OPERATORS, compare_operators, write_folds
    from aliasing.errors import UsageError
    from aliasing.runner import holds_signals

    operators = arguments.operator or DEFAULT_OPERATORS
    inputs = shared.source_of(arguments)
    if arguments.listen:
        if not holds_signals(inputs):
            raise UsageError("--listen writes sounds; give WAV, FLAC, OGG or AIFF files")
        _keep_apart(arguments.listen, arguments.images, operators)
        write_folds(inputs, arguments.listen, arguments.stride, operators, arguments.taps)
    result = compare_operators(inputs, arguments.stride, operators, arguments.taps, channels=arguments.channels)
    shared.write_and_print(arguments, result, shared.told(result, arguments.out, *_FILES))


def _keep_apart(listen: Path, given: Iterable[str], operators: Iterable[str]) -> None:
    """Raise UsageError if what is written to listen to would replace a recording, or be measured with them next."""
    from aliasing.errors import UsageError
    from aliasing.runs import keep_apart

    paths = [Path(path) for path in given]
    keep_apart((path for path in paths if path.is_dir()), listen, "--listen")
    for path in paths:
        if path.resolve().parent == listen.resolve() and path.stem.removesuffix("-folded") in operators:
            raise UsageError(f"--listen {listen} is where {path} is; its files would replace recordings")
