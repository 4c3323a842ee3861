"""Figures of closed forms: their lines hold the numbers of `aliasing.sampling` and `aliasing.filters`."""

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aliasing as al
from aliasing.errors import UsageError
from aliasing.plots.feature_maps import show


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


@given(st.floats(0, 2.5), st.integers(1, 9), st.sampled_from([None, 44100.0]), st.data())
@settings(max_examples=20, deadline=None)
def test_an_alias_has_the_samples_of_its_wave(frequency: float, stride: int, rate: float | None, data: Any) -> None:
    of_original = rate or 1.0
    phase = data.draw(st.integers(0, stride - 1))
    figure = al.plots.alias(frequency * of_original, stride, rate, phase)
    _, *false, samples = figure.axes[0].lines
    kept = np.round(samples.get_xdata() * of_original)
    assert kept.tolist() == [*range(phase, phase + stride * len(kept), stride)]
    assert len(kept) >= 3
    # The cosine by itself at those samples; angles of up to some hundred radians are known to 1e-13.
    assert samples.get_ydata() == pytest.approx(np.cos(2 * np.pi * frequency * kept), abs=1e-9)
    folded = abs(float(al.sampling.fold(frequency, stride, 1.0)))
    assert len(false) == (abs(folded - frequency) > 1e-5 * frequency + 1e-8)
    for line in false:
        place, value = line.get_data()
        angle = 2 * np.pi * float(al.sampling.fold(frequency, stride, 1.0)) * (place * of_original - phase)
        assert value == pytest.approx(np.cos(angle + 2 * np.pi * frequency * phase), abs=1e-9)
        fitted = np.cos(
            2 * np.pi * float(al.sampling.fold(frequency, stride)) * np.arange(len(kept))
            + 2 * np.pi * frequency * phase
        )
        assert samples.get_ydata() == pytest.approx(fitted, abs=1e-9)
        assert f" {folded * of_original:g} " in line.get_label()
    plt.close(figure)


def test_marked_frequencies_are_where_they_fold_to() -> None:
    figure = al.plots.folding(4, 16000, [1000, 5000, 8000])
    marks = figure.axes[0].lines[3:]
    assert [line.get_xydata()[1].tolist() for line in marks] == [[1000, 1000], [5000, 1000], [8000, 0]]
    plt.close(figure)
    stays, folds, nyquist, *marks = al.plots.folding(1, 8000, [7000, 12000]).axes[0].lines  # above Nyquist, as recorded
    assert [line.get_xydata()[1].tolist() for line in marks] == [[7000, 1000], [12000, 4000]]
    assert folds.get_data()[0][-1] >= 12000
    assert {*nyquist.get_xdata()} == {stays.get_data()[0][-1]} == {4000}
    plt.close()


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
    with pytest.raises(UsageError, match=r"frequency -0.6 cannot be marked; expected a number of at least 0"):
        al.plots.folding(2, frequencies=[0.1, -0.6])
    for wrong in (-0.1, np.nan):
        with pytest.raises(UsageError, match="expected a number of at least 0, in Hz"):
            al.plots.alias(wrong, 2, 1000)
    with pytest.raises(UsageError, match="phase is 2; expected 0 … 1"):
        al.plots.alias(0.1, 2, phase=2)


@pytest.mark.parametrize("taps", ["binomial4", "binomial3"])
def test_a_filtered_alias_has_the_samples_of_the_filtered_wave(taps: str) -> None:
    """Against a convolution of the samples themselves."""
    weights = al.filters.get_taps(taps)
    wave = np.cos(2 * np.pi * 0.35 * np.arange(-20, 40))
    filtered = np.correlate(wave, weights, "full")[len(weights) - 1 - (len(weights) - 1) // 2 :][20:]
    *_, samples = al.plots.alias(0.35, 2, taps=taps).axes[0].lines
    places = samples.get_xdata().astype(int)
    np.testing.assert_allclose(samples.get_ydata(), filtered[places], atol=1e-12)


def test_one_filter_has_an_amplitude_and_an_energy_and_each_says_which_it_is() -> None:
    """The wave keeps |H(f)| of its amplitude; of the energy of white noise above, the mean of |H|² passes."""
    wave = al.plots.alias(0.375, stride=2, taps="binomial4").axes[0].lines[1].get_label()
    noise = al.plots.response("binomial4").axes[0].lines[0].get_label()
    gain = abs(al.filters.response("binomial4", np.linspace(0.25, 0.5, 100_001)))
    assert f"{gain[50_000]:.3f} of its amplitude" in wave
    assert f"{100 * np.mean(gain**2):.1f} % of the energy above" in noise
    plt.close("all")


def test_an_alias_has_the_unit_of_its_wave() -> None:
    for rate, unit in ((None, "cycles per original sample"), (8.0, "Hz")):
        (axes,) = al.plots.alias(0.375 * (rate or 1), 2, rate).axes
        found = abs(float(al.sampling.fold(0.375 * (rate or 1), 2, rate or 1)))
        assert f" to {found:g} {unit}" in axes.get_title()
        assert [line.get_label().endswith(unit) for line in axes.lines] == [True, True, False]
    plt.close("all")


def test_a_wave_on_the_new_nyquist_frequency_is_neither_kept_nor_folded() -> None:
    """`decompose` counts it as alias; at phase 0 its samples are 1, -1, …, at phase 1 all are zero."""
    wave = np.cos(2 * np.pi * 0.25 * np.arange(16))
    assert al.sampling.decompose(wave, 2, axes=-1).alias_fraction == pytest.approx(1)
    for phase, largest in ((0, 1), (1, 0)):
        (axes,) = al.plots.alias(0.25, 2, phase=phase).axes
        assert "lies on the new Nyquist frequency:" in axes.get_title()
        assert np.abs(axes.lines[-1].get_ydata()).max() == pytest.approx(largest, abs=1e-12)
    assert "folds to 0.25, the new Nyquist" in al.plots.alias(0.75, 2).axes[0].get_title()
    plt.close("all")


def test_a_filter_is_named_and_what_it_removes_is_zero() -> None:
    """Half of cos(pi f) at f = 1/2 is 3e-17 in floats."""
    (axes,) = al.plots.alias(0.5, 2, taps="box2").axes
    assert axes.get_title().endswith("with stride 2, behind box2")
    assert axes.lines[1].get_label() == "behind the filter, 0 of its amplitude"
    assert al.plots.alias(0.375, 2, taps=[0.5, 0.5]).axes[0].get_title().endswith(", behind 2 taps")
    plt.close("all")


def test_what_is_drawn_smaller_is_low_passed_once() -> None:
    """A grating that 1.6 pixels of the map a pixel of the figure cannot hold; of the nearest pixels all of it folds."""
    grating = np.broadcast_to(np.cos(2 * np.pi * 0.45 * np.arange(480)), (480, 480))
    figure = plt.figure(figsize=(3, 3), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    show(axes, grating, -1, 1)
    axes.set_axis_off()
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[20:-20, 20:-20, 0] / 127.5 - 1  # type: ignore[attr-defined]
    assert drawn.std() < 0.25 * grating.std()  # matplotlib's filter is short: it leaves a fifth
    plt.close(figure)
    plots = Path(al.plots.__file__).parent
    assert not [
        file for file in plots.glob("*.py") if re.search("interpolation=.(nearest|none)", file.read_text("utf-8"))
    ]
