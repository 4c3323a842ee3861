"""The explorer: a local page on which one drags a photograph by pixels or fractions and watches two networks answer.

The page runs on this machine alone: it fetches nothing and sends nothing. It shows the results of the library
(:func:`aliasing.jitter.trace`, :func:`aliasing.probe_depth`, :mod:`aliasing.downsample.comparison`).
"""

import asyncio
import base64
import io
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from matplotlib.figure import Figure

from aliasing import plots
from aliasing.called import short_names
from aliasing.depth import Profile, probe_depth
from aliasing.downsample.comparison import compare, prepare
from aliasing.downsample.spectra import Spectra
from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, Image, decode
from aliasing.images.entries import hash_bytes, shown
from aliasing.jitter import Trace, trace
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.models import Classifier, load_model
from aliasing.plots.depth import unexplained
from aliasing.plots.style import COLOURS
from aliasing.plots.svg import panel
from aliasing.protocols import Drag
from aliasing.protocols.base import Array
from aliasing.surgery.specification import parse

HOST = "127.0.0.1"
REACH = Drag.reach  # pixels each way
STEP = 0.125
STRIDE = 2
# As a converted network's name has them: filters of the blur-pool, and the other operators.
FILTERS = ("binomial3", "binomial4", "binomial5", "box3", *(name for name in OPERATORS if name != DEFAULT_OPERATOR))
_NETWORKS = ("plain", "anti-aliased")
_LARGEST_UPLOAD = 50_000_000  # bytes
# One computation at a time: hooks on a network that two pages share would see the other's views.
_TURN = threading.Lock()


def follow(networks: Sequence[Classifier], image: Image, drag: Drag) -> list[Trace]:
    """The answers of each network before and after the drag."""
    with _TURN:
        return [trace(network, image, drag) for network in networks]


def depth_profile(networks: Sequence[Classifier], image: Image, drag: Drag) -> Profile:
    """The effect of the drag in each network, layer by layer."""
    with _TURN:
        return probe_depth(networks, [image.pixels], drag)


def spectra(view: Array, anti_aliasing: str) -> Figure:
    """The spectrum of a view, and what a stride of two aliases without and with the filter."""
    picture = prepare(view.clip(0, 255).astype(np.uint8), STRIDE)
    results = [compare(picture, "subsample", STRIDE)]
    chosen = parse(anti_aliasing)
    if "before" in OPERATORS[chosen["operator"]].placements:  # others select samples and do not filter
        results.append(compare(picture, chosen["operator"], STRIDE, chosen["taps"]))
    return plots.spectrum(Spectra.of(picture, results, STRIDE))


@lru_cache(maxsize=8)
def _load(name: str) -> Classifier:
    return load_model(name)


def serve(models: Sequence[str], image: Image | None, *, port: int, browser: bool) -> None:
    """Serve the page on this machine until interrupted.

    The page starts with ``image`` and offers ``models``. Raises InputError if NiceGUI is missing or the port is taken.
    """
    try:
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError:
        raise InputError('the explorer is a NiceGUI page; pip install "aliasing[explore]"') from None
    _check_port(port)
    _load(models[0])  # reports a wrong name here, not in the page
    # Do not answer a foreign page whose host name points here (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    print(f"http://{HOST}:{port} (this machine only; Ctrl-C ends it)", flush=True)
    quiet: dict[str, Any] = {"dark": None, "reload": False, "show_welcome_message": False}
    with suppress(KeyboardInterrupt):  # the way to stop a server
        ui.run(
            lambda: _Page(models, image).build(), host=HOST, port=port, title="aliasing explore", show=browser, **quiet
        )


def _check_port(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); choose another with --port") from None


