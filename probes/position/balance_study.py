"""Balance over a data set: balance, shares and entropy, with the system part of its prompts and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.style import INK, TITLE
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.balance_arms import BalanceArm, change_of, measures_of
from probes.position.balance_measurement import KEPT, MAPS, STRIPPED, BalanceMeasurement
from probes.position.mean_balance import MeanBalance
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


@fits_a_cell("arms balance measures")
@dataclass(frozen=True, eq=False)
class BalanceStudy:
    """Where a model's attention lies over a data set, its prompts with their system part (`kept`) and without.

    Measures, by arm and as the paired difference `stripped - kept`, each with a percentile bootstrap interval that
    draws whole groups:

        balance              cross-modality balance, mean over heads
        even                 the balance that even attention would have: image tokens over image tokens and words
        image_heads          how many heads have a mean balance above one half
        over_even            how many heads have a mean balance above that of even attention
        share_system, share_image, share_text    parts of the attention, BOS and image markers left out
        share_..._authors    the same as the authors compute their pie of three
        share_image_masked   the image's part of what image and words get
        coverage             part of a row, BOS left out, that lies on any of these groups
        entropy_produced     normalised entropy over the image, mean over the tokens of an answer
        entropy_consumed     the same in the authors' alignment
        changed              of the difference alone: share of the answers whose text is another

    What can not be told is left out of the table and named, with the reason, in `left_out`.

    Attributes:
        balance: by arm, the balance by layer and head.
        difference: float32 [layer head], mean over samples of balance `stripped` less `kept`; None without that arm.
        measures: one row per arm and measure: `arm`, `measure`, `value`, `low`, `high`, `samples`, `groups`.
        left_out: one row per arm and measure that is missing there: `arm`, `measure`, `why`.
        samples: one row per sample and arm, with the numbers behind the measures.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.
    """

    balance: Mapping[str, MeanBalance]
    difference: Float[np.ndarray, "layer head"] | None
    measures: pd.DataFrame
    left_out: pd.DataFrame
    samples: pd.DataFrame
    settings: Mapping[str, Any]

    @property
    def arms(self) -> tuple[str, ...]:
        """`kept`, and `stripped` where the prompts have a system part."""
        return tuple(self.balance)

    @property
    def n(self) -> int:
        """How many samples were asked."""
        return self.balance[KEPT].samples

    @property
    def heads(self) -> int:
        """How many heads the model has, in all layers."""
        return self.balance[KEPT].values.size

    def value(self, measure: str, arm: str = KEPT) -> float:
        """One measure of one arm.

        Raises:
            InputError: it is not there; the message says why.
        """
        return float(self.row(measure, arm)["value"])

    def row(self, measure: str, arm: str = KEPT) -> pd.Series:
        """The row of one measure of one arm.

        Raises:
            InputError: it is not there; the message says why.
        """
        own = self.measures.query("arm == @arm and measure == @measure")
        if len(own):
            return own.iloc[0]
        why = self.left_out.query("arm == @arm and measure in (@measure, 'all')")["why"].tolist()
        raise InputError(f"there is no {measure!r} of {arm!r}: {why[0] if why else 'no such name'}")

    def tells(self, measure: str, arm: str = KEPT) -> bool:
        """Whether a measure of an arm is there."""
        return bool(len(self.measures.query("arm == @arm and measure == @measure")))

    def to_dataframe(self) -> pd.DataFrame:
        """The measures: one row per arm and measure."""
        return self.measures.copy()

    def by_head(self) -> pd.DataFrame:
        """One row per arm, layer and head: `balance`, `low`, `high`, `image_mass` and `text_mass`."""
        return self._of_arms(lambda own: own.to_dataframe().drop(columns="sample"))

    def by_layer(self) -> pd.DataFrame:
        """One row per arm and layer: the balance, mean over heads, with its interval."""
        import pandas as pd

        def layers(own: MeanBalance) -> pd.DataFrame:
            told = {name: np.asarray(end, np.float32) for name, end in own.by_layer.cells("balance").items()}
            return pd.DataFrame({"layer": np.arange(len(own.values), dtype=np.int32), **told})

        return self._of_arms(layers)

    def plot(self, ax: Axes | None = None, *, arm: str = KEPT) -> Axes:
        """Draw the balance of one arm: layers down, heads across, colours from 0 to 1.

        Raises:
            InputError: there is no such arm.
        """
        if arm not in self.balance:
            raise InputError(f"there is no arm {arm!r}: use {' or '.join(self.arms)}")
        ax = self.balance[arm].plot(ax)
        if arm == STRIPPED:
            ax.set_title("Balance without the system part", fontsize=TITLE, loc="left", color=INK)
        return ax

    def plot_layers(self, ax: Axes | None = None) -> Axes:
        """Draw the balance by layer, with its interval, beside that of even attention."""
        from probes.position.figures.balance import plot_balance_by_layer

        return plot_balance_by_layer(
            self.by_layer(),
            {arm: own.even for arm, own in self.balance.items()},
            ax,
            level=self.settings["level"],
        )

    def plot_shares(self, ax: Axes | None = None) -> Axes:
        """Draw how attention is divided, in each arm, in the authors' way, and with the system prompt masked."""
        from probes.position.figures.shares import plot_divisions

        return plot_divisions(dict(self._divisions()), ax)

    def plot_difference(self, ax: Axes | None = None) -> Axes:
        """Draw what leaving the system part out changes, by layer and head.

        Raises:
            InputError: no prompt has one.
        """
        from probes.position.figures.balance import plot_balance_change

        if self.difference is None:
            raise InputError("no prompt has a system part to leave out: give one, as with system='...'")
        return plot_balance_change(self.difference, ax)

    def _divisions(self) -> Iterator[tuple[str, dict[str, float]]]:
        three = ("system", "image", "text")
        own = {
            arm: {name: self.value(f"share_{name}", arm) for name in three if self.tells(f"share_{name}", arm)}
            for arm in self.arms
        }
        yield KEPT, own[KEPT]
        if self.tells("share_system"):
            yield "kept, the\nauthors' pie", {name: self.value(f"share_{name}_authors") for name in three}
            image = self.value("share_image_masked")
            yield "kept, system\nmasked", {"image": image, "text": 1 - image}
        if STRIPPED in own:
            yield STRIPPED, own[STRIPPED]

    def _of_arms(self, table: Any) -> pd.DataFrame:
        import pandas as pd

        parts = [table(own) for own in self.balance.values()]
        for arm, part in zip(self.arms, parts, strict=True):
            part.insert(0, "arm", arm)
        return pd.concat(parts, ignore_index=True)


