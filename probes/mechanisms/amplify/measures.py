"""Amplification, measured: what is corrected, broken and gained, at each alpha and at one chosen on other items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.errors import InputError
from interp.stats.draws import check_draws, halves
from interp.stats.intervals import APART, DRAWS, SHARE
from interp.stats.paired_draws import NUMBERS, PairedDraws
from interp.stats.tests import sign_test
from probes.mechanisms.amplify.answers import PROBE, UNTOUCHED
from probes.study.parts import ALL, parts_of
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd

RANDOM, DIFFERENCE = "random", "probe - random"
"""Random directions as a mean over seeds, and what the probe's do beyond."""
SAME, DIFFERENCE_SAME = "random, same alphas", "probe - random, same alphas"
"""The same with random directions at the alphas that were chosen for the probe's, and not at those of their own."""

MEASURES = ("accuracy", "corrected", "broken", "net")
"""Right in both orders; wrong before and right after; right before and wrong after; corrected - broken."""

LIMITS = {**dict.fromkeys(MEASURES, SHARE), "net": APART}
"""The least and the most that each can be."""

FEWEST_GROUPS = 4
"""Groups that a choice of alpha on one half, reported on the other, needs at least."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Which answers of each item are right, in both orders.

    Attributes:
        untouched: bool [item order].
        probe: bool [item alpha order].
        random: bool [item seed alpha order].
        alphas: in ascending order.
        seeds: of the random directions.
        axes: `horizontal` or `vertical`, of each item.
        groups: what is drawn together.
    """

    untouched: Bool[np.ndarray, "item order"]
    probe: Bool[np.ndarray, "item alpha order"]
    random: Bool[np.ndarray, "item seed alpha order"]
    alphas: tuple[float, ...]
    seeds: tuple[int, ...]
    axes: Shaped[np.ndarray, " item"]
    groups: Shaped[np.ndarray, " item"]

    def only(self, own: Bool[np.ndarray, " item"]) -> Judged:
        """Some of the items."""
        untouched, probe, random = (part[own] for part in (self.untouched, self.probe, self.random))
        return Judged(untouched, probe, random, self.alphas, self.seeds, self.axes[own], self.groups[own])

    def sources(self) -> dict[str, Bool[np.ndarray, "item alpha"]]:
        """Which items are right in both orders, along the probe's directions and along those of each seed."""
        random = both_orders(self.random)
        seeds = {f"random {seed}": random[:, place] for place, seed in enumerate(self.seeds)}
        return {PROBE: both_orders(self.probe)} | seeds

    def by_axis(self) -> dict[str, Judged]:
        """All items, then those of each axis where there are several."""
        whole, *each = parts_of(self.axes).items()
        return {name: self.only(own) for name, own in (whole, *sorted(each))}


def both_orders(right: Bool[np.ndarray, "*axes order"]) -> Bool[np.ndarray, "*axes"]:
    """Whether each item is right in both orders."""
    return np.asarray(right.all(axis=-1))


@dataclass(frozen=True, eq=False)
class Amplification:
    """The tables of `amplify`, each described there."""

    measures: pd.DataFrame
    held_out: pd.DataFrame
    gain: Mapping[str, bool | float]
    chosen: pd.DataFrame
    paper: pd.DataFrame
    left_out: pd.DataFrame


def measure_amplification(judged: Judged, *, seed: int = 0, n: int = DRAWS, level: float = 0.95) -> Amplification:
    """The measures of `amplify`, and what is left out of them and why.

    Args:
        judged: which answers are right.
        seed: the seed of the draws, and of the halves.
        n: the number of draws.
        level: nominal coverage.

    Raises:
        InputError: there is no item, no draw, or no such level.
    """
    import pandas as pd

    check_draws(n, level, seed)
    if not len(judged.untouched):
        raise InputError("there is no item to measure: all were dropped or left out")
    how: dict[str, Any] = {"seed": seed, "n": n, "level": level}
    left_out: list[dict[str, str]] = []
    by_axis = [_at_each_alpha(axis, own, left_out, **how) for axis, own in judged.by_axis().items()]
    held_out, chosen, p = held_out_measures(judged, left_out, **how)
    paper = as_the_paper_counts(judged, left_out, **how)
    columns = ["source", "measure", *NUMBERS, "samples", "groups"]
    return Amplification(
        measures=_tidy([row for rows in by_axis for row in rows], ["axis", "alpha", *columns]),
        held_out=_tidy(held_out, columns),
        gain=gain_of(held_out, p, level),
        chosen=_tidy(chosen, ["source", "chosen_on", "reported_on", "alpha", "net_chosen_on", "samples"]),
        paper=_tidy(paper, list(PAPER)),
        left_out=pd.DataFrame(left_out, columns=["table", "axis", "source", "measure", "why"]),
    )


