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
  aliasing jitter --models vgg16 --images imagenet/val --design two-phase --out jitter
      every photograph once, and further views of those that may change: intervals of the same width in less time
  aliasing jitter --models torchvision:fcn_resnet50 --images DIR --output masks --truth MAPS --void 255
      the label maps of a segmentation network, also against the ground truth
  aliasing jitter --models resnet50 antialiased:binomial4:resnet50 --protocol horizontal --animate --out film
      also a film: the photograph whose answer changes most, with the plain and the anti-aliased network's answers
  aliasing jitter --models onnx:net.onnx --input-mean 0.485,0.456,0.406 --input-std 0.229,0.224,0.225 --images DIR
      the network as it is deployed, run by onnxruntime
  aliasing jitter --models resnet50 --preprocess mine:evaluation --images DIR
      photographs as the transform of your own evaluation shows them, moved between its resize and its crop
  aliasing jitter --models module:mine:network --inputs RECORDINGS --out jitter
      your own network of sounds, moved by whole samples (protocols samples, circular, subsample)
"""

import argparse

from aliasing.cli import shared
from aliasing.kinds import OUTPUTS

SUMMARY = "measure how much a network's answer changes when the image moves by one pixel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing jitter``."""
    shared.add_models(parser, shared.OFFLINE)
    shared.add_labels(parser)
    shared.add_input(parser)
    shared.add_images(parser)
    shared.add_protocol(parser)
    shared.add_resizer(parser)
    shared.add_output(parser)
    shared.add_truth(parser)
    shared.add_design(parser, "full", "full")
    parser.add_argument(
        "--width",
        metavar="[MEASURE=]WIDTH",
        help="stop as soon as the 95 %% interval is so narrow, on a random sample that grows: 0.005 of P(top-1 change),"
        " or mac=0.005 of another measure",
    )
    shared.add_execution(parser)
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="print each network minus this one (default: every two of up to five networks)",
    )
    shared.add_run(parser)
    shared.add_animate(
        parser, "the photograph whose answer from the first network changes most, along the protocol's path"
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots, remarks, tables
    from aliasing.called import meant_by
    from aliasing.errors import InputError, UsageError
    from aliasing.jitter import measure_jitter
    from aliasing.jitter.examples import write_examples
    from aliasing.protocols import make_protocol
    from aliasing.runner import load_for, protocol_for, shows_signals
    from aliasing.state import write_json

    resizer = {"resizer": arguments.resizer}
    protocol = make_protocol(arguments.protocol or "crop", **resizer)
    if arguments.animate:
        shared.check_animate(arguments, protocol)
        if not OUTPUTS[arguments.output].movement:
            films = ", ".join(name for name, kind in OUTPUTS.items() if kind.movement)
            raise UsageError(f"--animate makes no film of --output {arguments.output}; choose one of {films}")
    with shared.measuring(arguments) as options:
        models, against = shared.named(arguments.models, arguments), arguments.against
        if against:
            loaded = [load_for(model, options["images"]) for model in models]
            described = {model.name: {"weights": model.origin} for model in loaded}
            against = meant_by(against, described, described)
            if against is None:
                names = ", ".join(described)
                raise UsageError(f"--against {arguments.against}: it is not measured; choose one of {names}")
        protocol = protocol_for(arguments.protocol, options["images"], models, **resizer)
        if arguments.animate and shows_signals(models, options["images"]):
            raise UsageError("--animate makes a film of a picture that moves; leave it out for signals")
        truth = {"truth": arguments.truth, "void": arguments.void}
        options |= {"output": arguments.output, "width": arguments.width}
        result = measure_jitter(models, protocol=protocol, **truth, **options)
        if options["ranks"].rank > 0:
            return
        summary = result.summary(against)
        if arguments.out:
            traces = write_examples(result, models, options["images"], arguments.out / "examples")
            plots.save(plots.jitter(result, traces), arguments.out / "figure.png")
            if len(result.models) > 1:
                plots.save(plots.differences(result), arguments.out / "differences.png")
            if arguments.animate:
                if not traces:
                    raise InputError("--animate: no answer changed at all, so there is nothing to show")
                plots.save_film(plots.animation(traces), arguments.out / "animation", progress=not arguments.json)
                numbers = [trace.numbers() for trace in traces]
                write_json(arguments.out / "animation.json", shared.film_numbers(numbers, result.settings))
            write_json(arguments.out / "summary.json", summary)
    film = ["animation.mp4, .gif and .json"] if arguments.animate else []
    pictures = ["figure.png", *(["differences.png"] if len(result.models) > 1 else []), *film]
    files = ("summary.json", "records/", "gallery/", "examples/", *pictures)
    lines = [*remarks.of_jitter(summary), shared.written_line(arguments.out, *files)]
    shared.print_result(arguments, summary, tables.jitter_tables(summary, arguments.format), lines)
