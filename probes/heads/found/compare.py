"""Compare: scores of several folders held against each other, scorers of one model and models by one scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import counted, named_level, whole_number
from interp.report.numbers import decimal, p_said, p_value, ranged
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.store.names import given_path
from probes.heads.found.report import DEALT, alike_told, shown_agreement
from probes.heads.found.saved import load_all_scores
from probes.heads.scores import HeadScores
from probes.heads.selection.agreement import common_functions, scorer_agreement, too_few_deals
from probes.heads.selection.layout import models_in_common
from probes.heads.selection.selectors import check_selection
from probes.study.findings import Findings, level_of

if TYPE_CHECKING:
    import pandas as pd

STUDY = "compared heads"
"""What a manifest says that such a folder holds."""

CAUTIONS = (
    "Scorers agree where they find the same heads, for whatever reason: two that read the same confound agree as well.",
    "Maps that peak in the same layers agree whichever heads these have: the null that deals heads inside layers has "
    "that taken out, and the other has not.",
    "Two models have no heads in common. Held against each other are the shares of layers at relative depth, and "
    "models of few layers have few of these to differ in.",
)

AGREEMENT = (
    "function", "first", "second", "measure", "value", "low", "high", "interval", "heads", "random", "random_low",
    "random_high", "p_random", "within", "within_low", "within_high", "p_within", "p_random_holm", "p_within_holm",
)  # fmt: skip
MODELS = (
    "function", "scorer", "first", "second", "value", "low", "high", "random", "random_low", "random_high", "p",
    "p_holm",
)  # fmt: skip


@fits_a_cell("names")
@dataclass(frozen=True, eq=False)
class ComparedHeads:
    """How alike scores of several folders are.

    Attributes:
        names: of the scores, folder and scorer.
        agreement: of scores of one model, heads against heads: a row for each function, pair and measure.
        models: of one scorer in several models, layer profiles at relative depth: a row for each function and pair.
        left_out: pairs that can not be held against each other: `table`, `first`, `second`, `why`.
        settings: what made it.
    """

    names: tuple[str, ...]
    agreement: pd.DataFrame
    models: pd.DataFrame
    left_out: pd.DataFrame
    settings: Mapping[str, Any] = field(repr=False)

    def to_dataframe(self) -> pd.DataFrame:
        """Agreement of scores of one model."""
        return self.agreement


def read_scores_of(folders: Sequence[str | Path]) -> dict[str, HeadScores]:
    """All scores in several folders of `heads find`, by folder and scorer.

    Raises:
        InputError: a folder without scores, two of one name, or fewer than two scores.
    """
    found: dict[str, HeadScores] = {}
    for place in map(given_path, folders):
        for scorer, own in load_all_scores(place).items():
            name = f"{place.name}/{scorer}"
            if name in found:
                raise InputError(f"two folders are called {place.name!r}: rename one, as results go by these names")
            found[name] = own
    if len(found) < 2:
        raise InputError(f"{', '.join(found)} are the only scores: name folders with two or more of them")
    return found


def check_compared(rule: str, given: Mapping[str, Any] | None, deals: int, seed: int = 0, level: float = 0.95) -> None:
    """Refuse what a rule is given, deals, a seed or a level by which no pair could be held against each other.

    Two models are held against each other without a rule, so that what it lacks is told of pairs that need it.

    Raises:
        InputError: one of them.
    """
    if given:
        check_selection(rule, **given)
    check_draws(whole_number(deals, "deals", 1), level, seed)


def note_deals(every: Mapping[str, HeadScores], deals: int) -> str:
    """What is said before scores are compared by too few deals for any test to pass; empty where they are enough."""
    pairs = [(one, other) for one, other in combinations(every.values(), 2) if _same_model(one, other)]
    few = too_few_deals(deals, max((_tests(*pair) for pair in pairs), default=1))
    return few and f"whether scorers agree more than chance can not be told, {few}"


def _tests(one: HeadScores, other: HeadScores) -> int:
    try:
        return len(common_functions(one, other))
    except InputError:  # which is told of that pair
        return 1


def compare_heads(
    every: Mapping[str, HeadScores],
    *,
    rule: str = "top_percent",
    given: Mapping[str, Any] | None = None,
    deals: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> ComparedHeads:
    """Hold scores against each other, two by two.

    Scores of the same weights are held head against head; those by one scorer of different weights by their layers.
    What are the same weights is told by the digest of the weights, that saved scores keep; of scores without one, maps
    of one shape are taken for one model, and the settings say so.

    Args:
        every: by name, scores.
        rule: how heads are selected for Jaccard, see `probes.select_heads`.
        given: what the rule needs.
        deals: how often heads are dealt anew.
        seed: of deals and draws.
        level: nominal coverage.

    Raises:
        InputError: fewer than two scores, none that can be held against another, or a rule, deals or a seed that mean
            nothing.

    Example:
        >>> compare_heads(read_scores_of(["out/found-3b", "out/found-7b"])).models
    """
    import pandas as pd

    from interp.model.provenance import run_record

    begun = run_record()
    if len(every) < 2:
        raise InputError(f"{', '.join(every) or 'no scores'} can not be compared: give two or more")
    check_compared(rule, given, deals, seed, level)
    how: dict[str, Any] = {"deals": deals, "seed": seed, "level": level}
    heads, models, out = [], [], []
    for (one, first), (other, second) in combinations(every.items(), 2):
        pair = {"first": one, "second": other}
        same = _same_model(first, second)
        try:
            if same:
                both = [replace(first, scorer=one), replace(second, scorer=other)]
                heads.append(scorer_agreement(both, rule, **how, **dict(given or {})).table)
            elif first.scorer == second.scorer:
                sizes = "above_null" if first.null is not None and second.null is not None else "absolute"
                table = models_in_common(first, second, sizes=sizes, **how)
                models.append(table.assign(scorer=first.scorer, **pair))
            else:
                out.append(
                    {"table": "models", **pair, "why": "other models and other scorers: one of both is to be the same"}
                )
        except InputError as error:
            out.append({"table": "agreement" if same else "models", **pair, "why": str(error)})
    if not heads and not models:
        raise InputError(f"nothing can be compared: {out[0]['first']} and {out[0]['second']}: {out[0]['why']}")
    known = [_weights(own) for own in every.values()]
    nothing = [pd.DataFrame(columns=list(columns)) for columns in (AGREEMENT, MODELS)]
    return ComparedHeads(
        names=tuple(every),
        agreement=pd.concat(heads, ignore_index=True)[list(AGREEMENT)] if heads else nothing[0],
        models=pd.concat(models, ignore_index=True)[list(MODELS)] if models else nothing[1],
        left_out=pd.DataFrame(out, columns=["table", "first", "second", "why"]),
        settings={
            **begun, "study": STUDY, "scores": list(every), "rule": rule, "given": dict(given or {}), **how,
            "models_told_apart_by": "weights" if all(known) else "shape",
        },
    )  # fmt: skip


def compared_findings(found: ComparedHeads) -> Findings:
    """What compared scores say."""
    sentences = tuple(_sentences(found))
    tables = {"agreement": found.agreement, "models": found.models, "left_out": found.left_out}
    shown, level = {}, level_of(found.settings)
    if len(found.agreement):
        shown["Scores of one model"] = shown_agreement(found.agreement, "the functions of a pair", level)
    if len(found.models):
        shown["Layers of several models"] = _shown_models(found.models, level)
    return Findings(
        title="How far do scorers and models agree about heads?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={name: table for name, table in tables.items() if len(table) or name == "left_out"},
        shown=shown,
        figures={},
        summary={
            "names": list(found.names),
            "agreement": found.agreement.to_dict("records"),
            "models": found.models.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _sentences(found: ComparedHeads) -> list[str]:
    told = []
    deals = found.settings["deals"]
    for (first, second, measure), rows in found.agreement.groupby(["first", "second", "measure"], sort=False):
        known = rows[rows["value"].notna()]
        if len(known):
            own, random, within = (known[name].astype(float) for name in ("value", "random", "within"))
            told.append(
                f"{first} and {second}: {measure} of {decimal(own.mean())} on average over "
                f"{counted(len(known), 'function')} ({decimal(own.min())} to {decimal(own.max())}), "
                f"{decimal(random.mean())} with heads dealt anew and {decimal(within.mean())} with heads dealt inside "
                f"layers; {alike_told(known, deals)}."
            )
    for one in found.models.itertuples():
        several = (found.models[["first", "second"]] == [one.first, one.second]).all(axis=1).sum()
        test = f"{DEALT}, corrected for {counted(several, 'function')} by Holm"
        told.append(
            f"{one.first} and {one.second}, {one.function}: layers at relative depth correlate by "
            f"{decimal(one.value, one.low, one.high, level=level_of(found.settings))}, {decimal(one.random)} with "
            f"heads dealt anew ({p_said(one.p_holm, test=test)})."
        )
    return told or ["Nothing that was compared has a value: the scores do not vary, or no head is selected."]


def _shown_models(table: pd.DataFrame, level: float) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "function": one.function,
            "first": one.first,
            "second": one.second,
            "correlation of layers": decimal(one.value, one.low, one.high),
            f"heads dealt anew ({named_level(level)} of them)": ranged(one.random, one.random_low, one.random_high),
            f"p, {DEALT}, corrected for the functions of a pair by Holm": p_value(one.p_holm),
        }
        for one in table.itertuples()
    ]
    return pd.DataFrame(rows)


def _weights(scores: HeadScores) -> str:
    """The digest of the weights that scores are of; empty where nobody said."""
    return str(scores.settings.get("weights_sha256", ""))


def _same_model(first: HeadScores, second: HeadScores) -> bool:
    """Whether scores are of one model."""
    own, other = _weights(first), _weights(second)
    if own and other:
        return own == other
    return first.values.shape[1:] == second.values.shape[1:]
