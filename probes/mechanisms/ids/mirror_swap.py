"""Mirror swap: which tokens, in which layers, carry what turns the answer when the photo is mirrored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from interp.reprs import fits_a_cell
from interp.stats.clusters import ratio_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.mechanisms.ids.mirror_measurement import SETS, MirrorMeasurement
from probes.study.parts import curve_of, gapped, rows_of
from probes.study.run import ONE_GROUP, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from probes.mechanisms.scenes.pairs import Pair

BEYOND = "words - other_words"
"""How far the names of objects go beyond as many other tokens."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class MirrorSwap:
    """How far each set of tokens, taken from the run of the mirrored photo, moves the answer there, by slot.

    Attributes:
        shift: float32 [set slot], the belief shift of each of `sets`: 0 nothing, 1 all that mirroring does; masked
            where `measures` has no row.
        sets: their names.
        measures: a row per set (and for `words - other_words`) and slot: `tokens`, `slot`, `value`, `low`, `high`,
            `samples`, `groups`.
        left_out: what can not be told, in how many cases, and why: `what`, `why`, `cases`.
        pairs: what was measured, a row per pair, set and slot.
        settings: the record of what made it.
    """

    shift: Float32[np.ma.MaskedArray, "set slot"] = field(repr=False)
    sets: tuple[str, ...]
    measures: pd.DataFrame = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    def curve(self, tokens: str) -> pd.DataFrame:
        """The belief shift of one set by slot.

        Raises:
            InputError: it is not told.
        """
        return curve_of(self.measures, tokens=tokens)

    def to_dataframe(self) -> pd.DataFrame:
        """All measures, see `measures`."""
        return self.measures

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the belief shift of each set by slot, with intervals over groups."""
        from probes.mechanisms.ids.figure import plot_shifts

        return plot_shifts(self.measures, self.shift.shape[1], ax, level=self.settings["level"])


def mirror_swap(
    vlm: HookedVLM,
    pairs: Sequence[Pair],
    *,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> MirrorSwap:
    """The mirror swap of Kang et al. (arXiv 2601.12626): tokens as they are in the run of the mirrored photo.

        shift_l(Q) = (P_x(a) - P_x~(a)) / (P_x(a) - P_y(a))

    with a the right answer of the photo x, y its mirror image under the same question, and x~ the run of x whose
    residual stream at slot l is that of y at the tokens Q: all text behind the photo, all image tokens, the names of
    the objects, and, as a control, as many other tokens of the question, drawn with the seed. Numerator and denominator
    are means over the pairs that are rightly answered in both photos; intervals draw groups.

    Args:
        vlm: the model.
        pairs: such as those of `mirrored_pairs`: one question, two photos of one size.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: pairs that share passes.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: of the control's tokens and of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> pairs, left_out = mirrored_pairs(read_dataset("coco-two", folder))
        >>> mirror_swap(vlm, pairs).plot()

    Raises:
        InputError: no pairs, pairs that can not be swapped, fewer than two groups, no draw or no such level, or a
            folder that can not be used; all before the first pass.
        RefusedError: a model with DeepStack.
        ModelError: probabilities that are not finite.
    """
    check_draws(draws, level, seed)
    work = MirrorMeasurement.of(vlm, pairs, prompt=prompt, seed=seed)
    samples = [pair.as_sample() for pair in pairs]
    groups = dict(zip((sample.id for sample in samples), groups_of(samples), strict=True))
    table, settings = measure_samples(
        samples, work, "mirror-swap", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    measures, left_out = _measures(table, groups, {"seed": seed, "n": draws, "level": level})
    return MirrorSwap(
        shift=gapped([rows_of(measures, tokens=name) for name in SETS], vlm.cfg.n_layers + 1),
        sets=SETS,
        measures=measures,
        left_out=left_out,
        pairs=_by_slot(table),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _measures(
    table: pd.DataFrame, groups: Mapping[str, Any], drawn: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    first = table[table["tokens"] == SETS[0]]
    wrong = int((~first["right"].astype(bool)).sum())
    left_out = [{"what": "pairs", "why": "not rightly answered in both photos", "cases": wrong}] if wrong else []
    kept = table[table["right"].astype(bool)]
    names = np.array([groups[name] for name in kept.loc[kept["tokens"] == SETS[0], "id"]], dtype=object)
    columns = ["tokens", "slot", "value", "low", "high", "samples", "groups"]
    gone = ["what", "why", "cases"]
    if len(set(names)) < 2:
        left_out.append({"what": "all sets", "why": ONE_GROUP, "cases": len(names)})
        return pd.DataFrame(columns=columns), pd.DataFrame(left_out, columns=gone)
    above, below = {}, {}
    for name in SETS:
        own = kept[kept["tokens"] == name]
        swapped = np.stack(list(own["swapped"])).astype(float)
        above[name] = own["clean"].to_numpy(float)[:, None] - swapped
        below[name] = np.broadcast_to((own["clean"] - own["mirrored"]).to_numpy(float)[:, None], swapped.shape)
    if not below[SETS[0]].mean() > 0:
        why = "the right answer is not less probable in the mirrored photo, so that there is no shift to be part of"
        left_out.append({"what": "all sets", "why": why, "cases": len(names)})
        return pd.DataFrame(columns=columns), pd.DataFrame(left_out, columns=gone)
    above[BEYOND] = above["words"] - above["other_words"]
    reach = 1 / below[SETS[0]].mean()  # a probability changes by 1 at most, beside the change that is divided by
    parts = []
    for name, own in above.items():
        found = ratio_over_groups(own, below[SETS[0]], names, **drawn, bounds=(-reach, reach))
        parts.append(
            pd.DataFrame(
                {
                    "tokens": name,
                    "slot": np.arange(own.shape[1]),
                    "value": found.estimate.astype(np.float32),
                    "low": found.low.astype(np.float32),
                    "high": found.high.astype(np.float32),
                    "samples": len(own),
                    "groups": len(set(names)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True), pd.DataFrame(left_out, columns=gone)


def _by_slot(table: pd.DataFrame) -> pd.DataFrame:
    """What was measured, a row per slot."""
    slots = len(table["swapped"].iloc[0])
    told = table.drop(columns="key").assign(slot=[np.arange(slots)] * len(table))
    told = told.explode(["slot", "swapped"], ignore_index=True)
    return told.astype({"slot": int, "swapped": np.float32})
