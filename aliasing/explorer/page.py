"""The page: settings, a photograph to drag, the answers of two networks, depth and spectra."""

import asyncio
import html
import io
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image

from aliasing.called import short_names
from aliasing.errors import InputError, UsageError
from aliasing.explorer import drawings
from aliasing.explorer.guard import Guard
from aliasing.explorer.networks import FILTERS, convert, load
from aliasing.explorer.walk import (
    CLASSES,
    FIRST,
    FRACTION,
    HOME,
    WHOLE,
    Answer,
    DrawnWatch,
    Place,
    Start,
    Walk,
    Watch,
    diagonal,
    find_start,
    picture,
    told,
)
from aliasing.images import BadImage, Image, decode
from aliasing.images.entries import hash_bytes, shown
from aliasing.models import Classifier
from aliasing.outputs import OUTPUTS
from aliasing.outputs.drawn import Drawing
from aliasing.plots.overlay import key, layers
from aliasing.plots.svg import data_address, webp
from aliasing.protocols import Drag
from aliasing.protocols.base import Array
from aliasing.rounding import rounded
from aliasing.tables import counted

HOST = "127.0.0.1"
CONVERSION = "conversion"  # the second network, unless another is chosen
_TITLE = "Drag a photograph: what does a pixel change?"
_LARGEST_UPLOAD = 50_000_000  # bytes
_PAUSE = 0.15  # seconds a place is shown while the page plays
_REST = 0.3  # seconds after which a photograph rests
_DEPTH = "Depth: how much of each layer's change does the shift{} not explain?"
_END = f" ({Drag.reach:g} pixels is the end)"
_PLAY, _STOP = "▶ play", "■ stop"
_STEPS = {WHOLE: "1 px", FRACTION: "⅛ px"}
_PAD = {"up": ("↑", -1, 0), "left": ("←", 0, -1), "right": ("→", 0, 1), "down": ("↓", 1, 0)}
# What the browser sends: where the pointer is in pixels of the picture, which arrow, and whether motion is unwelcome.
_POINTER = """(e) => {
  if (e.type == "pointermove" && !e.buttons) return;
  if (e.type == "pointerdown") { e.target.setPointerCapture(e.pointerId); e.target.focus(); e.preventDefault(); }
  const box = e.target.getBoundingClientRect(), scale = e.target.naturalHeight / box.height;
  emit(e.type, (e.clientY - box.top) * scale, (e.clientX - box.left) * scale);
}"""
_ARROWS = """<script>document.addEventListener("keydown", (e) => {
  const way = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key];
  if (!way || e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return;
  if (e.target.closest("input, textarea, select, .q-menu")) return;
  e.preventDefault();
  emitEvent("arrow", way);
})</script>"""
_REJECTED = "([rejected]) => emit(rejected.file.name, rejected.failedPropValidation)"
_MOTION = "() => emit(matchMedia('(prefers-reduced-motion: reduce)').matches)"


def serve(
    models: Sequence[str], image: Image | None, recalibrate: str, output: str, *, port: int, browser: bool
) -> None:
    """Serve the page on this machine until interrupted.

    The page begins with ``image``, or else with a photograph on which one pixel changes the first network's answer. It
    offers ``models``, shows their ``output``, and recalibrates conversions on the images ``recalibrate``. Raises
    UsageError if it cannot show such an output, InputError if NiceGUI is missing or the port is taken.
    """
    if not OUTPUTS[output].movement:
        shown = ", ".join(name for name, kind in OUTPUTS.items() if kind.movement)
        raise UsageError(f"the explorer cannot show output {output}; choose one of {shown}")
    try:
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError:
        raise InputError('the explorer is a NiceGUI page; pip install "aliasing[explore]"') from None
    _check_port(port)
    first = load(models[0])  # reports a wrong name here, not in the page
    start = Start(image) if image else find_start(first, not OUTPUTS[output].of_classes)
    if start and start.why:
        print(start.why)
    # Do not answer a foreign page whose host name points here (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    origins = [f"http://{host}:{port}" for host in (HOST, "localhost")]
    app.add_middleware(Guard, origins=origins, largest=_LARGEST_UPLOAD + 2**20)  # a form is longer than its file
    print(f"http://{HOST}:{port} (this machine only; Ctrl-C ends it)", flush=True)
    quiet: dict[str, Any] = {"dark": None, "reload": False, "show_welcome_message": False}

    def build() -> None:
        _Page(models, start, recalibrate, output).build()

    with suppress(KeyboardInterrupt):  # the way to stop a server
        ui.run(build, host=HOST, port=port, title="aliasing explore", show=browser, **quiet)


