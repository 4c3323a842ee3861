"""Depth profiles where the answer is known, and on every kind of network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.depth import folding
from aliasing.depth.dense import places, watching
from aliasing.depth.equivariance import follows, moved
from aliasing.depth.folding import energies, measure_site
from aliasing.errors import InputError, UsageError
from aliasing.sites.trace import record_calls
from tests.image_files import noise as photographs
from tests.networks import Net, randomise

SIZE = 32
RANDOM = torch.Generator().manual_seed(5)


class Double(nn.Module):
    """A network in double precision behind a float32 input, so that rounding is far below every effect."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.double())


def classifier(module: nn.Module, size: int = SIZE) -> al.Classifier:
    half = (0.5, 0.5, 0.5)
    name = "network"
    return al.Classifier(module, name, size, half, half, "bilinear", resize_size=size, crop_share=1.0)


def noise(count: int, size: int = SIZE) -> list[np.ndarray]:
    """White noise: with the seed fixed, so that a test passes always or never."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def convolution(channels_in: int, channels: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, padding_mode="circular")


def probe(module: nn.Module, protocol: str = "circular:pixels=1", images: Any = None, **options: Any) -> dict[str, Any]:
    given = noise(6) if images is None else images
    profile = al.probe_depth(classifier(module), given, protocol, **{"sites_every": 1, **options})
    return profile.summary()["models"]["network"]


def values(network: dict[str, Any], measure: str, what: str = "layers") -> list[float]:
    return [place[measure]["value"] for place in network[what] if place[measure] is not None]


# --- networks where the answer is known -------------------------------------------------------------------------------


def test_a_linear_network_without_stride_is_equivariant_and_invariant() -> None:
    """To the rounding of double: 1e-16 relative a value, squared in the error, a few hundred of them summed."""
    network = probe(Double(convolution(3, 8), convolution(8, 4, 5), nn.AdaptiveAvgPool2d(1)))
    assert [layer["margin"] for layer in network["layers"]] == [0, 0, None]
    assert max(values(network, "equivariance_error")) < 1e-28
    assert max(values(network, "unexplained_change")) < 1e-28
    assert max(values(network, "relative_change")) < 1e-13
    assert min(values(network, "cosine_similarity")) > 1 - 1e-15
    assert network["sites"] == []


def test_pointwise_nonlinearities_keep_both_under_whole_shifts() -> None:
    network = probe(Double(convolution(3, 8), nn.ReLU(), convolution(8, 4), nn.Sigmoid()))
    assert max(values(network, "equivariance_error")) < 1e-28


def test_a_crop_leaves_the_interior_of_one_convolution_exact() -> None:
    """Without padding, only the row and the column that enter are wrong: they are just what is left out."""
    network = probe(Double(nn.Conv2d(3, 8, 3)), "crop:span=1", noise(4, SIZE + 1))
    (layer,) = network["layers"]
    assert layer["margin"] == 1
    assert layer["note"] == "boundary-contaminated"
    assert layer["equivariance_error"]["value"] < 1e-28
    assert layer["relative_change"]["value"] > 1e-3  # the average is over the whole map, border and all


@pytest.mark.parametrize("size", [32, 48])
def test_subsampling_white_noise_folds_what_the_formula_says(size: int) -> None:
    """1 − (K² − 1)/(N² − 1), K = N/2 − 1 frequencies below 1/4. The noise of 20 images has 20·3·N² independent values,
    so the mean is within 5 standard errors, √(p (1 − p) / (20·3·N²/2)) (of each frequency and its mirror image one
    counts; an exponential variable varies as much as its mean), with a margin of 2 for the latter."""
    network = nn.Sequential(nn.Conv2d(3, 3, 1, stride=2, bias=False))
    nn.init.dirac_(network[0].weight)
    profile = al.probe_depth(classifier(network, size), noise(20, size), "circular:pixels=1", sites_every=1)
    (site,) = profile.summary()["models"]["network"]["sites"]
    kept = size // 2 - 1
    expected = 1 - (kept**2 - 1) / (size**2 - 1)
    error = (expected * (1 - expected) / (20 * 3 * size**2 / 2)) ** 0.5
    assert abs(site["alias_fraction"]["value"] - expected) < 10 * error
    assert abs(site["energy_above"]["value"] - expected) < 10 * error
    assert site["alias_fraction"]["low"] < site["alias_fraction"]["value"] < site["alias_fraction"]["high"]
    white = [ring["value"] for ring in site["spectrum"]["power"] if ring is not None]
    assert white == pytest.approx([1] * len(white), abs=0.25)  # rings of few frequencies vary


def test_flc_in_the_place_of_subsampling_brings_the_error_to_rounding() -> None:
    strided = Double(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2, 1))
    plain = probe(strided)
    assert values(plain, "equivariance_error")[-1] > 0.3
    assert values(plain, "unexplained_change")[-1] > 0.3
    example = torch.zeros(1, 3, SIZE, SIZE)
    cured = probe(al.antialias(strided, operator="flc", scheme="all", padding="circular", example_input=example))
    assert [layer["margin"] for layer in cured["layers"]] == [0, 0]
    assert cured["layers"][-1]["cumulative_stride"] == [2, 2]
    # The transforms of 16 cells round by about 1e-16 a value.
    assert max(values(cured, "equivariance_error")) < 1e-26
    assert values(cured, "alias_fraction", "sites") == pytest.approx([0], abs=1e-12)
    assert values(cured, "baseband_kept", "sites") == pytest.approx([1], abs=1e-12)
    assert values(plain, "alias_fraction", "sites")[0] > 0.3


def test_a_circular_polyphase_network_is_invariant() -> None:
    network = randomise(nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()))
    network.append(nn.MaxPool2d(2)).append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())
    strided = Double(*network)
    example = torch.zeros(1, 3, SIZE, SIZE)
    chosen = al.antialias(strided, operator="aps", scheme="all", padding="circular", example_input=example)
    plain, cured = probe(strided), probe(chosen)
    assert values(plain, "relative_change")[-1] > 1e-3
    assert max(values(cured, "relative_change")) < 1e-13


# --- the measures themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(1, 2), (0.5, -0.25), (-1.75, 0)])
@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
def test_moved_is_the_shift_of_sampling(by: tuple[float, float], shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64, generator=RANDOM)
    expected = sampling.shift(x, by).permute(1, 2, 0)
    torch.testing.assert_close(moved(x.permute(1, 2, 0), by), expected, rtol=0, atol=1e-13)


def test_the_equivariance_error_is_that_of_sampling() -> None:
    x = torch.randn(4, 16, 16, dtype=torch.float64, generator=RANDOM)

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)

    first, second = (pool(x).permute(1, 2, 0) for x in (x, sampling.shift(x, (1, 1))))
    for margin in (0, 1):
        (expected,) = sampling.equivariance_error(pool, x, [(1, 1)], margin=margin)
        assert follows(first, second, (0.5, 0.5), margin)[0] == pytest.approx(float(expected), rel=1e-12)


def test_what_has_not_moved_at_all_is_wholly_unexplained() -> None:
    x = torch.randn(8, 8, 2, dtype=torch.float64, generator=RANDOM)
    other = torch.randn(8, 8, 2, dtype=torch.float64, generator=RANDOM)
    assert follows(x, other, (1, 0))[1] == pytest.approx(1, abs=0.5)
    assert np.isnan(follows(x, x, (1, 0))[1])
    assert np.isnan(follows(x, torch.ones_like(x), (1, 0))[0])


@pytest.mark.parametrize("shape", [(16, 16), (15, 12)])
def test_folding_is_that_of_decompose(shape: tuple[int, int]) -> None:
    before = torch.randn(1, *shape, dtype=torch.float64, generator=RANDOM)
    dense = sampling.ideal_lowpass(before, 2) + 0.3 * before
    expected = sampling.decompose(dense, 2, before=before)
    found = measure_site(before.permute(1, 2, 0), dense.permute(1, 2, 0), (2, 2), compares=True)
    assert found["alias_fraction"] == pytest.approx(float(expected.alias_fraction), rel=1e-10)
    assert found["baseband_kept"] == pytest.approx(float(expected.baseband_kept), rel=1e-10)
    assert found["energy_above"] == pytest.approx(float(sampling.decompose(before, 2).alias_fraction), rel=1e-10)


@pytest.mark.parametrize("shape", [(32, 32), (33, 40)])
def test_the_radial_spectrum_is_that_of_spectrum(shape: tuple[int, int]) -> None:
    x = torch.randn(2, *shape, dtype=torch.float64, generator=RANDOM)
    x -= x.mean((1, 2), keepdim=True)
    _, rings = al.spectrum.radial_profile(x, bins=16)
    expected = rings.sum(0)
    white = (x**2).sum() / (shape[0] * shape[1] - 1)
    found = energies(x.permute(1, 2, 0)).radial()
    assert found[1:] == pytest.approx((expected / white).tolist()[1:], rel=1e-10)
    assert found[0] is None or shape != (32, 32)  # the first ring holds the mean alone, which is not counted


def test_a_constant_map_has_no_energy() -> None:
    found = measure_site(torch.full((8, 8, 1), 3.0), torch.full((8, 8, 1), 3.0), (2, 2), compares=True)
    assert np.isnan(found["alias_fraction"])
    assert found["spectrum"] == [None] * 16


def test_the_dense_maps_hold_the_samples_that_are_kept() -> None:
    """Of every kind of site that has a dense map."""
    parts = {"convolution": nn.Conv2d(3, 4, 3, 2, 1), "maximum": nn.MaxPool2d(3, 2, 1), "average": nn.AvgPool2d(2)}
    module = Net(lambda net, x: net.average(net.maximum(net.convolution(x)))[:, :, ::2, ::2], **parts).double().eval()
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=RANDOM)
    met = places(module, record_calls(module, x))
    assert [place.site.kind for place in met] == ["convolution", "max pooling", "average pooling", "slicing"]
    outputs: dict[str, Tensor] = {}
    for name, child in module.named_children():
        child.register_forward_hook(lambda module, args, output, name=name: outputs.update({name: output}))
    maps: dict[tuple[int, int], Tensor] = {}

    def note(place: int, view: int, before: Tensor, dense: Tensor, compares: bool) -> None:
        maps[place, view] = dense

    with watching(module, met, [0, 1], note), torch.no_grad():
        result = module(x)
    for view in (0, 1):
        kept = [maps[place, view][::2, ::2].permute(2, 0, 1) for place in range(4)]
        expected = [*(outputs[name][view] for name in ("convolution", "maximum", "average")), result[view]]
        for number, (found, wanted) in enumerate(zip(kept, expected, strict=True)):
            inner = slice(1, None) if number == 1 else slice(None)  # the dense maximum has circular padding
            torch.testing.assert_close(found[:, inner, inner], wanted[:, inner, inner], rtol=1e-12, atol=1e-12)


# --- networks of every kind -------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """Patches as tokens with a class token, a map with its channels last, and windows that are no images."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, stride=8)
        self.last = nn.LayerNorm(12)
        self.windows = nn.Identity()
        self.tokens = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.patches(x).permute(0, 2, 3, 1))
        x = self.windows(x.reshape(4 * len(x), 2, 2, 12)).reshape(len(x), 16, 12)
        x = self.tokens(torch.cat([x.mean(1, keepdim=True), x], 1))
        return self.head(x[:, 0])


