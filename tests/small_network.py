"""A small network with seeded weights, ``module:tests.small_network:make``, and several commands in one process.

``python -m tests.small_network jitter … --then depth …`` runs ``aliasing`` commands one after the other, which spares
the seconds that loading torch takes; with ``DIES=RANK:BLOCKS`` in the environment the process of that rank kills itself
while it writes the part after so many.
"""

import os
import signal
import sys

import torch
from torch import nn

from aliasing.models import Classifier

NAME = "module:tests.small_network:make"


def make(seed: int = 0) -> Classifier:
    """Three layers, two of which downsample."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        module.extend((nn.Flatten(), nn.Linear(32, 6)))
    with torch.no_grad():
        module[-1].weight *= 40  # sure enough of itself to change its answer
    half = (0.5, 0.5, 0.5)
    return Classifier(module, "small", 24, half, half, "bilinear", resize_size=32, crop_share=0.75)


def another() -> Classifier:
    """The same with other weights."""
    return make(1)


def main() -> int:
    from aliasing import records
    from aliasing.cli import main as aliasing
    from aliasing.provenance import PARTIAL

    dying, _, blocks = os.environ.get("DIES", "").partition(":")
    if dying == os.environ.get("RANK", "0"):
        write, written = records.write_bytes, []

        def write_or_die(path, content):  # type: ignore[no-untyped-def]
            if len(written) == int(blocks):
                (path.parent / f".{path.name}.killed__{PARTIAL}").write_bytes(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(path)
            write(path, content)

        records.write_bytes = write_or_die
    words = sys.argv[1:]
    while words:
        cut = words.index("--then") if "--then" in words else len(words)
        code = aliasing(words[:cut])
        if code:
            return code
        words = words[cut + 1 :]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
