"""The experiments on label maps, boxes and key points: each with --quick, and the numbers that are known elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest


def test_label_maps_agree_less_at_boundaries(quick: Callable[[str], dict[str, Any]]) -> None:
    found = quick("segmentation")
    assert found["pictures"]["figure.png"] > 10_000
    for name, agreement in (("ESPNet", 0.958), ("ENet", 0.933)):
        plain = found["numbers"][name]["plain"]
        assert plain["pixel_agreement"]["value"] == pytest.approx(agreement, abs=0.03)  # of three scenes of 233
        assert plain["boundary_agreement"]["high"] < plain["interior_agreement"]["low"]
        assert found["numbers"][name]["published"]["miou"] > 0.5
        twelve, eleven = found["numbers"][name]["all scenes"].values()
        differs = abs(twelve["pixel_agreement"]["value"] - eleven["pixel_agreement"]["value"])
        assert differs < 0.005 if name == "ESPNet" else differs < 1e-6  # ENet never answers void


def test_a_detector_s_boxes_come_and_go(quick: Callable[[str], dict[str, Any]]) -> None:
    found = quick("detection")
    assert found["pictures"]["figure.png"] > 10_000
    plain = found["numbers"]["plain"]
    assert plain["lost_or_renamed"]["low"] > 0
    assert plain["threshold_crossed"]["value"] < plain["lost_or_renamed"]["value"]
    swing = plain["swing of the confidence along 32 pixels"]
    assert 0 < swing["from the least to the greatest"]["value"] < 1
    both = plain["all photographs"]
    assert both["matched_iou"]["low"] <= 0.844 + 0.03  # of eight photographs of 128
    assert both["lost_or_renamed, one way"]["value"] < both["lost_or_renamed"]["value"]


def test_a_filter_makes_key_points_repeatable(quick: Callable[[str], dict[str, Any]]) -> None:
    found = quick("keypoints")
    assert found["pictures"]["figure.png"] > 10_000
    numbers = found["numbers"]
    assert numbers["converted"]["descriptor_similarity, minus plain"]["low"] > 0
    assert numbers["plain"]["repeatability_1"]["value"] < numbers["only pool2"]["repeatability_1"]["value"]
