"""The page to explore: one HTML file that needs no other file and no network, from what was gathered."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from interp.errors import InputError
from interp.maps.trajectory import RELATIVE_FLOOR
from interp.page.content import page_content
from interp.page.data import LABELS, Exploration
from interp.quiet import spell_out
from interp.store.folder import OutputFolder, in_words
from interp.store.names import given_path

FRAME_HEIGHT = 940  # pixels, in a notebook
SCRIPTS = ("numbers.js", "drawing.js", "chart.js", "further.js", "explore.js")


@dataclass(frozen=True, eq=False, repr=False)
class ExplorePage:
    """The page, as text, and what it was made from.

    A notebook shows it in a frame of its own.

    Attributes:
        html: the whole page.
        exploration: the captured attention, unrounded, with its normalisations.

    Example:
        >>> page.save("explore.html")
        PosixPath('explore.html')
    """

    html: str
    exploration: Exploration

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all; returns its path.

        Raises:
            InputError: the name does not end in .html, or the file can not be written.
        """
        folder, name = page_file(path)
        return folder.write_text(name, self.html)

    def _repr_html_(self) -> str:
        """The page in a frame that runs its own script and reaches nothing of the notebook."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="attention to explore" sandbox="allow-scripts" '
            f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        """Say what it is; the page itself is long."""
        return f"ExplorePage({self.exploration.question!r}, {len(self.html) / 1e6:.2f} MB)"


def page_file(path: str | Path) -> tuple[OutputFolder, str]:
    """The folder and the name of a page's file.

    Raises:
        InputError: the name does not end in .html, it is a folder, or its folder can not be written.
    """
    place = given_path(path)
    if place.suffix.lower() not in (".html", ".htm") or place.is_dir():
        raise InputError(f"the page can not be written to {str(path)!r}: name a file such as 'explore.html'")
    return OutputFolder(place.parent), place.name


def render_page(exploration: Exploration) -> ExplorePage:
    """The page of an exploration; every text in it is escaped.

    Raises:
        InputError: the photo is not the one that the grid was made for.
    """
    import jinja2

    content = page_content(exploration)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_asset("explore.html.jinja")).render(
        exploration=exploration,
        content=content,
        normalisations={name: _say_normalisation(exploration, name) for name in exploration.normalisations},
        unchanged=_say_unchanged(exploration),
        rounding=_say_rounding(content),
        sinks=_say_sinks(exploration),
        floor=f"{RELATIVE_FLOOR:g}",
        settings=in_words(exploration.settings),
        data=_for_script(content),
        style=_asset("explore.css"),
        script="\n".join(_asset(name) for name in SCRIPTS),
    )
    writable = (
        spell_out(html).encode("utf-8", "replace").decode("utf-8")
    )  # a lone surrogate could not be written to a file
    return ExplorePage(writable, exploration)


def _for_script(content: dict[str, Any]) -> str:
    """JSON that can stand in a script element whatever texts it holds: no tag, comment or line end begins in it."""
    text = json.dumps(_spelled(content), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _spelled(content: Any) -> Any:
    """Content whose texts have no control character, and nothing that turns the direction of what is written."""
    if isinstance(content, str):
        return spell_out(content)
    if isinstance(content, dict):
        return {spell_out(name): _spelled(value) for name, value in content.items()}
    return [_spelled(value) for value in content] if isinstance(content, (list, tuple)) else content


def _say_normalisation(exploration: Exploration, name: str) -> str:
    """What its values are, and what evenly spread attention has."""
    low, high = (100 * end(exploration.even(name)) for end in (np.nanmin, np.nanmax))
    even = f"{low:.3g} %" if low == high else f"{low:.3g} to {high:.3g} %"
    return f"{LABELS[name]}; evenly spread attention has {even} a token"


def _say_unchanged(exploration: Exploration) -> str:
    """That an intervention changed no weight on the image, and whether it changed the answer; nothing where it did."""
    before, after = exploration.runs[0], exploration.runs[-1]
    if after is before or (before.weights != after.weights).any():
        return ""
    said = "The intervention changed no weight of this row on the image, so the maps before and after are the same"
    sure = [f"{run.confidence:.3f}" for run in (before, after)]
    if (before.answer, sure[0]) == (after.answer, sure[1]):
        return f"{said}."
    changed = "answer" if before.answer != after.answer else "probability of the answer"
    return f"{said}, though the {changed} changed: it acts on something else than this row's attention to the image."


def _say_rounding(content: dict[str, Any]) -> str:
    """How far the page's weights are from the captured ones."""
    sources = [*content["runs"], *([content["neutral"]] if content["neutral"] else []), *content.get("further", [])]
    heads = max(source["heads"]["bound"] for source in sources if source["heads"])
    mean = max(source[part]["bound"] for source in sources for part in ("mean", "bare") if source.get(part))
    steps = {part: content["runs"][0][part]["steps"] for part in ("heads", "mean")}
    said = (
        f"Weights are kept on a logarithmic scale, of {steps['heads']} steps for the map of each head and of "
        f"{steps['mean']} for that of the head mean. So a weight of a head is within {_at_most(heads)} of the "
        f"captured one, and one of the head mean within {_at_most(mean)}; what is less than a millionth of the largest "
        "weight of its map reads 0. Shares, cosine and mass are those of the captured weights, not of the rounded ones."
    )
    if content["neutral"]:
        said += f" Under relative, two rounded weights are divided: within {_at_most(2 * heads / (1 - heads))}."
    if len(content["runs"]) > 1:
        said += " A difference that this rounding could have made is drawn, and read out, as 0."
    return said


def _at_most(share: float) -> str:
    """A bound in per cent, rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(100 * share)) - 1)
    return f"{math.ceil(100 * share / step) * step:.2g} %"


def _say_sinks(exploration: Exploration) -> str:
    """Where sinks come from, and how many no-sinks takes out."""
    if exploration.sinks is None:
        return exploration.sinks_said
    counts = exploration.sinks.sum(axis=-1)
    some = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    both = ", the same before and after," if len(exploration.runs) > 1 else ""
    return (
        f"{exploration.sinks_said} No-sinks takes {some} of {len(exploration.grid)} tokens out of each head{both} and "
        "marks them with a cross; the head mean is that of what is left."
    )


def _asset(name: str) -> str:
    return (files("interp.page") / name).read_text(encoding="utf-8")
