"""Jitter against depth and the maps of a moving image: each with --quick, and what is known of them in advance."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import DATA

pytestmark = pytest.mark.skipif(not (DATA / "imagenet-sample").exists(), reason="the photographs are not here")


def test_jitter_against_depth(quick: Callable[[str], dict[str, Any]]) -> None:
    numbers = quick("depth")["numbers"]
    cifar = numbers["across"]["groups"][1]["networks"]
    # 19 convolutions and a linear layer; two stages subsample, each in its block's convolution and shortcut.
    assert [(network["layers"], network["sites"], network["cumulative_stride"]) for network in cifar] == [
        (20, 4, 4)
    ] * 2
    assert {network["reason"] for network in numbers["across"]["not_measured"]} == {
        "could not be measured here: its weights are not at hand"
    }
    plain = numbers["layer_by_layer"]["cifar"]["CIFAR ResNet20"]
    assert plain["layers"][0]["receptive_field"] == [3, 3]
    assert {layer["margin"] for layer in plain["layers"] if layer["form"] == "map"} == {1}  # crops have a boundary


def test_averages_of_a_linear_layer_do_not_move_once_it_is_low_passed(quick: Callable[[str], dict[str, Any]]) -> None:
    ((changes,),) = (found.values() for found in quick("shiftability")["numbers"].values())
    # What is folded onto the mean lies at 1/2 cycle per pixel, where four binomial taps and FLC are both zero; behind
    # the first rectifier that is not so. float32 averages of 112² cells agree to about 1e-6.
    for name in ("blur-pool (4 taps)", "ideal low-pass (FLC)"):
        assert changes[name]["bn1"]["value"] < 1e-5 < 1e-3 < changes["plain"]["bn1"]["value"]
        assert changes[name]["blocks.1"]["value"] > 1e-3


@pytest.mark.skipif(not (DATA / "cifar10-resnets").exists(), reason="the CIFAR networks are not here")
def test_the_lie_derivative_of_what_stands_before_every_site_is_not_changed_by_filters(
    quick: Callable[[str], dict[str, Any]],
) -> None:
    """And each layer's share is a share of the whole. The first site of ResNet-20 stands in its second stage."""
    plain, converted = quick("depth_lie")["numbers"]["cifar"].values()
    for profile in (plain, converted):
        assert sum(layer["share"]["value"] for layer in profile["layers"]) == pytest.approx(1)  # float64 sums
        assert profile["layers"][-1]["error"] == profile["error"]
    first, second = ({layer["name"]: layer["error"]["value"] for layer in p["layers"]} for p in (plain, converted))
    for name in first:
        if name == "bn1" or name.startswith("layer1."):
            # The same float32 operations on the same batches.
            assert first[name] == pytest.approx(second[name], rel=1e-5)
    assert first["output"] != pytest.approx(second["output"], rel=1e-2)
