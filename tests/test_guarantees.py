"""The laws find what holds and what does not: of operators with known answers, of published arithmetic, of networks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.downsample.guarantees import Guarantees
from aliasing.downsample.laws import LAWS, Cell, tolerance
from aliasing.downsample.operator import GUARANTEES
from aliasing.kinds import OPERATORS
from experiments.guarantees import flc_as_published

SHIFTS = ["circular integer", "half-pixel", "circular fractional"]


def test_what_flc_published_is_wrong_at_some_sizes_and_ours_at_none() -> None:
    laws = [*SHIFTS, "every size", "alias free"]
    claims = {"published": {"alias free": "free of aliases", "circular integer": "moves with its input"}}
    found = al.guarantees({"published": flc_as_published, "flc": "flc"}, laws=laws, claims=claims)
    assert all(cell["exact"] for cell in found.rows["flc"].values())
    published = found.rows["published"]
    assert not any(cell["exact"] for cell in published.values())
    assert published["every size"]["worst"] == "5×8 becomes 2×4, not 3×4"
    assert published["circular integer"]["worst"].endswith(("of 10×10 samples", "of 14×14 samples"))
    assert [law for law, cell in published.items() if cell["differs"]] == ["circular integer", "alias free"]
    # At a size that four divides only the frequency −1/4 is too much, which subsampling by two folds onto itself.
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    low = al.downsample.fourier_pool(x)
    spectra = [torch.fft.fft2(y).abs() for y in (flc_as_published(x), low)]
    inner = torch.tensor([0, 1, 3])
    close = [y[..., inner, :][..., inner] for y in spectra]
    torch.testing.assert_close(*close, rtol=0, atol=1e-12)


def test_tips_as_published_fails_at_odd_shifts_and_the_exact_ones_do_not() -> None:
    found = al.guarantees(["tips", "tips-anchored", "aps", "lps"], laws=["circular integer", "strides 3 and 4"])
    assert any(line.startswith("! tips, whole shifts: published as 100 % consistent") for line in found.remarks())
    tips = found.rows.pop("tips")["circular integer"]
    assert tips["differs"]
    assert tips["value"] > 0.5
    assert all(cell["exact"] for cells in found.rows.values() for cell in cells.values())


def test_numbers_of_subsampling_and_of_a_mean_are_those_of_their_closed_forms() -> None:
    found = al.guarantees(["subsample", "average"], laws=["alias free", "baseband kept", "constant kept", "cost"])
    plain, mean = found.rows["subsample"], found.rows["average"]
    # White noise of 32² samples, of which 15² frequencies stay below: three standard deviations of 3 · 1023 values.
    assert math.isclose(plain["alias free"]["value"], 1 - 224 / 1023, abs_tol=3 * math.sqrt(2 / 3069))
    assert plain["baseband kept"]["value"] == pytest.approx(1, abs=1e-12)
    assert plain["cost"]["value"] == 0
    f = np.fft.fftfreq(32)
    power = np.multiply.outer(np.cos(np.pi * f) ** 2, np.cos(np.pi * f) ** 2)
    below = np.logical_and.outer(abs(f) < 0.25, abs(f) < 0.25)
    below[0, 0] = power[0, 0] = 0
    assert math.isclose(mean["baseband kept"]["value"], power[below].mean(), abs_tol=0.03)
    assert math.isclose(mean["alias free"]["value"], power[~below].sum() / power.sum(), abs_tol=0.03)


def test_a_function_is_asked_only_what_it_can_answer() -> None:
    def shy(x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 2:
            raise RuntimeError("too small\nfor me")
        return F.max_pool2d(x, 2).sqrt()

    laws = ["constant kept", "linear", "gradient", "exported", "strides 3 and 4", "every size"]
    (cells,) = al.guarantees(shy, laws=laws).rows.values()
    assert cells["constant kept"]["worst"] == "RuntimeError: too small"
    assert not cells["linear"]["exact"]
    assert cells["gradient"]["worst"] == "not finite at noise"  # the root of negative numbers
    assert not cells["strides 3 and 4"]["applies"]


def test_a_network_of_exact_parts_is_exact_and_one_that_strides_is_not() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    exact = nn.Sequential(convolution, al.layers.LearnablePolyphasePool2d(2), *head)
    strided = nn.Sequential(convolution, al.layers.Subsample2d(2), *head)
    found = al.guarantees({"exact": exact, "strided": strided}, laws=[*SHIFTS, "linear", "gradient"], size=16)
    assert found.rows["exact"]["circular integer"]["exact"]
    assert not found.rows["strided"]["circular integer"]["exact"]
    assert not found.rows["exact"]["half-pixel"]["exact"]
    assert not found.rows["exact"]["linear"]["applies"]
    assert convolution.weight.dtype == torch.float32  # the caller's network stays as it is


@pytest.mark.parametrize(("dims", "stride"), [(1, 3), (3, 2)])
def test_along_other_axes(dims: int, stride: int) -> None:
    found = al.guarantees(["flc", "aps"], dims=dims, stride=stride, laws=GUARANTEES)
    assert {law for law, cell in found.rows["flc"].items() if cell["exact"]} == OPERATORS["flc"].guarantees
    assert {law for law, cell in found.rows["aps"].items() if cell["exact"]} == OPERATORS["aps"].guarantees


def test_an_operator_knows_its_laws() -> None:
    cell = al.layers.BlurPool2d(2, padding="circular").law("every size")["every size"]
    assert isinstance(cell, Cell)
    assert cell.exact
    assert set(al.layers.FourierPool1d(2).law()) == set(GUARANTEES) <= set(LAWS)
    assert 1e-14 < tolerance(100) < 1e-12


def test_a_result_is_the_same_in_a_folder(tmp_path: Path) -> None:
    found = al.guarantees(["blur", "aps", "wavelet"], stride=3, laws=["linear", "circular integer"])
    assert "wavelet" in found.skipped  # a stride of three
    found.write(tmp_path)
    again = al.open(tmp_path)
    assert isinstance(again, Guarantees)
    assert again.rows == found.rows
    assert repr(again) == repr(found)
    assert again.table().num_rows == 4
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("operators", "options", "says"),
    [
        ("asp", {}, "no operator 'asp'"),
        (3, {}, "an operator is a name, an nn.Module or a function"),
        ("aps", {"laws": ["linaer"]}, "no law 'linaer'"),
        ("aps", {"stride": 0}, "stride is a whole number"),
    ],
)
def test_what_is_wrong_is_told(operators: object, options: dict[str, object], says: str) -> None:
    with pytest.raises(al.errors.UsageError, match=says):
        al.guarantees(operators, **options)  # type: ignore[arg-type]


def test_the_command_prints_a_table_and_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guarantees", "aps", "flc", "--dims", "1", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "whole shifts" in shown
    assert "summary.json" in shown
    assert main(["guarantees", "aps", "--dims", "1", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["guarantees"]["aps"]["circular integer"]["exact"]
    assert json.loads((tmp_path / "summary.json").read_text())["guarantees"].keys() == {"aps", "flc"}
    assert main(["guarantees", "apps"]) == 2
    assert "no operator 'apps'; did you mean" in capsys.readouterr().err