def _tidy(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=columns)
    narrow = {name: np.float32 for name in table if table[name].dtype == np.float64}
    return table.astype(narrow)


# at each alpha -------------------------------------------------------------------------------------------------------


def _at_each_alpha(
    axis: str, judged: Judged, left_out: list[dict[str, str]], *, seed: int, n: int, level: float
) -> list[dict[str, Any]]:
    """The rows of one axis: untouched, at each alpha along the probe's and random directions, and their difference."""
    counts: dict[str, Any] = {"axis": axis, "samples": len(judged.untouched), "groups": len(set(judged.groups))}
    if counts["groups"] < 2:
        left_out.append({"table": "measures", "axis": axis, "source": "", "measure": "", "why": ONE_GROUP})
        return []
    before = both_orders(judged.untouched)
    after = {PROBE: both_orders(judged.probe)[:, None], RANDOM: both_orders(judged.random)}  # [item seed alpha]
    draws = PairedDraws(judged.groups, seed, n)
    rows = [
        {
            **counts,
            "source": UNTOUCHED,
            "alpha": 0.0,
            "measure": "accuracy",
            **draws.told(before[:, None].astype(float), level)[0],
        }
    ]
    if len(judged.seeds) < 2:
        why = "one seed says nothing of how far random directions lie apart: give at least two"
        left_out.append({"table": "measures", "axis": axis, "source": DIFFERENCE, "measure": "", "why": why})
    for measure in MEASURES:
        found = {name: _counted(before, own, measure) for name, own in after.items()}
        told = {name: draws.told_of_seeds(own, level, bounds=LIMITS[measure]) for name, own in found.items()}
        if len(judged.seeds) > 1 and measure != "accuracy":
            told[DIFFERENCE] = draws.told_beyond(found[PROBE][:, 0], found[RANDOM], level, bounds=LIMITS[measure])
        rows += [
            {**counts, "source": source, "alpha": alpha, "measure": measure, **numbers}
            for source, own in told.items()
            for alpha, numbers in zip(judged.alphas, own, strict=True)
        ]
    return rows


def _counted(
    before: Bool[np.ndarray, " item"], after: Bool[np.ndarray, "item ..."], measure: str
) -> Float[np.ndarray, "item ..."]:
    """What each item adds to a measure: 1, 0, or -1."""
    first = before.reshape(-1, *[1] * (after.ndim - 1))
    if measure == "accuracy":
        return after.astype(float)
    if measure == "corrected":
        return (after & ~first).astype(float)
    if measure == "broken":
        return (first & ~after).astype(float)
    return after.astype(float) - first


# at an alpha chosen on other items -----------------------------------------------------------------------------------


def best_alpha(net: Float[np.ndarray, " alpha"]) -> int:
    """The place of the largest net gain; of ties, that of the smallest alpha, as the authors choose."""
    return int(np.argmax(net))


