"""A gallery of telling samples, chosen by a rule: where overlap and answer agree, and where they do not."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from interp.errors import InputError
from interp.plots.canvas import Canvas, canvas, draw_boxes, panel_size
from interp.plots.maps import LABELS, ONE_SCALE
from interp.plots.overlay import colour_bar, lay_over
from interp.plots.style import INK, TICK, TITLE, cut_wide, figure_of, in_short, join_words, new_grid
from interp.plots.written import as_written, write_out
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

KINDS = {
    "highest overlap, right": (True, False),
    "lowest overlap, wrong": (False, True),
    "highest overlap, yet wrong": (False, False),
    "lowest overlap, yet right": (True, True),
}
"""What each kind of case is called: whether its answers are right, and whether the lowest overlap comes first."""

RULE = "Chosen by overlap alone among samples in which it is defined; of equals, the first id."
WIDTH = 30  # characters under a panel


@dataclass(frozen=True)
class Case:
    """One sample of a gallery.

    Attributes:
        kind: one of `KINDS`.
        id: the id of the sample.
        overlap: the overlap by which it was chosen.
        right: whether it was answered rightly.
        sureness: probability of the answer's first token; NaN where it is not known.
        answer: what the model said.
        gold: the right answer.
        question: what was asked; empty where it is not known.
    """

    kind: str
    id: str
    overlap: float
    right: bool
    sureness: float
    answer: str
    gold: str
    question: str = ""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Look:
    """What the model looked at in one sample: the photo, the geometry of its tokens, the map over them, and the boxes.

    Attributes:
        image: the photo.
        grid: the geometry of its image tokens.
        attention: attention of the drawn layer, summing to one over the image, [token].
        boxes: the objects of the question.
    """

    image: Image.Image
    grid: ImageGrid
    attention: Float[np.ndarray, " token"]
    boxes: tuple[Box, ...] = ()


def choose_cases(samples: pd.DataFrame, overlap: Float[np.ndarray, " sample"], *, each: int = 1) -> list[Case]:
    """Choose the samples of a gallery, always the same for the same numbers; no sample comes twice.

    Args:
        samples: one row per sample, with columns `id`, `right`, `gold`, and `text` (what was said), and if they are
            known `question`, `predicted` and `confidence`.
        overlap: the overlap by which to choose, NaN where it is not defined.
        each: how many of each kind, at most.

    Returns:
        The cases, kind by kind in the order of `KINDS`; a kind without samples has none.

    Example:
        >>> [case.kind for case in choose_cases(study.samples, study.values("cosine")[:, 17, -1])]
        ['highest overlap, right', 'lowest overlap, wrong', 'highest overlap, yet wrong', 'lowest overlap, yet right']

    Raises:
        InputError: a column is missing, lengths differ, or there is no overlap to choose by.
    """
    values = np.asarray(overlap, dtype=np.float64)
    missing = {"id", "right", "gold", "text"} - set(samples.columns)
    if missing or values.shape != (len(samples),) or not np.isfinite(values).any() or each < 1:
        raise InputError(
            f"{len(samples)} samples without {sorted(missing)}, overlap of shape {values.shape}, {each} of each kind: "
            "give one overlap per sample, some of them defined, and at least one of each kind"
        )
    rows = samples.reset_index(drop=True).assign(overlap=values)
    rows = rows[np.isfinite(values)].sort_values("id", kind="stable")
    cases: list[Case] = []
    for kind, (right, lowest) in KINDS.items():
        own = rows[(rows["right"].astype(bool) == right) & ~rows["id"].isin([case.id for case in cases])]
        chosen = own.sort_values("overlap", ascending=lowest, kind="stable").head(each)
        cases += [_case(kind, row) for row in chosen.to_dict("records")]
    return cases


@as_written
def plot_gallery(
    cases: Sequence[Case],
    looks: Mapping[str, Look],
    *,
    layer: int,
    heads: str = "",
    measure: str = "overlap",
    rule: str = RULE,
    columns: int = 4,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw the cases: photo, boxes and attention of one layer; below, what was asked and said.

    Under each photo stand the question up to its question mark, answer, gold, sureness and overlap.

    All maps are on one scale from zero. The rule that the cases were chosen by stands under the figure.

    Args:
        cases: what `choose_cases` gave.
        looks: what to draw, by the sample's id.
        layer: the layer of the maps, 0-based.
        heads: the heads that maps and overlap are of, in words, such as `head mean` or `head 3`.
        measure: what the overlap is, in words.
        rule: how the cases were chosen.
        columns: how many stand in a row.
        axes: where to draw, one per case; made if None.

    Returns:
        The axes, [case].

    Example:
        >>> plot_gallery(cases, looks, layer=17, heads="head mean")[0].figure.savefig("gallery.png")

    Raises:
        InputError: there is no case, one has nothing to draw, or the axes do not fit.
    """
    absent = [case.id for case in cases if case.id not in looks]
    if not cases or absent:
        raise InputError(f"{len(cases)} cases, of which {absent[:3]} have nothing to draw: give a look for each")
    shown = [looks[case.id] for case in cases]
    photos = [canvas(look.image, look.grid) for look in shown]
    maps = [_check_map(look) for look in shown]
    norm = Normalize(0, max(float(np.nanmax(one, initial=0)) for one in maps) or 1e-12)
    panels = _panels(shown, columns, axes)
    for ax, case, photo, values in zip(panels, cases, photos, maps, strict=True):
        drawn = _draw(ax, case, photo, values, norm)
    figure = figure_of(panels[0])
    where = join_words(f"layer {layer} (0-based)", heads)
    label = f"{LABELS['image']},\n{where}"
    colour_bar(drawn, list(panels), label, scale=ONE_SCALE.format(len(cases)), fraction=0.04)
    said = f"{rule} Overlap: {measure}, {where}. Sure: probability of the first token."
    figure.supxlabel(textwrap.fill(said, _characters(figure)), fontsize=TICK, color=INK, x=0.01, ha="left")
    write_out(figure)
    figure.draw_without_rendering()
    for ax, look, photo in zip(panels, shown, photos, strict=True):
        draw_boxes(ax, photo, look.boxes)
    return panels


