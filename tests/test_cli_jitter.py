"""The whole path: the real command on real photographs with real pretrained weights, and the numbers that it leaves."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import squeezenet1_0

from aliasing.cli import main
from aliasing.estimates import Share
from aliasing.models import Classifier
from aliasing.tables import cell
from tests.cifar_resnet import resnet20
from tests.image_files import BAD_BYTES, noise
from tests.model_files import BAD_CHECKPOINTS

Refusal = Callable[..., str]
ROOT = Path(__file__).parents[1]
RESNET20 = "module:tests.cifar_resnet:resnet20"  # untrained: for paths and messages, never for numbers


def aliasing(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without a terminal."""
    command = [sys.executable, "-m", "aliasing", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory, imagenet_sample: Path) -> Callable[[str], Path]:
    """The folder of one network's run over the 500 photographs; each network runs once in a session."""

    @cache
    def of(network: str) -> Path:
        out = tmp_path_factory.mktemp("run") / "jitter"
        run = aliasing("jitter", "--models", network, "--images", imagenet_sample, "--out", out)
        assert run.returncode == 0, run.stderr
        assert run.stderr == ""  # no progress bar where nobody watches
        assert cell(summary_of(out)["models"][network]["top1_change"]) in run.stdout
        return out

    return of


@pytest.fixture(scope="session")
def lite0_run(run_of: Callable[[str], Path]) -> Path:
    return run_of("pypi:efficientnet_lite0")


@pytest.mark.parametrize(
    ("network", "accuracy", "top1_change", "mac"),
    [
        ("pypi:efficientnet_lite0", 0.88500, 0.03450, 0.03657),
        pytest.param("pypi:efficientnet_lite1", 0.87575, 0.02775, 0.03716, marks=pytest.mark.slow),
        pytest.param("pypi:efficientnet_lite2", 0.90050, 0.02775, 0.03779, marks=pytest.mark.slow),
    ],
)
def test_the_independent_numbers(
    run_of: Callable[[str], Path], network: str, accuracy: float, top1_change: float, mac: float
) -> None:
    """An independent computation of the same protocol gave these; the tolerances are those of the specification."""
    measured = summary_of(run_of(network))["models"][network]
    assert measured["pairs"] == 4000
    assert abs(measured["accuracy"]["value"] - accuracy) <= 0.002
    assert abs(measured["top1_change"]["value"] - top1_change) <= 0.002
    assert abs(measured["mac"]["value"] - mac) <= 0.0005
    for estimate in ("accuracy", "top1_change", "mac", "consistency"):
        assert measured[estimate]["low"] < measured[estimate]["value"] < measured[estimate]["high"]
    assert len(measured["weights"]["sha256"]) == 64


def test_a_plain_loop_gives_the_same_answers(
    imagenet_sample: Path, lites: dict[str, Classifier], tmp_path: Path
) -> None:
    """Of every network that is measured by default, view by view: Pillow, slices and the network, and nothing else."""
    assert main(["jitter", "--images", str(imagenet_sample), "--limit", "2", "--out", str(tmp_path)]) == 0
    records = pd.concat(map(pd.read_parquet, sorted((tmp_path / "records").glob("*/*.parquet"))))
    assert records.groupby("model").size().to_dict() == dict.fromkeys(lites, 16)
    for (name, photograph), rows in records.groupby(["model", "name"]):
        model = lites[name]
        with Pillow.open(imagenet_sample / photograph) as opened:
            picture = opened.convert("RGB")
        shorter, size = min(picture.size), model.input_size
        resized = picture.resize([int(model.resize_size * side / shorter) for side in picture.size], Pillow.BICUBIC)
        top, left = (round((side - size - 8) / 2) for side in (resized.height, resized.width))
        windows = [np.asarray(resized)[top + k : top + k + size, left + k : left + k + size] for k in range(9)]
        batch = (torch.tensor(np.stack(windows)) / 255 - torch.tensor(model.mean)) / torch.tensor(model.std)
        with torch.inference_mode():
            answers = model.module(batch.permute(0, 3, 1, 2)).softmax(1)
        rows = rows.sort_values("pair")
        for which, shown in (("first", answers[:-1]), ("second", answers[1:])):
            assert rows[f"{which}_top1"].tolist() == shown.argmax(1).tolist()
            probability = shown[range(8), answers[:-1].argmax(1)]
            # float32 through 80 layers, in another order of sums.
            np.testing.assert_allclose(rows[f"{which}_probability"], probability, atol=1e-4)


