"""Measure how much the answers of pretrained networks change when the image moves by one pixel.

examples:
  aliasing jitter --out jitter
      the offline default: three real ImageNet networks on the photographs that scikit-image bundles
  aliasing jitter --models vgg16 resnet50 densenet201 --images DIR --out jitter
      torchvision's networks on your own photographs
  aliasing jitter --models file:net.safetensors@torchvision:resnet18 --images DIR --protocol black
      your own weights, the photograph small on black
  aliasing jitter --protocol consistency:draws=1 --resizer torch --json
      two random windows per photograph, resized by torch, the summary on standard output
  aliasing jitter --models vgg16 --images DIR --precision verified --out jitter
      float32's answers at nearly bfloat16's speed
  aliasing jitter --models resnet50 antialiased:binomial4:resnet50 --protocol horizontal --animate --out film
      also a film: the photograph whose answer changes most, with the plain and the anti-aliased network's answers
"""

import argparse
from collections.abc import Iterable
from typing import Any

from aliasing.cli.shared import (
    add_animate,
    add_execution,
    add_images,
    add_labels,
    add_models,
    add_output,
    add_protocol,
    add_resizer,
    add_run,
    check_animate,
    film_numbers,
    measuring,
    named,
    print_result,
    skipped_lines,
    verification_line,
)
from aliasing.outputs import OUTPUTS, measures_in

SUMMARY = "measure how much a network's answer changes when the image moves by one pixel"

DEFAULT_MODELS = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing jitter``."""
    add_models(parser, DEFAULT_MODELS)
    add_labels(parser)
    add_images(parser)
    add_protocol(parser)
    add_resizer(parser)
    add_output(parser)
    add_execution(parser)
    parser.add_argument(
        "--against", metavar="NAME", help="print each network minus this one, instead of minus the first"
    )
    add_run(parser)
    add_animate(parser, "the photograph whose answer from the first network changes most, along the protocol's path")


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots, tables
    from aliasing.errors import InputError, UsageError
    from aliasing.jitter import measure_jitter
    from aliasing.jitter.examples import write_examples
    from aliasing.models import load_model
    from aliasing.protocols import make_protocol
    from aliasing.provenance import write_json

    protocol = make_protocol(arguments.protocol, resizer=arguments.resizer)
    if arguments.animate:
        check_animate(arguments, protocol)
        if not OUTPUTS[arguments.output].of_classes:
            raise UsageError(f"--animate needs class probabilities; leave out --output {arguments.output}")
    with measuring(arguments) as options:
        models, against = named(arguments.models, arguments.labels), arguments.against
        if against and against not in (names := [load_model(model).name for model in models]):
            raise UsageError(f"--against {against}: it is not measured; choose one of {', '.join(names)}")
        result = measure_jitter(models, protocol=protocol, output=arguments.output, **options)
        if options["ranks"].rank > 0:
            return
        summary = result.summary(against)
        if arguments.out:
            write_json(arguments.out / "summary.json", summary)
            traces = write_examples(result, models, options["images"], arguments.out / "examples")
            plots.save(plots.jitter(result, traces), arguments.out / "figure.png")
            if arguments.animate:
                if not traces:
                    raise InputError("--animate: no answer changed at all, so there is nothing to show")
                plots.save_film(plots.animation(traces), arguments.out / "animation", progress=not arguments.json)
                numbers = [trace.numbers() for trace in traces]
                write_json(arguments.out / "animation.json", film_numbers(numbers, result.settings))
    print_result(arguments, summary, tables.jitter_tables(summary, arguments.format), _remarks(arguments, summary))


def _remarks(arguments: argparse.Namespace, summary: dict[str, Any]) -> Iterable[str]:
    """Remarks on the tables."""
    models = summary["models"]
    yield "(95 % intervals in brackets)"
    if any(measure.caution for measure in measures_in(summary, "table")):
        yield "(an accuracy flatters a network that was trained on these images)"
    yield ""
    for name, model in models.items():
        yield from (f"{name}: {text}" for text in (*model["cautions"], *model["notes"]))
        if "verification" in model:
            yield f"{name}: {verification_line(model['verification'])}"
        if model["not_finite"]:
            yield f"{name}: NaN or infinite output on {len(model['not_finite'])} images: {_some(model['not_finite'])}"
    out = arguments.out
    yield from skipped_lines(summary["images"], out)
    if out is None:
        yield "nothing was written: add --out DIR"
        return
    folders = [f"{name}/" for name in ("records", "gallery", "examples") if (out / name).is_dir()]
    film = ["animation.mp4, .gif and .json"] if arguments.animate else []
    yield f"written to {out}: {', '.join(['summary.json', *folders, 'figure.png', *film])}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
