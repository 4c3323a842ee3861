"""Follow a one-pixel shift through pretrained networks, layer by layer.

For each layer you see how far the averaged features move, how far the feature map is from the moved feature map, and
how much of its change the shift does not explain. For each downsampling site you see how much energy folds, and how
much more of the change is unexplained after it. For several networks you also see their jitter against their depth.

examples:
  aliasing depth --out depth
      the offline default: a real ImageNet network on the photographs that scikit-image bundles
  aliasing depth --models resnet50 antialiased:binomial4:resnet50 --images DIR --limit 200 --out depth
      a torchvision network and the same one anti-aliased, on your own photographs
  aliasing depth --models vgg16 --layers leaves --json
      every single layer, the summary on standard output
  aliasing depth --models antialiased:flc,all,circular:resnet50 --protocol circular:pixels=1
      without a boundary: circular padding and circular shifts, where the numbers are exact
  aliasing depth --models resnet50 --images photo.jpg --protocol crop:span=16 --animate --out depth
      a film of the feature maps at several depths while the photograph moves
"""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aliasing import remarks
from aliasing.cli import shared
from aliasing.tables import cell, counted, depth_tables

if TYPE_CHECKING:
    from aliasing.images import ImageSource
    from aliasing.protocols import ViewProtocol

SUMMARY = "follow a shift through a network, layer by layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing depth``."""
    shared.add_models(parser, shared.OFFLINE[:1])
    shared.add_input(parser)
    shared.add_images(parser)
    parser.add_argument(
        "--layers",
        nargs="+",
        default=["blocks"],
        metavar="NAME",
        help="blocks (default), leaves (every single layer), or names of modules; in an ONNX file names of values",
    )
    shared.add_protocol(parser, None, "how the input is shifted", said="crop:span=1, or samples:steps=1 for signals")
    shared.add_resizer(parser)
    parser.add_argument(
        "--lie",
        type=int,
        metavar="N",
        help="also measure the Lie-derivative error, layer by layer, on the first N images (slow)",
    )
    parser.add_argument(
        "--local",
        type=int,
        metavar="N",
        help="also measure, on the first N images, what strides, padding, activations, norms and attention each fail to"
        " move, call by call",
    )
    parser.add_argument(
        "--sites-every",
        type=int,
        default=8,
        metavar="N",
        help="measure the downsampling sites on every N-th image (default 8), because their dense maps take time",
    )
    shared.add_device(parser)
    shared.add_run(parser)
    shared.add_animate(parser, "feature maps at several depths while the first photograph moves (give a longer path)")


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing.depth.probe import DEFAULT_PROTOCOL
    from aliasing.errors import UsageError
    from aliasing.protocols import make_protocol

    for option, count in (("--lie", arguments.lie), ("--local", arguments.local)):
        if count is not None and count < 1:
            raise UsageError(f"{option} is a number of images, at least 1; got {count}")
    if arguments.animate:
        shared.check_animate(
            arguments, make_protocol(arguments.protocol or DEFAULT_PROTOCOL, resizer=arguments.resizer)
        )
    with shared.measuring(arguments) as options:
        arguments.models = shared.named(arguments.models, arguments)
        summary = _measure_and_draw(arguments, {**options, "device": arguments.device})
    if options["ranks"].rank > 0:
        return
    if arguments.json:
        shared.print_json(summary)
    elif arguments.format != "table":
        print("\n\n".join(depth_tables(summary, arguments.format)))
    else:
        print("\n".join(_report(arguments, summary)))