def test_the_run_leaves_records_and_a_figure_that_agree_with_its_summary(lite0_run: Path) -> None:
    records = pd.concat(map(pd.read_parquet, sorted((lite0_run / "records").glob("*/*.parquet"))))
    for name, measured in summary_of(lite0_run)["models"].items():
        rows = records[records.model == name]
        assert (rows.first_top1 != rows.second_top1).mean() == measured["top1_change"]["value"]
        change = (rows.first_probability.astype(float) - rows.second_probability.astype(float)).abs().mean()
        assert change == pytest.approx(measured["mac"]["value"], abs=1e-9)
        assert (rows.first_top1 == rows.label).mean() == measured["accuracy"]["value"]
    with Pillow.open(lite0_run / "figure.png") as figure:
        assert figure.width > 1000


@pytest.mark.parametrize("images", [13, 50, 200])
def test_intervals_cover_on_the_changes_of_a_real_network(lite0_run: Path, images: int) -> None:
    """Samples of the 500 photographs, drawn with replacement, contain the mean of the 500 as often as they say."""
    (folder,) = (lite0_run / "records").glob("*lite0*")
    records = pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))))
    change = (records.first_probability.astype(float) - records.second_probability.astype(float)).abs()
    totals = change.groupby(records.name).sum().to_numpy()
    random = np.random.default_rng(images)
    covered = 0
    for _ in range(600):
        metric = Share()
        metric.add(random.choice(totals, images), 8)
        estimate = metric.estimate()
        covered += estimate.low <= totals.mean() / 8 <= estimate.high
    assert covered / 600 >= 0.93


def test_small_pictures_on_a_background_jitter_more_than_crops(
    lite0_run: Path, imagenet_sample: Path, tmp_path: Path
) -> None:
    """As in the paper: embedded on black or on an inpainted background, the answer changes clearly more often."""
    crop = summary_of(lite0_run)["models"]["pypi:efficientnet_lite0"]
    for protocol in ("black", "inpaint"):
        out = tmp_path / protocol
        options = ["--images", str(imagenet_sample), "--limit", "100", "--protocol", protocol, "--out", str(out)]
        assert main(["jitter", "--models", "pypi:efficientnet_lite0", *options]) == 0
        embedded = summary_of(out)["models"]["pypi:efficientnet_lite0"]
        assert embedded["top1_change"]["low"] > crop["top1_change"]["high"]
        assert embedded["mac"]["low"] > crop["mac"]["high"]


@pytest.mark.parametrize(
    ("layers", "accuracy", "top1_change"),
    [
        (20, 0.8100, 0.1206),
        pytest.param(32, 0.8228, 0.0968, marks=pytest.mark.slow),
        pytest.param(44, 0.8224, 0.0926, marks=pytest.mark.slow),
        pytest.param(56, 0.8312, 0.0938, marks=pytest.mark.slow),
    ],
)
def test_the_cifar_resnets(
    cifar10: Path, cifar10_resnets: Path, tmp_path: Path, layers: int, accuracy: float, top1_change: float
) -> None:
    """Through file: and Parquet, on all 5,000 test images: the published facts within 0.001."""
    name = f"file:{cifar10_resnets}/resnet{layers}.safetensors@module:tests.cifar_resnet:resnet{layers}"
    out = tmp_path / "run"
    images = ["--images", str(cifar10 / "test.parquet")]
    assert main(["jitter", "--models", name, *images, "--protocol", "pad", "--out", str(out)]) == 0
    (measured,) = summary_of(out)["models"].values()
    assert abs(measured["accuracy"]["value"] - accuracy) <= 0.001
    assert abs(measured["top1_change"]["value"] - top1_change) <= 0.001


