"""Sounds: files are read as they are or refused in one line, and what folds in them is that of the closed form."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from scipy import signal

import aliasing as al
from aliasing.cli import main
from aliasing.downsample.sound_spectra import SoundSpectra
from aliasing.downsample.survey import write_folds
from aliasing.errors import InputError, UsageError
from aliasing.images import Signal
from aliasing.sounds import Sound, read_sound
from tests.image_files import PNG
from tests.readable import complaints

RATE = 16000


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.cos(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(
    ("form", "subtype", "step"),
    [
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "FLOAT", 2**-24),
        ("WAV", "PCM_U8", 2**-7),
        ("FLAC", "PCM_24", 2**-23),
        ("AIFF", "PCM_16", 2**-15),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_samples_are_read_as_they_are(tmp_path: Path, form: str, subtype: str, step: float, channels: int) -> None:
    samples = np.stack([tone(100 * (k + 1)) for k in range(channels)], 1)
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, samples, RATE, subtype, format=form)
    sound = read_sound(path)
    assert (sound.rate, sound.samples.shape, sound.name) == (RATE, (channels, len(samples)), path.name)
    assert abs(sound.samples - samples.T).max() <= step  # one level of the file, however it is rounded


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: soundfile.write(path, np.zeros((0, 1)), RATE), "holds no samples"),
        (lambda path: soundfile.write(path, np.array([0.0, np.nan]), RATE, "FLOAT"), "holds NaN"),
        (lambda path: path.write_bytes(b"RIFF"), "not a sound"),
        (lambda path: path.write_text("words"), "not a sound"),
        (lambda path: path.mkdir(), "folder, not a regular file"),
        (lambda path: None, "no such file"),
    ],
    ids=["empty", "NaN", "cut off", "text", "folder", "missing"],
)
def test_what_is_no_sound_is_one_line(tmp_path: Path, make: Any, reason: str, capsys: Any) -> None:
    path = tmp_path / "a.wav"
    make(path)
    with pytest.raises(InputError, match=reason) as caught:
        read_sound(path)
    assert str(caught.value).isprintable()
    assert main(["spectrum", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_a_sound_that_is_cut_off_is_not_measured(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, tone(100), RATE, format=form)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match="cut off: 1000 bytes that its header promises are missing"):
        read_sound(path)
    if form == "WAV":  # a stream, whose length was not known when its header was written
        path.write_bytes(whole[:4] + b"\xff" * 4 + whole[8:])
        assert read_sound(path).samples.shape == (1, RATE // 2)


def test_an_electrocardiogram_fades_too() -> None:
    """5 ms of 250 samples a second are one sample; the jump from end to beginning would fold."""
    ramp = Sound(np.linspace(-1, 1, 1000) ** 3, rate=250)
    found = al.compare_operators(ramp, 2, ["subsample"]).images[0]["operators"]["subsample"]["alias_fraction"]
    assert found < 1e-4


def test_without_soundfile_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(InputError, match=r"pip install \"aliasing\[sound\]\""):
        read_sound(tmp_path / "a.wav")


def test_sounds_are_found_as_pictures_are(tmp_path: Path) -> None:
    """In a folder and in a list; what can be read first says of which kind the others must be."""
    soundfile.write(tmp_path / "b.wav", tone(100), RATE)
    soundfile.write(tmp_path / "a.flac", tone(100), RATE)
    (tmp_path / "a.png").write_bytes(PNG)
    found = al.compare_operators(tmp_path, 2, ["blur"])
    assert [image["name"] for image in found.images] == ["a.flac", "b.wav"]
    assert found.skipped == {"a.png": "a picture; what can be read first is a sound"}
    listed = al.compare_operators([Sound(tone(100), RATE, "one"), tmp_path / "b.wav"], 2, ["blur"])
    assert [image["rate"] for image in listed.images] == [RATE, RATE]
    plain = Signal(tone(100)[None], (RATE,))
    assert al.compare_operators(plain, 2, ["blur"]).images[0]["operators"] == listed.images[0]["operators"]
    with pytest.raises(InputError, match="a signal of 2 axes, not 1 or 3"):
        al.compare_operators(Signal(np.zeros((1, 8, 8)), (1, 1)), 2)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_tone_above_the_new_nyquist_frequency_is_heard_where_it_folds(stride: int, tmp_path: Path) -> None:
    hertz = RATE / 2 - 500  # above the new Nyquist frequency at each of these strides
    sound = Sound(tone(hertz)[None], RATE)
    result = al.compare_operators(sound, stride, ["subsample", "blur", "flc"])
    shares = result.summary()["operators"]
    # Fading spreads the tone: a few millionths of it lie more than 500 Hz away.
    assert shares["subsample"]["alias_fraction"]["value"] == pytest.approx(1, abs=1e-5)
    assert shares["flc"]["alias_fraction"]["value"] == pytest.approx(0, abs=1e-9)
    assert isinstance(result.spectra, SoundSpectra)
    alias = np.array(next(look for look in result.spectra.looks if look.operator == "subsample").power["alias"])
    width = alias[1, 0] - alias[0, 0]
    assert alias[alias[:, 1].argmax(), 0] == pytest.approx(abs(al.sampling.fold(hertz, stride, RATE)), abs=width)

    files = write_folds(sound, tmp_path, stride, ["subsample", "blur"])
    assert [file.name for file in files] == ["subsample.wav", "subsample-folded.wav", "blur.wav", "blur-folded.wav"]
    heard, plain = read_sound(files[1]), read_sound(files[0])
    assert heard.rate == round(RATE / stride)
    frequency, power = signal.periodogram(heard.samples[0], RATE / stride)
    assert frequency[power.argmax()] == pytest.approx(abs(al.sampling.fold(hertz, stride, RATE)), abs=4)
    unfaded = heard.samples[0, 200:-200]
    assert np.sqrt(2) * unfaded.std() == pytest.approx(0.5, abs=2e-3)  # the tone's amplitude
    assert abs(plain.samples - heard.samples).max() < 5e-3  # nothing else is left
    weaker = read_sound(files[3]).samples.std() / heard.samples.std()
    gain = abs(al.filters.response(al.filters.get_taps("binomial4", stride), hertz / RATE))
    assert weaker == pytest.approx(gain, abs=2e-3)


def test_filters_differ_for_a_tone_of_which_all_folds() -> None:
    """Of what each lets through all is alias, so that share says nothing; what is left of the tone does."""
    hertz = 6000
    result = al.compare_operators(Sound(tone(hertz, seconds=1), RATE), 2, ["subsample", "average", "blur", "max"])
    found = result.summary()["operators"]
    assert [found[name]["alias_fraction"]["value"] for name in ("average", "blur")] == pytest.approx([1, 1], abs=1e-4)
    for name, taps in (("subsample", [1]), ("average", "box2"), ("blur", "binomial4")):
        gain = abs(al.filters.response(taps, hertz / RATE)) ** 2
        assert found[name]["above_kept"]["value"] == pytest.approx(gain, rel=1e-3)
    assert found["max"]["baseband_kept"]["value"] is None  # there was none to keep
    assert "–" in repr(result)
    (delay,) = result.summary()["reading"]
    assert delay.startswith("Blur-pool, binomial4 for stride 2: an even number of taps (4)")
    assert "half a sample of the original earlier" in delay
    figure = result.plot()
    assert [axes.get_title() for axes in figure.axes].count("no baseband to keep") == 4
    assert complaints(figure) == []
    plt.close(figure)


def test_a_slow_and_short_sound_and_a_bare_array(tmp_path: Path) -> None:
    cosine = np.cos(2 * np.pi * 3 / 8 * np.arange(64))
    assert al.compare_operators(Sound(cosine, rate=8), 2, ["subsample"]).images[0]["samples"] == 64
    noise = np.random.default_rng(0).normal(size=512)
    result, timed = al.compare_operators(noise, 2, ["max", "blur"]), al.compare_operators(Sound(noise, 1.0), 2, ["max"])
    assert result.images[0]["operators"]["max"] == timed.images[0]["operators"]["max"]
    assert "below 0.25 cycles per sample of the original" in repr(result)
    figures = result.plot(), timed.plot(), al.compare_operators(Sound(noise, 1e-4), 2, ["max"]).plot()
    assert [one.axes[0].get_ylabel() for one in figures] == ["cycles per\noriginal sample", "Hz", "µHz"]
    assert [one.axes[0].get_ylim()[1] for one in figures] == pytest.approx([0.5, 0.5, 50])
    assert [complaints(one) for one in figures] == [[]] * 3
    for figure in figures:
        plt.close(figure)
    result.write(tmp_path)
    assert al.open(tmp_path).summary() == result.summary()


def test_channels_are_not_mixed() -> None:
    """In one channel everything folds, in the other nothing; their energies add up."""
    low, high = tone(1000), tone(7000)
    both = Sound(np.stack([low, high]), RATE)
    share = al.compare_operators(both, 2, ["subsample"]).summary()["operators"]["subsample"]["alias_fraction"]["value"]
    assert share == pytest.approx(0.5, abs=1e-3)
    mixed = Sound(((low + high) / 2)[None], RATE)
    assert al.compare_operators(mixed, 2, ["subsample"]).images[0]["operators"]["subsample"][
        "alias_fraction"
    ] == pytest.approx(0.5, abs=1e-3)


def test_the_command_on_real_speech(spoken_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / ("a-long-name-" * 6)  # a whole path as a title ran off the figure
    deep.mkdir()
    names = ("3_george_1.wav", "7_jackson_0.wav", "0_george_0.wav")
    files = [shutil.copy(spoken_digits / name, deep) for name in names]
    out, heard = tmp_path / "out", tmp_path / "heard"
    command = ["spectrum", *map(str, files), "--stride", "2", "--operator", "subsample", "average", "blur", "flc"]
    assert main([*command, "--out", str(out), "--listen", str(heard)]) == 0
    printed = capsys.readouterr().out
    assert "ideal low-pass" in printed
    assert "mean of 3 sounds" in printed
    assert sorted(path.name for path in heard.iterdir()) == sorted(
        f"{name}{ending}.wav" for name in ("subsample", "average", "blur", "flc") for ending in ("", "-folded")
    )
    summary = json.loads((out / "summary.json").read_text())
    assert [image["rate"] for image in summary["images"]["each"]] == [8000] * 3
    folds = {name: found["alias_fraction"]["value"] for name, found in summary["operators"].items()}
    assert folds["subsample"] > folds["average"] > folds["blur"] > folds["flc"] >= 0
    # scipy's own: the share of the energy at and above 2 kHz, of the first sound, without its mean.
    samples, _ = soundfile.read(files[0])
    power = abs(np.fft.rfft(samples - samples.mean())) ** 2
    above = power[np.fft.rfftfreq(len(samples), 1 / 8000) >= 2000].sum() / power.sum()
    first = summary["images"]["each"][0]["operators"]["subsample"]["alias_fraction"]
    assert first == pytest.approx(above, rel=0.01)  # but for the fading

    again = al.open(out)
    assert again.summary()["operators"] == summary["operators"]
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "mean of 3 sounds" in page
    assert "the part of it that has folded" in page
    assert page.count("data:image/webp") == 1
    assert "Hashes of the weights" not in page  # there are none
    for figure in (again.plot(), al.compare_operators(files[0], 2).plot()):
        assert complaints(figure) == []
        plt.close(figure)


def test_listening_needs_sounds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["spectrum", "sample", "--listen", str(tmp_path)]) == 2
    assert "--listen writes sounds" in capsys.readouterr().err


def test_too_short_a_sound_is_refused_with_its_length() -> None:
    with pytest.raises(InputError, match="20 samples are too few for stride 2: take 32"):
        al.compare_operators(Sound(np.zeros((1, 20)), RATE), 2)
    with pytest.raises(UsageError, match="at least 2"):
        al.compare_operators(Sound(np.zeros((1, 200)), RATE), 1)


def test_a_ratio_of_energies_is_never_below_0() -> None:
    """Of two sounds, one folds all that is above and the other next to nothing: the interval is wide, and ends at 0."""
    sounds = [Sound(tone(hertz)[None], RATE) for hertz in (4100, 7900)]
    found = al.compare_operators(sounds, 2, ["blur"]).summary()["operators"]["blur"]["above_kept"]
    assert found["low"] == 0
    assert found["high"] > 0.3


def test_silence_has_no_shares(tmp_path: Path) -> None:
    for samples in (np.zeros(RATE), np.full(RATE, 0.3)):
        with pytest.raises(InputError, match="silent"):
            al.compare_operators(Sound(samples, RATE), 2)
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "b.wav", tone(1000), RATE)
    result = al.compare_operators(tmp_path, 2)
    assert list(result.skipped) == ["a.wav"]
    assert [image["name"] for image in result.images] == ["b.wav"]


def test_an_offset_does_not_count() -> None:
    """Faded, it would be a swell in the baseband."""
    noise = np.random.default_rng(0).normal(size=4000) / 10
    plain, moved = (al.compare_operators(Sound(noise + offset, RATE), 2, ["blur"]) for offset in (0, 0.5))
    for measure, value in plain.images[0]["operators"]["blur"].items():
        assert moved.images[0]["operators"]["blur"][measure] == pytest.approx(value, rel=1e-9)


def test_bad_files_are_counted_and_said_the_same_every_time(tmp_path: Path) -> None:
    """Also two of one name in two folders; a folder called like a sound is a folder."""
    for folder in ("one", "two.wav"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_text("words")
    soundfile.write(tmp_path / "two.wav" / "b.wav", tone(1000), RATE)
    first, again = (al.compare_operators(tmp_path, 2).skipped for _ in range(2))
    assert first == again
    assert list(first) == ["one/a.wav", "two.wav/a.wav"]
    assert not any("a.wav" in reason or " at 0x" in reason for reason in first.values())


def test_the_first_sounds_or_a_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", tone(1000 + number), RATE)

    def measured(*options: str) -> list[str]:
        assert main(["spectrum", str(tmp_path), "--json", "--operator", "subsample", *options]) == 0
        return [image["name"] for image in json.loads(capsys.readouterr().out)["images"]["each"]]

    assert measured("--limit", "2") == ["0.wav", "1.wav"]
    drawn = measured("--sample", "2")
    assert len(drawn) == 2
    (tmp_path / drawn[0]).rename(tmp_path / "z.wav")
    assert sorted(measured("--sample", "2")) == sorted(["z.wav", drawn[1]])
    assert main(["spectrum", str(tmp_path), "--limit", "0"]) == 2


def test_listening_takes_the_first_that_can_be_used_and_replaces_no_recording(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "a.wav").write_text("words")
    soundfile.write(folder / "blur.wav", tone(1000), RATE)
    before = (folder / "blur.wav").read_bytes()
    given = ["spectrum", str(folder), "--operator", "blur", "--listen"]
    assert main([*given, str(tmp_path / "heard")]) == 0
    assert sorted(path.name for path in (tmp_path / "heard").iterdir()) == ["blur-folded.wav", "blur.wav"]
    capsys.readouterr()
    assert main([*given, str(folder / "heard")]) == 2
    assert "--listen" in (said := capsys.readouterr().err)
    assert "measured next" in said
    assert main(["spectrum", str(folder / "blur.wav"), "--operator", "blur", "--listen", str(folder)]) == 2
    assert "replace recordings" in capsys.readouterr().err
    assert (folder / "blur.wav").read_bytes() == before
