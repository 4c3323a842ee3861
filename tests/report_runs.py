"""A folder of each command that measures, for the report to show."""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from safetensors.torch import save_file

import aliasing as al
from aliasing.cli import main
from tests.cifar_resnet import resnet20
from tests.small_network import make

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)<'  # what a file's name can hold: everything but a slash


def measure_everything(root: Path) -> Path:
    """Run the commands with untrained networks on noise, one photograph with markup in its name."""
    images = root / "images"
    images.mkdir()
    for index, name in enumerate((f"{HOSTILE}.png", *(f"noise {index}.png" for index in range(6)))):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 56, 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(images / name)
    (images / "broken.png").write_bytes(b"no picture")
    # Untrained, for paths and markup and never for numbers; from a file, so that it is the same network every time.
    save_file(resnet20().module.state_dict(), root / "resnet20.safetensors")
    network = f"file:{root}/resnet20.safetensors@module:tests.cifar_resnet:resnet20"
    both, shown = ("--models", network, f"antialiased:binomial3:{network}"), ("--images", str(images))
    for folder, arguments in {
        "crop": ("jitter", *both, *shown, "--protocol", "crop"),
        "grid": ("jitter", *both, *shown, "--protocol", "grid:radius=1"),
        "depth": ("depth", *both, *shown, "--limit", "3"),
        "attribution": ("attribute", network, *shown, "--limit", "3", "--protocol", "crop:span=1"),
        "spectrum": ("spectrum", str(images), "--operator", "subsample", "max", "blur", "fourier"),
        "features": ("features", network, str(images), "--limit", "2", "--protocol", "crop:span=1"),
    }.items():
        assert main([*arguments, "--out", str(root / folder)]) == 0
    noise = [(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8), seed % 6) for seed in range(24)]
    recipe = al.Recipe(epochs=1, batch_size=8)
    _, cure = al.cure(make(), noise[:12], noise[12:], root / "cure", recipe, candidates=["binomial3,all"])
    cure.write(root / "cure")
    return root
