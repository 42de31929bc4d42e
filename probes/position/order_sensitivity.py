"""Sensitivity to order: what accuracy is lost when the contents of image tokens change places, by relation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.errors import InputError
from interp.numeric import counted, ratio
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_sums, group_names, groups_with, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, FREE, SHARE, Bounds, spread_ends
from probes.position.order_answers import ORIGINAL
from probes.study.parts import ALL, parts_of
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MEASURES = ("accuracy", "permuted", "drop", "changed", "psi", "psi_corrected", "psi_position_alone")
"""What is measured of each relation; see `OrderSensitivity`."""

LIMITS: dict[str, Bounds] = {**dict.fromkeys(("accuracy", "permuted", "changed"), SHARE), "drop": APART}
"""The least and the most that a measure can be, where it is a share or a difference of two."""

NO_ORDER, POSITION_ALONE = "order can not be used", "position alone"
"""Two models to read the index by; see `OrderSensitivity.references`."""


@fits_a_cell("samples=original seeds sides measures")
@dataclass(frozen=True, eq=False)
class OrderSensitivity:
    """What a model's answers owe to the order of its image tokens.

    Measures, by relation and over all samples (`all`), each with a percentile bootstrap interval that draws whole
    groups, the same for both accuracies, and adds how far the mean over permutations would move with others of them:

        accuracy        share of right answers (strict), tokens in order: Acc
        permuted        the same under a permutation, mean over seeds: Acc_perm
        drop            Acc - Acc_perm
        changed         share of answers whose text a permutation changes, mean over seeds
        psi             (Acc - Acc_perm) / Acc, the paper's position sensitivity index
        psi_corrected   (Acc - Acc_perm) / (Acc - chance), which is not the paper's: 1 where all that was known is lost
        psi_position_alone  (Acc - chance) / Acc: what `psi` would be if the answers came from position alone

    What can not be told is left out of the table and named, with the reason, in `left_out`. How far permutations lie
    apart is `spread`, which has no interval.

    Attributes:
        original: bool [sample], whether each answer is right.
        permuted: bool [sample seed], the same under each permutation.
        seeds: the seeds of the permutations.
        pooled: bool [sample side], the same with fewer image tokens.
        sides: rows and columns of tokens that were left of each view.
        image_tokens: float [side+1], mean number of image tokens of a sample: with each side, and at last untouched.
        measures: one row per relation and measure: `relation`, `measure`, `value`, `low`, `high`, `samples`, `groups`.
        left_out: one row per relation and measure that is missing there: `relation`, `measure`, `why`.
        answers: one row per sample and order: `id`, `order`, `text`, `predicted`, `correct`, `confidence` and others.
        chance: share of right answers of a blind guess, by relation, where options are listed.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.
    """

    original: Bool[np.ndarray, " sample"]
    permuted: Bool[np.ndarray, "sample seed"]
    seeds: tuple[int, ...]
    pooled: Bool[np.ndarray, "sample side"]
    sides: tuple[int, ...]
    image_tokens: Float[np.ndarray, " side+1"]
    measures: pd.DataFrame
    left_out: pd.DataFrame
    answers: pd.DataFrame
    chance: Mapping[str, float]
    settings: Mapping[str, Any]

    def value(self, measure: str, relation: str = ALL) -> float:
        """One measure of one relation.

        Raises:
            InputError: it is not there; the message says why.
        """
        own = self.measures.query("relation == @relation and measure == @measure")
        if len(own):
            return float(own["value"].iloc[0])
        why = self.left_out.query("relation == @relation and measure == @measure")["why"].tolist()
        raise InputError(f"there is no {measure!r} of {relation!r}: {why[0] if why else 'no such name'}")

    def to_dataframe(self) -> pd.DataFrame:
        """The measures: one row per relation and measure, with `low` and `high` as float32 columns."""
        return self.measures.copy()

    def references(self) -> pd.DataFrame:
        """What the indices would be of two other models that are right as often, by relation.

        *Order can not be used*: image tokens are a bag, and no permutation changes an answer; both indices are 0.
        *Position alone*: answers come from where contents stand and from nothing else, so that a permutation leaves a
        blind guess; `psi` is (Acc - chance) / Acc, with the interval of that, and `psi_corrected` 1. Where an index of
        the model itself, or chance, is not known, its references are left out; `left_out` says why.

        Returns:
            The columns `relation`, `reference`, `measure`, `value`, `low` and `high`.
        """
        return references_of(self.measures)

    def by_seed(self) -> pd.DataFrame:
        """One row per relation and permutation: `relation`, `seed`, `accuracy`, `samples`."""
        import pandas as pd

        rows = [
            {"relation": name, "seed": seed, "accuracy": np.float32(right.mean()), "samples": len(right)}
            for name, own in self._relations()
            for seed, right in zip(self.seeds, self.permuted[own].T, strict=True)
        ]
        return pd.DataFrame(rows, columns=["relation", "seed", "accuracy", "samples"])

    def spread(self, relation: str = ALL) -> float:
        """Standard deviation between permutations of the share of right answers; that of few samples is part of it.

        Raises:
            InputError: there is no such relation, or a single permutation.
        """
        known = dict(self._relations())
        if relation not in known:
            raise InputError(f"there is no spread of {relation!r}: use one of {', '.join(known)}")
        if len(self.seeds) < 2:
            raise InputError("there is one permutation, and a spread needs two: give more seeds")
        return float(self.permuted[known[relation]].mean(axis=0).std(ddof=1))

    def compression(self) -> pd.DataFrame:
        """One row per relation and side, and one for the whole grid: `order`, `image_tokens`, `accuracy`, interval.

        Relations whose samples lie in one group are left out, as in `measures`.
        """
        import pandas as pd

        orders = [*(f"side {side}" for side in self.sides), ORIGINAL]
        right = np.column_stack([self.pooled, self.original]).astype(float)
        groups = group_names(self.answers[self.answers["order"] == ORIGINAL])
        drawn = {"seed": self.settings["seed"], "n": self.settings["draws"], "level": self.settings["level"]}
        parts = []
        for name, own in self._relations():
            if len(set(groups[own])) > 1:
                found = mean_over_groups(right[own], groups[own], **drawn, bounds=SHARE)
                ends = {key: value.astype(np.float32) for key, value in found.cells("accuracy").items()}
                told = {"relation": name, "order": orders, "image_tokens": self.image_tokens}
                parts.append(pd.DataFrame({**told, **ends, "samples": int(own.sum())}))
        return pd.concat(parts, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy in order and permuted, by relation."""
        from probes.position.figures.order import plot_accuracy_in_order

        return plot_accuracy_in_order(self.measures, ax, chance=self.chance, level=self.settings["level"])

    def plot_psi(self, ax: Axes | None = None) -> Axes:
        """Draw the index and its chance-corrected kin with intervals, by relation, beside the references."""
        from probes.position.figures.order import plot_psi

        return plot_psi(self.measures, ax, references=self.references(), level=self.settings["level"])

    def plot_compression(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy against the number of image tokens.

        Raises:
            InputError: nothing was pooled.
        """
        from probes.position.figures.order import plot_compression

        return plot_compression(self.compression(), ax, chance=self.chance.get(ALL), level=self.settings["level"])

    def _relations(self) -> Iterator[tuple[str, Bool[np.ndarray, " sample"]]]:
        first = self.answers[self.answers["order"] == ORIGINAL]
        yield from parts_of(first["relation"].to_numpy(dtype=object)).items()


def measure_sensitivity(
    original: Bool[np.ndarray, " sample"],
    permuted: Bool[np.ndarray, "sample seed"],
    changed: Bool[np.ndarray, "sample seed"],
    chance: Float[np.ndarray, " sample"],
    relations: Shaped[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of `OrderSensitivity`, and what is left out of them and why.

    Args:
        original: whether each answer is right, tokens in order.
        permuted: the same under each permutation.
        changed: whether a permutation changed the answer.
        chance: what a blind guess scores on each sample; NaN where its options are not listed.
        relations: the relation of each sample.
        groups: what is drawn together.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Raises:
        InputError: there are fewer than two groups, no draw, or no such level.
    """
    import pandas as pd

    check_draws(n, level, seed)
    if len(set(groups)) < 2:
        raise InputError(f"there is one group, of {counted(len(original), 'sample')}: give at least two groups")
    rows: list[dict[str, Any]] = []
    out: list[dict[str, str]] = []
    for name, own in parts_of(relations).items():
        counts = {"relation": name, "samples": int(own.sum()), "groups": len(set(groups[own]))}
        columns = [part[own] for part in (original, permuted, changed, chance)]
        for measure, found in _measured(columns, groups[own], seed, n, level).items():
            if isinstance(found, str):
                out.append({"relation": name, "measure": measure, "why": found})
            else:
                rows.append({**counts, "measure": measure, **dict(zip(("value", "low", "high"), found, strict=True))})
    shown = pd.DataFrame(rows, columns=["relation", "measure", "value", "low", "high", "samples", "groups"])
    numbers = dict.fromkeys(("value", "low", "high"), np.float32)
    return shown.astype(numbers), pd.DataFrame(out, columns=["relation", "measure", "why"])


def references_of(measures: pd.DataFrame) -> pd.DataFrame:
    """The references of `OrderSensitivity.references`, from a table of its measures."""
    import pandas as pd

    numbers = ["value", "low", "high"]
    parts = []
    for measure, own in measures.groupby("measure", sort=False):
        if measure in ("psi", "psi_corrected"):
            parts.append(own.assign(reference=NO_ORDER, **dict.fromkeys(numbers, np.float32(0))))
        if measure == "psi_corrected":
            parts.append(own.assign(reference=POSITION_ALONE, **dict.fromkeys(numbers, np.float32(1))))
        if measure == "psi_position_alone":
            parts.append(own.assign(reference=POSITION_ALONE, measure="psi"))
    columns = ["relation", "reference", "measure", *numbers]
    shown = pd.concat([measures.iloc[:0].assign(reference=""), *parts])[columns]
    order = {name: place for place, name in enumerate(measures["relation"].unique())}
    return shown.sort_values("relation", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _measured(
    columns: list[np.ndarray], groups: Shaped[np.ndarray, " sample"], seed: int, n: int, level: float
) -> dict[str, tuple[float, float, float] | str]:
    """Each measure of one relation with its interval, or why it can not be told."""
    if len(set(groups)) < 2:
        return dict.fromkeys(MEASURES, ONE_GROUP)
    original, permuted, changed, chance = columns
    drawn = drawn_measures(original, permuted, changed, chance, groups, seed=seed, n=n)
    count = len(set(groups))
    guessed = float(chance.mean())
    low = float(spread_ends(*drawn["accuracy"], level, units=count, bounds=LIMITS["accuracy"])[0])
    limits, units = limits_of(low, guessed), dividing_groups(original.astype(bool), groups)
    found = {}
    for name, (value, values) in drawn.items():
        ends = spread_ends(value, values, level, units=units.get(name, count), bounds=limits[name])
        found[name] = (value, float(ends[0]), float(ends[1]))
    return found | not_told(found["accuracy"], guessed)


def dividing_groups(right: Bool[np.ndarray, " sample"], groups: Shaped[np.ndarray, " sample"]) -> dict[str, int]:
    """In how many groups an answer is right in order, by the measures that divide by the share of these."""
    return dict.fromkeys(("psi", "psi_position_alone"), int(groups_with(right, groups)))


def drawn_measures(
    original: Shaped[np.ndarray, " sample"],
    permuted: Shaped[np.ndarray, "sample seed"],
    changed: Shaped[np.ndarray, "sample seed"],
    chance: Float[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int,
) -> dict[str, tuple[float, Float[np.ndarray, " draw"]]]:
    """Each of `MEASURES` and what it is in each draw, of groups and of permutations; see `measure_sensitivity`.

    Seed, groups and the number of permutations alone say what is drawn, so that draws of two models that were given
    the same permutations are paired. NaN where a measure divides by nothing.
    """
    parts = [part.astype(float) for part in (original, permuted, changed, chance)] + [np.ones(len(original))]
    sums = [part.sum(axis=0)[None] for part in parts]
    draws = drawn_sums(parts, groups, seed=seed, n=n)
    shares = [ratio(draws[place], draws[-1][:, None]) for place in (1, 2)]
    moved = [_moves(sums[place][0], len(original), own, seed) for place, own in zip((1, 2), shares, strict=True)]
    here, drawn = _values(sums, [np.zeros(1)] * 2), _values(draws, moved)
    return {name: (float(here[name][0]), drawn[name]) for name in MEASURES}


def limits_of(accuracy: float, chance: float) -> dict[str, Bounds]:
    """The least and the most that each of `MEASURES` can be; infinite where there is none, or nothing is known of it.

    An index hangs on the accuracy that divides it, of which the low end of its interval is given.
    """
    whole, over = (1 / below if below > 0 else np.inf for below in (accuracy, accuracy - chance))
    return {
        **LIMITS,
        "psi": (1 - whole, 1),
        "psi_corrected": ((accuracy - 1) * over, accuracy * over) if over < np.inf else FREE,
        "psi_position_alone": (-np.inf, 1),
    }


def _moves(
    right: Float[np.ndarray, " seed"], count: int, drawn: Float[np.ndarray, "draw seed"], seed: int
) -> Float[np.ndarray, " draw"]:
    """By how much the mean share over permutations moves from draw to draw, as these are a sample too.

    Each draw weighs permutations anew, with normal weights, over a chi that is drawn with them: as a handful of
    permutations says little of how far apart others would be, a mean moves as Student's t does. Weights depend on the
    seed and the number of permutations alone. So two models move together as far as a permutation does the same to
    both, and apart as far as it does not.

    A part of what lies between permutations is there because the groups are few; draws of groups tell it already, and
    it is taken out.

    Args:
        right: how many samples have it under each permutation.
        count: how many samples there are.
        drawn: the share under each permutation, in each draw of groups.
        seed: the seed of the draws.
    """
    several = len(right)
    if np.ptp(right) == 0:
        return np.zeros(len(drawn))
    apart = (right - right.mean()) / count
    between = (apart**2).sum() / (several - 1)
    by_groups = (drawn - drawn.mean(axis=1, keepdims=True)).var(axis=0).sum() / (several - 1)
    kept = max(0.0, 1 - by_groups / between)
    return np.sqrt(kept / several) * (_weights(several, len(drawn), seed) @ apart)


def _weights(several: int, n: int, seed: int) -> Float[np.ndarray, "draw seed"]:
    """What each permutation weighs in each draw: normal, and all of one draw over one chi."""
    rng = np.random.default_rng([seed, 1])
    return rng.normal(size=(n, several)) / np.sqrt(rng.chisquare(several - 1, size=(n, 1)))


def _values(
    sums: Sequence[Float[np.ndarray, "draw ..."]], moved: Sequence[Float[np.ndarray, " draw"]]
) -> dict[str, Float[np.ndarray, " draw"]]:
    """Every measure from sums over samples, [draw], and what is added to shares of permutations; NaN over nothing.

    Sums are of whole numbers and divided last, so that what is alike has a difference of exactly nothing.
    """
    original, permuted, changed, chance, count = sums
    several = permuted.shape[1]
    accuracy, guessed = ratio(original, count), ratio(chance, count)
    lost, altered = (
        (ratio(part.sum(axis=1), several * count) + more).clip(0, 1)
        for part, more in zip((permuted, changed), moved, strict=True)
    )
    return {
        "accuracy": accuracy,
        "permuted": lost,
        "drop": accuracy - lost,
        "changed": altered,
        "psi": ratio(accuracy - lost, accuracy),
        "psi_corrected": ratio(accuracy - lost, accuracy - guessed),
        "psi_position_alone": ratio(accuracy - guessed, accuracy),
    }


def not_told(right: tuple[float, float, float], chance: float) -> dict[str, str]:
    """Why some measures can not be told, of an accuracy with its interval."""
    accuracy, low, _ = right
    why: dict[str, str] = {}
    if accuracy == 0:
        nothing = "no answer is right with the tokens in order, so there is nothing to lose"
        why |= dict.fromkeys(("psi", "psi_position_alone"), nothing)
    if not np.isfinite(chance):
        unknown = "chance is not known, as some samples list no options"
        why |= dict.fromkeys(("psi_corrected", "psi_position_alone"), unknown)
    elif not low > chance:
        told = f"from {low:.3f} on, is" if np.isfinite(low) else "has no interval, and is"
        why["psi_corrected"] = (
            f"accuracy in order, {accuracy:.3f}, {told} not surely above chance ({chance:.3f}), so that the drop has "
            "nothing to be set against"
        )
    return why


def count_tokens(answers: pd.DataFrame, orders: list[str]) -> Float[np.ndarray, " order"]:
    """Mean number of image tokens of a sample in each order."""
    means = answers.groupby("order")["image_tokens"].mean()
    return means.reindex(orders).to_numpy(dtype=np.float32)


def right_in(answers: pd.DataFrame, orders: list[str], column: str) -> Bool[np.ndarray, "sample order"]:
    """A boolean column of the answers, [sample order], samples as they first appear."""
    ids: Int[np.ndarray, " row"] = answers["id"].drop_duplicates().to_numpy()
    wide = answers.pivot(index="id", columns="order", values=column)
    return wide.reindex(index=ids, columns=orders).to_numpy(dtype=bool)