def study_balance(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    system: str | None = None,
    prompt: str = "chat",
    max_new_tokens: int = 10,
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> BalanceStudy:
    """Cross-modality balance, attention shares and entropy over a data set, from one generation for each arm.

    Each sample is answered greedily with its prompt as it is (`kept`), and if that has a system part, once more without
    it (`stripped`). "Beyond Semantics" finds that in LLaVA-1.5 the system prompt takes most of the attention; the
    templates of LLaVA at Hugging Face leave Vicuna's out, so that one has to be given to see that. See
    `cross_modality_balance`, `modality_shares` and `attention_entropy` for the equations.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        system: a system prompt, in the place of the template's own if it has one; see `HookedVLM.prepare`.
        prompt: prompt style, see there.
        max_new_tokens: the most tokens that an answer has.
        batch: samples that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = study_balance(vlm, read_dataset("shapes", n=100), system="A chat between a user and an assistant.")
        >>> found.value("share_system"), found.value("share_image", "stripped"), found.plot()

    Raises:
        InputError: no samples, samples that can not be asked, fewer than two groups, a system prompt that this style of
            prompts has no place for, or a folder that can not be used; all before the first pass.
        RefusedError: a chat template that takes no system prompt.
    """
    work = BalanceMeasurement.of(vlm, prompt=prompt, system=system, max_new_tokens=max_new_tokens)
    check_draws(draws, level, seed)
    groups = groups_of(samples)
    table, settings = measure_samples(
        samples, work, "balance", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    drawn = {"seed": seed, "n": draws, "level": level}
    named = dict(zip((sample.id for sample in samples), groups, strict=True))
    shape = vlm.cfg.n_layers, vlm.cfg.n_heads
    arms = {arm: BalanceArm.of(table[table["arm"] == arm], named, shape) for arm in (KEPT, STRIPPED)}
    told = [arm for arm, own in arms.items() if own.several]
    measures, left_out = measures_of(arms, drawn)
    return BalanceStudy(
        balance={arm: arms[arm].mean(drawn) for arm in told},
        difference=change_of(arms) if STRIPPED in told else None,
        measures=measures,
        left_out=left_out,
        samples=table.drop(columns=["key", *MAPS]).assign(group=[str(named[name]) for name in table["id"]]),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )
