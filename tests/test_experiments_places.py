"""The experiments on label maps and boxes: each with --quick, and the numbers that are known elsewhere."""

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


def test_a_detector_s_boxes_come_and_go(quick: Callable[[str], dict[str, Any]]) -> None:
    found = quick("detection")
    assert found["pictures"]["figure.png"] > 10_000
    plain = found["numbers"]["plain"]
    assert plain["lost_or_renamed"]["low"] > 0
    assert plain["threshold_crossed"]["value"] < plain["lost_or_renamed"]["value"]
    swing = plain["swing of the confidence along 32 pixels"]
    assert 0 < swing["from the least to the greatest"]["value"] < 1
