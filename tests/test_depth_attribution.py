"""Attribution: a network whose guilty site is known, and a cache that changes no bit."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import aliasing as al
from aliasing import plots
from aliasing.cli import main
from aliasing.depth.attribution import AS_IT_IS, TREATED, _guilt, all_but, attribute, make_variants, only
from aliasing.depth.replay import run_variants
from aliasing.errors import InputError, UsageError
from aliasing.models import Classifier
from aliasing.surgery.schemes import Treatment
from tests import cifar_resnet, networks

HALF = (0.5, 0.5, 0.5)


def photographs(count: int, size: int = 40) -> list[np.ndarray]:
    """White noise: it holds all frequencies."""
    return list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def classifier(module: nn.Module, size: int) -> Classifier:
    return Classifier(module.eval(), type(module).__name__, size, HALF, HALF, "bilinear", size, 1.0)


class OneGuiltySite(nn.Module):
    """Three slices of stride 2; only the second is given frequencies above its new Nyquist frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        with torch.no_grad():  # strong enough that the answer itself jitters
            self.linear.weight.copy_(10 * torch.randn(4, 3, generator=torch.Generator().manual_seed(1)))
            self.linear.bias.copy_(-self.linear.weight.sum(1) * -7.8)  # the typical energy

    def forward(self, x: Tensor) -> Tensor:
        x = self.below(x, 1 / 8)[:, :, ::2, ::2]  # below 1/4 cycles per pixel: nothing folds
        x = x.square()[:, :, ::2, ::2]  # a square doubles the band: up to 1/2, and half of it folds
        x = self.below(x, 1 / 4)[:, :, ::2, ::2]  # nothing folds
        return self.linear(x.square().mean((2, 3)).log())

    @staticmethod
    def below(x: Tensor, cutoff: float) -> Tensor:
        frequency = torch.fft.fftfreq(x.shape[-1], device=x.device).abs()
        inside = frequency < cutoff
        return torch.fft.ifft2(torch.fft.fft2(x) * (inside[:, None] & inside[None, :])).real


def test_the_one_guilty_site_is_ranked_first_and_the_others_do_nothing() -> None:
    found = attribute(
        classifier(OneGuiltySite(), 64), photographs(12, 64), "circular:pixels=4", operator="flc", batch_size=10
    )
    first, *others = found.ranking("mac")
    jitter = found.summary()["variants"][AS_IT_IS]["mac"]["value"]
    assert jitter > 0.02  # there is something to attribute
    assert first["name"] == "strided_slice (2)"
    # Float32 rounding of the energies, some 1e-6 relative, times weights of 30, through a softmax: below 1e-4.
    assert first["only"]["mac"]["all"]["value"] == pytest.approx(-jitter, abs=1e-4)
    assert first["clear"]
    assert first["all_but"]["mac"]["all"]["value"] == pytest.approx(jitter, abs=1e-4)
    for row in others:
        assert row["only"]["mac"]["all"]["value"] == pytest.approx(0, abs=1e-4)
        assert row["all_but"]["mac"]["all"]["value"] == pytest.approx(0, abs=1e-4)
        assert not row["clear"]
    assert found.ranking("top1_change")[0]["name"] == "strided_slice (2)"


def test_guilty_sites_stand_first_in_the_order_of_the_verdict() -> None:
    """An interval that contains 0 accuses nobody, so its estimate ranks a site below those that are clearly guilty."""

    def row(name: str, only: tuple[float, bool], all_but: int | None) -> dict[str, object]:
        differences = {"mac": {"all": {"value": only[0]}}}
        return {"name": name, "only": differences, "clear": only[1]} | {
            "clear_all_but": all_but is not None,
            "rank_all_but": all_but or 9,
        }

    rows = [
        row("unclear, more", (-0.03, False), None),
        row("keeps it up, less", (-0.02, False), 2),
        row("keeps it up, more", (0.02, False), 1),
        row("takes it away, less", (-0.01, True), 3),
        row("takes it away, more", (-0.04, True), None),
        row("unclear, less", (0.01, False), None),
    ]
    assert [found["name"] for found in sorted(rows, key=lambda found: _guilt(found, "mac", -1))] == [
        "takes it away, more",
        "takes it away, less",
        "keeps it up, more",
        "keeps it up, less",
        "unclear, more",
        "unclear, less",
    ]


