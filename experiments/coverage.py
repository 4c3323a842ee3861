"""How many of torchvision's and timm's networks can be anti-aliased, and at how many of their sites?

Every classification network of torchvision and timm is built on the meta device (no weights, no arithmetic), its sites
are found, it is converted at every site, and run again: output shapes and state_dict keys must stay the same. A network
counts if it downsamples beyond its patch embedding and does not already low-pass everywhere itself.

So are networks of sounds, clips and volumes by other packages, if these are installed. Those are also run in float64:
converted with one tap they give the original answers but for rounding, and restored they give them bit for bit.

A run resumes where it stopped, from the rows in ``networks.jsonl``.

Measured here (``figures/coverage``): all 1,072 networks of torchvision and timm that count are treated at every site.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import timm
import torch
import torchvision
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from tqdm.auto import tqdm

import aliasing as al
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from aliasing.sites.find import locate, probe_of
from aliasing.sites.trace import Recording, record_calls
from aliasing.surgery.plan import make_plan
from aliasing.surgery.rewrite import TreatedForward
from aliasing.surgery.schemes import SCHEMES, Treatment
from experiments._peers import CLIPS, SOUNDS, VOLUMES, Peer, installed
from experiments._run import Run

# With --quick: every kind of site of torchvision's, the fallback, and one that falls short.
QUICK = (
    *("torchvision:alexnet", "torchvision:resnet18", "torchvision:mobilenet_v2", "torchvision:densenet121"),
    *("timm:convnext_atto", "timm:nextvit_small", "timm:resnet26d", "timm:vit_tiny_patch16_224"),
)

PEERS = {"sounds": SOUNDS, "clips": CLIPS, "volumes": VOLUMES}
PEERS_HEADING = """# Networks of sounds, clips and volumes by other packages

What subsamples is a site. The other places that change the grid are named: *global*, where no position is left;
*space-to-depth*, where every phase is kept; *anti-aliased* by the network itself; and *upsampling*. The random weights
are not results. One tap: the largest difference to the original's answers, relative to the largest answer, in float64.
"""
LIBRARIES = ("torchvision", "timm", "others", *PEERS)
_SHOWN = {"others": "segmentation,\ndetection, features"}  # neither torchvision's nor timm's classification


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
    """Return one row: what was found, treated, treated by the fallback, and left alone with the reason."""
    row: dict[str, Any] = {"name": name}
    try:
        module = build(name) if module is None else module
    except Exception as error:
        return {**row, "error": f"not built: {_first_line(error)}"}
    try:
        _, example = probe_of(module, example)
        record = record_calls(module, example)
    except Exception as error:
        return {**row, "error": f"not probed: {_first_line(error)}"}
    located, keys = locate(record), list(module.state_dict())
    sites = [place.site for place in located]
    row["status"] = dict(Counter(site.status for site in sites))
    row["kinds"] = dict(Counter(site.kind for site in sites if site.status == "subsamples"))
    row["out_of_reach"] = [f"{site.name}: {site.kind}, {site.note}" for site in sites if site.status == "unsupported"]
    subsampling = [site for site in sites if site.status in ("subsamples", "unsupported")]
    row["counts"] = any(site.role != "patch embedding" for site in subsampling)
    if not row["counts"] or not any(site.status == "subsamples" for site in sites):
        return row
    for scheme in ("all", "zhang2019"):
        try:
            plan = make_plan(record, located, partial(SCHEMES[scheme], treatment=Treatment()), None)
            for forward in plan.modules.values():
                forward.attach()
            row[scheme] = {
                "treated": sum(
                    was.status == "subsamples" != now.status for now, was in zip(plan.sites, sites, strict=True)
                ),
                "fallback": sum("feeds several modules" in site.note for site in plan.sites),
                "left": sum(site.status == "subsamples" for site in plan.sites),
                "shape_kept": _shapes(record_calls(module, example), example) == _shapes(record, example),
                "keys_kept": list(module.state_dict()) == keys,
            }
        except Exception as error:
            row[scheme] = {"error": _first_line(error)}
        for treated in module.modules():
            if isinstance(vars(treated).get("forward"), TreatedForward):
                treated.forward.detach()
    return row


def examine_peer(group: str, peer: Peer) -> dict[str, Any]:
    """The row of another package's network, with its version and how exactly its answers come back."""
    module, example = peer.build(), peer.example()
    row = examine(f"{group}:{peer.package} {peer.name}", module, example)
    row |= {"package": peer.package, "network": peer.name, "version": peer.version}
    return row | (exactness(module, example) if "all" in row else {})


@torch.no_grad()
def exactness(module: nn.Module, example: Tensor) -> dict[str, Any]:
    """How far one tap moves the answers, relative to the largest; whether restoring gives them back bit for bit."""
    module, example = module.double(), example.double()

    def answers(network: nn.Module) -> list[Tensor]:
        return [answer for answer in pytree.tree_leaves(network(example)) if isinstance(answer, Tensor)]

    converted = al.antialias(module, scheme="all", taps=[1.0], example_input=example)
    before = answers(module)
    pairs = zip(answers(converted), before, strict=True)
    apart = max(float((after - first).abs().max() / first.abs().max()) for after, first in pairs)
    again = answers(al.surgery.restore(converted))
    return {"one_tap": apart, "restored": all(map(torch.equal, again, before))}