class _Page:
    """The page of one visitor: settings on the left, results on the right."""

    def __init__(self, models: Sequence[str], image: Image | None) -> None:
        self.models, self.image = models, image
        self.model, self.anti_aliasing = models[0], FILTERS[0]
        self.down = self.right = 0.0
        self.grip: tuple[float, float] | None = None
        self.wanted = self.shown = 0
        self.busy = False

    def build(self) -> None:
        """Lay out the page, and show the first photograph."""
        from nicegui import ui

        ui.label("Drag a photograph: what does a pixel change?").classes("text-2xl")
        self.message = ui.label().classes("message text-negative text-lg").props("role=alert")
        with ui.row().classes("w-full gap-6 items-start"):
            with ui.column().classes("w-72"):
                ui.upload(
                    label="a photograph of yours",
                    auto_upload=True,
                    max_file_size=_LARGEST_UPLOAD,
                    on_upload=self._take,
                    on_rejected=lambda: self._complain(f"a file of more than {_LARGEST_UPLOAD // 10**6} MB"),
                ).props('accept="image/*" flat bordered').classes("w-72")
                ui.select(
                    list(self.models), label="network", value=self.model, on_change=self._choose("model")
                ).classes("w-full")
                ui.select(
                    list(FILTERS), label="filter", value=self.anti_aliasing, on_change=self._choose("anti_aliasing")
                ).classes("w-full")
                self.sliders = {way: self._slider(way) for way in ("down", "right")}
                ui.button("back to where it was", on_click=lambda: self._move(0.0, 0.0)).props("flat dense")
                ui.label(
                    "The weights of the anti-aliased network are the plain one's, not trained for the filter."
                ).classes("text-sm")
            with ui.column():
                self.picture = ui.interactive_image(
                    on_mouse=self._drag, events=["mousedown", "mousemove", "mouseup"], cross=False
                ).classes("w-72 cursor-move")
                self.place = ui.label().classes("place")
            with ui.row().classes("gap-4"):
                self.cards = [_Card(title, colour) for title, colour in zip(_NETWORKS, COLOURS, strict=False)]
        ui.label("Depth: which share of each map's change does the shift not explain?").classes("text-lg")
        self.depth = ui.html(sanitize=False).classes("depth w-full")
        ui.label(f"The spectrum of the view, and what a stride of {STRIDE} folds").classes("text-lg")
        self.spectrum = ui.image().props('alt="spectra" fit=contain no-transition').classes("spectrum w-full max-w-5xl")
        ui.timer(0.05, self.refresh, once=True)

    def _slider(self, way: str) -> Any:
        from nicegui import ui

        with ui.row().classes("w-full items-center no-wrap"):
            ui.label(way).classes("w-12")
            slider = ui.slider(min=-REACH, max=REACH, step=STEP, value=0, on_change=self._choose(way))
            slider.props(f'aria-label="{way} in pixels"').classes(way)
            ui.label().bind_text_from(slider, "value", backward=lambda value: f"{value:g}").classes("w-12 text-right")
        return slider

    def _choose(self, what: str) -> Callable[[Any], Any]:
        async def choose(event: Any) -> None:
            setattr(self, what, event.value)
            await self.refresh()

        return choose

    def _move(self, down: float, right: float) -> None:
        for way, value in (("down", down), ("right", right)):
            self.sliders[way].value = float(np.clip(round(value / STEP) * STEP, -REACH, REACH))

    def _drag(self, event: Any) -> None:
        """Move the photograph with the pointer while a button is held."""
        if event.type == "mousedown":
            self.grip = event.image_y - self.down, event.image_x - self.right
        elif event.type == "mouseup" or not event.buttons:
            self.grip = None
        elif self.grip is not None:
            self._move(event.image_y - self.grip[0], event.image_x - self.grip[1])

    async def _take(self, event: Any) -> None:
        """Take an uploaded photograph, or say in one line why it cannot be used."""
        content = await event.file.read()
        event.sender.reset()
        name = shown(event.file.name)
        try:
            self.image = Image(await asyncio.to_thread(decode, content), name, hash_bytes(content), None)
        except BadImage as error:
            self._complain(f"{name}: {error}")
        else:
            await self.refresh()

    def _complain(self, text: str) -> None:
        self.message.text = text

    async def refresh(self) -> None:
        """Compute for the current settings; later ones wait meanwhile, and only the last of them is computed."""
        self.wanted += 1
        if self.image is None:
            self._complain("no photograph yet: choose one")
        if self.busy or self.image is None:
            return
        self.busy = True
        try:
            while self.shown != self.wanted:
                self.shown = self.wanted
                try:
                    await self._show()
                    self.message.text = ""
                except (InputError, UsageError) as error:
                    self._complain(str(error))
        finally:
            self.busy = False

    async def _show(self) -> None:
        """Show the answers at once, and slower results when the photograph rests."""
        image, anti_aliasing = self.image, self.anti_aliasing
        assert image is not None
        drag = Drag(down=self.down, right=self.right)
        names = [self.model, f"antialiased:{anti_aliasing}:{self.model}"]
        networks = [await asyncio.to_thread(_load, name) for name in names]
        traces = await asyncio.to_thread(follow, networks, image, drag)
        moved = traces[0].pictures[-1]
        self.picture.set_source(_picture_url(moved))
        self.place.text = f"{image.name}: {drag.down:g} down, {drag.right:g} right"
        for card, found in zip(self.cards, traces, strict=True):
            card.show(found)
        if self.shown != self.wanted:
            return
        if drag.down or drag.right:
            profile = await asyncio.to_thread(depth_profile, networks, image, drag)
            models = zip(_NETWORKS, profile.summary()["models"].values(), strict=False)
            profiles = [(title, k, model) for k, (title, model) in enumerate(models)]
            self.depth.set_content(panel(partial(unexplained, networks=profiles), width=9))
        if self.shown == self.wanted:
            self.spectrum.set_source(await asyncio.to_thread(_spectra_url, moved, anti_aliasing))


