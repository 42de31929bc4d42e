"""Balance over a data set: balance, shares and entropy, with the system part of its prompts and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.errors import InputError
from interp.plots.style import INK, TITLE
from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.balance_measurement import KEPT, MAPS, STRIPPED, BalanceMeasurement
from probes.position.mean_balance import MeanBalance, balance_over_groups, counted, head_counts
from probes.position.mean_shares import interval_at
from probes.position.study import groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

DIFFERENCE = "stripped - kept"
"""The name of what leaving the system part out changes, sample by sample."""

COUNTS = ("image_heads", "over_even")
"""Measures that count heads; all others are means over samples."""

MEASURES = (
    *("balance", "even", *COUNTS),
    *("share_system", "share_image", "share_text"),
    *("share_system_authors", "share_image_authors", "share_text_authors"),
    *("share_image_masked", "coverage", "entropy_produced", "entropy_consumed", "changed"),
)
"""What is measured of each arm; see `BalanceStudy`."""

ONE_GROUP = "its samples lie in one group, so that nothing says how sure it is"


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

        return plot_balance_by_layer(self.by_layer(), {arm: own.even for arm, own in self.balance.items()}, ax)

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
    check_draws(draws, level)
    groups = groups_of(samples)
    table, settings = measure_samples(
        samples, work, "balance", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    drawn = {"seed": seed, "n": draws, "level": level}
    named = dict(zip((sample.id for sample in samples), groups, strict=True))
    shape = vlm.cfg.n_layers, vlm.cfg.n_heads
    arms = {arm: _Arm.of(table[table["arm"] == arm], named, shape) for arm in (KEPT, STRIPPED)}
    told = [arm for arm, own in arms.items() if own.several]
    measures, left_out = _measures(arms, drawn)
    return BalanceStudy(
        balance={arm: arms[arm].mean(drawn) for arm in told},
        difference=_change(arms) if STRIPPED in told else None,
        measures=measures,
        left_out=left_out,
        samples=table.drop(columns=["key", *MAPS]).assign(group=[str(named[name]) for name in table["id"]]),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


@dataclass(frozen=True, eq=False)
class _Arm:
    """The numbers of one arm, samples as they were asked.

    Attributes:
        ids: which samples.
        groups: what is drawn together.
        maps: float32 [map sample layer head], in the order of `MAPS`.
        columns: by measure, one number of each sample, NaN where it has none.
        texts: the answers.
        even: the balance of even attention.
        system: how many tokens the system parts have together.
    """

    ids: tuple[str, ...]
    groups: Shaped[np.ndarray, " sample"]
    maps: Float[np.ndarray, "map sample layer head"]
    columns: dict[str, Float[np.ndarray, " sample"]]
    texts: Shaped[np.ndarray, " sample"]
    even: Float[np.ndarray, " sample"]
    system: int

    @classmethod
    def of(cls, rows: pd.DataFrame, groups: Mapping[str, Any], shape: tuple[int, int]) -> _Arm:
        """From the rows of one arm."""
        maps = np.stack([np.array([*rows[name]], dtype=np.float32).reshape(len(rows), *shape) for name in MAPS])
        columns = {
            name: rows[name].to_numpy(dtype=np.float64, na_value=np.nan)
            for name in MEASURES
            if name not in (*COUNTS, "balance", "changed")
        }
        whole = {"balance": maps[0].mean(axis=(1, 2), dtype=np.float64), **columns}
        own = np.array([groups[name] for name in rows["id"]], dtype=object)
        texts = rows["text"].to_numpy(dtype=object)
        return cls(tuple(rows["id"]), own, maps, whole, texts, columns["even"], int(rows["system_tokens"].sum()))

    @property
    def several(self) -> bool:
        """Whether there are two groups at least."""
        return len(set(self.groups)) > 1

    def at(self, ids: Sequence[str]) -> _Arm:
        """Some of the samples."""
        places = [self.ids.index(name) for name in ids]
        return replace(
            self,
            ids=tuple(ids),
            groups=self.groups[places],
            maps=self.maps[:, places],
            columns={name: own[places] for name, own in self.columns.items()},
            texts=self.texts[places],
            even=self.even[places],
        )

    def mean(self, drawn: Mapping[str, Any]) -> MeanBalance:
        """The balance by layer and head."""
        balance, image, words = self.maps
        return balance_over_groups(balance, image, words, self.even, self.groups, **drawn)


def _measures(arms: Mapping[str, _Arm], drawn: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of both arms and of their difference, and what is left out and why."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    kept, stripped = (arms[arm] for arm in (KEPT, STRIPPED))
    for arm, own in arms.items():
        if own.several:
            here, draws = head_counts(own.maps[0], own.even, own.groups, seed=drawn["seed"], n=drawn["n"])
            _add(rows, gone, arm, own.columns, (here, draws), own.groups, drawn, _no_system(arm, own))
    if stripped.several:
        same = kept.at(stripped.ids)
        pair = [head_counts(own.maps[0], own.even, own.groups, seed=drawn["seed"], n=drawn["n"])
                for own in (same, stripped)]  # fmt: skip
        change = {name: stripped.columns[name] - same.columns[name] for name in stripped.columns}
        change["changed"] = (stripped.texts != same.texts).astype(np.float64)
        counts = pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]
        why = "one of the arms has no system part, so that the difference is all of its share"
        _add(rows, gone, DIFFERENCE, change, counts, stripped.groups, drawn, why)
    else:
        why = ONE_GROUP if stripped.ids else "no prompt has a system part, so that this arm would be the same as kept"
        gone += [{"arm": arm, "measure": "all", "why": why} for arm in (STRIPPED, DIFFERENCE)]
    table = pd.DataFrame(rows).astype(dict.fromkeys(("value", "low", "high"), np.float32))
    return table, pd.DataFrame(gone, columns=["arm", "measure", "why"])


def _no_system(arm: str, own: _Arm) -> str:
    """Why an arm has no share of a system prompt; nothing where it has one."""
    if arm == STRIPPED:
        return "the system part is left out in this arm"
    return "" if own.system else "no prompt has a system part"


def _add(
    rows: list[dict[str, Any]],
    gone: list[dict[str, Any]],
    arm: str,
    columns: Mapping[str, Float[np.ndarray, " sample"]],
    counts: tuple[Float[np.ndarray, " count"], Float[np.ndarray, "draw count"]],
    groups: Shaped[np.ndarray, " sample"],
    drawn: Mapping[str, Any],
    no_system: str,
) -> None:
    """The rows of one arm, or of the difference, in the order of `MEASURES`."""
    names = list(columns)
    table = np.column_stack([columns[name] for name in names])
    found = mean_over_groups(table, groups, **drawn)
    for measure in (name for name in MEASURES if name in (*names, *COUNTS)):
        if measure in COUNTS:
            place = COUNTS.index(measure)
            known = np.ones(len(groups), dtype=bool)
            one = counted(counts[0][place], counts[1][:, place], drawn["level"])
        else:
            place = names.index(measure)
            known = np.isfinite(table[:, place])
            one = interval_at(found, place)
        several = len(set(groups[known]))
        why = no_system if measure.startswith("share_system") else ""
        if measure == "entropy_consumed" and not known.any():
            why = "no answer has two tokens, so that no later pass reads one"
        elif several < 2:
            why = why or ONE_GROUP
        if why:
            gone.append({"arm": arm, "measure": measure, "why": why})
            continue
        told = {"value": one.estimate, "low": one.low, "high": one.high}
        rows.append({"arm": arm, "measure": measure, **told, "samples": int(known.sum()), "groups": several})


def _change(arms: Mapping[str, _Arm]) -> Float[np.ndarray, "layer head"]:
    """Mean over samples of balance without the system part less that with it."""
    stripped = arms[STRIPPED]
    return (stripped.maps[0] - arms[KEPT].at(stripped.ids).maps[0]).mean(axis=0, dtype=np.float32)
