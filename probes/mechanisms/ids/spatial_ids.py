"""Spatial IDs: do words of objects hold the cell their object lies in, all objects alike, and in which layers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from interp.errors import InputError
from interp.numeric import whole_number
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.stats.shared_pattern import shared_pattern
from interp.study.keys import check_ids
from probes.mechanisms.ids.geometry import deviations, id_axes, mean_states, moves, plane, position_hat
from probes.mechanisms.ids.measurement import IdsMeasurement
from probes.study.parts import curve_of, rows_of
from probes.study.run import measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

FEWEST_OBJECTS = 2
"""Objects that have to be seen in every cell: what one alone has can not be told from what all share."""

SHUFFLES = 199
"""Of the null, by default."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class SpatialIDs:
    """What words of objects hold of their object's cell, by slot: 0 is what enters block 0.

    Cells are numbered row by row.

    Attributes:
        ids: float32 [slot cell d_model], the universal ID: the mean over objects of what each one's word has beyond
            its own mean over cells.
        axes: float32 [slot axis d_model], horizontal and vertical.
        plane: float32 [slot cell 2], the cells' coordinates along the horizontal axis and along what of the vertical
            one is at a right angle to it; masked at slots in `left_out`.
        measures: a row per slot and measure: `value`, `low`, `high` (draws of objects), `null` and `null_high` (each
            object's cells shuffled), `p`, `objects`. `r2` is that of the rank-3 fit, `agreement` the cosine between an
            object's deviations and the ID of all others.
        left_out: slots, objects and measures that can not be told, and why.
        objects: which objects were seen in every cell.
        cells: cells along a side.
        settings: the record of what made it.
    """

    ids: Float32[np.ndarray, "slot cell d_model"] = field(repr=False)
    axes: Float32[np.ndarray, "slot axis d_model"] = field(repr=False)
    plane: Float32[np.ma.MaskedArray, "slot cell 2"] = field(repr=False)
    measures: pd.DataFrame = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)
    objects: tuple[str, ...]
    cells: int
    settings: dict[str, Any] = field(repr=False)

    def curve(self, measure: str = "r2") -> pd.DataFrame:
        """One measure by slot.

        Raises:
            InputError: it is told at no slot.
        """
        return curve_of(self.measures, measure=measure)

    def to_dataframe(self) -> pd.DataFrame:
        """All measures, see `measures`."""
        return self.measures

    def plane_to_dataframe(self) -> pd.DataFrame:
        """A row per slot with a plane, and cell: `slot`, `row`, `col`, `across`, `down`."""
        import pandas as pd

        slots = np.flatnonzero(~np.ma.getmaskarray(self.plane).any(axis=(1, 2)))
        slot, cell = np.repeat(slots, self.cells**2), np.tile(np.arange(self.cells**2), len(slots))
        across, down = np.ma.getdata(self.plane)[slot, cell].T
        row, col = np.divmod(cell, self.cells)
        return pd.DataFrame({"slot": slot, "row": row, "col": col, "across": across, "down": down})

    def plot(self, ax: Axes | None = None, *, measure: str = "r2") -> Axes:
        """Draw a measure by slot, with its interval and its null."""
        from probes.mechanisms.ids.figure import plot_ids

        return plot_ids(self.curve(measure), measure, len(self.ids), ax, level=self.settings["level"])

    def plot_plane(self, slot: int, ax: Axes | None = None) -> Axes:
        """Draw the cells in the plane of the two axes at one slot.

        Raises:
            InputError: there is no plane at this slot.
        """
        from probes.mechanisms.ids.figure import plot_plane

        gone = rows_of(self.left_out, what="plane", slot=slot)
        if len(gone) or not 0 <= slot < len(self.plane):
            raise InputError(
                f"there is no plane at slot {slot}: {gone['why'].iloc[0] if len(gone) else 'no such slot'}"
            )
        return plot_plane(self.plane[slot], self.cells, slot, ax)


