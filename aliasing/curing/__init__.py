"""The whole way from a network that jitters to one that is cured, in one call.

The network is measured, its downsampling sites are treated one at a time to find the guilty ones, it is converted in a
few ways, and the best is fine-tuned beside a *control*: the network as it is, trained for as many epochs on the same
batches. What training alone does is then not taken for the filter's merit. Everything is chosen on training images;
the held-out images are looked at once, with paired differences.

Each stage is a function that can be called alone (`aliasing.measure_jitter`, `aliasing.attribute`,
`aliasing.antialias`, `aliasing.recalibrate`, `aliasing.finetune`), and keeps its state in a folder of its own.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from aliasing.curing.candidates import (
    CANDIDATES,
    Candidates,
    check_specifications,
    choose,
    guilty_sites,
    make_candidates,
)
from aliasing.curing.forecast import Pace, Stage, assumed, forecast
from aliasing.curing.material import Material, doubts, open_material
from aliasing.curing.result import CONTROL, CURED, PARTS, PLAIN, WEIGHTS, Cure
from aliasing.depth.attribution import attribute
from aliasing.errors import InputError, UsageError
from aliasing.identity import identify
from aliasing.images import choose_images
from aliasing.jitter import measure_jitter
from aliasing.jitter.network import Execution, device_of
from aliasing.leaderboard.cost import cost
from aliasing.models import Classifier, ShownNetwork, of_pictures
from aliasing.progress import duration
from aliasing.protocols import ViewProtocol
from aliasing.records import folder_name
from aliasing.runner import load_for, protocol_for
from aliasing.runs import ALONE, hold
from aliasing.sites import find_sites
from aliasing.sites.trace import copied
from aliasing.state import read_json, write_json
from aliasing.surgery import recalibrate, save
from aliasing.surgery.convert import conversion_of
from aliasing.surgery.finetune import Recipe, check_trainable, finetune, training_labels
from aliasing.tables import are_different, counted

__all__ = ["CANDIDATES", "Cure", "cure", "forecast_cure"]

BATCH_SIZE = 64


def cure(
    model: str | nn.Module | ShownNetwork,
    train: Any,
    images: Any,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    protocol: str | ViewProtocol | None = None,
    candidates: Sequence[str] | None = None,
    train_sample: int | None = None,
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str | None = None,
    progress: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[Any, Cure]:
    """Find out why a network jitters, convert and fine-tune it, and measure what that gains and costs.

    Parameters
    ----------
    model : str, nn.Module or Classifier
        It stays as it is, and sees images as in `aliasing.measure_jitter`: a Classifier, such as
        ``al.Classifier.of(module, 32, mean=…, std=…)``, in its own way; a bare module tensors as they are, and other
        images with ImageNet's preprocessing.
    train : Any
        Labelled images, as for `aliasing.finetune`.
    images : Any
        Held-out images, on which the network is not trained, as for `aliasing.measure_jitter`.
    out : str or Path
        The folder of the state and the results. If interrupted, the same call resumes there, with the same result.
    recipe : Recipe, optional
        How the control and the cured network are fine-tuned; each candidate gets one epoch on up to 1,000 images.
    protocol : str or ViewProtocol, optional
        As for `aliasing.measure_jitter`.
    candidates : sequence of str, optional
        Operator, taps, placement and sites of the conversions to compare, as in names of converted networks
        (``"binomial3,before,all"``), by default `CANDIDATES` and the guilty sites alone.
    train_sample : int, optional
        Train on N images drawn at random.
    limit, sample, batch_size, seed, device : as in `aliasing.measure_jitter`, for the held-out images
        The seed also divides the training images, and the networks are trained on the device too.
    progress : bool
        Show progress bars, on a terminal and in a notebook.
    tell : callable, optional
        Is given a line at each stage, and the time that is left: a forecast from a few images, corrected by the real
        rate.

    Returns
    -------
    Classifier or nn.Module
        The cured network, the same kind as ``model`` (a Classifier for a name).
    Cure
        The numbers, with three sentences in ``summary()["verdict"]``; ``cured`` says whether it is one.

    Raises
    ------
    UsageError
        An option makes no sense, the network cannot be converted or trained, or the folder holds another cure.
    InputError
        Held-out images are among the training images, or images or labels cannot be used.

    Examples
    --------
    >>> import tempfile, numpy as np, aliasing as al
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> plain = al.load_model(network, input_size=16)
    >>> noise = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    >>> images = [(pixels, number % 4) for number, pixels in enumerate(noise)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cured, result = al.cure(plain, images[:30], images[30:], folder, al.Recipe(epochs=1, batch_size=8))
    ...     list(result.jitter.models), result.cured
    (['plain', 'control', 'converted', 'cured'], False)
    """
    given = _Given.of(locals())
    with hold(given.out, ALONE, "cure"):
        given.claim()
        given.tell_doubts()
        cured, result = _cure(given)
    return (cured.module if isinstance(model, nn.Module) else cured), result


def forecast_cure(
    model: str | nn.Module | ShownNetwork,
    train: Any,
    images: Any,
    recipe: Recipe | None = None,
    **options: Any,
) -> list[Stage]:
    """How long each stage of a cure will take here: measured on a few images, and scaled; nothing is kept.

    The parameters are those of `cure`, without ``out``.
    """
    asked = signature(cure).bind(model, train, images, None, recipe, **options)
    asked.apply_defaults()
    given = _Given.of(asked.arguments)
    given.tell_doubts()
    return given.forecast()


@dataclass(frozen=True)
class _Given:
    """What a cure is given, checked."""

    plain: Classifier
    named: str
    material: Material
    out: Path
    recipe: Recipe
    protocol: ViewProtocol
    options: Mapping[str, Any]

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> "_Given":
        """What `cure` is asked, by the names of its parameters."""
        out, seed, device = asked["out"], asked["seed"], asked["device"]
        held_out = choose_images(asked["images"], limit=asked["limit"], sample=asked["sample"], seed=seed)
        loaded = of_pictures(load_for(asked["model"], held_out), "a cure")
        if conversion_of(loaded.module) is not None:
            raise UsageError(f"{loaded.name} is already anti-aliased; give the original network")
        if device not in (None, device_of(loaded)):
            Execution(device)  # refuses one that there is not
            loaded = replace(loaded, module=copied(loaded.module).to(device))
        folder = None if out is None else Path(out)
        training = choose_images(asked["train"], sample=asked["train_sample"], seed=seed)
        material = open_material(training, held_out, folder, seed)
        recipe = asked["recipe"] or Recipe()
        check_trainable(loaded, recipe)
        check_specifications(asked["candidates"])
        training_labels(loaded, training)
        protocol = protocol_for(asked["protocol"], held_out, loaded)
        return cls(replace(loaded, name=PLAIN), loaded.name, material, folder or Path(), recipe, protocol, asked)

    @property
    def measuring(self) -> dict[str, Any]:
        kept = ("batch_size", "seed", "progress")
        return {"protocol": self.protocol, **{name: self.options[name] for name in kept}}

    @property
    def candidates(self) -> Sequence[str] | None:
        """The specifications, if any were given."""
        found: Sequence[str] | None = self.options["candidates"]
        return None if found is None else list(found)

    def tell(self, line: str) -> None:
        """Give the caller a line, if wanted."""
        if self.options["tell"] is not None:
            self.options["tell"](line)

    def claim(self) -> None:
        """Begin or resume this cure in its folder; UsageError if it holds another."""
        wanted = {
            "network": identify(self.plain).digest,
            **self.material.identity,
            "recipe": asdict(self.recipe),
            "protocol": self.protocol.parameters(),
            "candidates": self.candidates,
            **{name: self.options[name] for name in ("batch_size", "seed")},
        }
        wanted, file = json.loads(json.dumps(wanted)), self.out / "settings.json"
        if not file.exists():
            write_json(file, wanted)
            return
        before = read_json(file, self.out, mend="choose another --out")
        differing = sorted(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
        if differing:
            raise UsageError(f"{self.out} holds another cure ({are_different(differing)}); choose another --out")

    def forecast(self) -> list[Stage]:
        """How long each stage should take, as if one site were found guilty: it makes one candidate more."""
        some = [site.name for site in find_sites(self.plain) if site.status == "subsamples"][:1]
        made = make_candidates(self.plain, some, self.candidates)
        return forecast(self.plain, made, self.material, self.recipe, {**self.measuring, "progress": False})

    def pace(self) -> Pace | None:
        """The forecast of this cure, made when it begins and kept; None if nobody is told."""
        if self.options["tell"] is None:
            return None
        file = self.out / "forecast.json"
        stages: list[Stage] = []
        with suppress(InputError, KeyError, TypeError):  # there is none yet, or none that can be used
            stages = [Stage(**stage) for stage in read_json(file, self.out, {str: list})["stages"]]
        if not stages:
            self.tell("0/6 timing a few images")
            stages = self.forecast()
            write_json(file, {"stages": [asdict(stage) for stage in stages]})
        pace = Pace(stages)
        self.tell(f"  in all about {duration(pace.left)}, {assumed()}")
        return pace

    def tell_doubts(self) -> None:
        """What to know before it begins."""
        for text in doubts(self.plain, self.protocol, self.material.held_out):
            self.tell(f"{self.named}: {text}")

    def tuned(self, network: Classifier, name: str, images: Any, recipe: Recipe) -> Classifier:
        """The network, fine-tuned, under another name."""
        tell = partial(self._told, name)
        return replace(finetune(network, images, self.training(name), recipe, tell=tell), name=name)

    def training(self, name: str) -> Path:
        """The folder in which a network is fine-tuned."""
        return self.out / "training" / folder_name(name)

    def _told(self, name: str, line: str) -> None:
        self.tell(f"  {name}: {line}")


def _cure(given: _Given) -> tuple[Classifier, Cure]:
    """The stages in order; each resumes by itself."""
    plain, material, out, tell = given.plain, given.material, given.out, given.tell
    counts = material.counts
    held_out = out / PARTS["jitter"]
    stage = partial(_timed, given.pace(), tell)

    shown = counted(counts["held_out"], "held-out image")
    tell(f"1/6 measuring {given.named} on {shown} (protocol {given.protocol.name})")
    with stage(held_out):
        before = measure_jitter(plain, material.held_out, out=held_out, **given.measuring)
    tell(f"  P(top-1 change) {before.metrics(PLAIN).estimates()['top1_change']}")

    tell(f"2/6 treating its sites one at a time on {counted(counts['attributed'], 'training image')}")
    with stage(out / PARTS["attribution"]):
        attribution = attribute(plain, material.attributed, out=out / PARTS["attribution"], **given.measuring)
    guilty = guilty_sites(attribution)
    tell(f"  guilty: {', '.join(guilty) or 'none that can be named'}")

    made = make_candidates(plain, guilty, given.candidates)
    candidates, tried_on = counted(len(made.networks), "candidate"), counted(counts["tried"], "training image")
    tell(f"3/6 fine-tuning {candidates} for one epoch on {tried_on}")
    with stage(given.training(next(iter(made.networks)))):
        converted = {text: _recalibrated(network, material) for text, network in made.networks.items()}
        short = replace(given.recipe, epochs=1)
        tried = [given.tuned(network, text, material.tried, short) for text, network in converted.items()]
        trials = measure_jitter(tried, material.compared, out=out / PARTS["trials"], **given.measuring)
    chosen, reasons = choose(trials)
    tell(f"  chosen on {counted(counts['compared'], 'other training image')}: {chosen}")

    epochs = f"{counted(given.recipe.epochs, 'epoch')} on {counted(counts['train'])}"
    tell(f"4/6 fine-tuning the control, {epochs}")
    with stage(given.training(CONTROL)):
        control = given.tuned(plain, CONTROL, material.train, given.recipe)
    tell(f"5/6 fine-tuning {chosen}, {epochs}")
    with stage(given.training(CURED)):
        cured = given.tuned(converted[chosen], CURED, material.train, given.recipe)

    tell(f"6/6 measuring all on {shown}")
    before_training = replace(converted[chosen], name=_name_of(made.networks[chosen], converted[chosen]))
    networks = [plain, control, before_training, cured]
    jitter = measure_jitter(networks, material.held_out, out=held_out, **given.measuring)
    save(replace(cured, name=given.named), out / WEIGHTS)
    facts = {
        "network": given.named,
        "chosen": chosen,
        "candidates": _described(made, trials, reasons),
        "guilty": guilty,
        "sites": len(attribution.sites),
        "images": counts,
        "recipe": asdict(given.recipe),
        "training": {name: _history(given.out, name) for name in (CONTROL, CURED)},
        "cost": {network.name: asdict(cost(network)) for network in networks},
    }
    result = Cure(jitter, attribution, trials, facts, out / WEIGHTS)
    result.write(out)
    return replace(cured, name=f"{given.named}, cured"), result


@contextmanager
def _timed(pace: Pace | None, tell: Callable[[str], None], folder: Path) -> Iterator[None]:
    """Tell after a stage what it took and what is left; a stage whose folder is there already was begun before."""
    begun, begin = folder.exists(), time.perf_counter()
    yield
    if pace is None:
        return
    seconds = time.perf_counter() - begin
    pace.finish(None if begun else seconds)
    rests_on = "at the rate so far" if pace.taken else "by the forecast"
    tell(f"  took {duration(seconds)}; about {duration(pace.left)} left {rests_on}")


def _recalibrated(network: Classifier, material: Material) -> Classifier:
    """With batch-norm statistics from training images; itself if it has no batch norm."""
    if not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.module.modules()):
        return network
    return recalibrate(network, material.statistics)


def _name_of(converted: Classifier, recalibrated: Classifier) -> str:
    return "converted" if recalibrated is converted else "recalibrated"


def _described(made: Candidates, trials: Any, reasons: dict[str, str]) -> list[dict[str, Any]]:
    measured = trials.summary()["models"]
    kept = ("top1_change", "mac", "accuracy")
    rows: list[dict[str, Any]] = [
        {"candidate": name, **{measure: measured[name][measure] for measure in kept}, "why_not": reasons.get(name, "")}
        for name in made.networks
    ]
    return rows + [{"candidate": name, "why_not": reason} for name, reason in made.impossible.items()]


def _history(out: Path, name: str) -> Any:
    found = read_json(out / "training" / folder_name(name) / "history.json", out, ({str: list}, list))
    return found["epochs"] if isinstance(found, dict) else found  # a list in versions before
