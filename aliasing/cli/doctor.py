"""Say what this machine and this environment hold for the package: versions, devices, extras, threads, variables.

examples:
  aliasing doctor           a short table, for a person or a bug report
  aliasing doctor --json    the same for a program

Nothing is measured and nothing leaves the machine. Proxies, tokens and other secrets are not shown.
"""

import argparse
import json
import os
import platform
from importlib import metadata
from typing import Any

SUMMARY = "say what is installed for what, which devices there are, and what slows them"

# What slows torch, or makes its numbers repeat, or says where things are kept.
_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_AFFINITY", "KMP_BLOCKTIME"),
    *(
        "GOMP_CPU_AFFINITY",
        "MKL_SERVICE_FORCE_INTEL",
        "MKL_DEBUG_CPU_TYPE",
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
    ),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING"),
    *("CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "NVIDIA_TF32_OVERRIDE"),
    *("LD_PRELOAD", "MALLOC_ARENA_MAX", "PYTHONMALLOC", "HF_HUB_OFFLINE", "HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME"),
)
_PURPOSES = {
    "completion": "names completed in a shell",
    "explore": "aliasing explore",
    "export": "converted networks written as ONNX",
    "film": "films (--animate), and videos as images",
    "hf": "--images hf:NAME",
    "lightning": "aliasing.training.JitterCallback",
    "metrics": "al.metrics",
    "offline": "three networks and the sample, without downloads",
    "onnx": "networks onnx:PATH",
    "openvino": "networks openvino:PATH",
    "remote": "--images https://…, s3://…",
    "report": "aliasing report",
    "resamplers": "more libraries for aliasing resamplers",
    "sound": "sounds: WAV, FLAC, OGG, AIFF",
    "tflite": "networks tflite:PATH",
    "volume": "volumes: NIfTI",
    "wavelet": "the operator wavelet",
}
_OF_DEVELOPERS = ("docs", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: argparse.Namespace) -> None:
    """Look and print."""
    from aliasing.tables import render

    found = examine()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for title in ("versions", "devices", "threads", "environment"):
        rows = [
            {title: name, "": value if value is not None else "not installed"} for name, value in found[title].items()
        ]
        print(render(rows, "table") if rows else f"{title}: none of the variables that matter is set")
        print()
    extras = [
        {"extra": name, "for": _PURPOSES.get(name, ""), "installed": _in_words(**extra)}
        for name, extra in found["extras"].items()
    ]
    print(render(extras, "table"))
    print("\npip install 'aliasing[EXTRA]' brings what an extra lacks.")
    for remark in found["remarks"]:
        print(f"note: {remark}")


def _in_words(packages: dict[str, str | None], missing: list[str]) -> str:
    if len(missing) > 2:
        return f"without {len(missing)} of its {len(packages)} packages"
    return f"without {' and '.join(missing)}" if missing else "yes"


def examine() -> dict[str, Any]:
    """What the command prints, as JSON has it."""
    import torch

    from aliasing.jitter.network import has_fast_bfloat16
    from aliasing.provenance import versions

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = {"torch": torch.get_num_threads(), "cores of this process": cores}
    devices = {
        "cpu": _described(f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}", has_fast_bfloat16())
    }
    for index in range(torch.cuda.device_count()):
        fast = has_fast_bfloat16(f"cuda:{index}")
        devices[f"cuda:{index}"] = _described(torch.cuda.get_device_name(index), fast)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple's GPU"
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    remarks = []
    if threads["torch"] < cores:
        why = "OMP_NUM_THREADS" if "OMP_NUM_THREADS" in variables else "a setting"
        remarks.append(f"torch computes on {threads['torch']} of {cores} cores, by {why}")
    elif threads["torch"] > cores:
        remarks.append(f"torch computes with {threads['torch']} threads on {cores} cores, which makes them wait")
    for name, value in (("CUDA_LAUNCH_BLOCKING", "1"), ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")):
        if variables.get(name) == value:
            remarks.append(f"{name}={value} is for debugging, and slows a GPU")
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_DEBUG_CPU_TYPE"):
        if name in variables:
            remarks.append(f"{name} is set, so the processor may not use its widest instructions")
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "devices": devices,
        "threads": threads,
        "environment": variables,
        "extras": _extras(),
        "remarks": remarks,
    }


def _described(name: str, fast: bool) -> str:
    return f"{name}; bfloat16 {'fast' if fast else 'not faster than float32'}"


def _extras() -> dict[str, dict[str, Any]]:
    """For each extra its packages with their versions, and those that are missing, as the package's metadata say."""
    from packaging.requirements import Requirement

    own = [Requirement(text) for text in metadata.requires("aliasing") or ()]
    names = sorted(metadata.metadata("aliasing").get_all("Provides-Extra") or ())
    found = {}
    for extra in names:
        if extra in _OF_DEVELOPERS:
            continue
        packages = {
            one.name: _version(one.name)
            for one in own
            if one.marker is not None
            and not one.marker.evaluate({"extra": ""})
            and one.marker.evaluate({"extra": extra})
        }
        packages.pop("aliasing", None)  # an extra that consists of others
        found[extra] = {"packages": packages, "missing": [name for name, one in packages.items() if one is None]}
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
