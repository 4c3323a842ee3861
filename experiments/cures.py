"""Trained alike with each published cure, how steady and how right is one network, and at what cost?

A ResNet of 8 layers learns CIFAR-10 at 16 pixels with each operator at every place where it downsamples. Every padding
is circular, so that what a publication promises of circular shifts can hold. Zhang 2019: blur-pooling makes a network
more consistent and no less accurate. Chaman & Dokmanić 2021, Rojas-Gomez et al. 2022, Saha & Gokhale 2025: circular
shifts by whole pixels change nothing. Michaeli et al. 2023: nor do fractions, if the non-linearity is alias-free too.

The budget is the same for all, with a fifth of the learning rate for AFC, and the networks are far from fully trained.
There are three seeds; the interval of a mean is over seeds, and differences from plain are of the same seed.

Measured here (``figures/cures``): whole circular shifts change no answer of APS, LPS, AFC and anchored TIPS, and one in
four of TIPS as published. Between windows a pixel apart, filters and anchored TIPS are more consistent than plain by
0.05, at an accuracy whose difference three seeds do not show; APS by 0.025 and LPS not, and both are less accurate.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

import aliasing as al
from aliasing.plots.style import save, style
from aliasing.rounding import rounded
from experiments._alike import PROTOCOLS, Windows, draw, train_alike
from experiments._networks import relu, resnet8
from experiments._run import Run
from experiments._training import Recipe

WINDOWS = Windows(16, of=18)  # at 32, CIFAR-10's own, all takes four times as long
OPERATORS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blur, 3 taps": {"operator": "blur", "taps": "binomial3"},
    "blur, 4 taps": {"operator": "blur", "taps": "binomial4"},
    "DDAC": {"operator": "adaptive"},
    "FLC": {"operator": "flc"},
    "ASAP": {"operator": "asap"},
    "AFC": {"operator": "flc"},  # with alias-free polynomials in place of ReLU
    "APS": {"operator": "aps"},
    "LPS": {"operator": "lps"},
    "TIPS as published": {"operator": "tips"},
    "TIPS anchored": {"operator": "tips-anchored"},
}
# What the publications claim.
PUBLISHED = {
    "blur, 4 taps": "ResNet-50 on ImageNet: accuracy 76.16 → 77.41 %, two windows equal 89.20 → 91.32 % (Zhang 2019)",
    "DDAC": "ResNet-101 on ImageNet: accuracy 79.0 %, two windows equal 91.8 % (Zou et al. 2020)",
    "FLC": "free of aliases (Grabinski et al. 2022)",
    "ASAP": "free of aliases, without ringing (Grabinski et al. 2023)",
    "AFC": "circular shifts, whole and fractional: 100 % (Michaeli et al. 2023)",
    "APS": "circular shifts by whole pixels: 100 %, at the same accuracy (Chaman & Dokmanić 2021)",
    "LPS": "circular shifts by whole pixels: 100 % (Rojas-Gomez et al. 2022)",
    "TIPS as published": "circular shifts by whole pixels: 100 % (Saha & Gokhale 2025)",
}


def run(run: Run) -> dict[str, Any]:
    """Train every variant with every seed, measure and draw."""
    size = 16 if run.quick else 128  # enough steps for the statistics of batch norm to settle
    recipe = Recipe(2 if run.quick else 6, "sgd", 0.1, size, cosine=True, weight_decay=5e-4)
    count = (128, 24) if run.quick else (12_800, 2000)
    recipes = dict.fromkeys(OPERATORS, recipe)
    recipes["AFC"] = replace(recipe, learning_rate=0.02)  # a polynomial's slope has no bound: at 0.1 it does not learn
    trained = train_alike(run, recipes, network, WINDOWS, count)
    costs = {
        name: rows[0]["cost"]["value"] / trained.laws["plain"][0]["cost"]["value"]
        for name, rows in trained.laws.items()
    }
    labels = {name: f"{name} (×{rounded(cost, '.1f')})" for name, cost in costs.items()}
    with style():
        figure = draw(trained, dict.fromkeys(OPERATORS, "plain"), labels, "; ×: multiply-adds of the plain network's")
        save(figure, run.out / "figure.png")
    return {
        "settings": {
            "network": "resnet8",
            "protocols": PROTOCOLS,
            "operators": OPERATORS,
            "note": trained.note,
            **vars(recipe),
        },
        "data": trained.data,
        "weights": trained.weights,
        "numbers": {
            "variants": trained.numbers,
            "minus plain": {name: trained.minus(name, "plain") for name in OPERATORS if name != "plain"},
            "multiply-adds of plain's": costs,
            "laws of the trained networks in float64": trained.laws,
            "published": PUBLISHED,
        },
    }


def network(name: str) -> nn.Module:
    """A ResNet-8 with circular padding and the operator at every site; without one for plain."""
    module = resnet8(polynomial if name == "AFC" else relu, padding="circular")
    if not OPERATORS[name]:
        return module
    how = {"scheme": "all", "padding": "circular", **OPERATORS[name]}
    return al.antialias(module.eval(), example_input=torch.zeros(1, 3, WINDOWS.size, WINDOWS.size), **how)


def polynomial(channels: int) -> nn.Module:
    """A polynomial of degree two for each channel, between an interpolation by two and an ideal low-pass.

    Its square begins at a quarter of its usual weight, since squares of squares pile up along the residual sums.
    """
    function = al.layers.Polynomial(channels)
    with torch.no_grad():
        function.weight[2] /= 4
    return al.layers.AliasFreeActivation2d(function)
