"""Networks of the paper, trained here: which one, how it is trained, and its row of measurements.

A row is a file, ``networks/NAME.json``: the training curve, the SHA-256 of the weights, the budget and every
measurement. ``NAME.parquet`` beside it has the answers to each pair of views, so that networks which were trained on
different days, or machines, are compared pair by pair. Weights and checkpoints stay in ``training/``.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import aliasing as al
from aliasing.depth.across import network_depth
from aliasing.depth.attribution import attribute
from aliasing.errors import UsageError
from aliasing.models.classifier import fingerprint, record_weights
from aliasing.provenance import versions, write_json
from aliasing.surgery.recalibrate import recalibrate_
from aliasing.tables import counted
from experiments._data import CIFAR10_CLASSES, Labelled
from experiments._run import plain
from experiments._training import Recipe, normalise, train, window_and_mirror

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "blur": {"operator": "blur", "taps": "binomial4"},
    "blur-all": {"operator": "blur", "taps": "binomial4", "scheme": "all"},
    "blur-before": {"operator": "blur", "taps": "binomial4", "placement": "before"},
    "flc": {"operator": "flc", "scheme": "all"},
}
PROTOCOLS = {
    "pad": "pad",
    "crop": "crop:span=1",
    "black": "black",
    "half": "circular:step=0.5,pixels=1",
    "worst": "grid:radius=4",
}
PAIRED = ("pad", "crop", "black")  # their records are kept
MEASURES = ("accuracy", "top1_change", "mac", "stability", "worst_change", "worst_accuracy")
SELDOM = 10  # the many views of ``worst``, the layers and the sites are measured on every tenth image
STATISTICS = 1024  # training images from which batch-norm statistics are estimated again
RATES = {"scratch": 1e-3, "tuned": 2e-4}  # SGD at 0.05 began with losses of 10 to 70 in ResNet50


@dataclass(frozen=True)
class Budget:
    """How much: training images, passes over them, test images, the network's input in pixels, images a step."""

    images: int
    epochs: int
    tests: int
    size: int = 64
    batch: int = 64

    @property
    def canvas(self) -> int:
        """The pictures' side, of which the network sees a window: 72 at 64, so that ±4 pixels are real ones."""
        return self.size * 9 // 8

    def __str__(self) -> str:
        images, epochs = counted(self.images), counted(self.epochs, "epoch")
        return f"CIFAR-10 at {self.size} pixels, {images}, {epochs}: no ImageNet"


@dataclass(frozen=True)
class Network:
    """Which network.

    Attributes
    ----------
    architecture : of `ARCHITECTURES`.
    cure : of `CURES`.
    crops : trained on windows up to 4 pixels from the centre; otherwise only mirrored.
    share : None if it is trained from nothing; otherwise the share of that budget for which the trained plain network
        is fine-tuned with the cure. Without any, only its batch-norm statistics are estimated again.
    seed : of the first weights, the order and the augmentation.
    """

    architecture: str
    cure: str = "plain"
    crops: bool = False
    share: float | None = None
    seed: int = 0

    @cached_property
    def title(self) -> str:
        """The name without the seed."""
        words = [self.architecture, *([self.cure] if self.cure != "plain" else []), *(["crops"] if self.crops else [])]
        return "-".join([*words, *([] if self.share is None else [f"tuned{round(100 * self.share)}"])])

    @property
    def name(self) -> str:
        return f"{self.title}-seed{self.seed}"

    @property
    def origin(self) -> "Network | None":
        """The plain network whose weights it starts from."""
        return None if self.share is None else replace(self, cure="plain", share=None)


def vgg16() -> nn.Module:
    """torchvision's vgg16_bn, its classifier of 512 instead of 4096 channels on the 2×2 map that 64 pixels give.

    torchvision spreads that map over 7×7 cells and flattens it, which a first layer can undo: both are linear.
    """
    network = torchvision.models.vgg16_bn(weights=None)
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    network.classifier = nn.Sequential(
        *(nn.Linear(2048, 512), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout()),
        nn.Linear(512, len(CIFAR10_CLASSES)),
    )
    return network


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "vgg16": vgg16,
    "resnet50": partial(torchvision.models.resnet50, num_classes=len(CIFAR10_CLASSES)),
    "densenet201": partial(torchvision.models.densenet201, num_classes=len(CIFAR10_CLASSES)),
}


