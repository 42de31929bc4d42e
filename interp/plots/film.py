"""The path of attention as a film: one frame a layer or answer token, saved as an animated GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from interp.errors import InputError
from interp.layers import paper_layers
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.maps import LABELS
from interp.plots.overlay import colour_bar, lay_over
from interp.plots.path import (
    HEADING,
    LAYERS,
    NAME_LENGTH,
    STEPS,
    mass_by_layer,
    name_object,
    objects_of,
    plot_masses,
    shares_of,
)
from interp.plots.style import INK, TITLE, headline, join_words, name_token
from interp.plots.written import write_out, write_text

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid


def save_path_gif(
    path: str | Path,
    image: Image.Image,
    grid: ImageGrid,
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
    first: Sequence[Box] = (),
    second: Sequence[Box] = (),
    *,
    tokens: Sequence[str] | None = None,
    heads: str = "",
    title: str = "",
    question: str = "",
    answer: str = "",
    milliseconds: int = 600,
    most_bytes: int = 2_000_000,
) -> Path:
    """Save the path of attention as an animated GIF: one frame a layer, from 0 to the last, over and over.

    Each frame has the heat map over the photo on one scale for all frames, the layer's number, and the mass on each
    object that has boxes. With `tokens` the frames are not layers, they are the steps of an answer. A file that would
    be larger than `most_bytes` gets fewer colours, then fewer pixels.

    Args:
        path: the path of the file, ending in `.gif`.
        image: the original photo.
        grid: the geometry of its tokens.
        maps: attention over the image tokens, one row per layer, or with `tokens` one row per answer token.
        first: boxes of the object that the question names first, if there is one.
        second: boxes of the other one, if there is one.
        tokens: what each step of the answer said, such as `Trajectory.tokens`, if the rows of the maps are its steps.
        heads: the heads that the maps are of, in words, such as `head mean` or `head 3`; nothing else is said.
        title: above both panels.
        question: what was asked; it stands there up to its question mark.
        answer: what was said.
        milliseconds: how long each frame stands, at least 20.
        most_bytes: how large the file may be.

    Example:
        >>> save_path_gif("path.gif", photo, grid, maps, [mug], [table])
        >>> steps = [looked.image_map(layer=17, step=step) for step in range(looked.n_steps)]
        >>> save_path_gif("answer.gif", photo, grid, steps, tokens=looked.tokens, heads="head mean", title="layer 17")

    Raises:
        InputError: the photo, maps or tokens do not fit, or the file can not be made so small.
    """
    if milliseconds < 20:
        raise InputError(f"{milliseconds} milliseconds a frame are too few for viewers: give 20 or more")
    said = {"heads": heads, "title": title, "question": question, "answer": answer}
    film = PathFilm(image, grid, maps, first, second, tokens=tokens, **said)
    data = _encode([film.frame(place) for place in range(film.n_frames)], milliseconds, most_bytes)
    Path(path).write_bytes(data)
    return Path(path)


class PathFilm:
    """The frames of the animation: everything is laid out once, and only what differs between frames is drawn anew.

    Attributes:
        figure: that all frames are drawn on; pyplot does not know it.
        n_frames: how many frames there are, one a layer or one a token.

    Example:
        >>> PathFilm(photo, grid, maps, [mug], [table]).frame(6).size
        (900, 420)
    """

    def __init__(
        self,
        image: Image.Image,
        grid: ImageGrid,
        maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
        first: Sequence[Box] = (),
        second: Sequence[Box] = (),
        *,
        tokens: Sequence[str] | None = None,
        heads: str = "",
        title: str = "",
        question: str = "",
        answer: str = "",
    ) -> None:
        """Draw all that stays; see `save_path_gif`."""
        self.shares, objects = shares_of(maps, grid), objects_of(first, second)
        self.n_frames, self.photo = len(self.shares), canvas(image, grid)
        self.along = LAYERS if tokens is None else STEPS
        self.tokens = _check_tokens(tokens, self.n_frames)
        self.masses = {
            name_object(role, boxes): mass_by_layer(self.shares, grid, boxes)[0] for role, boxes in objects.items()
        }
        width, height = panel_size(grid, width=4.0)
        size = width + (6.2 if objects else 1.8), float(np.clip(height, 4.2, 6.4))
        self.figure = Figure(figsize=size, dpi=100, layout=ConstrainedLayoutEngine(w_pad=0.12))
        self._screen = FigureCanvasAgg(self.figure)
        widths = [width, 5.2] if objects else [width]
        left, *right = self.figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        self.overlay = self._paint(left, heads)
        for ax in right:
            plot_masses(grid, self.shares, objects, ax, along=self.along, heads=heads)
        self._heading, *self._captions = (ax.set_title("", y=1.0, **HEADING) for ax in (left, *right))
        self._cursors, hatches = [ax.axvline(0, color=INK, linewidth=1.4) for ax in right], len(left.patches)
        if heading := headline(title, question, answer, 90 if objects else 44):
            self.figure.suptitle(heading, fontsize=TITLE, color=INK, parse_math=False)
        write_out(self.figure)
        self._say(0)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # nothing may move from frame to frame
        draw_boxes(left, self.photo, [box for boxes in objects.values() for box in boxes])
        outlines = [*left.patches[hatches:], *left.texts]
        self._moving: list[Artist] = [self.overlay, *outlines, self._heading, *self._captions, *self._cursors]
        self._still = self._draw_still()

    def frame(self, place: int) -> Image.Image:
        """One frame, RGB: of a layer, or of a step of the answer.

        Raises:
            InputError: there is no such one.
        """
        if not 0 <= place < self.n_frames:
            raise InputError(
                f"{self.along} {place} does not exist: the film has {self.along}s 0 to {self.n_frames - 1}"
            )
        from PIL import Image

        self._screen.restore_region(self._still)
        self.overlay.set_data(self.photo.paint(self.shares[place]))
        self._say(place)
        for artist in self._moving:
            self.figure.draw_artist(artist)
        return Image.fromarray(np.asarray(self._screen.buffer_rgba())[..., :3].copy())

    def _draw_still(self) -> Any:
        """What is the same in all frames, drawn once; the outlines are not, as they lie over the heat map."""
        for artist in self._moving:
            artist.set_visible(False)
        self._screen.draw()
        for artist in self._moving:
            artist.set_visible(True)
        return self._screen.copy_from_bbox(self.figure.bbox)

    def _say(self, place: int) -> None:
        """The layer's or token's number, and the mass on each object."""
        if self.along == STEPS:
            said = f": {name_token(self.tokens[place], NAME_LENGTH)}"
        else:
            said = ", the paper's" if place in paper_layers(self.n_frames) else ""
        self._heading.set_text(f"{self.along} {place} of 0 to {self.n_frames - 1}{said}")
        shares = {name: mass[place] for name, mass in self.masses.items()}
        lines = [
            f"{name}: {_percent(share)}" if share == share else f"{name}: no attention"
            for name, share in shares.items()
        ]
        for caption, cursor in zip(self._captions, self._cursors, strict=True):
            caption.set_text("\n".join(lines))
            cursor.set_xdata([place, place])
        for text in (self._heading, *self._captions):
            write_text(text)

    def _paint(self, ax: Axes, heads: str) -> AxesImage:
        """The heat map on the scale of all frames; the few brightest tokens, often sinks, may exceed it."""
        known = self.shares[np.isfinite(self.shares)]
        top = float(np.quantile(known, 0.995)) if known.size else 0.0
        top = top or float(known.max(initial=0)) or 1e-12
        drawn = lay_over(ax, self.photo, self.shares[0], Normalize(0, top))
        beyond = "max" if known.max(initial=0) > top else "neither"
        label = join_words(LABELS["image"], heads)
        colour_bar(drawn, [ax], label, scale=f"one scale for all {self.along}s", extend=beyond)
        return drawn


def _percent(share: float) -> str:
    """A share with a decimal, and of a small one two."""
    return f"{share:.1%}" if share >= 0.01 else "under 0.01%" if share < 0.0001 else f"{share:.2%}"


def _check_tokens(tokens: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """The tokens of the frames, none where these are layers."""
    if tokens is not None and len(tokens) != n:
        raise InputError(
            f"{len(tokens)} tokens were given for {n} maps: give the token of each step, or none for layers"
        )
    return tuple(tokens or ())


def _encode(frames: Sequence[Image.Image], milliseconds: int, most: int) -> bytes:
    """The frames as a looping GIF of one palette, in the best quality that is small enough."""
    for colours, scale in ((192, 1.0), (96, 1.0), (48, 1.0), (64, 0.75), (32, 0.5)):
        width, height = (round(side * scale) for side in frames[0].size)
        sized = [frame.resize((width, height)) if scale < 1 else frame for frame in frames]
        data = _as_gif(sized, colours, milliseconds)
        if len(data) <= most:
            return data
    raise InputError(f"{len(frames)} frames take {len(data):,} bytes at the least: allow more than {most:,}")


def _as_gif(frames: Sequence[Image.Image], colours: int, milliseconds: int) -> bytes:
    """A GIF in which a colour means the same in every frame: dithering or palettes of their own would flicker."""
    from PIL import Image

    few = [np.asarray(frames[place]) for place in np.unique(np.linspace(0, len(frames) - 1, 6).round().astype(int))]
    palette = Image.fromarray(np.concatenate(few)).quantize(colours)
    plain = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    out = io.BytesIO()
    plain[0].save(out, "GIF", save_all=True, append_images=plain[1:], duration=milliseconds, loop=0, optimize=False)
    return out.getvalue()