def _case(kind: str, row: Mapping[str, Any]) -> Case:
    """A row of the samples as a case."""
    sure = row.get("confidence")
    return Case(
        kind=kind,
        id=str(row["id"]),
        overlap=float(row["overlap"]),
        right=bool(row["right"]),
        sureness=float("nan") if sure is None or sure != sure else float(sure),
        answer=row["text"] if isinstance(row["text"], str) else "",
        gold=str(row["gold"]),
        question=row["question"] if isinstance(row.get("question"), str) else "",
    )


def _draw(ax: Axes, case: Case, photo: Canvas, values: np.ndarray, norm: Normalize) -> Any:
    """One panel."""
    drawn = lay_over(ax, photo, values, norm)
    ax.set_title(case.kind, fontsize=TITLE - 1, loc="left", color=INK)
    sure = "not known" if np.isnan(case.sureness) else f"{case.sureness:.2f}"
    lines = [
        *filter(None, [in_short(case.question, WIDTH)]),
        f"said {_short(case.answer)}, gold {_short(case.gold)}",
        f"sure {sure}, overlap {case.overlap:.2f}",
        cut_wide(case.id, WIDTH),
    ]
    below = "\n".join([*lines, *filter(None, [ax.get_xlabel()])])
    ax.set_xlabel(below, fontsize=TICK, color=INK, parse_math=False)
    return drawn


def _short(words: str) -> str:
    """An answer in quotes, cut short."""
    return f"'{cut_wide(words, 15)}'"


def _check_map(look: Look) -> np.ndarray:
    """The map as float32 [token]; refuses another length."""
    values = np.asarray(look.attention, dtype=np.float32)
    if values.shape != (len(look.grid),):
        raise InputError(f"a map has shape {values.shape} and its grid {len(look.grid)} tokens: give [token]")
    return values


def _panels(shown: Sequence[Look], columns: int, axes: Sequence[Axes] | None) -> np.ndarray:
    """The given axes, or new ones that the tallest photo fits into."""
    if axes is None:
        cells = [panel_size(look.grid, width=2.7) for look in shown]
        return new_grid(
            len(shown), columns=min(columns, len(shown)), cell=(2.7, max(height for _, height in cells) + 1.1)
        )
    panels = np.array(axes, dtype=object).ravel()
    if len(panels) != len(shown):
        raise InputError(f"{len(panels)} axes were given for {len(shown)} cases: give one per case, or none")
    return panels


def _characters(figure: Any) -> int:
    """How many characters of small print fit side by side into a figure."""
    return max(30, int(figure.get_size_inches()[0] * 72 / (0.55 * TICK)))
