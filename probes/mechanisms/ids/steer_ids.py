"""Steering by spatial IDs: words of objects are told the other side, and the answer turns or does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, SHARE
from interp.study.keys import check_ids
from probes.mechanisms.ids.steering_measurement import ARMS, SteeringMeasurement
from probes.study.parts import curve_of, gapped, rows_of
from probes.study.run import ONE_GROUP, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.ids.spatial_ids import SpatialIDs

BEYOND = "ids - random"
MEASURES = ("flipped", "opposite")


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class IdSteering:
    """What telling words the other side does to answers, by slot, beside random directions of the same length.

    Attributes:
        flipped: float32 [arm slot], share of the right answers that turned to the opposite, by `ids` and `random`;
            masked where `measures` has no row.
        measures: a row per arm (and for `ids - random`), measure and slot: `value`, `low`, `high`, `samples`, `groups`.
            `flipped` is that share, `opposite` the mean probability of the opposite word.
        left_out: what can not be told, in how many cases, and why: `what`, `why`, `cases`.
        settings: the record of what made it.
    """

    flipped: Float32[np.ma.MaskedArray, "arm slot"] = field(repr=False)
    measures: pd.DataFrame = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    def curve(self, arm: str = "ids", measure: str = "flipped") -> pd.DataFrame:
        """One measure of one arm by slot.

        Raises:
            InputError: it is not told.
        """
        return curve_of(self.measures, measure=measure, arm=arm)

    def to_dataframe(self) -> pd.DataFrame:
        """All measures, see `measures`."""
        return self.measures

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of answers that turned by slot, steered by IDs and at random."""
        from probes.mechanisms.ids.figure import plot_steering

        return plot_steering(self.measures, self.flipped.shape[1], ax, level=self.settings["level"])


def steer_ids(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    found: SpatialIDs,
    *,
    scale: float = 5.0,
    seeds: Iterable[int] = range(3),
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> IdSteering:
    """Adversarial steering by spatial IDs, after Kang et al. (arXiv 2601.12626).

        h_l(first) <- h_l(first) + s |ID| u,    h_l(second) <- h_l(second) - s |ID| u

    at the last token of both objects' names, at one slot l at a time, with u the unit direction from the universal ID
    of the photo's near side to that of the far side, along the axis of the answer and towards its opposite, |ID| the
    mean length of that slot's IDs and s `scale`. The authors take corners and five times another length; ours is the
    mean over the side. The control adds random directions of the same length, mean over seeds: steering far enough
    along any direction breaks some answers. Of samples rightly answered untouched.

    Args:
        vlm: the model.
        samples: questions about two objects, first and second as in the question, answered by left, right, above or
            below. Give others than the IDs were made of.
        found: what `spatial_ids` gave of this model.
        scale: how many times the IDs' mean length is added.
        seeds: of the random directions.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that share passes.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = spatial_ids(vlm, id_scenes())
        >>> steer_ids(vlm, id_scenes(seed=1), found).plot()

    Raises:
        InputError: no samples, samples that can not be steered, IDs of another model, fewer than two groups, numbers
            that mean nothing, or a folder that can not be used; all before the first pass.
        RefusedError: a model with DeepStack.
    """
    check_draws(draws, level, seed)
    check_ids(samples)
    work = SteeringMeasurement.of(vlm, found, scale=scale, seeds=seeds, prompt=prompt)
    groups = dict(zip((sample.id for sample in samples), groups_of(samples), strict=True))
    table, settings = measure_samples(
        samples, work, "steer-ids", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    measures, left_out = _measures(table, groups, work.slots, {"seed": seed, "n": draws, "level": level})
    curves = [rows_of(measures, measure="flipped", arm=arm) for arm in ARMS]
    return IdSteering(
        flipped=gapped(curves, vlm.cfg.n_layers + 1),
        measures=measures,
        left_out=left_out,
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _measures(
    table: pd.DataFrame, groups: Mapping[str, Any], slots: Sequence[int], drawn: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    first = table[table["arm"] == ARMS[0]]
    wrong = int((~first["right"].astype(bool)).sum())
    left_out = [{"what": "samples", "why": "not rightly answered untouched", "cases": wrong}] if wrong else []
    kept = table[table["right"].astype(bool)]
    names = np.array([groups[name] for name in kept.loc[kept["arm"] == ARMS[0], "id"]], dtype=object)
    gone = ["what", "why", "cases"]
    if len(set(names)) < 2:
        left_out.append({"what": "all arms", "why": ONE_GROUP, "cases": len(names)})
        columns = ["arm", "measure", "slot", "value", "low", "high", "samples", "groups"]
        return pd.DataFrame(columns=columns), pd.DataFrame(left_out, columns=gone)
    parts = []
    for measure in MEASURES:
        values = {arm: np.stack(list(kept.loc[kept["arm"] == arm, measure])).astype(float) for arm in ARMS}
        values[BEYOND] = values[ARMS[0]] - values[ARMS[1]]
        for arm, own in values.items():
            mean = mean_over_groups(own, names, **drawn, bounds=APART if arm == BEYOND else SHARE)
            cells = {"arm": arm, "measure": measure, "slot": list(slots)}
            ends = {name: getattr(mean, name).astype(np.float32) for name in ("estimate", "low", "high")}
            told = {"value": ends["estimate"], "low": ends["low"], "high": ends["high"]}
            parts.append(pd.DataFrame({**cells, **told, "samples": len(own), "groups": len(set(names))}))
    return pd.concat(parts, ignore_index=True), pd.DataFrame(left_out, columns=gone)