@dataclass(frozen=True)
class Workshop:
    """Where networks are trained and their rows are kept.

    Attributes
    ----------
    out : the folder of the figure.
    budget : of a training from nothing.
    images, test : CIFAR-10's, at 32 pixels.
    device : "cpu", on which a stopped training ends at the same weights, or "cuda", on which they differ by rounding.
    bf16 : train in bfloat16.
    """

    out: Path
    budget: Budget
    images: Labelled
    test: Labelled
    device: str = "cpu"
    bf16: bool = False

    def row(self, network: Network) -> dict[str, Any] | None:
        """What is known of a network; None if it is not trained and measured yet.

        Raises
        ------
        UsageError
            If its row has other settings than this run would give it.
        """
        file = self._kept(network, "json")
        if not file.exists():
            return None
        row: dict[str, Any] = json.loads(file.read_text("utf-8"))
        wanted = plain(self._settings(network))
        other = [key for key in wanted if row["settings"].get(key) != wanted[key]]
        if other:
            had = Budget(**row["settings"]["budget"])
            raise UsageError(
                f"{file} is of {had}, {had.tests:,} test images, and this run has another {' and '.join(other)}: "
                "give its --images, --epochs and --tests, or another --out"
            )
        return row

    def records(self, network: Network, protocol: str) -> pa.Table:
        """The answers of a measured network to each pair of views of a protocol."""
        return pq.read_table(self._kept(network, "parquet"), filters=[("protocol", "==", protocol)])

    def lacks(self, network: Network) -> str | None:
        """Why a network cannot be trained here now; None if it can."""
        origin = network.origin
        if origin is None:
            return None
        row = self.row(origin)
        if row is None:
            return f"{origin.name}, from which it starts, is not trained yet"
        if not self.weights(origin).exists() or fingerprint(self._begun(network)) != row["weights"]["sha256"]:
            return f"the weights of {origin.name}, from which it starts, are on another machine"
        return None

    def make(self, network: Network) -> dict[str, Any]:
        """Train and measure a network, and keep its row."""
        module, history = self._trained(network)
        classifier = self.classifier(module, network.name)
        found, records = measure(classifier, self.test, self.device, sites=network.cure == "plain")
        row = {
            "network": asdict(network),
            "settings": self._settings(network),
            "made": {"device": self.device, "bf16": self.bf16, "threads": torch.get_num_threads()},
            "versions": versions(),
            "data": {"train": self.images.description(), "test": self.test.description()},
            "weights": {"source": "trained here", "sha256": fingerprint(module)},
            "depth": asdict(network_depth(module, torch.zeros(1, 3, self.budget.size, self.budget.size))),
            "history": history,
            **found,
        }
        file = self._kept(network, "parquet")
        file.parent.mkdir(exist_ok=True)
        pq.write_table(records, file, compression="zstd")
        write_json(self._kept(network, "json"), plain(row))  # the last: what has a row has records
        return plain(row)  # type: ignore[no-any-return]

    def weights(self, network: Network) -> Path:
        """The file of a trained network's weights."""
        return self.out / "training" / f"{network.name}.safetensors"

    def classifier(self, module: nn.Module, name: str) -> al.Classifier:
        """The network as the library measures it: pictures enlarged as in training, the window in their middle."""
        size, canvas = self.budget.size, self.budget.canvas
        made = al.Classifier(module, name, size, MEAN, STD, "bicubic", canvas, size / canvas, CIFAR10_CLASSES)
        return record_weights(made, "trained here")

    def recipe(self, network: Network) -> Recipe:
        """How a network is trained."""
        rate = RATES["scratch" if network.share is None else "tuned"]
        epochs, batch = math.ceil(self._passes(network)), min(self.budget.batch, self._count(network))
        return Recipe(epochs, "adamw", rate, batch, True, 0.05, self.bf16, network.seed, warm_up=0.25)

    def shown(self, network: Network) -> Labelled:
        """What it is trained on: a share of the budget is whole passes over fewer images."""
        if network.share is None:
            return self.images
        count = self._count(network)
        chosen = np.arange(count) * len(self.images) // count
        return Labelled(
            f"{self.images.name}, {count:,} of those", self.images.pixels[chosen], self.images.labels[chosen]
        )

    def _count(self, network: Network) -> int:
        passes = self._passes(network)
        return round(passes * len(self.images) / max(1, math.ceil(passes)))

    def _passes(self, network: Network) -> float:
        return self.budget.epochs * (1.0 if network.share is None else network.share)

    def _settings(self, network: Network) -> dict[str, Any]:
        recipe = asdict(self.recipe(network))
        del recipe["bf16"]  # like the device, it says how a row was made; the row counts wherever that was
        return {
            "budget": asdict(self.budget),
            "recipe": recipe,
            "cure": CURES[network.cure],
            "protocols": PROTOCOLS,
            "test images": self.test.description()["sha256"],  # rows are compared image by image
        }

    def _kept(self, network: Network, ending: str) -> Path:
        return self.out / "networks" / f"{network.name}.{ending}"

    def _trained(self, network: Network) -> tuple[nn.Module, list[dict[str, float]]]:
        module = self._begun(network)
        if network.cure != "plain":
            example = torch.zeros(1, 3, self.budget.size, self.budget.size)
            module = al.antialias(module.eval(), example_input=example, **CURES[network.cure])
        module.to(self.device)
        if network.share == 0:
            pixels = self.images.pixels[:STATISTICS]
            recalibrate_(module, (self.show(pixels[k : k + 64]) for k in range(0, len(pixels), 64)))
            return module.eval().cpu(), []
        prepare = self.cropped if network.crops else self.mirrored
        recipe, file = self.recipe(network), self.weights(network)
        history = train(module, self.shown(network), self.test, prepare, self.show, recipe, file)
        return module.cpu(), history

    def _begun(self, network: Network) -> nn.Module:
        """The plain network with its first weights: random ones, or those of the network from which it starts."""
        torch.manual_seed(network.seed)
        module = ARCHITECTURES[network.architecture]()
        if network.origin is not None:
            module.load_state_dict(safetensors.torch.load_file(self.weights(network.origin)))
        return module

    def show(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """The window in the middle of the enlarged pictures, normalised."""
        return normalise(self._middle(pixels), MEAN, STD)

    def mirrored(self, pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """The same, mirrored or not."""
        return normalise(window_and_mirror(self._middle(pixels), self.budget.size, random), MEAN, STD)

    def cropped(self, pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A window anywhere in the enlarged pictures, mirrored or not, normalised."""
        large = enlarged(pixels, self.budget.canvas)
        return normalise(window_and_mirror(large, self.budget.size, random), MEAN, STD)

    def _middle(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        begin = (self.budget.canvas - self.budget.size) // 2
        inside = slice(begin, begin + self.budget.size)
        return np.ascontiguousarray(enlarged(pixels, self.budget.canvas)[:, inside, inside])


def enlarged(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Square pictures enlarged with Pillow's bicubic kernel and rounded, N×H×W×3: as the library shows them."""
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return F.interpolate(planes, size=(size, size), mode="bicubic", antialias=True).permute(0, 2, 3, 1).numpy()


def measure(network: al.Classifier, test: Labelled, device: str, *, sites: bool) -> tuple[dict[str, Any], pa.Table]:
    """Every measurement of a network, and its records under the protocols that are compared pair by pair.

    ``sites`` attributes its jitter to its sites, which is for a network that is not converted.
    """
    shown = list(zip(test.pixels, test.labels.tolist(), strict=True))
    few = shown[::SELDOM]
    jitter, records = {}, []
    for key, protocol in PROTOCOLS.items():
        pictures = few if key == "worst" else shown
        result = al.measure_jitter(network, pictures, protocol, device=device, progress=True)
        model = result.summary()["models"][network.name]
        jitter[key] = {measure: model[measure] for measure in MEASURES if measure in model}
        if key in PAIRED:
            table = pa.concat_tables(result.tables(network.name))
            records.append(table.append_column("protocol", pa.array([key] * len(table))).select(_COLUMNS))
    profile = al.probe_depth(network, few, PROTOCOLS["crop"], sites_every=1, device=device, progress=True)
    layers = profile.summary()["models"][network.name]
    found = {
        "jitter": jitter,
        "layers": [{key: layer[key] for key in _OF_LAYER} for layer in layers["layers"]],
        "sites": [{key: site[key] for key in _OF_SITE} for site in layers["sites"]],
    }
    if sites:
        ranked = attribute(network, few, PROTOCOLS["crop"], device=device, progress=True).ranking()
        found["attribution"] = [{key: row[key] for key in _OF_RANK} for row in ranked]
    return found, pa.concat_tables(records)


_COLUMNS = ["protocol", "name", "label", "first_top1", "second_top1", "first_probability", "second_probability"]
_COLUMNS += ["first_margin"]
_OF_LAYER = ("name", "depth", "cumulative_stride", "relative_change", "unexplained_change")
_OF_SITE = ("name", "kind", "stride", "cumulative_stride", "depth", "alias_fraction", "baseband_kept", "rise")
_OF_RANK = ("name", "kind", "stride", "rank", "clear", "only", "all_but")
