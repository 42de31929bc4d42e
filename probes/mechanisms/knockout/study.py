"""Knock-out: a data set asked with edges of attention cut between named parts of the prompt, by window of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, SHARE, Interval
from probes.mechanisms.knockout.arms import ARMS, CONTROLS
from probes.mechanisms.knockout.measurement import NO_WINDOW, KnockoutMeasurement
from probes.study.parts import row_of, rows_of
from probes.study.run import ONE_GROUP, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

UNTOUCHED = "untouched"
"""The arm of the model with no edge cut, whose window is `NO_WINDOW`."""

LIMITS = {"effect": (-100, np.inf), "accuracy": SHARE, "accuracy_change": APART}
"""The least and the most that a measure can be, infinite where there is none; differences of effects have none."""


@fits_a_cell("samples=right arms windows measures")
@dataclass(frozen=True, eq=False)
class KnockoutStudy:
    """What a model's answers lose when its attention is cut between parts of the prompt, by window of layers.

    Measures, by arm and window, each with a percentile bootstrap interval that draws whole groups:

        effect            mean over the samples that are right untouched of (p~ - p) / p * 100: the relative change, in
                          percent, of the probability of the right answer's first token, its spellings summed
        accuracy          share of all samples whose likeliest first token is the right answer, edges cut
        accuracy_change   that less the share untouched, the same samples drawn for both
        beyond_random_image, beyond_random_text    of `object->last` alone: its effect less that of cutting as many
                          other image tokens, or as many words of the text, drawn at random; paired

    The arm `untouched` in the window `none` has the accuracy with nothing cut. What can not be told is left out of the
    table and named, with the reason, in `left_out`.

    Attributes:
        probability: float32 [sample], of the right answer, untouched.
        right: bool [sample], whether the right answer is the likeliest token, untouched.
        cut: float32 [arm window sample], the probability with the edges of an arm cut in a window.
        right_cut: bool [arm window sample], the same of `right`.
        tokens: int32 [arm sample], how many keys are cut.
        arms: their names, controls after what they control.
        windows: the layers of each window, by name.
        samples: the ids, in the order of the arrays.
        measures: one row per arm, window and measure: `arm`, `window`, `measure`, `value`, `low`, `high`, `samples`,
            `groups`.
        left_out: one row per arm and measure that is missing there: `arm`, `measure`, `why`.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.
    """

    probability: Float[np.ndarray, " sample"]
    right: Bool[np.ndarray, " sample"]
    cut: Float[np.ndarray, "arm window sample"]
    right_cut: Bool[np.ndarray, "arm window sample"]
    tokens: Int[np.ndarray, "arm sample"]
    arms: tuple[str, ...]
    windows: Mapping[str, tuple[int, ...]]
    samples: tuple[str, ...]
    measures: pd.DataFrame
    left_out: pd.DataFrame
    settings: Mapping[str, Any]

    def row(self, measure: str, arm: str, window: str) -> pd.Series:
        """The row of one measure.

        Raises:
            InputError: it is not there; the message says why.
        """
        return row_of(self.measures, self.left_out, measure=measure, arm=arm, window=window)

    def value(self, measure: str, arm: str, window: str) -> float:
        """One measure; see `row`."""
        return float(self.row(measure, arm, window)["value"])

    def tells(self, measure: str, arm: str) -> bool:
        """Whether a measure of an arm is there."""
        return bool(len(rows_of(self.measures, measure=measure, arm=arm)))

    def to_dataframe(self) -> pd.DataFrame:
        """The measures: one row per arm, window and measure, numbers as float32 columns."""
        return self.measures.copy()

    def by_sample(self) -> pd.DataFrame:
        """One row per sample, arm and window: `id`, `tokens`, `probability`, `right`, `cut`, `right_cut`."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "id": self.samples, "arm": arm, "window": window, "tokens": self.tokens[one],
                    "probability": self.probability, "right": self.right, "cut": self.cut[one, place],
                    "right_cut": self.right_cut[one, place],
                }
            )
            for one, arm in enumerate(self.arms)
            for place, window in enumerate(self.windows)
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the effect of each arm by window, with intervals, controls dashed.

        Raises:
            InputError: there is no effect, as no sample is right untouched.
        """
        from probes.mechanisms.knockout.figure import plot_windows

        return plot_windows(self.measures, list(self.windows), ax, level=self.settings["level"])

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw the accuracy under each arm by window, with intervals, beside the one untouched."""
        from probes.mechanisms.knockout.figure import plot_windows

        return plot_windows(self.measures, list(self.windows), ax, measure="accuracy", level=self.settings["level"])