def test_what_is_no_map_is_shown_and_marked() -> None:
    network = probe(Tokens(), layers="leaves")
    forms = {layer["name"]: layer["form"] for layer in network["layers"]}
    assert forms == {
        "patches": "map",
        "last": "map, channels last",
        "windows": "other",
        "tokens": "tokens",
        "head": "vector",
    }
    patches, last, windows, tokens, head = network["layers"]
    assert patches["cumulative_stride"] == last["cumulative_stride"] == [8, 8]
    assert patches["receptive_field"] == [8, 8]
    for layer in (patches, last):
        assert layer["equivariance_error"] is not None
    for layer in (tokens, head):
        assert layer["equivariance_error"] is None
        assert layer["relative_change"]["value"] > 0
        assert "not a map" in layer["note"]
    assert windows["relative_change"] is None
    assert "nothing is measured" in windows["note"]


def test_layers_by_name_and_modules_that_are_called_twice() -> None:
    parts = {"convolution": nn.Conv2d(3, 3, 3, padding=1), "pool": nn.MaxPool2d(2)}
    twice = Net(lambda net, x: net.pool(net.convolution(net.pool(net.convolution(x)))), **parts)
    network = probe(twice, layers=["pool"])
    assert [(layer["name"], layer["cumulative_stride"]) for layer in network["layers"]] == [
        ("pool", [2, 2]),
        ("pool#2", [4, 4]),
    ]
    assert [site["depth"] for site in network["sites"]] == [0]  # one site, passed twice
    with pytest.raises(UsageError, match="no module 'pol' runs in this network; did you mean pool"):
        probe(twice, layers=["pol"])