class ChangesInPlace(nn.Module):
    """Its blocks change what they are given in place, and the shortcut relies on it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1))
        self.rectify = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(8, 8, 3, 2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.block(x) + x  # x is rectified by now
        y = self.rectify(x)
        y.add_(x)
        x = self.pool(self.rectify(self.down(y)))
        return self.head(x.mean((2, 3)))


def _resnet(size: int) -> Classifier:
    return classifier(networks.build("torchvision:resnet18"), size)


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "changes in place": lambda: classifier(networks.randomise(ChangesInPlace()), 32),
    "one guilty site": lambda: classifier(OneGuiltySite(), 64),
    "cifar resnet20": lambda: replace(cifar_resnet.resnet20(), module=networks.randomise(cifar_resnet.CifarResNet(3))),
    "resnet18": lambda: _resnet(64),
    "densenet121": lambda: classifier(networks.build("torchvision:densenet121"), 64),
    "tf same": lambda: classifier(networks.build("timm:tf_efficientnet_lite0"), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("placement", ["after", "before"])
def test_what_is_shared_changes_no_bit(name: str, placement: str) -> None:
    model = NETWORKS[name]()
    module = model.module.to(memory_format=torch.channels_last)
    record, _, families = make_variants(model, Treatment("blur", "binomial3", placement))  # type: ignore[arg-type]
    x = networks.image(model.input_size, batch=2, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    alone = [(base, [replace(variant, shared=()) for variant in variants]) for base, variants in families]
    with torch.no_grad():
        with FlopCounterMode(display=False) as cached:
            found = dict(run_variants(lambda: module(x.clone()), record, families))
        with FlopCounterMode(display=False) as uncached:
            expected = dict(run_variants(lambda: module(x.clone()), record, alone))
    assert len(found) == sum(1 + len(variants) for _, variants in families)
    for variant, output in expected.items():
        assert torch.equal(found[variant], output), variant
    outputs = list(expected.values())
    assert not torch.equal(outputs[0], outputs[1])  # treated is not the same as not treated
    if name != "one guilty site":  # which is one module, without modules to share
        assert cached.get_total_flops() < 0.95 * uncached.get_total_flops()
    with torch.no_grad():
        assert torch.equal(module(x.clone()), expected[AS_IT_IS])  # and the network is left as it was


class Cloned(TorchDispatchMode):
    """Counts the numbers that are copied."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.clone.default:
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_only_what_is_read_again_is_kept() -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    strided = [nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3, stride=2, padding=1)]
    model = classifier(nn.Sequential(*layers, *strided, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 16)
    record, _, [(base, variants), _] = make_variants(model, Treatment("blur", "binomial3", "after"))
    assert len(variants) == 2
    x = networks.image(16, dtype=torch.float32)
    with torch.no_grad(), Cloned() as cloned:
        next(run_variants(lambda: model.module(x), record, [(base, variants)]))
    # Of four outputs at full size, and then two at half, the last in front of a site is read again: by its convolution.
    assert cloned.numbers == 8 * 16**2 + 16 * 8**2


def test_the_variants_are_those_that_antialias_makes() -> None:
    module = networks.randomise(cifar_resnet.Float64ResNet(3))
    for parameter in module.linear.parameters():
        parameter.data *= 0.02  # logits below 4, so that no saturated softmax hides a difference
    model = replace(cifar_resnet.resnet20(), module=module)
    treatment = Treatment("blur", "binomial3", "after")
    site = "layer3.0.conv1"
    found = attribute(model, photographs(5), "pad", batch_size=4)
    expected = {
        AS_IT_IS: model,
        TREATED: al.antialias(model, taps="binomial3", scheme="all"),
        only(site): al.antialias(model, scheme=lambda s: treatment if s.name == site else None),
        all_but(site): al.antialias(model, scheme=lambda s: None if s.name == site else treatment),
    }
    for name, network in expected.items():
        records = al.measure_jitter(network, photographs(5), "pad", batch_size=4).records.drop(["model"])
        attributed = found.jitter._records.table([name]).drop(["model"])
        assert attributed.schema == records.schema
        for column in records.column_names:
            first, second = attributed[column].to_pandas(), records[column].to_pandas()
            if column.endswith(("probability", "margin", "variation")):
                # Alone, a network runs with its batch norms folded: its logits differ by some 1e-14 in float64. Rounded
                # to float32, a logit below 4 is then the same or its neighbour, 2.4e-7 away, and a probability differs
                # by twice that at most, and by some ten roundings of 6e-8 in its softmax; a margin by twice as much.
                np.testing.assert_allclose(first.astype(float), second.astype(float), rtol=0, atol=2.2e-6, err_msg=name)
            else:
                assert first.equals(second), (name, column)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model = NETWORKS["cifar resnet20"]()
    sites = ["layer2.0.conv1"]
    first = attribute(model, photographs(40), "pad", sites=sites, out=tmp_path).summary()
    kept = sorted(tmp_path.glob("records/*/*.parquet"))
    assert len(kept) == 8  # four variants, two blocks
    for part in kept[1::2]:
        part.unlink()
    before = kept[0].stat().st_mtime_ns
    second = attribute(model, photographs(40), "pad", sites=sites, out=tmp_path).summary()
    assert kept[0].stat().st_mtime_ns == before
    assert second["sites"] == first["sites"]
    assert second["variants"] == first["variants"]
    with pytest.raises(InputError, match="taps was 'binomial3' and is now 'binomial5'"):
        attribute(model, photographs(40), "pad", sites=sites, taps="binomial5", out=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "aps"}, "one at a time by .*; got .aps."),
        ({"placement": "behind"}, "no placement 'behind'"),
        ({"taps": "binomial99x"}, "binomial99x"),
        ({"sites": ["nowhere"]}, "has no site 'nowhere' that subsamples; it has layer2.0.strided_slice"),
        ({"limit": 0}, "limit is a number of images, at least 1; got 0"),
        ({"batch_size": 0}, "batch size is a number of views, at least 1; got 0"),
    ],
)
def test_wrong_calls(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        attribute(cifar_resnet.resnet20(), photographs(1), "pad", **options)  # type: ignore[arg-type]


def test_a_network_without_sites_or_already_treated_is_refused() -> None:
    dense = classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 16)
    with pytest.raises(UsageError, match="never downsamples"):
        attribute(dense, photographs(1))
    with pytest.raises(UsageError, match="already anti-aliased"):
        attribute(al.antialias(cifar_resnet.resnet20()), photographs(1))
    with pytest.raises(UsageError, match="ranked by"):
        attribute(NETWORKS["changes in place"](), photographs(2), "pad").ranking("accuracy")  # type: ignore[arg-type]