def _check_port(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); choose another with --port") from None


@lru_cache(maxsize=16)
def _watch(model: Classifier, image: Image) -> Watch:
    return Watch(model, image)


@lru_cache(maxsize=4)
def _drawn_watch(model: Classifier, image: Image, output: str) -> DrawnWatch:
    return DrawnWatch(model, image, output)


class _Latest:
    """Does a job whenever it is asked for: one at a time, and of those that wait only the last."""

    def __init__(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.job = job
        self.wanted = self.done = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it has been asked for again since the job began."""
        return self.done != self.wanted

    async def ask(self) -> None:
        """Do the job, and wait for it."""
        self.wanted += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._work())
        await self.task

    async def _work(self) -> None:
        while self.is_stale:
            self.done = self.wanted
            await self.job()


class _Page:
    """The page of one visitor."""

    def __init__(
        self, models: Sequence[str], start: Start | None, recalibrate: str, output: str = "probabilities"
    ) -> None:
        self.models, self.recalibrate, self.output = list(models), recalibrate, output
        self.image = start.image if start else None
        self.why = start.why if start else ""
        self.walk = Walk()
        self.walk.restart(start.place if start else FIRST)
        self.first, self.anti_aliasing = self.models[0], FILTERS[0]
        self.second = self.models[1] if len(self.models) == 2 else CONVERSION  # two are meant side by side
        self.grip: Place | None = None
        self.playing: object | None = None  # which run of the diagonal
        self.answers, self.drawings = _Latest(self._answer), _Latest(self._draw)

    def build(self) -> None:
        """Lay out the page, and show the photograph."""
        from nicegui import ui

        ui.add_css(Path(__file__).with_name("page.css"))
        _text(_TITLE, "h1")
        self.message = ui.label().classes("message").props("role=alert")
        with ui.element().classes("stage"):
            self._build_photograph()
            self._build_controls()
            kind = _Card if OUTPUTS[self.output].of_classes else _DrawnCard
            with ui.element().classes("cards"):
                self.cards = [kind(which, self.output) for which in ("first", "second")]
                name = load(self.first).name
                self.cards[0].network.text = short_names([name])[name]
                self.cards[1].network.text = self._seconds()[self.second]  # until it is loaded or converted
                self.what = _text("", "p").classes("done")
            self._build_settings()
        with _Section() as self.depth_section:
            self.depth_title = _text(_DEPTH.format(""), "h2").classes("depth-title")
            _text(
                "0: the layer's map moves with the photograph. 1: moving the map explains nothing of its change. Above"
                " 1: the moved map is a worse guess than the map that stayed where it was.",
                "p",
            )
            with ui.element().classes("legend"):
                self.legend = [ui.label().classes(which) for which in ("first", "second")]
            self.depth = ui.html(sanitize=False).classes("depth")
        with _Section() as self.spectrum_section:
            _text(f"The spectrum of the view, and what a stride of {drawings.STRIDE} folds", "h2")
            _text(
                "All in cycles per pixel of the original. Its Nyquist frequency is 0.5. If every second pixel is kept,"
                " the new one is 0.25: what is above folds, and the pixels that are kept have nothing above it.",
                "p",
            )
            self.spectrum = ui.html(sanitize=False).classes("spectrum")
        ui.timer(0.05, self.refresh, once=True)

    def _build_photograph(self) -> None:
        from nicegui import ui

        with ui.element().classes("photo"):
            self.picture = ui.element("img").props(
                'draggable=false tabindex=0 role=application aria-label="photograph: drag it, or press the arrow keys"'
            )
            for event in ("pointerdown", "pointermove"):
                self.picture.on(event, self._drag, throttle=0.05, js_handler=_POINTER)
            ui.add_body_html(_ARROWS)
            ui.on("arrow", lambda event: self._step(*event.args))
            self.place = ui.label().classes("place")
            _text("Drag it, or press the arrow keys anywhere on the page.", "p").classes("hint")

    def _build_controls(self) -> None:
        from nicegui import ui

        with ui.element().classes("controls"):
            with ui.element().classes("pad"):
                for way, (arrow, down, right) in _PAD.items():
                    button = ui.button(arrow, on_click=partial(self._step, down, right)).props("outline")
                    button.props(f'aria-label="one step {way}"').classes(way)
                ui.button("⌂", on_click=self._go_home).props('flat aria-label="back to where it was"').classes("home")
            with ui.element().classes("actions"):
                self.player = ui.button(_PLAY).props("outline no-caps").classes("play")
                self.player.on("click", self._play, js_handler=_MOTION)
                ui.toggle(_STEPS, value=WHOLE, on_change=self._choose_step).props(
                    "no-caps spread dense toggle-text-color=on-accent"
                ).classes("steps")

    def _build_settings(self) -> None:
        from nicegui import ui

        with ui.element().classes("settings"):
            upload = ui.upload(
                label="a photograph of yours",
                auto_upload=True,
                max_file_size=_LARGEST_UPLOAD,
                on_upload=self._take,
            ).props('accept="image/*" flat bordered')
            upload.on("rejected", lambda event: self._reject(*event.args), js_handler=_REJECTED)
            self.reason = _text(self.why, "p")
            ui.select(self.models, label="network", value=self.first, on_change=self._choose("first"))
            self.seconds = ui.select(
                self._seconds(), label="second network", value=self.second, on_change=self._choose("second")
            )
            self.filters = ui.select(
                list(FILTERS), label="its filter", value=self.anti_aliasing, on_change=self._choose("anti_aliasing")
            )
            self.filters.set_enabled(self.second == CONVERSION)

    def _seconds(self) -> dict[str, str]:
        others = {name: name for name in self.models if name != self.first}
        return {CONVERSION: "the same, anti-aliased", **others}

    def _choose(self, what: str) -> Callable[[Any], Any]:
        async def choose(event: Any) -> None:
            setattr(self, what, event.value)
            if self.second == self.first:
                self.second = CONVERSION
            self.seconds.set_options(self._seconds(), value=self.second)
            self.filters.set_enabled(self.second == CONVERSION)
            for card in self.cards:
                card.wait()
            await self.refresh()

        return choose

    async def _choose_step(self, event: Any) -> None:
        self.walk.step = event.value
        await self._go(self.walk.place)  # a fraction goes to the nearest whole pixel

    async def _step(self, down: int, right: int) -> None:
        here = self.walk.place
        await self._go((here[0] + down * self.walk.step, here[1] + right * self.walk.step))

    async def _go(self, place: Place) -> None:
        before, was_playing = self.walk.place, self.playing
        self._stop()
        self.walk.go(place)
        if self.walk.place != before or was_playing:
            await self.refresh()

    async def _go_home(self) -> None:
        self._stop()
        self.walk.restart()
        await self.refresh()

    async def _drag(self, event: Any) -> None:
        """Move the photograph with the pointer."""
        kind, down, right = event.args
        here = self.walk.place
        if kind == "pointerdown":
            self.grip = down - here[0], right - here[1]
        elif self.grip is not None:
            await self._go((down - self.grip[0], right - self.grip[1]))

    async def _play(self, event: Any) -> None:
        """Go along the diagonal and back; where motion is unwelcome, only count what that changes."""
        if self.playing:
            self._stop()
            await self.refresh()
            return
        self.walk.restart()
        self._outdate()
        moves = not event.args
        if moves:
            self.player.text = _STOP
        playing = self.playing = object() if moves else None
        for place in diagonal(self.walk.step):
            self.walk.go(place)
            if moves:
                await asyncio.gather(self.answers.ask(), asyncio.sleep(_PAUSE))
                if self.playing is not playing:
                    return
        self._stop()
        await self.refresh()

    def _stop(self) -> None:
        self.playing, self.player.text = None, _PLAY

    async def _take(self, event: Any) -> None:
        """Take an uploaded photograph, or say in one line why it cannot be used."""
        content = await event.file.read()
        event.sender.reset()
        name = shown(event.file.name)
        try:
            self.image = Image(await asyncio.to_thread(decode, content), name, hash_bytes(content), None)
        except BadImage as error:
            self._complain(f"{name}: {error}")
            return
        self._stop()
        self.reason.content = ""
        self.walk.restart(FIRST)
        for card in self.cards:
            card.wait()
        await self.refresh()

    def _reject(self, name: str, why: str) -> None:
        """Say why the browser did not send a file."""
        limit = f"a file of more than {_LARGEST_UPLOAD // 10**6} MB"
        self._complain(f"{shown(name)}: {limit if why == 'max-file-size' else 'not a picture'}")

    def _outdate(self) -> None:
        """Mark depth and spectra as those of another view, from now until they are drawn again."""
        for section in (self.depth_section, self.spectrum_section):
            section.mark("computing…")

    def _complain(self, text: str) -> None:
        self.message.text = text

    async def refresh(self) -> None:
        """Show the answers at once, and slower results when the photograph rests."""
        if self.image is None:
            self._complain("no photograph yet: choose one")
            return
        self._outdate()
        await self.answers.ask()
        if not self.playing:
            await self.drawings.ask()

    async def _answer(self) -> None:
        assert self.image is not None
        image, places = self.image, tuple(self.walk.places)
        try:
            first = await asyncio.to_thread(load, self.first)
            view = await asyncio.to_thread(picture, image, first, places[-1])
            self.picture.props["src"] = _picture_url(view)
            self.place.text = f"{image.name}: {told(places[-1])}{_END if _is_at_end(places[-1]) else ''}"
            await self.cards[0].look(first, image, places)
            second, self.what.content = await asyncio.to_thread(self._second)
            await self.cards[1].look(second, image, places)
            self._complain("")
        except (InputError, UsageError) as error:
            self._complain(str(error))

    def _second(self) -> tuple[Classifier, str]:
        """The second network, and what was done to it."""
        if self.second != CONVERSION:
            return load(self.second), ""
        return convert(self.first, self.anti_aliasing, self.recalibrate)

    async def _draw(self) -> None:
        await asyncio.sleep(_REST)
        if self.drawings.is_stale or self.answers.is_stale or self.playing:
            return
        assert self.image is not None
        drawn, image, place, step = self._chosen, self.image, self.walk.place, self.walk.step
        shift = (step, step) if place == HOME else place
        said = f"not moved; shown for a shift of {told(shift)}" if place == HOME else told(shift)
        try:
            second, _ = await asyncio.to_thread(self._second)
            networks = [load(self.first), second]
            found = await asyncio.to_thread(drawings.depth_profile, networks, image, shift)
            self.depth.content = await asyncio.to_thread(drawings.draw_depth, found)
            self.depth_title.content = _DEPTH.format(f" ({said})")
            names = short_names([network.name for network in networks])
            for label, name in zip(self.legend, names.values(), strict=True):
                label.text = name
            if self._chosen == drawn:
                self.depth_section.mark("")
            view = await asyncio.to_thread(picture, image, networks[0], place)
            self.spectrum.content = await asyncio.to_thread(drawings.draw_spectra, view, self.anti_aliasing)
            if self._chosen == drawn:
                self.spectrum_section.mark("")
        except (InputError, UsageError) as error:
            self._complain(str(error))
            for section in (self.depth_section, self.spectrum_section):
                section.mark("not computed")

    @property
    def _chosen(self) -> tuple[object, ...]:
        """All on which the drawings depend."""
        return self.image, self.walk.place, self.walk.step, self.first, self.second, self.anti_aliasing


def _is_at_end(place: Place) -> bool:
    return max(map(abs, place)) >= Drag.reach


def _look(model: Classifier, image: Image, places: tuple[Place, ...]) -> tuple[Answer, list[bool]]:
    """The answer at the last place, and which steps changed it."""
    watch = _watch(model, image)
    return watch.answer(places[-1]), watch.changes(places)


class _Section:
    """A part of the page that is computed when the photograph rests, and is dimmed until then."""

    def __init__(self) -> None:
        from nicegui import ui

        self.box = ui.element("section")
        with self.box:
            self.state = ui.label().classes("state").props("role=status")

    def __enter__(self) -> Self:
        self.box.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.box.__exit__(*error)

    def mark(self, state: str) -> None:
        """Dim it and say its state; with none it is up to date."""
        self.state.text = state
        self.box.classes(**{"add" if state else "remove": "outdated"})


class _Card:
    """One network's answer, how often it changed, and its leading classes at home and now."""

    def __init__(self, which: str, output: str) -> None:
        from nicegui import ui

        self.rows = []
        with ui.element().classes(f"card {which}"):
            self.network = ui.label("…").classes("network")
            self.answer = ui.label("…").classes("answer").props("aria-live=polite")
            self.count = ui.label().classes("count")
            for _ in range(CLASSES):
                with ui.element().classes("odds"):
                    name, value = ui.label().classes("class"), ui.label().classes("value")
                    bar = ui.linear_progress(0, show_value=False).props("instant-feedback")
                self.rows.append((name, value, bar))

    def wait(self) -> None:
        """Say that an answer is on its way."""
        self.answer.text = "…"

    async def look(self, model: Classifier, image: Image, places: tuple[Place, ...]) -> None:
        """Show what a network answers at the last place, and which steps changed it."""
        self.show(model.name, *await asyncio.to_thread(_look, model, image, places))

    def show(self, model: str, answer: Answer, changes: Sequence[bool]) -> None:
        """Fill it."""
        self.network.text = short_names([model])[model]
        before, now = _short(answer.before), _short(answer.now)
        moved = answer.before != answer.now
        self.answer.text = f"{before} → {now}" if moved else before
        self.answer.classes(**{"add" if moved else "remove": "changed"})
        self.count.text = f"{sum(changes)} of {counted(len(changes), 'step')} changed the answer"
        empty = [("", None, None)] * CLASSES
        for (name, value, bar), (known, first, last) in zip(self.rows, (*answer.leading, *empty), strict=False):
            name.text = _short(known)
            value.text = "" if last is None else f"{rounded(first, '.2f')} → {rounded(last, '.2f')}"
            bar.value = last or 0.0


class _DrawnCard:
    """What one network answers, drawn over the photograph, and what of it differs from its answer at home."""

    def __init__(self, which: str, output: str) -> None:
        from nicegui import ui

        self.output = output
        with ui.element().classes(f"card {which}"):
            self.network = ui.label("…").classes("network")
            self.answer = ui.label("…").classes("answer").props("aria-live=polite")
            self.count = ui.label().classes("count")
            self.picture = ui.html(sanitize=False).classes("layers")
            self.key = ui.html(sanitize=False).classes("key")

    def wait(self) -> None:
        """Say that an answer is on its way."""
        self.answer.text = "…"

    async def look(self, model: Classifier, image: Image, places: tuple[Place, ...]) -> None:
        """Show what a network answers at the last place."""
        drawing, pictures, meanings = await asyncio.to_thread(_drawn, model, image, places[-1], self.output)
        self.network.text = short_names([model.name])[model.name]
        self.answer.text = drawing.said
        self.answer.classes(**{"add" if drawing.kept < 1 else "remove": "changed"})
        self.count.text = (
            "" if np.isnan(drawing.kept) else f"{rounded(drawing.kept, '.3f')} of the answer at home stays"
        )
        self.picture.content, self.key.content = pictures, meanings


def _drawn(model: Classifier, image: Image, place: Place, output: str) -> tuple[Drawing, str, str]:
    """The answer at a place, the picture of it as HTML, and what its colours and lines mean."""
    drawing = _drawn_watch(model, image, output).drawing(place)
    view = PIL.Image.fromarray(picture(image, model, place).clip(0, 255).round().astype(np.uint8))
    pictures = "".join(f'<img src="{source}" alt="">' for source in (webp(view), *layers(drawing)))
    meanings = [f'<span><img src="{source}" alt="">{html.escape(text)}</span>' for source, text in key([drawing])]
    return drawing, pictures, "".join(meanings)


def _text(text: str, tag: str) -> Any:
    from nicegui import ui

    return ui.html(text, tag=tag, sanitize=html.escape)


def _short(answer: str) -> str:
    return answer.split(", ")[0]


def _picture_url(view: Array) -> str:
    content = io.BytesIO()
    PIL.Image.fromarray(view.clip(0, 255).round().astype(np.uint8)).save(content, format="png")
    return data_address(content.getvalue(), "png")