def _shapes(record: Recording, example: Any) -> list[tuple[int, ...]]:
    """The shapes of the outputs; the number of a detector's boxes may vary."""
    return [shape[1:] if isinstance(example, list) else shape for shape in record.output_shapes]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares and counts per library, and every network that falls short, with the reason."""
    summary: dict[str, Any] = {}
    for library in LIBRARIES:
        ours = [row for row in rows if row["name"].startswith(f"{library}:")]
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
            "out of reach": sum(row["status"].get("unsupported", 0) for row in counted if "status" in row),
            "treated under zhang2019": sum(row["zhang2019"].get("treated", 0) for row in both),
            "kinds": dict(sum((Counter(row["kinds"]) for row in both), Counter()).most_common()),
            "short": short,
        }
    return summary


def shortcoming(row: dict[str, Any]) -> str:
    """Why a network does not count as wholly treated; empty if it does."""
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


def draw(summary: dict[str, Any]) -> Figure:
    """The share of networks treated at every site; sites by kind."""
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
        libraries = [name for name in summary if summary[name]["that downsample by more than a patch embedding"]]
        for position, name in enumerate(libraries):
            found = summary[name]
            whole = found["every site treated, shapes and keys kept"]
            total = found["that downsample by more than a patch embedding"]
            left.barh(position, whole / total, color=COLOURS[0])
            left.text(0.01, position, f"{whole} of {total} networks", va="center", color="white")
        labels = [_SHOWN.get(name, name) for name in libraries]
        left.set(yticks=range(len(libraries)), yticklabels=labels, xlim=(0, 1), xlabel="share of the networks")
        left.set_title("networks with every site treated,\noutput shapes and keys kept", fontsize=10)
        kinds = sum((Counter(summary[name]["kinds"]) for name in libraries), Counter()).most_common()[::-1]
        bars = right.barh([kind for kind, _ in kinds], [count for _, count in kinds], color=COLOURS[2])
        right.bar_label(bars, [f"{count:,}" for _, count in kinds], padding=3, fontsize=8.5)
        right.margins(x=0.12)
        right.set(xscale="log", xlabel="sites of all these networks")
        right.set_title("what subsamples", fontsize=10)
        return figure


def others() -> Iterator[tuple[str, nn.Module, Any]]:
    """Networks that are not classifiers, with an example each: segmentation, detection, features at every depth."""
    image = torch.zeros(1, 3, 64, 64)
    for name in torchvision.models.list_models(module=torchvision.models.segmentation):
        with torch.device("meta"):
            yield f"segmentation {name}", torchvision.models.get_model(name, weights=None, weights_backbone=None), image
    for name in torchvision.models.list_models(module=torchvision.models.detection):
        options = {} if "ssd" in name else {"min_size": 64, "max_size": 96}
        torch.manual_seed(0)  # the weights decide how many boxes are found, and so how many maps are resized
        network = torchvision.models.get_model(name, weights=None, weights_backbone=None, **options)
        yield f"detection {name}", network, [torch.zeros(3, 64, 80)]
    for name in ("resnet18", "densenet121", "mobilenetv3_small_050", "regnetx_002", "convnext_atto", "hrnet_w18_small"):
        with torch.device("meta"):
            yield f"features {name}", timm.create_model(name, features_only=True), image


def peers_table(rows: list[dict[str, Any]]) -> str:
    """The networks of other packages as Markdown: sites, how many are treated, and why the other places are not."""
    lines = [
        "| | network | package | sites | treated | not treated, or why | one tap moves it by | restored |",
        "|---|---|---|---|---|---|---|---|",
    ]
    row_of = {row["name"]: row for row in rows}
    names = [f"{group}:{peer.package} {peer.name}" for group, peers in PEERS.items() for peer in peers]
    for row in (row_of[name] for name in names if name in row_of):
        cells = [row["name"].split(":")[0], row["network"], f"{row['package']} {row['version']}"]
        if "error" in row:
            cells += ["", "", row["error"], "", ""]
        else:
            status = Counter(row["status"])
            sites = status.pop("subsamples", 0) + status.pop("unsupported", 0)
            others = [*(f"{count} {word}" for word, count in status.items()), *row["out_of_reach"]]
            others += ["a patch embedding alone"] * (sites > 0 and not row["counts"])
            cells += [str(sites), str(row.get("all", {}).get("treated", 0)), "; ".join(others) or "–"]
            cells += (
                [rounded(row["one_tap"], ".0g"), "bit for bit" if row["restored"] else "no"]
                if "one_tap" in row
                else ["", ""]
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def run(run: Run) -> dict[str, Any]:
    """Examine every network that has no row yet, and draw."""
    torch.set_num_threads(1)
    rows_file = run.out / "networks.jsonl"
    done = {json.loads(line)["name"] for line in rows_file.read_text().splitlines()} if rows_file.exists() else set()

    def keep(row: dict[str, Any]) -> None:
        with rows_file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, network, example in () if run.quick else others():
            if f"others:{name}" not in done:
                keep(examine(f"others:{name}", network.eval(), example))
        for group, peers in {} if run.quick else PEERS.items():
            for peer in installed(peers):
                if f"{group}:{peer.package} {peer.name}" not in done:
                    try:
                        keep(examine_peer(group, peer))
                    except ImportError as error:  # the package lacks one that it needs
                        tqdm.write(f"{peer.package} {peer.name} is left out: {_first_line(error)}")
        wanted = [name for name in (QUICK if run.quick else names()) if name not in done]
        for name in tqdm(wanted, desc="networks", disable=None, leave=False):
            keep(examine(name))
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    summary = summarise([row for row in rows if row["name"] in QUICK or not run.quick])
    save(draw(summary), run.out / "figure.png")
    if not run.quick:
        (run.out / "peers.md").write_text(f"{PEERS_HEADING}\n{peers_table(rows)}\n", "utf-8")
    return {
        "settings": {"schemes": ["all", "zhang2019"], "device": "meta"},
        "data": {"name": "no images: the networks are examined, not run"},
        "weights": {},
        "numbers": summary,
    }