def _measure_and_draw(arguments: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """The summary; only the first process of a run makes it, and writes it and the figures."""
    from aliasing import plots
    from aliasing.depth import lie_error, local_errors, probe_depth
    from aliasing.depth.across import compare_depths
    from aliasing.depth.probe import default_protocol
    from aliasing.errors import UsageError
    from aliasing.jitter import measure_jitter
    from aliasing.protocols import make_protocol
    from aliasing.runner import shows_signals
    from aliasing.state import write_json

    out = arguments.out
    layers = arguments.layers[0] if arguments.layers in (["blocks"], ["leaves"]) else arguments.layers
    usual = arguments.protocol or default_protocol(arguments.models, options["images"])
    protocol = make_protocol(usual, resizer=arguments.resizer)
    if arguments.animate and shows_signals(arguments.models, options["images"]):
        raise UsageError("--animate makes a film of a picture that moves; leave it out for signals")
    profile = probe_depth(
        arguments.models, protocol=protocol, layers=layers, sites_every=arguments.sites_every, **options
    )
    answers = None
    if len(arguments.models) > 1:
        beside = {**options, "out": out / "answers" if out else None}
        answers = measure_jitter(arguments.models, protocol=protocol, **beside)
    if options["ranks"].rank > 0:
        return {}
    summary = profile.summary()
    if arguments.lie:
        asked = {"layers": layers, "limit": arguments.lie, "device": arguments.device}
        derived = [lie_error(model, options["images"], **asked) for model in arguments.models]
        summary["lie"] = {result.model: result.summary() for result in derived}
        if out:
            plots.save(plots.lie(derived), out / "lie.png")
    if arguments.local:
        asked = {"limit": arguments.local, "device": arguments.device}
        errors = [local_errors(model, options["images"], **asked) for model in arguments.models]
        summary["local"] = {result.model: result.summary() for result in errors}
        if out:
            plots.save(plots.local_errors(errors), out / "local.png")
    if answers is not None:
        across = compare_depths([answers])
        summary["across"] = {key: across.summary()[key] for key in ("groups", "not_measured")}
        if out:
            plots.save(plots.across(across), out / "across.png")
    if out:
        plots.save(plots.depth(profile), out / "figure.png")
    if arguments.animate:
        _film(arguments, options["images"], protocol, summary)
    if out:
        write_json(out / "summary.json", summary)
    return summary


def _film(
    arguments: argparse.Namespace, images: "ImageSource", protocol: "ViewProtocol", summary: dict[str, Any]
) -> None:
    """The feature maps of each network while the first usable image moves."""
    from aliasing import plots
    from aliasing.depth.feature_maps import INPUT, choose_layers, drawn_channels, follow_maps
    from aliasing.models import load_model
    from aliasing.state import write_json

    networks = [load_model(name) for name in arguments.models]
    image = next(entry for entry in images if entry.name not in summary["images"]["skipped"]).load()
    layers = [INPUT, *choose_layers(networks[0])] if arguments.layers in (["blocks"], ["leaves"]) else arguments.layers
    followed = []
    for network in networks:
        modules = dict(network.module.named_modules())
        known = all(layer == INPUT or layer in modules for layer in layers)
        asked = {"seed": arguments.seed, "device": arguments.device}
        followed.append(follow_maps(network, image, protocol, layers if known else None, **asked))
    plots.save_film(plots.animated_maps(followed), arguments.out / "animation", progress=not arguments.json)
    channels = drawn_channels(followed)
    numbers = [result.numbers(drawn) for result, drawn in zip(followed, channels, strict=True)]
    write_json(arguments.out / "animation.json", shared.film_numbers(numbers, summary["settings"]))


def _report(arguments: argparse.Namespace, summary: dict[str, Any]) -> Iterable[str]:
    """The summary for a person."""
    yield "\n\n".join(depth_tables(summary, "table"))
    yield from remarks.of_depth(summary)
    yield ""
    yield from _lie_report(summary.get("lie", {}))
    yield from _local_report(summary.get("local", {}))
    yield from _across(summary.get("across", {"groups": []})["groups"])
    more = ["across.png", "answers/"] if "across" in summary else []
    more += [f"{kind}.png" for kind in ("lie", "local") if kind in summary]
    more += ["animation.mp4, .gif and .json"] if arguments.animate else []
    yield shared.written_line(arguments.out, "summary.json", "records/", "figure.png", *more)


def _lie_report(lie: dict[str, Any]) -> Iterable[str]:
    from tabulate import tabulate

    for name, result in lie.items():
        yield f"{name}: Lie-derivative error {cell(result['error'])} by {result['method']}, {_shown(result)}"
        measures = ("contribution", "share", "error", "unexplained")
        rows = [[layer["name"], *(cell(layer[measure]) for measure in measures)] for layer in result["layers"]]
        yield tabulate(rows, ["layer", "adds", "share", "error up to here", "unexplained"])
        yield ""


def _shown(result: dict[str, Any]) -> str:
    left_out = f" ({len(result['not_finite'])} more are not finite)" if result["not_finite"] else ""
    return f"{counted(result['images'])}{left_out}"


def _local_report(local: dict[str, Any]) -> Iterable[str]:
    from tabulate import tabulate

    for name, result in local.items():
        yield f"{name}: what its calls fail to move, by kind, {_shown(result)}"
        worst = {kind: _worst(result["calls"], kind) for kind in result["kinds"]}
        rows = [
            [kind, found["calls"], cell(found["error"]), f"{worst[kind]['name']}: {cell(worst[kind]['error'])}"]
            for kind, found in result["kinds"].items()
        ]
        yield tabulate(rows, ["kind", "calls", "sum of local errors", "largest"])
        missed = result["not_measured"]
        if missed:
            more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
            yield f"not measured, since the grid of their maps is not known: {', '.join(missed[:3])}{more}"
        yield ""


def _worst(calls: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return max((call for call in calls if call["kind"] == kind), key=lambda call: float(call["error"]["value"]))


def _across(groups: list[dict[str, Any]]) -> Iterable[str]:
    """The jitter of several networks against their depth."""
    from tabulate import tabulate

    for group in groups:
        rows = [
            [network["name"], network["layers"], network["sites"], f"{network['cumulative_stride']:g}"]
            + [cell(network["top1_change"][selection]) for selection in ("all", "right", "matched")]
            + [cell(network["mac"]["all"])]
            for network in sorted(group["networks"], key=lambda network: network["layers"])
        ]
        heads = ["network", "layers", "sites", "stride", "P(top-1 change)", "first view right", "equal margin", "MAC"]
        yield tabulate(rows, heads)
        for trend in group["trends"]:
            slope = trend["per_doubling_of_layers"]["top1_change"]
            yield f"{trend['family']}: P(top-1 change) per doubling of the layers {cell(slope['all'])}, " + (
                f"at equal margin {cell(slope['matched'])}"
            )
        yield ""