def study_knockout(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    windows: Mapping[str, Iterable[int]] | int | None = None,
    *,
    arms: Iterable[str] = ARMS,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> KnockoutStudy:
    """Cut the attention between parts of the prompt in windows of layers, and see what the right answer loses.

        scores[row, key] = -inf before the softmax;  effect = (p~ - p) / p * 100

    (Geva et al. 2023, arXiv:2304.14767.) The arms are named keys->rows, as what is cut flows: `object->last`, from the
    image tokens inside the objects' boxes to the last prompt token; `image->text`, from all image tokens to what is
    behind the image; `image->last`; `text->last`. With `object->last` come its controls: as many other image tokens,
    and as many words, drawn for each sample.

    A cut shows what a model does without an edge. It does not show that the edge is what it uses: information may take
    another way, and a model that is cut in many layers may be broken rather than uninformed.

    Cuts of the last row share one prefill; others are a pass each, the vision tower run once.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own and an answer of one token; `object->last` needs boxes.
        windows: layers by name; a width, for every window of so many consecutive layers; by default the five named
            windows of Neo et al. at this model's depth, and all layers. See `layer_windows`.
        arms: which of `ARMS` to cut.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap, and of the controls' draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = study_knockout(vlm, read_dataset("shapes", n=100))
        >>> found.value("effect", "image->text", "mid"), found.plot()

    Raises:
        InputError: no samples, samples that can not be asked, answers that are no single token, objects without boxes,
            arms or windows that mean nothing, fewer than two groups, no draw or no such level, or a folder that can not
            be used; all before the first pass.
    """
    check_draws(draws, level, seed)
    work = KnockoutMeasurement.of(vlm, windows, arms=arms, prompt=prompt, seed=seed)
    groups = groups_of(samples)
    table, settings = measure_samples(
        samples, work, "knockout", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    by = dict(iter(table.groupby("arm", sort=False)))
    first = by[work.arms[0]]
    cut, right_cut = (
        np.stack([np.stack(by[arm][column].tolist(), axis=1) for arm in work.arms]) for column in ("cut", "right_cut")
    )
    whole = {arm: by[arm]["probability"].to_numpy() for arm in work.arms}
    right = first["right"].to_numpy(dtype=bool)
    effects = {
        arm: np.where(right[:, None], 100 * (cut[place].T / whole[arm][:, None] - 1), np.nan)
        for place, arm in enumerate(work.arms)
    }
    measures, left_out = measure_cuts(
        effects, right, right_cut.astype(bool), list(work.windows), groups, seed=seed, n=draws, level=level
    )
    return KnockoutStudy(
        probability=first["probability"].to_numpy(dtype=np.float32),
        right=right,
        cut=cut.astype(np.float32),
        right_cut=right_cut.astype(bool),
        tokens=np.stack([by[arm]["tokens"].to_numpy(dtype=np.int32) for arm in work.arms]),
        arms=work.arms,
        windows=work.windows,
        samples=tuple(first["id"]),
        measures=measures,
        left_out=left_out,
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def measure_cuts(
    effects: Mapping[str, Float[np.ndarray, "sample window"]],
    right: Bool[np.ndarray, " sample"],
    right_cut: Bool[np.ndarray, "arm window sample"],
    windows: Sequence[str],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of `KnockoutStudy`, and what is left out of them and why.

    Args:
        effects: by arm, relative change of the right answer's probability in percent; NaN where it is not counted.
        right: whether each answer is right untouched.
        right_cut: the same with edges cut, arms in the order of `effects`.
        windows: their names.
        groups: what is drawn together.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
    """
    import pandas as pd

    drawn: dict[str, Any] = {"seed": seed, "n": n, "level": level}
    parts: list[pd.DataFrame] = []
    out: list[dict[str, str]] = []
    untouched = right[:, None].astype(float)
    told = {"accuracy": (untouched, right >= 0)}
    parts.append(_rows(UNTOUCHED, [NO_WINDOW], told, groups, drawn, out))
    for (arm, effect), cut in zip(effects.items(), right_cut, strict=True):
        some = np.isfinite(effect).all(axis=1)
        told = {
            "effect": (effect, some),
            "accuracy": (cut.T.astype(float), right >= 0),
            "accuracy_change": (cut.T - untouched, right >= 0),
        }
        for control in CONTROLS.get(arm, ()):
            told[f"beyond_{control.split('->')[0].replace(' ', '_')}"] = (effect - effects[control], some)
        parts.append(_rows(arm, windows, told, groups, drawn, out))
    measures = pd.concat(parts, ignore_index=True)
    numbers = dict.fromkeys(("value", "low", "high"), np.float32)
    return measures.astype(numbers), pd.DataFrame(out, columns=["arm", "measure", "why"])


def _rows(
    arm: str,
    windows: Sequence[str],
    told: Mapping[str, tuple[Float[np.ndarray, "sample window"], Bool[np.ndarray, " sample"]]],
    groups: Shaped[np.ndarray, " sample"],
    drawn: dict[str, Any],
    out: list[dict[str, str]],
) -> pd.DataFrame:
    """The rows of one arm; what can not be told goes to `out`."""
    import pandas as pd

    columns = ["arm", "window", "measure", "value", "low", "high", "samples", "groups"]
    parts = []
    for measure, (values, some) in told.items():
        count = len(set(groups[some]))
        if count < 2:
            nothing = "no sample is right with nothing cut, so that there is nothing to lose"
            why = ONE_GROUP if some.any() else nothing
            out.append({"arm": arm, "measure": measure, "why": why})
            continue
        found: Interval = mean_over_groups(values[some], groups[some], **drawn, bounds=LIMITS.get(measure))
        counts = {"samples": int(some.sum()), "groups": count}
        parts.append(
            pd.DataFrame({"arm": arm, "window": list(windows), "measure": measure, **found.cells("value"), **counts})
        )
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
