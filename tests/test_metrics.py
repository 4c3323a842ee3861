"""torchmetrics of pairs: the numbers of `measure_jitter` on the same views, in one process and in two."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import aliasing as al
from aliasing.errors import UsageError
from aliasing.images import open_images
from aliasing.protocols import make_protocol
from tests.small_network import make

torchmetrics = pytest.importorskip("torchmetrics")
NAMES = {
    "TopOneChange": "top1_change",
    "MeanAbsoluteChange": "mac",
    "Consistency": "consistency",
    "Stability": "stability",
}
IMAGES = [(np.random.default_rng(i).integers(0, 256, (40, 44, 3), dtype=np.uint8), i % 6) for i in range(24)]


def metrics() -> Any:
    return torchmetrics.MetricCollection([getattr(al.metrics, name)() for name in NAMES])


def answers() -> tuple[Tensor, Tensor, Tensor]:
    """The logits of the first and the second view of all pairs of the protocol crop, and the labels."""
    model, protocol = make(), make_protocol("crop")
    first, second, labels = [], [], []
    for entry in open_images(IMAGES):
        image = entry.load()
        views = protocol.views(image, model)
        batch = model.normalize(np.stack([view.draw() for view in views.views]))
        with torch.no_grad():
            logits = model.module.eval()(batch)
        for a, b in views.pairs:
            first.append(logits[a])
            second.append(logits[b])
            labels.append(int(image.label))  # type: ignore[arg-type]
    return torch.stack(first), torch.stack(second), torch.tensor(labels)


def expected() -> dict[str, float]:
    measured = al.measure_jitter(make(), IMAGES, "crop").summary()["models"]["small"]
    return {name: measured[key]["value"] for name, key in NAMES.items()}


def close(found: dict[str, Tensor], numbers: dict[str, float]) -> bool:
    """To 1e-6: a batch of another size rounds float32 elsewhere."""
    return all(abs(float(found[name]) - number) < 1e-6 for name, number in numbers.items())


def test_the_numbers_of_measure_jitter() -> None:
    first, second, labels = answers()
    collection = metrics()
    for part in torch.arange(len(first)).split(7):
        collection.update(first[part], second[part], labels[part])
    found, numbers = collection.compute(), expected()
    assert 0 < numbers["TopOneChange"] < 1
    assert 0 < numbers["Stability"] < 1
    assert close(found, numbers), (found, numbers)
    collection.reset()
    collection.update(first[:5], first[:5], labels[:5])
    assert float(collection.compute()["TopOneChange"]) == 0
    assert float(collection.compute()["MeanAbsoluteChange"]) == 0


def test_metrics_of_a_collection_do_not_share_what_is_equal_by_chance() -> None:
    """Half of the first batch changes, so the changed, the stable and the right are equally many."""
    first = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    second = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    collection = metrics()
    collection.update(first, second, torch.tensor([0, 0]))
    assert {name: float(value) for name, value in collection.compute().items() if name != "MeanAbsoluteChange"} == {
        "TopOneChange": 0.5,
        "Consistency": 0.5,
        "Stability": 0.5,
    }
    collection.update(first, first, torch.tensor([0, 1]))
    found = collection.compute()
    assert (float(found["TopOneChange"]), float(found["Consistency"]), float(found["Stability"])) == (0.25, 0.75, 0.5)


def test_unknown_classes_do_not_count_and_half_precision_is_taken() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], dtype=torch.bfloat16)
    metric = al.metrics.Stability()
    metric.update(logits, logits, torch.tensor([0, 1, -1]))
    assert float(metric.compute()) == 0.5


@pytest.mark.parametrize(
    ("first", "second", "target", "says"),
    [
        (torch.zeros(3, 2), torch.zeros(2, 2), None, "expected both N×classes"),
        (torch.zeros(3, 1), torch.zeros(3, 1), None, "two or more classes"),
        (torch.zeros(3), torch.zeros(3), None, "expected both N×classes"),
        (torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 2), "expected one class a pair"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), None, "NaN or infinity"),
        (torch.full((3, 2), 0.5), torch.full((3, 2), 0.5), None, "they are probabilities; expected logits"),
    ],
)
def test_what_is_refused(first: Tensor, second: Tensor, target: Tensor | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        al.metrics.MeanAbsoluteChange().update(first, second, target)


def test_stability_needs_labels() -> None:
    with pytest.raises(UsageError, match="needs the right answers"):
        al.metrics.Stability().update(torch.zeros(1, 2), torch.zeros(1, 2))


def test_a_metric_is_drawn() -> None:
    metric = al.metrics.TopOneChange()
    metric.update(torch.eye(2), torch.eye(2).flip(0))
    figure, axes = metric.plot([torch.tensor(0.5), metric.compute()])
    assert axes.get_ylim()[1] >= 1
    plt.close(figure)


def test_without_torchmetrics() -> None:
    code = "import sys; sys.modules['torchmetrics'] = None; import aliasing; aliasing.jitter; aliasing.metrics"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.strip().endswith('al.metrics needs torchmetrics: pip install "aliasing[metrics]"')


PROCESS = """
import json, sys, torch, torch.distributed as distributed
from tests.test_metrics import answers, metrics
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
first, second, labels = answers()
collection = metrics()
cut = len(first) // 3  # the processes have different shares
mine = slice(0, cut) if rank == 0 else slice(cut, None)
collection.update(first[mine], second[mine], labels[mine])
print(json.dumps({name: float(value) for name, value in collection.compute().items()}))
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_the_numbers_of_two_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        for rank in range(2)
    ]
    found = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in running]
    assert found[0] == found[1]
    assert close(found[0], expected()), (found, expected())


def test_the_callback_logs_the_numbers_of_measure_jitter() -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    import logging

    from aliasing.training import JitterCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    levels = torch.randint(0, 256, (30, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures, labels = (levels.float() / 255 - 0.5) / 0.5, torch.arange(30) % 6
    network = make().module

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)  # type: ignore[no-any-return]

        def validation_step(self, batch: Any, index: int) -> None:
            x, y = batch
            self.log("loss", nn.functional.cross_entropy(self(x), y))

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(accelerator="cpu", callbacks=[JitterCallback()], **quiet)
    (logged,) = trainer.validate(Module(), DataLoader(TensorDataset(pictures, labels), batch_size=8), verbose=False)
    half = (0.5, 0.5, 0.5)
    summary = al.measure_jitter(network, (pictures, labels), "circular:pixels=1", mean=half, std=half).summary()
    (measured,) = summary["models"].values()
    assert measured["top1_change"]["value"] > 0
    for name, key in NAMES.items():
        assert abs(logged[f"jitter/{name}"] - measured[key]["value"]) < 1e-6, name


def test_the_loop_of_the_guide_runs() -> None:
    """Its cells up to the metrics, one after the other; the metrics agree with the measurement at its end."""
    guide = (Path(__file__).parents[1] / "docs" / "how-to" / "training-loop.md").read_text("utf-8")
    cells = re.findall(r"```\{code-cell\}\n(?::[^\n]*\n)*(.*?)```", guide, re.DOTALL)
    last = next(index for index, cell in enumerate(cells) if "MetricCollection" in cell)
    there: dict[str, Any] = {}
    for cell in (cells[0], *(cell for cell in cells[1:last] if "epoch 0" in cell), cells[last]):
        exec(cell.replace("range(1, 6)", "range(1, 2)"), there)
    (measured,) = there["measured_too"].summary()["models"].values()
    for name, key in NAMES.items():
        assert abs(float(there["found"][name]) - measured[key]["value"]) < 1e-6, name
