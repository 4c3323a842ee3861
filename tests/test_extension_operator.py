"""An operator with a parameter is added in one file, by a script or by another package, and everything knows it."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.cli import completion, main, make_parser
from aliasing.kinds import OPERATORS
from aliasing.surgery import conversion_of, from_published, save
from aliasing.surgery.finetune import Recipe, finetune

# All that a third party writes. The taps a, 1 − 2a, a: of which the network learns the first.
OPERATOR = '''
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aliasing.downsample import convolve
from aliasing.downsample.operator import Operator


class LearnedPool(Operator):
    """Three taps, whose middle is learned."""

    guarantees = frozenset(("linear", "constant kept"))

    def __init__(self, stride):
        super().__init__(stride)
        self.side = nn.Parameter(torch.tensor(0.25))

    def low_pass(self, x: Tensor) -> Tensor:
        taps = torch.stack([self.side, 1 - 2 * self.side, self.side])
        for axis, step in enumerate(self.stride):
            if step > 1:
                shape = [1] * self.dims
                shape[axis] = 3
                sides = [int(other == axis) for other in reversed(range(self.dims)) for _ in range(2)]
                x = convolve(F.pad(x, sides, "replicate"), taps.view(shape), dims=self.dims)
        return x
'''
NAME = "module:tests.test_extension_operator:tiny"


def tiny() -> al.Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    module.extend((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    half = (0.5, 0.5, 0.5)
    return al.Classifier(module, "tiny", 16, half, half, "bilinear", resize_size=20, crop_share=0.8)


@pytest.fixture(autouse=True, params=["a script", "another package"])
def learned(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[nn.Module]]:
    """The operator, added as "learned"."""
    package = tmp_path / "package"
    metadata = package / "learned-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / "learned_pool.py").write_text(OPERATOR)
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.delitem(sys.modules, "learned_pool", raising=False)
    monkeypatch.setattr(OPERATORS, "_added", {})
    if request.param == "a script":
        import learned_pool  # type: ignore[import-not-found]

        OPERATORS.add("learned", learned_pool.LearnedPool)
    else:
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: learned\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[aliasing.operators]\nlearned = learned_pool:LearnedPool\n")
        monkeypatch.delitem(vars(OPERATORS), "_entry_points", raising=False)
    yield OPERATORS["learned"]
    vars(OPERATORS).pop("_entry_points", None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixteen pictures in two folders, light and dark."""
    random = np.random.default_rng(0)
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number in range(8):
            pixels = (40 + 120 * label + random.integers(0, 40, (24, 24, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / str(label) / f"{number}.png")
    return tmp_path / "images"


def sides(module: nn.Module) -> dict[str, float]:
    return {name: value.item() for name, value in module.named_parameters() if name.endswith(".side")}


def test_its_parameters_are_those_of_the_network(learned: Any) -> None:
    plain = tiny().module.double()
    fixed = al.antialias(plain, operator="learned", scheme="all", example_input=torch.zeros(1, 3, 16, 16).double())
    assert sides(fixed) == {"2.antialiasing_output.side": 0.25, "3.antialiasing_max_pool2d_0.side": 0.25}
    assert {parameter.dtype for parameter in fixed.parameters()} == {torch.float64}
    x = torch.rand(2, 3, 16, 16).double()
    blurred = al.antialias(plain, taps="binomial3", padding="replicate", scheme="all", example_input=x)
    torch.testing.assert_close(fixed(x), blurred(x))  # a quarter is the binomial filter
    assert set(fixed.state_dict()) - set(sides(fixed)) == set(plain.state_dict())
    fixed.load_state_dict(plain.state_dict())  # a checkpoint of the original, strictly
    assert list(al.restore(fixed).state_dict()) == list(plain.state_dict())
    from_published({key: value for key, value in plain.state_dict().items() if "num" not in key}, fixed)
    fixed(x).sum().backward()
    assert all(fixed.get_parameter(name).grad is not None for name in sides(fixed))


def test_copies_programs_and_folded_networks_answer_the_same() -> None:
    import copy
    import pickle

    from aliasing.surgery.fusing import fuse_convolutions

    x = torch.rand(2, 3, 16, 16)
    fixed = al.antialias(tiny().module, operator="learned", placement="before", scheme="all", example_input=x).eval()
    with torch.no_grad():
        for name in sides(fixed):
            fixed.get_parameter(name).fill_(0.1)
        expected = fixed(x)
        programs = [
            copy.deepcopy(fixed),
            pickle.loads(pickle.dumps(fixed)),
            fuse_convolutions(fixed, x),
            torch.compile(fixed, backend="aot_eager", fullgraph=True),
            torch.export.export(fixed, (x,)).module(),
            torch.jit.trace(fixed, x),
        ]
        for program in programs:
            torch.testing.assert_close(program(x), expected)
        programs[0].get_parameter(next(iter(sides(fixed)))).fill_(0.3)
        assert torch.equal(fixed(x), expected)
        assert not torch.equal(programs[0](x), expected)


def test_fine_tuning_learns_them_and_files_keep_them(images: Path, tmp_path: Path) -> None:
    model = al.load_model(f"antialiased:learned,all:{NAME}")
    tuned = finetune(model, images, tmp_path / "run", Recipe(epochs=2, learning_rate=0.5, batch_size=4))
    learned = sides(tuned.module)
    assert len(learned) == 2
    assert all(abs(side - 0.25) > 1e-4 for side in learned.values())
    save(tuned, tmp_path / "net.safetensors")
    loaded = al.load_model(f"file:{tmp_path}/net.safetensors@{NAME}")
    assert str(conversion_of(loaded.module)) == "learned,all"
    assert sides(loaded.module) == learned
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        # Weights in another memory layout: convolutions add in another order, which differs by float32's rounding.
        torch.testing.assert_close(loaded.module(x), tuned.module(x), rtol=1e-5, atol=1e-5)
    torch.save(tuned.module.state_dict(), tmp_path / "net.pth")  # which does not say how it was converted
    with pytest.raises(al.errors.InputError, match="antialiasing_output"):
        al.load_model(f"file:{tmp_path}/net.pth@{NAME}")


def test_commands_know_it(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["antialias", NAME, "--operator", "learned", "--scheme", "all"]) == 0
    assert "antialiased:learned,all:" in capsys.readouterr().out
    name = f"antialiased:learned,all:{NAME}"
    shown = ["--images", str(images), "--limit", "4"]
    out = {name: str(tmp_path / name) for name in ("jitter", "compare", "attribute", "depth", "spectrum", "page")}
    operators = ["blur", "learned", "--taps", "binomial3", "--stride", "2"]
    assert main(["spectrum", str(images / "0" / "0.png"), "--operator", *operators, "--out", out["spectrum"]]) == 0
    shares = json.loads((Path(out["spectrum"]) / "summary.json").read_text())["operators"]
    assert abs(shares["learned"]["alias_fraction"]["value"] - shares["blur"]["alias_fraction"]["value"]) < 0.1
    assert (
        main(["jitter", "--models", NAME, name, *shown, "--protocol", "circular:pixels=1", "--out", out["jitter"]]) == 0
    )
    assert main(["compare", "--models", NAME, "--antialias", "learned,all", *shown, "--out", out["compare"]]) == 0
    assert main(["attribute", NAME, "--operator", "learned", *shown, "--out", out["attribute"]]) == 0
    assert main(["depth", "--models", name, *shown, "--out", out["depth"]]) == 0
    assert main(["report", *(out[c] for c in ("jitter", "compare", "attribute", "depth")), "--out", out["page"]]) == 0
    networks = json.loads((Path(out["jitter"]) / "summary.json").read_text())["models"]
    assert list(networks) == [NAME, name]
    treatment = json.loads((Path(out["attribute"]) / "summary.json").read_text())["treatment"]
    assert treatment == {"operator": "learned", "taps": None, "placement": "after"}
    assert "learned after" in Path(out["page"]).read_text()


def test_help_and_completion_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("antialias", "attribute"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "tips-anchored, learned" in " ".join(capsys.readouterr().out.split())
    assert list(completion.networks("antialiased:lea")) == ["antialiased:learned:"]
    (commands,) = [a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    (operator,) = [action for action in commands["antialias"]._actions if action.dest == "operator"]
    assert "learned" in operator.completer()


def test_what_it_cannot_do_is_told(learned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(al.errors.UsageError, match="learned is a filter too, so it is given twice"):
        al.load_model(f"antialiased:learned,binomial3:{NAME}")
    monkeypatch.setattr(learned, "placements", ("after",))
    with pytest.raises(al.errors.UsageError, match="learned has no placement 'before'; expected 'after'"):
        al.load_model(f"antialiased:learned,before:{NAME}")
