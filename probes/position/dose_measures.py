"""Dose-response: what accuracy, order, RoPE and confidence are at each dose, and how far from the untouched model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.answers.metrics import ALL
from interp.errors import InputError
from interp.numeric import ratio
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_sums, groups_with
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, SHARE, Bounds, spread_ends
from probes.position.dose_answers import KINDS, STATES, UNTOUCHED, Dose, first_kind
from probes.position.order_sensitivity import MEASURES as OF_ORDER
from probes.position.order_sensitivity import dividing_groups, drawn_measures, limits_of, not_told
from probes.study.parts import parts_of
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CONFIDENCE = ("confidence", "confidence_right", "confidence_wrong")

MEASURES = (*OF_ORDER, *CONFIDENCE, *STATES)
"""What is measured at each dose; see `DoseResponse`."""

LIMITS: dict[str, Bounds] = {
    **dict.fromkeys((*CONFIDENCE, "image_mass"), SHARE),
    **dict.fromkeys(("median_norm", "abs_delta_g_v"), (0, np.inf)),
    "delta_alpha_v": APART,
}
"""The least and the most that a measure can be beside those of order, see `limits_of`."""

NUMBERS = ("value", "low", "high")


@fits_a_cell("doses seeds samples measures")
@dataclass(frozen=True, eq=False)
class DoseResponse:
    """What the length of image tokens does to a trained model, without training: no method of the paper.

    Measures, by relation and over all samples (`all`), at each dose, with percentile bootstrap intervals that draw
    whole groups, and permutations with them, the same at all doses:

        accuracy, permuted, drop, changed, psi, psi_corrected, psi_position_alone   see `OrderSensitivity`
        confidence          mean largest probability of the first token of the answer, tokens in order
        confidence_right    the same over answers that are right at this dose
        confidence_wrong    and over those that are wrong
        median_norm         median length of a sample's image tokens, mean over samples
        image_mass          attention of the last prompt row on the image, mean over layers, heads and samples
        abs_delta_g_v       |delta g_V| of `rope_sensitivity`, absolute for each head and sample, mean over all
        delta_alpha_v       its delta alpha_V, with its sign, mean over all

    What can not be told is left out of the table and named, with the reason, in `left_out`; a difference is left out
    where one of its two sides is.

    Attributes:
        doses: how long image tokens were made; scale 1 is the untouched model.
        seeds: the seeds of the permutations.
        measures: one row per relation, dose and measure: `relation`, `kind`, `dose`, `measure`, `value`, `low`, `high`,
            `samples`, `groups`.
        changes: the same of each other dose minus the untouched model, of the same draws.
        left_out: one row per relation, dose and measure that is missing there: `relation`, `kind`, `dose`, `measure`,
            `why`; all measures of a dose at which samples left the range of the model's number type.
        answers: one row per sample, dose and order: `id`, `kind`, `dose`, `order`, `text`, `correct` and others.
        states: one row per sample and dose: `id`, `kind`, `dose`, and the last four of the measures.
        chance: share of right answers of a blind guess, by relation, where options are listed.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.
    """

    doses: tuple[Dose, ...]
    seeds: tuple[int, ...]
    measures: pd.DataFrame
    changes: pd.DataFrame
    left_out: pd.DataFrame
    answers: pd.DataFrame
    states: pd.DataFrame
    chance: Mapping[str, float]
    settings: Mapping[str, Any]

    @property
    def samples(self) -> int:
        """How many samples were asked."""
        return int(self.states["id"].nunique())

    def value(self, measure: str, dose: float = 1.0, relation: str = ALL, *, kind: str = "scale") -> float:
        """One measure at one dose, of one relation.

        Raises:
            InputError: it is not there; the message says why.
        """
        asked = "relation == @relation and measure == @measure and kind == @kind and dose == @dose"
        own = self.measures.query(asked)
        if len(own):
            return float(own["value"].iloc[0])
        why = self.left_out.query(asked)["why"].tolist()
        raise InputError(
            f"there is no {measure!r} of {relation!r} at {kind} {dose:g}: {why[0] if why else 'no such name'}"
        )

    def to_dataframe(self) -> pd.DataFrame:
        """The measures: one row per relation, dose and measure, with `low` and `high` as float32 columns."""
        return self.measures.copy()

    def differences(self) -> pd.DataFrame:
        """Each other dose minus the untouched model, paired: a row as in `to_dataframe` for each."""
        return self.changes.copy()

    def plot(
        self, ax: Axes | None = None, *, measure: str = "accuracy", relation: str = ALL, kind: str | None = None
    ) -> Axes:
        """Draw one measure against the doses of one kind, with its interval; scales by default."""
        from probes.position.figures.dose import plot_dose

        if measure not in MEASURES:
            raise InputError(f"measure={measure!r} is not known: use one of {', '.join(MEASURES)}")
        return plot_dose(self._of(relation), self._kind(kind), ax, measures=(measure,), level=self.settings["level"])

    def draw(self, *, relation: str = ALL, kind: str | None = None) -> np.ndarray:
        """Draw accuracy, PSI, RoPE sensitivity and confidence against the dose, on a new figure; its four axes."""
        from probes.position.figures.dose import draw_doses

        return draw_doses(
            self._of(relation), self._kind(kind), chance=self.chance.get(relation), level=self.settings["level"]
        )

    def _of(self, relation: str) -> pd.DataFrame:
        own = self.measures[self.measures["relation"] == relation]
        if own.empty:
            known = ", ".join(self.measures["relation"].unique())
            raise InputError(f"there is no measure of {relation!r}: use one of {known}")
        return own

    def _kind(self, kind: str | None) -> str:
        own = first_kind(self.doses) if kind is None else kind
        if own not in {dose.kind for dose in self.doses if dose != UNTOUCHED}:
            raise InputError(f"kind={kind!r} was not measured: of {', '.join(KINDS)}, give one that was")
        return own


@dataclass(frozen=True, eq=False)
class AtDose:
    """What was found at one dose.

    Attributes:
        dose: which dose.
        original: bool [sample], whether each answer is right, tokens in order.
        permuted: bool [sample seed], the same under each permutation.
        changed: bool [sample seed], whether the permutation changes the answer.
        confidence: [sample], of the answer with tokens in order.
        states: [sample state], in the order of `STATES`.
    """

    dose: Dose
    original: Bool[np.ndarray, " sample"]
    permuted: Bool[np.ndarray, "sample seed"]
    changed: Bool[np.ndarray, "sample seed"]
    confidence: Float[np.ndarray, " sample"]
    states: Float[np.ndarray, "sample state"]

    def drawn(
        self,
        own: Bool[np.ndarray, " sample"],
        chance: Float[np.ndarray, " sample"],
        groups: Shaped[np.ndarray, " sample"],
        *,
        seed: int,
        n: int,
    ) -> dict[str, tuple[float, Float[np.ndarray, " draw"]]]:
        """Each of `MEASURES` of some samples, and what it is in each draw; seed and groups alone say what is drawn."""
        right, sure = self.original[own].astype(float), self.confidence[own].astype(float)
        chosen, some = groups[own], np.ones(len(right))
        found = drawn_measures(
            self.original[own], self.permuted[own], self.changed[own], chance[own], chosen, seed=seed, n=n
        )
        above = np.column_stack([sure, sure * right, sure * (1 - right), self.states[own].astype(float)])
        below = np.column_stack([some, right, 1 - right, *[some] * len(STATES)])
        here = ratio(above.sum(axis=0), below.sum(axis=0))
        draws = ratio(*drawn_sums([above, below], chosen, seed=seed, n=n))
        names = (*CONFIDENCE, *STATES)
        return found | {name: (float(here[place]), draws[:, place]) for place, name in enumerate(names)}


def measure_doses(
    found: Sequence[AtDose],
    chance: Float[np.ndarray, " sample"],
    relations: Shaped[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    beyond: Mapping[Dose, str] = {},
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The measures, the differences to the untouched model, and what is left out; see `DoseResponse`.

    Args:
        found: what was found at each dose, the untouched model among them.
        chance: what a blind guess scores on each sample; NaN where its options are not listed.
        relations: the relation of each sample.
        groups: what is drawn together.
        beyond: the doses at which nothing is told, and why.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Raises:
        InputError: no draw, or no such level.
    """
    check_draws(n, level, seed)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    out: list[dict[str, Any]] = []
    for name, own in parts_of(relations).items():
        counts = {"samples": int(own.sum()), "groups": len(set(groups[own]))}
        out += [
            {"relation": name, "kind": dose.kind, "dose": dose.value, "measure": measure, "why": why}
            for dose, why in beyond.items()
            for measure in MEASURES
        ]
        here: dict[Dose, dict[str, tuple[float, np.ndarray]]] = {}
        limits: dict[Dose, dict[str, Bounds]] = {}
        units: dict[Dose, dict[str, int]] = {}
        for at in found:
            place = {"relation": name, "kind": at.dose.kind, "dose": at.dose.value}
            if counts["groups"] < 2:
                out += [{**place, "measure": measure, "why": ONE_GROUP} for measure in MEASURES]
                continue
            drawn = at.drawn(own, chance, groups, seed=seed, n=n)
            right = _ends(*drawn["accuracy"], counts["groups"], level, SHARE)
            limits[at.dose] = LIMITS | limits_of(right[1], float(chance[own].mean()))
            with_right = dividing_groups(at.original[own], groups[own])
            with_wrong = int(groups_with(~at.original[own], groups[own]))
            units[at.dose] = {**with_right, "confidence_right": with_right["psi"], "confidence_wrong": with_wrong}
            why = _why_not(at, own, chance, right)
            out += [{**place, "measure": measure, "why": reason} for measure, reason in why.items()]
            here[at.dose] = {measure: drawn[measure] for measure in MEASURES if measure not in why}
            rows += _rows({**place, **counts}, here[at.dose], level, limits[at.dose], units[at.dose])
        for dose, told in here.items():
            if dose != UNTOUCHED:
                apart = dict(_apart(told, here[UNTOUCHED]))
                place = {"relation": name, "kind": dose.kind, "dose": dose.value}
                bounds = _limits_apart(limits[dose], limits[UNTOUCHED])
                fewer = {name: min(count, units[UNTOUCHED][name]) for name, count in units[dose].items()}
                differences += _rows({**place, **counts}, apart, level, bounds, fewer)
    return _table(rows), _table(differences), _left_out(out)


