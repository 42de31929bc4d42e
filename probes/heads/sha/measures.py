"""What SHA does to answers and to the number of heads, arm by arm: tables with intervals, nulls and paired tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import APART, SHARE
from interp.stats.sign_flips import flip_signs
from probes.heads.activations.checks import functions_of
from probes.heads.functions import in_order
from probes.heads.sha.arms import BOTH, ELSEWHERE, ORIGINAL
from probes.study.parts import ALL
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd

    from interp.objects.sample import Sample
    from probes.heads.activations.result import HeadActivations
    from probes.heads.sha.counts import HeadCounts

MEASURES = ("accuracy", "parse_failures")
"""Shares of items: rightly answered by the strict rule; and answered with no option, or with nothing."""

ACCURACY = ("arm", "function", "measure", "value", "low", "high", "samples", "groups")
AGAINST = ("arm", "baseline", "function", "measure", "value", "low", "high", "p", "p_any", "samples", "groups")
HEADS = ("arm", "function", "value", "low", "high", "of", "null", "null_high", "p", "deals", "samples", "groups")
MORE = ("arm", "baseline", "function", "value", "low", "high", "null", "null_high", "p", "deals", "samples", "groups")
LEFT_OUT = ("table", "arm", "function", "why")


def answers_of(found: Mapping[str, HeadActivations], items: Sequence[Sample]) -> pd.DataFrame:
    """A row for each item and arm: what was asked, what was answered, and whether that is right.

    What was answered with nothing is wrong, and names no option.
    """
    import pandas as pd

    rows = []
    for arm, own in found.items():
        by = {row.id: row for row in own.items.itertuples()}
        for item in items:
            row = by.get(item.id)
            rows.append(
                {
                    "id": item.id,
                    "arm": arm,
                    "group": item.group or item.id,
                    "functions": "+".join(map(str, functions_of(item))),
                    "gold": item.answer,
                    "answer": "" if row is None else row.answer,
                    "predicted": "" if row is None or pd.isna(row.predicted) else str(row.predicted),
                    "correct": row is not None and bool(row.correct),
                    "parsed": row is not None and bool(row.parsed),
                }
            )
    return pd.DataFrame(rows)


def measure_answers(
    answers: pd.DataFrame, *, seed: int, n: int, level: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Shares by arm; their paired differences; and what is left out, and why.

    Differences are of the same items, against the original and, of boxes and masks together, against the control.
    Intervals draw whole groups; `p` flips the signs of whole groups, and `p_any` is corrected for the arms that are
    held against the original.

    Args:
        answers: see `answers_of`.
        seed: of draws and flips.
        n: draws.
        level: nominal coverage.
    """
    import pandas as pd

    arms = list(dict.fromkeys(answers["arm"]))
    by = [answers[answers["arm"] == arm].reset_index(drop=True) for arm in arms]
    table = {
        "accuracy": np.stack([own["correct"].to_numpy(float) for own in by], axis=1),
        "parse_failures": np.stack([1 - own["parsed"].to_numpy(float) for own in by], axis=1),
    }
    groups = by[0]["group"].to_numpy(dtype=object)
    shares, differences, out = [], [], []
    for function, some in _parts(by[0]["functions"]).items():
        counts = {"samples": int(some.sum()), "groups": len(set(groups[some]))}
        if counts["groups"] < 2:
            out.append({"table": "accuracy", "arm": ALL, "function": function, "why": ONE_GROUP})
            continue
        for measure, values in table.items():
            named = {"function": function, "measure": measure}
            found = mean_over_groups(values[some], groups[some], seed=seed, n=n, level=level, bounds=SHARE)
            shares.append(pd.DataFrame({"arm": arms, **named, **found.cells("value"), **counts}))
            for baseline, others in _held_against(arms):
                columns = [arms.index(arm) for arm in others]
                gaps = values[some][:, columns] - values[some][:, [arms.index(baseline)]]
                told = _told(gaps, groups[some], seed=seed, n=n, level=level)
                differences.append(pd.DataFrame({"arm": others, "baseline": baseline, **named, **told, **counts}))
    return _table(shares, ACCURACY), _table(differences, AGAINST), pd.DataFrame(out, columns=list(LEFT_OUT))


def measure_counts(
    counts: Mapping[str, HeadCounts], level: float, why: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The number of heads by arm; how many more than in the original or the control; and what is left out, and why.

    Args:
        counts: by arm; none where they could not be counted.
        level: nominal coverage.
        why: why they could not.
    """
    import pandas as pd

    rows, more, out = [], [], []
    if not counts:
        out.append({"table": "heads", "arm": ALL, "function": ALL, "why": why})
    for arm, own in counts.items():
        for place, function in enumerate(own.scores.functions):
            sizes = {"samples": own.scores.samples[place], "groups": own.scores.groups[place]}
            rows.append({"arm": arm, "function": function, **own.told(function, level), **sizes})
            for baseline in _baselines(arm, counts):
                if function in counts[baseline].scores.functions:
                    told = own.told_against(counts[baseline], function, level)
                    more.append({"arm": arm, "baseline": baseline, "function": function, **told, **sizes})
        out += [{"table": "heads", "arm": arm, **one} for one in own.scores.left_out]
    return (
        _numbers(pd.DataFrame(rows, columns=list(HEADS))),
        _numbers(pd.DataFrame(more, columns=list(MORE))),
        pd.DataFrame(out, columns=list(LEFT_OUT)),
    )


def _parts(functions: pd.Series) -> dict[str, Bool[np.ndarray, " item"]]:
    """All items, and those of each function; an item of several is in each."""
    each = [cell.split("+") if cell else [] for cell in functions]
    names = in_order(name for own in each for name in own)
    parts = {ALL: np.ones(len(each), dtype=bool)}
    return parts | {name: np.array([name in own for own in each], dtype=bool) for name in names}


def _held_against(arms: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What is held against what."""
    yield ORIGINAL, [arm for arm in arms if arm != ORIGINAL]
    if ELSEWHERE in arms:
        yield ELSEWHERE, [BOTH]


def _baselines(arm: str, arms: Collection[str]) -> list[str]:
    """What an arm is held against."""
    return [baseline for baseline, others in _held_against(list(arms)) if arm in others]


def _told(
    gaps: Float[np.ndarray, "item arm"], groups: np.ndarray, *, seed: int, n: int, level: float
) -> dict[str, Any]:
    """Mean differences with intervals and sign flips."""
    found = mean_over_groups(gaps, groups, seed=seed, n=n, level=level, bounds=APART)
    flips = flip_signs(gaps, groups, seed=seed)
    return {**found.cells("value"), "p": flips.p, "p_any": flips.p_any}


def _table(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    made = pd.concat(parts, ignore_index=True)[list(columns)] if parts else pd.DataFrame(columns=list(columns))
    return _numbers(made)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers as float32."""
    floats = ("value", "low", "high", "p", "p_any", "of", "null", "null_high", "deals")
    return table.astype({name: np.float32 for name in floats if name in table})