class _Card:
    """One network's answer, and its leading classes before and after the drag."""

    def __init__(self, title: str, colour: str) -> None:
        from nicegui import ui

        self.rows = []
        with ui.card().classes(f"w-80 {title}"):
            self.network = ui.label(title).classes("network").style(f"color: {colour}")
            self.answer = ui.label("…").classes("answer text-xl")
            for _ in range(5):
                with ui.column().classes("w-full gap-0"):
                    with ui.row().classes("w-full justify-between no-wrap"):
                        name, value = ui.label(), ui.label().classes("value whitespace-nowrap")
                    bar = ui.linear_progress(0, show_value=False, color=colour).props("instant-feedback")
                self.rows.append((name, value, bar))

    def show(self, found: Trace) -> None:
        """Fill it."""
        before, after = found.answers[0], found.answers[-1]
        self.network.text = short_names([found.model])[found.model]
        self.answer.text = _short(after) if before == after else f"{_short(before)} → {_short(after)}"
        changed = "bg-yellow-200 text-black"
        self.answer.classes(remove=changed) if before == after else self.answer.classes(add=changed)
        for place, (name, value, bar) in enumerate(self.rows):
            there = place < len(found.leading)
            name.text = _short(found.leading[place]) if there else ""
            first, last = found.leading_probabilities[[0, -1], place].tolist() if there else (0.0, 0.0)
            value.text = f"{first:.3f} → {last:.3f}" if there else ""
            bar.value = last


def _short(answer: str) -> str:
    return answer.split(", ")[0]


def _picture_url(picture: Array) -> str:
    return _data_url(partial(PIL.Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save, format="png"))


def _spectra_url(view: Array, anti_aliasing: str) -> str:
    figure = spectra(view, anti_aliasing)
    try:
        return _data_url(partial(figure.savefig, format="png", dpi=110))
    finally:
        plt.close(figure)


def _data_url(save: Callable[[io.BytesIO], None]) -> str:
    content = io.BytesIO()
    save(content)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