def test_bad_images_are_skipped_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = noise(tmp_path / "images")
    for index, (content, _) in enumerate(BAD_BYTES.values()):
        (folder / f"bad {index}.png").write_bytes(content)
    assert len(BAD_BYTES) >= 30
    out = tmp_path / "run"
    assert main(["jitter", "--models", RESNET20, "--images", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    skipped = summary_of(out)["images"]["skipped"]
    assert set(skipped) == {f"bad {index}.png" for index in range(len(BAD_BYTES))}
    assert all(reason and "\n" not in reason for reason in skipped.values())
    (measured,) = summary_of(out)["models"].values()
    assert measured["images"] == 3
    assert f"{len(BAD_BYTES)} of {len(BAD_BYTES) + 3} images skipped" in printed
    assert f"and {len(BAD_BYTES) - 10} more, in the summary" in printed


def test_no_usable_image_at_all_is_an_error(tmp_path: Path, complaint: Callable[..., str]) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    complaint(["jitter", "--models", RESNET20, "--images", str(tmp_path)], 1, "no usable image", "a.jpg")


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return squeezenet1_0(weights=None).state_dict()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("checkpoint") / "resnet20.safetensors"
    save_file(resnet20().module.state_dict(), path)
    return f"file:{path}@{RESNET20}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(noise(tmp_path_factory.mktemp("images")))


@pytest.fixture(scope="module")
def measured(good: str, images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good network's run."""
    out = tmp_path_factory.mktemp("good") / "run"
    assert main(["jitter", "--models", good, "--images", images, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("kind", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_ends_with_one_line_and_loses_nothing(
    kind: str, measured: Path, good: str, images: str, weights: dict[str, Tensor], tmp_path: Path, complaint: Refusal
) -> None:
    """A good network first, then the bad one: exit code 1, one line, and the first one's records on disk."""
    (tmp_path / "bad").mkdir()
    bad = BAD_CHECKPOINTS[kind][0](tmp_path / "bad", dict(weights))
    out = shutil.copytree(measured, tmp_path / "run")
    models = [good, f"file:{bad}@torchvision:squeezenet1_0"]
    complaint(["jitter", "--models", *models, "--images", images, "--out", str(out)], 1)
    (part,) = (out / "records").glob("*/*.parquet")
    (before,) = (measured / "records").glob("*/*.parquet")
    assert part.read_bytes() == before.read_bytes()


def test_what_was_measured_before_a_bad_checkpoint_is_gone_on_with(good: str, images: str, tmp_path: Path) -> None:
    bad, out = tmp_path / "bad.pth", tmp_path / "run"
    bad.write_bytes(b"no checkpoint")
    models = [good, f"file:{bad}@torchvision:squeezenet1_0"]
    assert main(["jitter", "--models", *models, "--images", images, "--out", str(out)]) == 1
    (part,) = (out / "records").glob("*/*.parquet")
    written = part.stat().st_mtime_ns
    assert main(["jitter", "--models", good, "--images", images, "--out", str(out)]) == 0
    assert part.stat().st_mtime_ns == written
    assert len(pd.read_parquet(part)) == 3  # one pair of each image, whose protocol is pad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "pypi:efficientnet_lite9"], "efficientnet_lite"),
        (["--models", "resnet5O"], "resnet50"),
        (["--models", "module:no.such:thing"], "no.such"),
        (["--protocol", "crops"], "did you mean crop"),
        (["--protocol", "crop:span=-1"], "at least 1"),
        (["--resizer", "magick"], "unknown resampler"),
        (["--limit", "0"], "limit is a number of images, at least 1; got 0"),
        (["--batch-size", "-4"], "batch size is a number of views, at least 1; got -4"),
        (["--precision", "verified", "--output", "embedding"], "cannot be verified"),
        (["--models", RESNET20, RESNET20], "given twice"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_line(
    arguments: list[str], message: str, complaint: Callable[..., str]
) -> None:
    complaint(["jitter", *arguments], 2, message)


def test_an_unknown_option_exits_with_2() -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["jitter", "--bogus"])
    assert exit_.value.code == 2


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    folder = noise(tmp_path / "images", 1)
    shutil.copy(folder / "000.png", folder / "the same.png")
    run = aliasing("jitter", "--models", RESNET20, "--images", folder, "--json")
    assert (run.returncode, run.stderr) == (0, "")
    summary = json.loads(run.stdout)
    assert summary["images"]["found"] == 2
    assert summary["settings"]["protocol"]["resizer"]["library"] == "Pillow"
    assert summary["versions"]["torch"]


def test_help_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, aliasing.cli\n"
        "try: aliasing.cli.main(['jitter', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'timm', 'scipy', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"
    assert "examples:" in run.stdout


def test_a_verified_run_says_what_was_run_again_and_what_the_audit_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aliasing.jitter.has_fast_bfloat16", lambda device: True)
    folder, out = noise(tmp_path / "images", 8), tmp_path / "run"
    arguments = ["--images", str(folder), "--precision", "verified", "--out", str(out)]
    assert main(["jitter", "--models", RESNET20, *arguments]) == 0
    (measured,) = summary_of(out)["models"].values()
    verification = measured["verification"]
    printed = capsys.readouterr().out
    assert (
        f"below {verification['bound']:.3f} in logits run again in float32, {verification['run_again']:.1%}" in printed
    )
    assert f"of {verification['audited_pairs']} audited pairs 0 had a wrong answer: at most" in printed
    assert summary_of(out)["settings"]["precision"] == "verified"