def _why_not(
    at: AtDose,
    own: Bool[np.ndarray, " sample"],
    chance: Float[np.ndarray, " sample"],
    accuracy: tuple[float, float, float],
) -> dict[str, str]:
    """Why some measures can not be told."""
    why = not_told(accuracy, float(chance[own].mean()))
    if not at.original[own].any():
        why["confidence_right"] = "no answer is right"
    if at.original[own].all():
        why["confidence_wrong"] = "no answer is wrong"
    return why


def _apart(
    told: Mapping[str, tuple[float, np.ndarray]], untouched: Mapping[str, tuple[float, np.ndarray]]
) -> Iterator[tuple[str, tuple[float, np.ndarray]]]:
    """The differences of the measures that both have, draw by draw."""
    for measure, (value, draws) in told.items():
        if measure in untouched:
            yield measure, (value - untouched[measure][0], draws - untouched[measure][1])


def _limits_apart(told: Mapping[str, Bounds], untouched: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """The least and the most that differences can be."""
    ends = ((name, np.asarray(told[name]), np.asarray(untouched[name])[::-1]) for name in told)
    return {name: tuple(own - other) for name, own, other in ends}


def _rows(
    place: dict[str, Any],
    told: Mapping[str, tuple[float, np.ndarray]],
    level: float,
    limits: Mapping[str, Bounds],
    units: Mapping[str, int],
) -> Iterator[dict[str, Any]]:
    """A row for each measure; `units` has the groups of those that not all groups say something of."""
    for measure, (value, draws) in told.items():
        ends = _ends(value, draws, units.get(measure, place["groups"]), level, limits[measure])
        yield {**place, "measure": measure, **dict(zip(NUMBERS, ends, strict=True))}


def _ends(
    value: float, draws: Float[np.ndarray, " draw"], groups: int, level: float, bounds: Bounds
) -> tuple[float, float, float]:
    low, high = spread_ends(value, draws, level, units=groups, bounds=bounds)
    return value, float(low), float(high)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = ["relation", "kind", "dose", "measure", *NUMBERS, "samples", "groups"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(NUMBERS, np.float32))


def _left_out(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=["relation", "kind", "dose", "measure", "why"])
