"""Convolution, and a whole network of 12 parameters, computed by hand: the numbers of torch and scipy.

Seeds 002 and 004. A CNN of 12 parameters (a 3×3 convolution, max pooling, ReLU, a 1→1 linear layer, sigmoid) learns to
tell two 4×4 images apart (BCE, Adam 1e-2, 2,000 epochs); its forward pass, recomputed with loops, gives torch's number.
Convolution and cross-correlation in one and two dimensions, by the defining sums, against torch and scipy in float64.
Parameters of a dense layer on 224×224×3 inputs against a 3×3 convolution; four kernels on a checkerboard; receptive
fields. Published: 12 parameters (10 and 2); 77,070,336 against 1,728 parameters; receptive field 7 of three 3×3 layers
and of one 7×7; size 28 after a 5×5 convolution of padding 2, and 14 after the pooling.

The numbers do not bear out two readings of the seeds. Seed 002 calls 4×4 the "receptive field" of a cell after two
convolutions and poolings; 4 is the cumulative stride, and the receptive field is 10 for 3×3 kernels. Seed 004's edge
kernels do not find the edges of its checkerboard, which lies at the Nyquist frequency, where [1, 2, 1] is zero: they
find the border of the zero padding.

Measured here (``figures/cnn_by_hand``): all of it; by hand and by torch or scipy the numbers are at most 9e-16 apart.
"""

import copy
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import scipy.signal
import torch
import torch.nn.functional as F
from torch import nn

from aliasing.depth import extent, output_sizes, receptive_field
from aliasing.models.classifier import fingerprint
from aliasing.plots.style import save, style
from aliasing.rounding import rounded
from experiments._run import Run

Array = npt.NDArray[np.float64]

IMAGES = np.array(
    [
        [[1, 2, 3, 4], [2, 3, 4, 5], [5, 6, 7, 8], [1, 3, 4, 5]],
        [[-1, 2, 3, -4], [2, -3, 4, 5], [-5, 6, -7, 8], [-1, -3, -4, -5]],
    ]
)
KERNELS = {
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "horizontal edges": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4,
    "vertical edges": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4,
    "sharpening": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
}


def run(run: Run) -> dict[str, Any]:
    """Train the small network, compare every computation, and draw."""
    epochs = 200 if run.quick else 2000
    module = trained(epochs)
    steps = [forward_by_hand(module, image / 8) for image in IMAGES]
    with torch.inference_mode():
        answers = copy.deepcopy(module).double()(torch.from_numpy(IMAGES / 8)[:, None]).flatten()
    checkerboard = (np.indices((8, 8)).sum(0) % 2 == 0).astype(np.float64)
    responses = {name: correlate_2d(checkerboard, kernel, padding=1) for name, kernel in KERNELS.items()}
    dense, convolution = count(nn.Linear(224 * 224 * 3, 512, bias=False)), count(nn.Conv2d(3, 64, 3, bias=False))
    two_blocks = [(3, 1, 1), (2, 2), (3, 1, 1), (2, 2)]
    with style():
        draw_network(IMAGES[0] / 8, module, steps[0], run.out / "figure.png")
        draw_kernels(checkerboard, responses, run.out / "kernels.png")
    return {
        "settings": {"optimizer": "Adam", "learning_rate": 0.01, "epochs": epochs, "batch_size": 1, "seed": 0},
        "data": {"name": "the two 4×4 images of seed 002", "images": 2, "pixels": IMAGES},
        "weights": {"12 parameters": {"source": "trained here", "sha256": fingerprint(module)}},
        "numbers": {
            "parameters": count(module),
            "summary": layer_table(module),
            "torch": answers,
            "by_hand": [step["sigmoid"] for step in steps],
            "largest_difference": max(
                abs(float(answer) - step["sigmoid"]) for answer, step in zip(answers, steps, strict=True)
            ),
            "convolutions": compare_convolutions(),
            "dense_parameters": dense,
            "convolution_parameters": convolution,
            "ratio": dense / convolution,
            "receptive_fields": {
                "three 3×3": receptive_field([(3, 1)] * 3),
                "one 7×7": receptive_field([(7, 1)]),
                "twice 3×3 and pooling by 2": receptive_field(two_blocks),
            },
            "cumulative_strides": {"twice 3×3 and pooling by 2": int(extent(two_blocks).stride)},
            "output_sizes": {"28 behind 5×5 with padding 2, then pooling by 2": output_sizes(28, [(5, 1, 2), (2, 2)])},
            "checkerboard": {
                name: {"inside": np.abs(response[1:-1, 1:-1]).max(), "border": np.abs(response).max()}
                for name, response in responses.items()
            },
        },
    }