def held_out_measures(
    judged: Judged,
    left_out: list[dict[str, str]],
    *,
    seed: int,
    n: int,
    level: float,
    wanted: Sequence[str] = MEASURES,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """Measures with alpha chosen on one half and reported on the other, both ways; which were chosen; a sign test."""
    counts = {"samples": len(judged.untouched), "groups": len(set(judged.groups))}
    if counts["groups"] < FEWEST_GROUPS:
        why = f"{counts['groups']} groups can not be parted: give at least {FEWEST_GROUPS}"
        left_out.append({"table": "held_out", "axis": ALL, "source": "", "measure": "", "why": why})
        return [], [], 1.0
    part = halves(judged.groups, judged.axes, seed=seed)
    before, sources = both_orders(judged.untouched), judged.sources()
    places = {source: _chosen_places(before, right, part) for source, right in sources.items()}
    after = {source: _at_places(right, places[source], part) for source, right in sources.items()}
    same = {source: _at_places(right, places[PROBE], part) for source, right in sources.items()}
    draws, names = PairedDraws(judged.groups, seed, n), list(sources)[1:]
    rows = []
    for measure in wanted:
        probe = _counted(before, after[PROBE], measure)[:, None, None]
        told = {PROBE: draws.told_of_seeds(probe, level, bounds=LIMITS[measure])[0]}
        for random, difference, own in ((RANDOM, DIFFERENCE, after), (SAME, DIFFERENCE_SAME, same)):
            counted = np.stack([_counted(before, own[name], measure) for name in names], axis=1)[..., None]
            told[random] = draws.told_of_seeds(counted, level, bounds=LIMITS[measure])[0]
            if len(names) > 1 and measure != "accuracy":
                told[difference] = draws.told_beyond(probe[:, 0], counted, level, bounds=LIMITS[measure])[0]
        rows += [{"source": source, "measure": measure, **own, **counts} for source, own in told.items()]
    chosen = [
        {
            "source": source,
            "chosen_on": here + 1,
            "reported_on": 2 - here,
            "alpha": judged.alphas[place],
            "net_chosen_on": float(_counted(before, sources[source][:, place], "net")[part == here].mean()),
            "samples": int((part != here).sum()),
        }
        for source, own in places.items()
        for here, place in enumerate(own)
    ]
    return rows, chosen, sign_test(_counted(before, after[PROBE], "net"), draws.codes)


def _chosen_places(
    before: Bool[np.ndarray, " item"], right: Bool[np.ndarray, "item alpha"], part: Int[np.ndarray, " item"]
) -> tuple[int, int]:
    """The place of the alpha that each half chooses."""
    net = _counted(before, right, "net")
    return best_alpha(net[part == 0].mean(0)), best_alpha(net[part == 1].mean(0))


def _at_places(
    right: Bool[np.ndarray, "item alpha"], places: tuple[int, int], part: Int[np.ndarray, " item"]
) -> Bool[np.ndarray, " item"]:
    """Whether each item is right at the alpha that the other half has chosen."""
    return np.where(part == 0, right[:, places[1]], right[:, places[0]])


def gain_of(held_out: Sequence[Mapping[str, Any]], p: float, level: float) -> dict[str, bool | float]:
    """Whether a gain is claimed: over untouched, and beyond what random directions do.

    `over_untouched`: the interval of the net gain with alpha chosen on other items lies above 0, and so says a sign
    test over groups. `beyond_random`: so does the interval of its difference to random directions, both where each of
    these has alphas of its own, and at the probe's. Alphas of their own leave out where random directions do harm, so
    that three of them that help nowhere look more alike than they are.
    """
    lows = {row["source"]: row["low"] for row in held_out if row["measure"] == "net"}
    return {
        "over_untouched": lows.get(PROBE, 0) > 0 and p < 1 - level,
        "beyond_random": min(lows.get(DIFFERENCE, 0), lows.get(DIFFERENCE_SAME, 0)) > 0,
        "p": p,
    }


# as the paper counts -------------------------------------------------------------------------------------------------

PAPER = (
    *("source", "rule", "alpha", "failures", "corrected", "corrected_rate", "accuracy_before", "accuracy_after"),
    *("gain", "low", "high", "samples"),
)
"""The columns of the paper's counting."""


def as_the_paper_counts(
    judged: Judged, left_out: list[dict[str, str]], *, seed: int, n: int, level: float
) -> list[dict[str, Any]]:
    """What the paper would report: right items not asked again, nor orders that were right, and alpha the best one."""
    failed = ~both_orders(judged.untouched)
    if not failed.any():
        why = "no item fails before, so that there is nothing to correct"
        left_out.append({"table": "paper", "axis": ALL, "source": "", "measure": "", "why": why})
        return []
    sources = {PROBE: judged.probe}
    sources |= {f"random {own}": judged.random[:, place] for place, own in enumerate(judged.seeds)}
    draws = PairedDraws(judged.groups, seed, n) if len(set(judged.groups)) > 1 else None
    rows = []
    for source, right in sources.items():
        mended = failed[:, None] & both_orders(right | judged.untouched[:, None])  # [item alpha]
        best = best_alpha(mended.mean(0))
        name = source.split()[0]
        for rule, alpha, own in (
            (name, f"{judged.alphas[best]:g}", mended[:, best]),
            (f"{name}_any", "any", mended.any(-1)),
        ):
            ends = {} if draws is None else draws.told(own[:, None].astype(float), level)[0]
            rows.append(
                {
                    "source": source,
                    "rule": rule,
                    "alpha": alpha,
                    "failures": int(failed.sum()),
                    "corrected": int(own.sum()),
                    "corrected_rate": float(own[failed].mean()),
                    "accuracy_before": float(1 - failed.mean()),
                    "accuracy_after": float((~failed | own).mean()),
                    "gain": float(own.mean()),
                    "low": ends.get("low", 0.0),
                    "high": ends.get("high", 1.0),
                    "samples": len(failed),
                }
            )
    return rows