class OneGuiltyMap(nn.Module):
    """Every second pixel of a smooth map, where nothing folds, and then of a rough one; two classes by energy."""

    def forward(self, x: Tensor) -> Tensor:
        x = OneGuiltySite.below(x, 1 / 4)[:, :, ::2, ::2]
        x = (40 * x.mean(1, keepdim=True)).square()[:, :, ::2, ::2]
        return torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1)


def answers(module: nn.Module, pictures: Tensor) -> list[Tensor]:
    """A box of each picture's brightest row and column of quarters."""
    maps = module(pictures)[:, 0]
    found = []
    for one in maps:
        row, column = divmod(int(one.argmax()), one.shape[1])
        found.append(torch.tensor([[4.0 * column, 4.0 * row, 4.0 * column + 8, 4.0 * row + 8, 0.9, 0.0]]))
    return found


def points(module: nn.Module, pictures: Tensor) -> list[dict[str, Tensor]]:
    """The upper left corner of each box."""
    return [
        {"keypoints": box[:, :2], "scores": box[:, 4], "descriptors": torch.ones(1, 2)}
        for box in answers(module, pictures)
    ]


def instances(module: nn.Module, pictures: Tensor) -> list[dict[str, Tensor]]:
    """The boxes, filled."""
    found = []
    for box in answers(module, pictures):
        left, top, right, bottom = (int(place) for place in box[0, :4])
        masks = torch.zeros(1, *pictures.shape[2:], dtype=torch.bool)
        masks[:, top:bottom, left:right] = True
        found.append({"boxes": box[:, :4], "scores": box[:, 4], "labels": box[:, 5], "masks": masks})
    return found