def trained(epochs: int) -> nn.Sequential:
    """The seed's network of 12 parameters, trained as in the seed: one image per step, in order."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(1, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    x, y = torch.from_numpy(IMAGES / 8)[:, None].float(), torch.tensor([[0.0], [1.0]])
    for _, index in product(range(epochs), range(2)):
        loss = F.binary_cross_entropy(module(x[index : index + 1]), y[index : index + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


def forward_by_hand(module: nn.Sequential, image: Array) -> dict[str, Any]:
    """The output of every layer for one image, from the parameters and loops alone."""
    kernel, bias, weight, offset = (parameter.detach().double().numpy() for parameter in module.parameters())
    convolved = correlate_2d(image, kernel[0, 0]) + bias[0]
    pooled = max(convolved.flat)
    rectified = max(pooled, 0.0)
    linear = rectified * weight[0, 0] + offset[0]
    sigmoid = 1 / (1 + np.exp(-linear))
    return {"convolved": convolved, "pooled": pooled, "ReLU": rectified, "linear": linear, "sigmoid": sigmoid}


def convolve_1d(f: Array, g: Array) -> Array:
    """(f ∗ g)(i) = Σₐ f(a) g(i − a), all i where there is an overlap."""
    result = np.zeros(len(f) + len(g) - 1)
    for a, b in product(range(len(f)), range(len(g))):
        result[a + b] += f[a] * g[b]
    return result


def correlate_2d(image: Array, kernel: Array, stride: int = 1, padding: int = 0) -> Array:
    """(f ★ g)(i, j) = Σₐ Σᵦ f(s i + a, s j + b) g(a, b), zeros around the image: what networks call convolution."""
    padded = np.pad(image, padding)
    rows, columns = ((size - extent) // stride + 1 for size, extent in zip(padded.shape, kernel.shape, strict=True))
    result = np.zeros((rows, columns))
    for i, j in product(range(rows), range(columns)):
        for a, b in product(*map(range, kernel.shape)):
            result[i, j] += padded[stride * i + a, stride * j + b] * kernel[a, b]
    return result


def compare_convolutions() -> dict[str, float]:
    """The largest difference of each computation by hand from torch's and scipy's, float64."""
    t = np.linspace(0, 1, 100)
    wave, decay = np.sin(2 * np.pi * 5 * t), np.exp(-10 * t)
    image, kernel = IMAGES[1] / 8, KERNELS["sharpening"] + np.arange(9).reshape(3, 3) / 10
    by_hand = convolve_1d(wave, decay)
    # conv1d correlates: the flipped signal, padded, makes it a convolution.
    torch_1d = F.conv1d(_batch(wave), _batch(decay[::-1].copy()), padding=99).numpy()[0, 0]
    flipped = kernel[::-1, ::-1].copy()
    strided = F.conv2d(_batch(image), _batch(kernel), stride=2, padding=1).numpy()[0, 0]
    return {
        "1-D, scipy.signal.convolve": _apart(by_hand, scipy.signal.convolve(wave, decay)),
        "1-D, torch conv1d": _apart(by_hand, torch_1d),
        "2-D correlation, scipy.signal.correlate2d": _apart(
            correlate_2d(image, kernel), scipy.signal.correlate2d(image, kernel, "valid")
        ),
        "2-D convolution, scipy.signal.convolve2d": _apart(
            correlate_2d(image, flipped), scipy.signal.convolve2d(image, kernel, "valid")
        ),
        "2-D, torch conv2d": _apart(correlate_2d(image, kernel), F.conv2d(_batch(image), _batch(kernel)).numpy()[0, 0]),
        "2-D, stride 2, padding 1, torch conv2d": _apart(correlate_2d(image, kernel, 2, 1), strided),
    }


def _batch(values: Array) -> torch.Tensor:
    return torch.from_numpy(values)[None, None]


def _apart(first: Array, second: Array) -> float:
    assert first.shape == second.shape
    return float(np.abs(first - second).max())


def count(module: nn.Module) -> int:
    """How many parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def layer_table(module: nn.Sequential) -> list[dict[str, Any]]:
    """Each layer's output shape for one image and its parameters: the seed's summary."""
    x, rows = torch.zeros(1, 1, 4, 4), []
    for layer in module:
        x = layer(x)
        rows.append({"layer": type(layer).__name__, "output": list(x.shape[1:]), "parameters": count(layer)})
    return rows


