"""Figures of closed forms: their lines hold the numbers of `aliasing.sampling` and `aliasing.filters`."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import aliasing as al
from aliasing.errors import UsageError


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@pytest.mark.parametrize("rate", [None, 44100.0])
def test_the_zigzag_is_the_fold_of_every_frequency(stride: int, rate: float | None) -> None:
    figure = al.plots.folding(stride, rate)
    stays, folds, nyquist = figure.axes[0].lines
    whole = np.linspace(0, 0.5 * (rate or 1), 1001)
    corners = [np.concatenate([line.get_data()[axis] for line in (stays, folds)]) for axis in (0, 1)]
    # `fold` by itself gives cycles per sample of the result, which are 1/stride of those of the original.
    expected = abs(al.sampling.fold(whole, stride, rate)) / (stride if rate is None else 1)
    # A line drawn from corner to corner and the closed form: roundings of numbers up to the rate.
    assert np.interp(whole, *corners) == pytest.approx(expected, abs=1e-12 * (rate or 1))
    assert set(nyquist.get_xdata()) == {stays.get_xdata()[-1]} == {al.sampling.nyquist(stride, rate or 1)}
    assert np.array_equal(*stays.get_data())
    assert figure.axes[0].get_xlabel().endswith("Hz" if rate else "cycles per sample of the original")
    plt.close(figure)


def test_the_response_is_the_gain_of_each_filter_at_the_stride() -> None:
    figure = al.plots.response({"mine": (1, 2, 1), "named": "binomial4"}, stride=4)
    mine, named, nyquist = figure.axes[0].lines
    for line, taps in ((mine, al.filters.get_taps((1, 2, 1))), (named, al.filters.get_taps("binomial4", 4))):
        frequency, gain = line.get_data()
        by_hand = abs(sum(tap * np.exp(2j * np.pi * frequency * place) for place, tap in enumerate(taps)))
        assert gain == pytest.approx(by_hand, abs=1e-12)  # a sum of at most 13 products of numbers up to 1
        # The legend's share, by quadrature: of the energy above 1/8, which is 3/4 of white noise.
        above = 2 * np.trapezoid((gain**2)[frequency >= 0.125], frequency[frequency >= 0.125]) / 0.75
        said = float(line.get_label().split(": ")[1].split(" %")[0])
        assert said == pytest.approx(100 * above, rel=0.05)  # two digits
    assert set(nyquist.get_xdata()) == {0.125}
    plt.close(figure)


@pytest.mark.parametrize(("taps", "names"), [("box2", ["box2"]), (["box2", "box3"], ["box2", "box3"])])
def test_filters_are_called_by_their_names(taps: object, names: list[str]) -> None:
    figure = al.plots.response(taps)  # type: ignore[arg-type]
    assert [line.get_label().split(",")[0] for line in figure.axes[0].lines[:-1]] == names
    plt.close(figure)


def test_taps_alone_have_no_name() -> None:
    figure = al.plots.response([0.5, 0.5])
    assert figure.axes[0].lines[0].get_label().startswith("taps as given, 2 taps")
    plt.close(figure)


def test_what_is_no_filter_or_stride_is_refused() -> None:
    with pytest.raises(UsageError, match="no filter 'nothing4'"):
        al.plots.response("nothing4")
    with pytest.raises(UsageError, match="stride"):
        al.plots.folding(0)
    with pytest.raises(UsageError, match="rate"):
        al.plots.folding(2, -1.0)