OUTPUTS: dict[str, Any] = {
    "masks": ("pixel_agreement", None),
    "images": ("eq_t_frac", None),
    "boxes": ("lost_or_renamed", answers),
    "instances": ("lost_or_renamed", instances),
    "keypoints": ("repeatability", points),
    "embedding": ("cosine_distance", None),
    "values": ("absolute_change", lambda module, x: module(x).flatten(1)),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_is_attributed_as_antialias_and_measure_jitter_have_it(output: str) -> None:
    first, answer = OUTPUTS[output]
    model = replace(classifier(OneGuiltyMap(), 64), answer=answer, name="net")
    how: dict[str, Any] = {"output": output, "batch_size": 6}
    site = "strided_slice (2)"
    found = attribute(model, photographs(6, 64), "circular:pixels=4", operator="flc", sites=[site], **how)
    assert found.summary()["ranked_by"] == first
    treated = replace(al.antialias(model, operator="flc", scheme=[site]), name="treated")
    expected = al.measure_jitter([model, treated], photographs(6, 64), "circular:pixels=4", **how).summary()
    (row,) = found.ranking()
    # The same calls in the same batches; a converted network alone may add in another order.
    for end, value in expected["differences"][0][first].items():
        assert row["only"][first][end] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_of_label_maps_the_site_that_raises_the_agreement_is_guilty() -> None:
    model = classifier(OneGuiltyMap(), 64)
    found = attribute(model, photographs(12, 64), "circular:pixels=4", output="masks", operator="flc", batch_size=6)
    guilty, innocent = found.ranking()
    assert (guilty["name"], guilty["clear"], innocent["clear"]) == ("strided_slice (2)", True, False)
    assert guilty["only"]["pixel_agreement"]["value"] > 0.02
    # Float32 rounding decides a few pixels at the threshold.
    assert innocent["only"]["pixel_agreement"]["value"] == pytest.approx(0, abs=1e-3)
    assert guilty["all_but"]["pixel_agreement"]["value"] < 0
    said = "comes from strided_slice (2): filtering strided_slice (2) alone raises pixel agreement by 0."
    assert said in found.summary()["verdict"]
    assert "only: pixel agreement" in repr(found)
    assert "above 0, ■ below 0" in found.plot().axes[0].get_xlabel()
    plt.close("all")
    with pytest.raises(UsageError, match=r"ranked by pixel_agreement or boundary_agreement; got 'mac'"):
        found.ranking("mac")


class Halvings(nn.Module):
    """Many sites, and label maps that are much larger than anything before them."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(8):
            x = nn.functional.interpolate(x[..., ::2, ::2], scale_factor=2.0)
        return x.mean(1, keepdim=True) * torch.linspace(-1, 1, 64)[:, None, None]


def test_the_answers_of_one_variant_are_in_memory_at_a_time() -> None:
    peaks, model = [], classifier(Halvings(), 64)
    for sites, count in ((["strided_slice"], 1), (None, 8)):  # 4 and 18 variants
        tracemalloc.start()
        found = attribute(model, photographs(2, 64), "circular:pixels=8", output="masks", batch_size=3, sites=sites)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found.sites) == count
    # Of each variant a map stays, of the view with which the next batch is compared: 1 MiB of 64 × 64² probabilities.
    # All answers to a batch would be three times as much, and all to an image nine times.
    assert peaks[1] - peaks[0] < 14 * 1.25 * 2**20


RESNET20 = "module:tests.cifar_resnet:resnet20"  # untrained: for paths and messages, never for numbers


def test_the_command(cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ["--images", str(cifar10 / "test.parquet"), "--limit", "3", "--protocol", "pad"]
    assert main(["attribute", RESNET20, *images, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "layer3.0.conv1" in printed
    assert "caution: " in printed
    assert "measure more images" in printed
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [site["rank"] for site in summary["sites"]] == [1, 2, 3, 4]
    assert set(summary["sites"][0]["only"]) == {"top1_change", "mac", "accuracy"}
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert main(["attribute", RESNET20, *images, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)  # other random weights
    assert again.keys() == summary.keys() - {"digest"}


@pytest.mark.parametrize("measured", [{"value": None, "low": None, "high": None}, {"low": None, "high": None}])
def test_what_too_few_images_cannot_tell_is_not_drawn(
    measured: dict[str, None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pair answered rightly, and one image that cannot tell its spread."""
    result = attribute(NETWORKS["changes in place"](), photographs(2), "pad")
    summary = result.summary()
    for selected in summary["sites"][0]["only"]["mac"].values():
        selected |= measured
    monkeypatch.setattr(type(result), "summary", lambda self, by: summary)
    figure = plots.attribution(result)
    figure.canvas.draw()
    panel = next(axes for axes in figure.axes if "mean absolute change" in axes.get_xlabel())
    for bars in panel.containers:
        marks, _, (segments,) = bars.lines
        changed = "minus none" in bars.get_label()
        drawn = np.isfinite(marks.get_xdata())
        spread = [len(segment) == 2 for segment in segments.get_segments()]  # one that is not finite has no ends
        assert list(drawn) == [not (changed and "value" in measured), *[True] * (len(drawn) - 1)]
        assert spread == [not changed, *[True] * (len(drawn) - 1)]
    plt.close(figure)


def test_one_wide_interval_of_matched_pairs_does_not_squeeze_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    result = attribute(NETWORKS["changes in place"](), photographs(2), "pad")
    summary = result.summary()
    summary["sites"][0]["only"]["mac"]["matched"]["high"] = 9.0
    monkeypatch.setattr(type(result), "summary", lambda self, by: summary)
    figure = plots.attribution(result)
    panel = next(axes for axes in figure.axes if "mean absolute change" in axes.get_xlabel())
    every = [site[way]["mac"]["all"] for site in summary["sites"] for way in ("only", "all_but")]
    assert panel.get_xlim()[0] < min(one["low"] for one in every) <= max(one["high"] for one in every)
    assert max(one["high"] for one in every) < panel.get_xlim()[1] < 9
    assert [text.get_text() for text in panel.texts] == ["9.00"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([RESNET20, "--operator", "aps"], 2, "aps"),
        ([RESNET20, "--sites", "nowhere"], 2, "nowhere"),
        ([RESNET20, "--images", "/no/such/folder"], 1, "/no/such/folder"),
        (["no_such_network"], 2, "no_such_network"),
    ],
)
def test_errors_of_the_command(arguments: list[str], code: int, message: str, complaint: Callable[..., str]) -> None:
    complaint(["attribute", *arguments], code, message)
