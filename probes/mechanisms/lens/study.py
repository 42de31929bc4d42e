"""Image lens: do image tokens of an object say its word under the unembedding, in which layers, more than others do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Shaped

from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS
from interp.stats.intervals import SHARE as SHARES
from interp.study.keys import check_ids
from probes.mechanisms.lens.measurement import LensMeasurement
from probes.mechanisms.lens.rows import MEASURES, OBJECT, OTHER, OUTSIDE, SHARE
from probes.study.parts import curve_of, rows_of
from probes.study.run import ONE_GROUP, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

ALL = "all objects"
"""What stands for the objects of all samples, each with the words of its own name."""

BEYOND = {f"{OBJECT} - {OUTSIDE}": OUTSIDE, f"{OBJECT} - {OTHER}": OTHER}
"""How far an object's tokens go beyond those that should not say its word, object by object."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class ImageLens:
    """What image tokens say under the unembedding, over a data set, by slot.

    Slot 0 is what enters block 0, slot l what leaves block l - 1.

    Attributes:
        share: float32 [slot], of an object's tokens, those that say its word among their first `top`; mean of objects.
        measures: a row per what, where, measure and slot: `value`, `low`, `high`, `samples`, `groups`. `what` is
            `all objects` or a word that was named; `where` is `object`, `outside`, `other`, their differences, or
            `image`.
        left_out: what can not be told, in how many cases, and why: `what`, `where`, `why`, `cases`.
        samples: what was measured, a row per sample, what, where and slot.
        top: how many words count as said.
        settings: the record of what made it.
    """

    share: Float32[np.ndarray, " slot"] = field(repr=False)
    measures: pd.DataFrame = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    top: int
    settings: dict[str, Any] = field(repr=False)

    def curve(self, measure: str = SHARE, where: str = OBJECT, what: str = ALL) -> pd.DataFrame:
        """One measure by slot: the columns `slot`, `value`, `low`, `high`, `samples`, `groups`.

        Raises:
            InputError: it is not told.
        """
        return curve_of(self.measures, measure=measure, where=where, what=what)

    def to_dataframe(self) -> pd.DataFrame:
        """All measures, see `measures`."""
        return self.measures

    def plot(self, ax: Axes | None = None, *, measure: str = SHARE) -> Axes:
        """Draw a measure of the objects' words by slot: at their tokens, outside, and at other objects'."""
        from probes.mechanisms.lens.figure import plot_lens

        return plot_lens(rows_of(self.measures, what=ALL), measure, self.top, ax, level=self.settings["level"])


def image_lens(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    words: Sequence[str] = (),
    *,
    top: int = 5,
    at_least: float = 0.5,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> ImageLens:
    """The logit lens on image tokens, as Neo et al. (arXiv 2410.07149) look at LLaVA.

        p_l(t) = softmax(unembed(norm(h_l(t))))

    at every image token t and every slot l, with the model's own final norm, once also at the last slot, and with the
    cap on logits of models that have one. An object's token *says* its word if a spelling of a word of the object's
    name is among its `top` most probable tokens. Two controls stand beside: the same word outside all boxes, and at
    the tokens of the sample's other objects; a model whose every token says a word that the question names has the
    same share everywhere. Words that two objects of a
    sample share count for neither; of several words of a name, each token counts with the one that it says best.

    The pass reads out as it goes: numbers of a few rows and one layer are held at a time, whatever the data set.

    Args:
        vlm: the model.
        samples: photos with objects that have boxes, each with an id of its own; `group` says what is drawn together.
        words: more words to look for, each one token, such as those of relations.
        top: how many of a token's most probable words count as said.
        at_least: share of a token's area in a box from which on it is the object's.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that share one pass.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = image_lens(vlm, read_dataset("shapes", n=100), words=("left", "right"))
        >>> found.curve("share", "object - outside"), found.plot()

    Raises:
        InputError: no samples, samples that can not be asked, a word of several tokens, nothing to look for, fewer than
            two groups, no draw or no such level, or a folder that can not be used; all before the first pass.
    """
    check_draws(draws, level, seed)
    check_ids(samples)
    work = LensMeasurement.of(vlm, words, top=top, prompt=prompt, at_least=at_least)
    groups = dict(zip((sample.id for sample in samples), groups_of(samples), strict=True))
    table, settings = measure_samples(
        samples, work, "lens", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    drawn = {"seed": seed, "n": draws, "level": level}
    measures, left_out = _measures(table, groups, drawn)
    return ImageLens(
        share=rows_of(measures, what=ALL, where=OBJECT, measure=SHARE)["value"].to_numpy(np.float32),
        measures=measures,
        left_out=left_out,
        samples=_by_slot(table),
        top=top,
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _measures(
    table: pd.DataFrame, groups: Mapping[str, Any], drawn: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means over samples with intervals, and what has none."""
    import pandas as pd

    told = table[table["kind"] != "left out"]
    gone = table[table["kind"] == "left out"].groupby(["what", "where", "why"], sort=False).size()
    left_out = gone.rename("cases").reset_index()
    parts, without = [], []
    for what, own in (
        (ALL, told[told["kind"] == "object"]),
        *told[told["kind"] == "word"].groupby("what", sort=False),
    ):
        by_where = dict(list(own.groupby("where", sort=False)))
        if OBJECT in by_where:
            pairs = {name: (by_where[OBJECT], by_where[other]) for name, other in BEYOND.items() if other in by_where}
            by_where |= {name: _difference(*pair) for name, pair in pairs.items()}
        for where, rows in by_where.items():
            names = np.array([groups[name] for name in rows["id"]], dtype=object)
            if len(set(names)) < 2:
                without.append({"what": what, "where": where, "why": ONE_GROUP, "cases": len(rows)})
                continue
            parts += [_by_measure(rows, names, measure, drawn, {"what": what, "where": where}) for measure in MEASURES]
    columns = ["what", "where", "measure", "slot", "value", "low", "high", "samples", "groups"]
    measures = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return measures, pd.concat([left_out, pd.DataFrame(without, columns=left_out.columns)], ignore_index=True)


def _difference(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """What an object's tokens have beyond others, where both are known."""
    both = own.merge(other, on=["id", "what"], suffixes=("", "_other"))
    return both.assign(**{name: both[name] - both[f"{name}_other"] for name in MEASURES})


def _by_measure(
    rows: pd.DataFrame,
    names: Shaped[np.ndarray, " row"],
    measure: str,
    drawn: Mapping[str, Any],
    cells: Mapping[str, Any],
) -> pd.DataFrame:
    import pandas as pd

    bounds = APART if cells["where"] in BEYOND else SHARES
    found = mean_over_groups(np.stack(list(rows[measure])).astype(float), names, **drawn, bounds=bounds)
    return pd.DataFrame(
        {
            **cells,
            "measure": measure,
            "slot": np.arange(len(found.estimate)),
            "value": found.estimate.astype(np.float32),
            "low": found.low.astype(np.float32),
            "high": found.high.astype(np.float32),
            "samples": rows["id"].nunique(),
            "groups": len(set(names)),
        }
    )


def _by_slot(table: pd.DataFrame) -> pd.DataFrame:
    """What was measured, a row per slot; what was left out is not among it."""
    told = table[table["kind"] != "left out"].drop(columns=["key", "why"])
    if told.empty:
        return told.assign(slot=[])
    slots = len(told[SHARE].iloc[0])
    told = told.assign(slot=[np.arange(slots)] * len(told)).explode(["slot", *MEASURES], ignore_index=True)
    return told.astype({"slot": int, **dict.fromkeys(MEASURES, np.float32)})
