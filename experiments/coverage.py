"""How many of torchvision's and timm's networks can be anti-aliased, and at how many of their sites?

Every classification network of torchvision and timm is built on the meta device (no weights, no arithmetic), its sites
are found, it is converted at every site, and run again: output shapes and state_dict keys must stay. A network counts
if it downsamples by more than its patch embedding.

``python -m experiments.coverage --out figures/coverage`` goes on where it stopped.
"""

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from aliasing.provenance import command_line, versions, write_bytes, write_json
from aliasing.sites.find import locate, probe_of
from aliasing.sites.trace import trace
from aliasing.surgery.plan import SCHEMES, Treatment, make_plan
from aliasing.surgery.rewrite import TreatedForward


def names() -> Iterator[str]:
    """Every classification network of torchvision, then of timm."""
    yield from (f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models))
    # Plain transformers come last: they downsample by their patch embedding alone.
    yield from (f"timm:{name}" for name in sorted(timm.list_models(), key=lambda name: (name.startswith("vit_"), name)))


def build(name: str) -> nn.Module:
    """The network without weights, on the meta device where it can be built there."""
    source, _, architecture = name.partition(":")
    options: dict[str, Any] = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}

    def make() -> nn.Module:
        if source == "timm":
            return timm.create_model(architecture)
        return torchvision.models.get_model(architecture, weights=None, **options)

    try:
        with torch.device("meta"):
            return make().eval()
    except Exception:
        return make().eval()


def examine(name: str) -> dict[str, Any]:
    """One row: what was found, treated, treated by the fallback, and left alone and why."""
    begin = time.perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        module = build(name)
    except Exception as error:
        return {**row, "error": f"not built: {_first_line(error)}"}
    try:
        _, example = probe_of(module, None)
        record = trace(module, example)
    except Exception as error:
        return {**row, "error": f"not probed: {_first_line(error)}"}
    located, keys = locate(record), list(module.state_dict())
    sites = [place.site for place in located]
    row["status"] = dict(Counter(site.status for site in sites))
    row["kinds"] = dict(Counter(site.kind for site in sites if site.status == "subsamples"))
    row["out_of_reach"] = [f"{site.name}: {site.kind}, {site.note}" for site in sites if site.status == "out of reach"]
    subsampling = [site for site in sites if site.status in ("subsamples", "out of reach")]
    row["counts"] = any(site.role != "patch embedding" for site in subsampling)
    if not row["counts"] or not any(site.status == "subsamples" for site in sites):
        return {**row, "seconds": time.perf_counter() - begin}
    for scheme in ("all", "zhang2019"):
        try:
            decide = partial(SCHEMES[scheme], network=module, treatment=Treatment())
            plan = make_plan(module, record, located, decide, None)
            for forward in plan.modules.values():
                forward.attach()
            row[scheme] = {
                "treated": sum(now.status != was.status for now, was in zip(plan.sites, sites, strict=True)),
                "fallback": sum("several consumers" in site.note for site in plan.sites),
                "left": sum(site.status == "subsamples" for site in plan.sites),
                "shape_kept": trace(module, example).output_shapes == record.output_shapes,
                "keys_kept": list(module.state_dict()) == keys,
            }
        except Exception as error:
            row[scheme] = {"error": _first_line(error)}
        for treated in module.modules():
            if isinstance(vars(treated).get("forward"), TreatedForward):
                treated.forward.detach()
    return {**row, "seconds": time.perf_counter() - begin}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def main() -> None:
    """Examine every network, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures/coverage"))
    parser.add_argument("--names", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows_file = arguments.out / "networks.jsonl"
    done = {json.loads(line)["name"] for line in rows_file.read_text().splitlines()} if rows_file.exists() else set()
    for name in arguments.names or names():
        if name in done:
            continue
        row = examine(name)
        with rows_file.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
_ = (command_line, versions, write_bytes, write_json)