def test_the_blocks_of_a_residual_network() -> None:
    from tests.cifar_resnet import resnet20

    network = al.probe_depth(resnet20(), noise(2), limit=2).summary()["models"]["cifar_resnet20"]
    names = [layer["name"] for layer in network["layers"]]
    assert names == ["bn1", *(f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)), "linear"]
    strides = [layer["cumulative_stride"] for layer in network["layers"]]
    assert strides == [*[[1, 1]] * 4, *[[2, 2]] * 3, *[[4, 4]] * 3, None]
    assert [site["name"] for site in network["sites"]] == [
        "layer2.0.strided_slice",
        "layer2.0.conv1",
        "layer3.0.strided_slice",
        "layer3.0.conv1",
    ]
    assert [site["depth"] for site in network["sites"]] == [4, 4, 7, 7]


def test_a_site_is_blamed_for_what_rises_behind_it() -> None:
    """Exact before it and folding at it: all that is unexplained behind the site has risen there."""
    subsampling = nn.Conv2d(8, 8, 3, stride=2, padding=1, padding_mode="circular")
    network = probe(nn.Sequential(convolution(3, 8), subsampling, convolution(8, 4)))
    before, behind, _ = values(network, "unexplained_change")
    (site,) = network["sites"]
    assert before < 1e-9  # float32: 1e-7 relative a value, squared
    assert behind > 0.1
    assert site["rise"]["value"] == pytest.approx(behind - before)
    assert site["rise"]["low"] < site["rise"]["value"] < site["rise"]["high"]


