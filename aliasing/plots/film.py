"""Writing films: MP4 for browsers (H.264, 4:2:0, by PyAV) and GIF for everything else (by Pillow), from one drawing."""

import importlib.util
import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import PIL.Image
from matplotlib.animation import AbstractMovieWriter, FuncAnimation
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from aliasing.errors import InputError
from aliasing.plots.moving import FRAMES_PER_SECOND
from aliasing.plots.style import any_script
from aliasing.progress import watched
from aliasing.provenance import write_bytes

Frames = Sequence[npt.NDArray[np.uint8]]

_DOTS_PER_INCH = 100


def require_encoder() -> None:
    """Raise InputError, which says what to install, if no film can be encoded."""
    if importlib.util.find_spec("av") is None:
        raise InputError('films are encoded by PyAV, which is not installed: pip install "aliasing[film]"')


def save_film(film: FuncAnimation, path: Path, *, progress: bool = False) -> None:
    """Write a film as MP4 and as GIF, each completely or not at all, and close its figure.

    Parameters
    ----------
    film : matplotlib.animation.FuncAnimation
    path : Path
        The path without suffix: ``.mp4`` and ``.gif`` are added.
    progress : bool
        Show a progress bar if standard error is a terminal.

    Raises
    ------
    InputError
        PyAV is not installed.
    """
    require_encoder()
    drawn = _Drawn()
    with tqdm(desc="film", unit="frame", disable=not (progress and watched())) as bar:

        def seen(frame: int, frames: int) -> None:
            bar.total = frames
            bar.update()

        with any_script():
            film.save(str(path), writer=drawn, dpi=_DOTS_PER_INCH, progress_callback=seen)
    plt.close(drawn.fig)
    encoded = {".mp4": mp4(drawn.frames, FRAMES_PER_SECOND), ".gif": gif(drawn.frames, FRAMES_PER_SECOND)}
    for ending, content in encoded.items():
        write_bytes(path.with_name(path.name + ending), content)


def mp4(frames: Frames, frames_per_second: int) -> bytes:
    """The frames (H×W×3, uint8) as an MP4 that every browser plays: H.264 with 4:2:0 chroma and its index in front.

    The last row or column of an odd height or width is dropped, because 4:2:0 needs even sizes.
    """
    import av

    height, width = (length // 2 * 2 for length in frames[0].shape[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", container_options={"movflags": "+faststart"}) as container:
            stream: Any = container.add_stream("libx264", rate=Fraction(frames_per_second))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": "20", "preset": "slow"}
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path.read_bytes()


def gif(frames: Frames, frames_per_second: int) -> bytes:
    """The frames as a GIF that loops forever, each with its own 256 colours, undithered to keep it small."""
    pictures = [
        PIL.Image.fromarray(frame).quantize(256, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
        for frame in frames
    ]
    content = io.BytesIO()
    pictures[0].save(
        content, "GIF", save_all=True, append_images=pictures[1:], duration=1000 // frames_per_second, loop=0
    )
    return content.getvalue()


class _Drawn(AbstractMovieWriter):
    """Keeps the frames that matplotlib draws."""

    frames: list[npt.NDArray[np.uint8]]

    def setup(self, fig: Figure, outfile: Any, dpi: float | None = None) -> None:
        self.fig, self.dpi, self.frames = fig, dpi or fig.dpi, []

    def grab_frame(self, **savefig_kwargs: Any) -> None:
        content = io.BytesIO()
        self.fig.savefig(content, **savefig_kwargs, format="rgba", dpi=self.dpi)
        width, height = self.frame_size
        self.frames.append(np.frombuffer(content.getvalue(), np.uint8).reshape(height, width, 4)[..., :3])

    def finish(self) -> None:
        """Nothing to do."""
