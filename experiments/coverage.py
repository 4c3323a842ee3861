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
from aliasing.sites.trace import Trace, trace
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


def examine(name: str, module: nn.Module | None = None, example: Any = None) -> dict[str, Any]:
    """One row: what was found, treated, treated by the fallback, and left alone and why."""
    begin = time.perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        module = build(name) if module is None else module
    except Exception as error:
        return {**row, "error": f"not built: {_first_line(error)}"}
    try:
        _, example = probe_of(module, example)
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
                "shape_kept": _shapes(trace(module, example), example) == _shapes(record, example),
                "keys_kept": list(module.state_dict()) == keys,
            }
        except Exception as error:
            row[scheme] = {"error": _first_line(error)}
        for treated in module.modules():
            if isinstance(vars(treated).get("forward"), TreatedForward):
                treated.forward.detach()
    return {**row, "seconds": time.perf_counter() - begin}


def _shapes(record: Trace, example: Any) -> list[tuple[int, ...]]:
    """The shapes of what comes out; a detector finds as many boxes as it finds."""
    return [shape[1:] if isinstance(example, list) else shape for shape in record.output_shapes]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares and counts a library, and every network that falls short, with the reason."""
    summary: dict[str, Any] = {}
    for library in ("torchvision", "timm", "others"):
        ours = [row for row in rows if row["name"].startswith(library)]
        counted = [row for row in ours if row.get("counts") or "error" in row]
        short = {row["name"]: reason for row in counted if (reason := shortcoming(row))}
        both = [row for row in counted if "all" in row and "error" not in row["all"]]
        summary[library] = {
            "networks": len(ours),
            "that downsample by more than a patch embedding": len(counted),
            "every site treated, shapes and keys kept": len(counted) - len(short),
            "sites": sum(row["status"].get("subsamples", 0) for row in both),
            "treated": sum(row["all"]["treated"] for row in both),
            "of these by the fallback": sum(row["all"]["fallback"] for row in both),
            "out of reach": sum(row["status"].get("out of reach", 0) for row in counted if "status" in row),
            "treated under zhang2019": sum(row["zhang2019"].get("treated", 0) for row in both),
            "kinds": dict(sum((Counter(row["kinds"]) for row in both), Counter()).most_common()),
            "short": short,
        }
    return summary


def shortcoming(row: dict[str, Any]) -> str:
    """Why a network does not count as wholly treated; empty where it does."""
    if "error" in row:
        return str(row["error"])
    reasons = list(row.get("out_of_reach", []))
    for scheme in ("all", "zhang2019"):
        found = row.get(scheme, {})
        if "error" in found:
            reasons.append(f"{scheme}: {found['error']}")
        elif found and not (found["shape_kept"] and found["keys_kept"]):
            reasons.append(f"{scheme}: output shape or keys changed")
    if row.get("all", {}).get("left"):
        reasons.append(f"{row['all']['left']} sites left")
    return "; ".join(reasons)


def draw(summary: dict[str, Any], path: Path) -> None:
    """Sites by kind, and how they are treated."""
    import matplotlib.pyplot as plt

    from aliasing.plots.style import save, style

    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
        libraries = [name for name in summary if summary[name]["that downsample by more than a patch embedding"]]
        for position, name in enumerate(libraries):
            found = summary[name]
            whole = found["every site treated, shapes and keys kept"]
            total = found["that downsample by more than a patch embedding"]
            left.barh(position, whole / total, color="C0")
            left.text(0.01, position, f"{whole} of {total} networks", va="center", color="white")
        left.set(yticks=range(len(libraries)), yticklabels=libraries, xlim=(0, 1), title="every site treated")
        kinds = sum((Counter(summary[name]["kinds"]) for name in libraries), Counter()).most_common()
        right.barh([kind for kind, _ in kinds][::-1], [count for _, count in kinds][::-1], color="C2")
        right.set(xscale="log", xlabel="sites", title="what subsamples")
        save(figure, path)


def others() -> Iterator[tuple[str, nn.Module, Any]]:
    """Networks that are no classifiers, with an example each: segmentation, detection, features at every depth."""
    image = torch.zeros(1, 3, 64, 64)
    for name in torchvision.models.list_models(module=torchvision.models.segmentation):
        with torch.device("meta"):
            yield f"segmentation {name}", torchvision.models.get_model(name, weights=None, weights_backbone=None), image
    for name in torchvision.models.list_models(module=torchvision.models.detection):
        options = {} if "ssd" in name else {"min_size": 64, "max_size": 96}
        network = torchvision.models.get_model(name, weights=None, weights_backbone=None, **options)
        yield f"detection {name}", network, [torch.zeros(3, 64, 80)]
    for name in ("resnet18", "densenet121", "mobilenetv3_small_050", "regnetx_002", "convnext_atto", "hrnet_w18_small"):
        with torch.device("meta"):
            yield f"features {name}", timm.create_model(name, features_only=True), image


def main() -> None:
    """Examine every network, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures/coverage"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows_file = arguments.out / "networks.jsonl"
    done = {json.loads(line)["name"] for line in rows_file.read_text().splitlines()} if rows_file.exists() else set()

    def keep(row: dict[str, Any]) -> None:
        with rows_file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    if not any(name.startswith("others:") for name in done):
        for name, network, example in others():
            keep(examine(f"others:{name}", network.eval(), example))
    for name in names():
        if name not in done:
            keep(examine(name))
    finish(rows_file, arguments.out)


def finish(rows_file: Path, out: Path) -> None:
    """Write the summary, the figure and the text from the rows."""
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    summary = summarise(rows)
    write_json(out / "coverage.json", {"summary": summary, "versions": versions(), "command": command_line()})
    draw(summary, out / "coverage.png")
    lines = ["# Coverage", "", __doc__.split("``python")[0].strip(), ""]
    columns = [key for key in summary["timm"] if key not in ("kinds", "short")]
    lines += ["| | " + " | ".join(summary) + " |", "|---|" + "---|" * len(summary)]
    lines += [
        f"| {column} | " + " | ".join(str(summary[name][column]) for name in summary) + " |" for column in columns
    ]
    lines += ["", "Networks that fall short, and why:", ""]
    lines += [f"- {name}: {reason}" for library in summary.values() for name, reason in library["short"].items()]
    write_bytes(out / "README.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