# --- the run ----------------------------------------------------------------------------------------------------------


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return randomise(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)))


def test_numbers_do_not_depend_on_the_batch() -> None:
    """But for the rounding of float32, which differs with the order of the sums."""
    one, many = (probe(small_network(), batch_size=size, images=noise(7)) for size in (2, 16))
    for measure in ("relative_change", "equivariance_error", "unexplained_change", "cosine_similarity"):
        assert values(one, measure) == pytest.approx(values(many, measure), rel=1e-4)
    assert values(one, "alias_fraction", "sites") == pytest.approx(values(many, "alias_fraction", "sites"), rel=1e-4)


def test_on_another_device_a_copy_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an accelerator is given, given to the processor under another name."""
    monkeypatch.setattr("aliasing.depth.probe.Execution", lambda device: None)
    module = nn.Sequential(convolution(3, 4), nn.ReLU(), nn.MaxPool2d(2))
    randomise(module)
    here, calls = probe(module), []
    module.register_forward_hook(lambda module, args, output: calls.append(id(module)))
    there = probe(module, device="cpu:0")
    assert calls
    assert id(module) not in calls
    for measure in ("relative_change", "equivariance_error"):
        assert values(here, measure) == values(there, measure)
    assert values(here, "alias_fraction", "sites") == values(there, "alias_fraction", "sites")


def test_views_of_several_pairs_are_averaged_within_the_image() -> None:
    network = probe(small_network(), "circular:pixels=4", batch_size=3)
    assert network["images"] == 6
    apart = [probe(small_network(), f"circular:pixels={pixels}") for pixels in (1, 4)]
    assert values(network, "relative_change") == pytest.approx(values(apart[1], "relative_change"), rel=1e-4)
    assert values(network, "relative_change") != pytest.approx(values(apart[0], "relative_change"), rel=1e-4)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    folder, network = photographs(tmp_path / "images", 40, (SIZE, SIZE)), classifier(small_network())
    al.probe_depth(network, folder, out=tmp_path / "whole")
    parts = sorted((tmp_path / "whole").rglob("*.parquet"))
    assert len(parts) == 2
    al.probe_depth(network, folder, out=tmp_path / "stopped")
    missing = sorted((tmp_path / "stopped").rglob("*.parquet"))[1]
    missing.unlink()
    before = sorted((tmp_path / "stopped").rglob("*.parquet"))[0].stat().st_mtime_ns
    result = al.probe_depth(network, folder, out=tmp_path / "stopped")
    again = sorted((tmp_path / "stopped").rglob("*.parquet"))
    assert again[0].stat().st_mtime_ns == before
    assert [part.read_bytes() for part in again] == [part.read_bytes() for part in parts]
    assert result.summary()["models"]["network"]["images"] == 40
    with pytest.raises(InputError, match=r"with other settings: layers was 'blocks' and is now 'leaves'"):
        al.probe_depth(network, folder, layers="leaves", out=tmp_path / "stopped")


def test_images_that_are_bad_and_features_that_are_not_finite(tmp_path: Path) -> None:
    folder = photographs(tmp_path, 3, (SIZE, SIZE))
    (folder / "bad.png").write_bytes(b"nothing")

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Identity(), nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            brightest = x.flatten(1).mean(1, keepdim=True)[..., None, None]
            return self.second(torch.where(brightest > 0.0, x / 0, x))

    summary = al.probe_depth(classifier(Breaks()), folder, "circular:pixels=1").summary()
    network = summary["models"]["network"]
    assert list(summary["images"]["skipped"]) == ["bad.png"]
    assert network["images"] + len(network["not_finite"]) == 3
    assert network["not_finite"]


def test_the_table_has_a_row_a_layer() -> None:
    profile = al.probe_depth(classifier(small_network()), noise(3), "circular:pixels=1")
    table = profile.table().to_pandas()
    summary = profile.summary()["models"]["network"]["layers"]
    assert list(table.layer) == [layer["name"] for layer in summary]
    assert list(table.relative_change) == [layer["relative_change"]["value"] for layer in summary]
    assert (table.relative_change_low <= table.relative_change).all()
    assert set(profile.records.to_pandas().what) == {"layer", "site"}


@pytest.mark.parametrize("protocol", ["scale", "rotate", "frames", "consistency"])
def test_a_protocol_that_is_no_shift_is_refused(protocol: str) -> None:
    with pytest.raises(UsageError, match="is not a small shift"):
        probe(small_network(), protocol)


def test_a_network_runs_as_if_nobody_looked() -> None:
    module = small_network()
    converted = al.antialias(module, scheme="all", example_input=torch.zeros(1, 3, SIZE, SIZE))
    x = torch.rand(1, 3, SIZE, SIZE, generator=RANDOM)
    before = converted(x)
    probe(converted)
    assert torch.equal(converted(x), before)


def test_fold_is_measure_site_now() -> None:
    with pytest.warns(DeprecationWarning, match="measure_site"):
        assert folding.fold is measure_site
