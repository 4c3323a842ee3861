"""Small vision transformers trained alike, plain, with a low-pass before the patches, and anchored: how steady is each?

Ding et al. 2023, Rojas-Gomez et al. 2024: a transformer whose patches, windows and merging begin at the phase of
largest energy answers every circular shift by whole pixels alike. A low-pass in front of the patches promises less and
costs less. A ViT and a Swin learn CIFAR-10 in windows of 28 of its 32 pixels; where the variants say so, paddings are
circular.

The budget is the same for all, and the networks are far from fully trained. There are three seeds; the interval of a
mean is over seeds, and differences from plain are of the same seed.

Measured here (``figures/vit``): anchored, both answer every whole circular shift alike (plain 0.63), and windows a
pixel apart hardly more often than plain (+0.025, +0.014); with the low-pass more often (+0.115, +0.087). Accuracy falls
by 0.02 to 0.04, which three seeds do not show for the ViT with the low-pass.
"""

from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import aliasing as al
from aliasing.plots.style import save, style
from experiments._alike import PROTOCOLS, Windows, draw, train_alike
from experiments._run import Run
from experiments._training import Recipe

WINDOWS = Windows(28, of=32)
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "ViT": (VisionTransformer, {"patch_size": 4, "embed_dim": 64, "depth": 4, "num_heads": 4}),
    "Swin": (
        SwinTransformer,
        {"patch_size": 2, "window_size": 7, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4)},
    ),
}
CURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "low-pass": {"operator": "blur", "taps": "binomial3", "placement": "before"},
    "anchored": {"operator": "aps", "placement": "before", "positions": "anchored"},
}
VARIANTS = [f"{name}, {cure}" for name in NETWORKS for cure in CURES]


def run(run: Run) -> dict[str, Any]:
    """Train every variant with every seed, measure and draw."""
    recipe = Recipe(1 if run.quick else 8, "adam", 1e-3, 16 if run.quick else 64, cosine=True)
    count = (64, 24) if run.quick else (12_800, 2000)
    trained = train_alike(run, dict.fromkeys(VARIANTS, recipe), network, WINDOWS, count)
    families = {name: f"{name.partition(',')[0]}, plain" for name in VARIANTS}
    with style():
        save(draw(trained, families, dict(zip(VARIANTS, VARIANTS, strict=True))), run.out / "figure.png")
    networks = {name: {"class": kind.__name__, **sizes} for name, (kind, sizes) in NETWORKS.items()}
    return {
        "settings": {
            "networks": networks,
            "protocols": PROTOCOLS,
            "cures": CURES,
            "note": trained.note,
            **vars(recipe),
        },
        "data": trained.data,
        "weights": trained.weights,
        "numbers": {
            "variants": trained.numbers,
            "minus plain": {name: trained.minus(name, plain) for name, plain in families.items() if name != plain},
            "laws of the trained networks in float64": trained.laws,
        },
    }


def network(name: str) -> nn.Module:
    """The network of a variant, not trained."""
    family, cure = name.split(", ")
    kind, sizes = NETWORKS[family]
    module = kind(img_size=WINDOWS.size, num_classes=10, **sizes)
    if not CURES[cure]:
        return module
    how = {"scheme": "all", "padding": "circular", **CURES[cure]}
    return al.antialias(module.eval(), example_input=torch.zeros(1, 3, WINDOWS.size, WINDOWS.size), **how)