def draw_network(image: Array, module: nn.Sequential, steps: dict[str, Any], path: Path) -> None:
    """The forward pass of one image, every number written."""
    kernel, bias, weight, offset = (parameter.detach().numpy() for parameter in module.parameters())
    sign = "−" if offset[0] < 0 else "+"
    parts = [
        ("image 1, 4×4 (÷ 8)", image),
        (f"kernel, 9 + bias {rounded(bias[0], '.2f')}", kernel[0, 0]),
        ("convolved, 2×2", steps["convolved"]),
        ("max-pooled", np.array([[steps["pooled"]]])),
        ("ReLU", np.array([[steps["ReLU"]]])),
        (f"linear: {rounded(weight[0, 0], '.2f')} x {sign} {rounded(abs(offset[0]), '.2f')}", [[steps["linear"]]]),
        ("sigmoid", [[steps["sigmoid"]]]),
    ]
    figure, panels = plt.subplots(1, len(parts), figsize=(11, 2.3), width_ratios=[4, 3, 2, 1.7, 1.7, 1.7, 1.7])
    for axes, (title, values) in zip(panels, parts, strict=True):
        grid = np.asarray(values)
        bound = 1.0 if title == "sigmoid" else max(float(np.abs(grid).max()), 1e-9)
        axes.imshow(grid, cmap="PuOr_r", vmin=-1.6 * bound, vmax=1.6 * bound)
        for (row, column), value in np.ndenumerate(grid):
            axes.text(
                column,
                row,
                rounded(value, ".4f") if grid.size == 1 else rounded(value, ".2f"),
                ha="center",
                va="center",
                fontsize=8,
            )
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
        axes.spines[:].set_visible(True)
    figure.suptitle("12 parameters: the forward pass by hand; torch gives the same probability", fontsize=11)
    save(figure, path)


def draw_kernels(image: Array, responses: dict[str, Array], path: Path) -> None:
    """The checkerboard and what each kernel makes of it, each on its own scale."""
    figure, panels = plt.subplots(1, 1 + len(responses), figsize=(11, 3.6))
    for axes, (name, values) in zip(panels, {"checkerboard": image, **responses}.items(), strict=True):
        bound = float(np.abs(values).max())
        axes.imshow(values, cmap="PuOr_r", vmin=-1.3 * bound, vmax=1.3 * bound)
        axes.set_title(f"{name}\nfrom {values.min():g} to {values.max():g}", fontsize=10)
        axes.set(xticks=[], yticks=[])
        if name in KERNELS:
            rows = "\n".join(" ".join(f"{value:5g}" for value in row) for row in KERNELS[name])
            axes.set_xlabel(rows, fontsize=8, family="monospace")
    title = "A checkerboard of single pixels is at the Nyquist frequency: edge kernels answer at the padded border only"
    figure.suptitle(f"{title}\n(white is 0)", fontsize=10)
    save(figure, path)