def spatial_ids(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    cells: int = 4,
    shuffles: int = SHUFFLES,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> SpatialIDs:
    """Spatial IDs, as Kang et al. (arXiv 2601.12626) find them at words that name objects.

        Delta_l(o; i, j) = phi_l(o; i, j) - mean over cells of phi_l(o),   ID_l(i, j) = mean over objects of Delta_l

    with phi_l(o; i, j) the residual stream at the last token of the object's name in the question, mean over samples
    in which its box's centre lies in cell (i, j) of the photo. Every object that a question names and that has a box is
    read. The axes are mean differences between columns and between rows, and the fit is that of a linear map of rank 3
    from a position code (column, row and their product, ours) to the ID: its R^2 has an interval that draws objects,
    and a null in which each object's cells are shuffled.

    That words hold a place does not show that the answer hangs on it: see `mirror_swap`.

    Args:
        vlm: the model.
        samples: scenes in which each of several objects lies in every cell, such as `id_scenes()`.
        cells: cells along a side of the photo.
        shuffles: of the null.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that share one pass.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: of draws and shuffles.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = spatial_ids(vlm, id_scenes())
        >>> found.curve("r2"), found.plot(), found.plot_plane(8)

    Raises:
        InputError: no samples, samples that can not be asked, objects that are not named, fewer than two that lie in
            every cell, numbers that mean nothing, or a folder that can not be used; all before the first pass.
    """
    check_draws(draws, level, seed)
    shuffles = whole_number(shuffles, "shuffles", 1)
    check_ids(samples)
    work = IdsMeasurement.of(vlm, cells=cells, prompt=prompt)
    cells = work.cells
    objects, missing = work.seen_everywhere(samples)
    if len(objects) < FEWEST_OBJECTS:
        told = "; ".join(f"{name}: {why}" for name, why in list(missing.items())[:5])
        raise InputError(
            f"{len(objects)} objects lie in all {cells * cells} cells, and {FEWEST_OBJECTS} are needed ({told}): give "
            "scenes such as id_scenes(), or fewer cells"
        )
    table, settings = measure_samples(
        samples, work, "spatial-ids", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    slots = vlm.cfg.n_layers + 1
    states = [mean_states(table[table["slot"] == slot], objects, cells) for slot in range(slots)]
    drawn = {"seed": seed, "n": draws, "level": level, "shuffles": shuffles}
    measures, left_out = _measures(states, cells, drawn)
    ids = np.stack([deviations(own).mean(0) for own in states])
    axes = np.stack([id_axes(own, cells) for own in ids])
    planes, flat = _planes(states, ids, axes)
    gone = [{"what": name, "slot": -1, "why": why} for name, why in missing.items()]
    return SpatialIDs(
        ids=ids.astype(np.float32),
        axes=axes.astype(np.float32),
        plane=planes,
        measures=measures,
        left_out=_table([*gone, *left_out, *flat], ("what", "slot", "why")),
        objects=objects,
        cells=cells,
        settings={**settings, "seed": seed, "draws": draws, "level": level, "shuffles": shuffles},
    )


def _measures(
    states: list[np.ndarray], cells: int, drawn: Mapping[str, Any]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The measures of every slot at which words move with the cell, and why others have none."""
    rows, left_out = [], []
    for slot, own in enumerate(states):
        if not moves(own):
            why = "words are the same wherever their objects lie"
            left_out += [{"what": measure, "slot": slot, "why": why} for measure in ("r2", "agreement")]
            continue
        found = shared_pattern(deviations(own), position_hat(cells), **drawn)
        rows += [{"slot": slot, "measure": name, **each, "objects": len(own)} for name, each in found.measures.items()]
    columns = ("slot", "measure", "value", "low", "high", "null", "null_high", "p", "objects")
    return _table(rows, columns), left_out


def _planes(
    states: list[np.ndarray], ids: np.ndarray, axes: np.ndarray
) -> tuple[Float32[np.ma.MaskedArray, "slot cell 2"], list[dict[str, Any]]]:
    """The cells in the plane of both axes at every slot, masked where there is none, and why."""
    found, left_out = [], []
    for slot, own in enumerate(states):
        flat = plane(ids[slot], axes[slot]) if moves(own) else None
        if flat is None:
            left_out.append({"what": "plane", "slot": slot, "why": "words do not move along two axes"})
        found.append(np.full((ids.shape[1], 2), np.nan) if flat is None else flat)
    return np.ma.masked_invalid(np.stack(found).astype(np.float32)), left_out


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
