"""The arms of a study of balance: its measures, with the system part and without, and the paired difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.stats.clusters import mean_over_groups
from probes.position.balance_measurement import KEPT, MAPS, STRIPPED
from probes.position.mean_balance import MeanBalance, balance_over_groups, counted, head_counts
from probes.position.mean_shares import interval_at
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True, eq=False)
class BalanceArm:
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
    def of(cls, rows: pd.DataFrame, groups: Mapping[str, Any], shape: tuple[int, int]) -> BalanceArm:
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

    def at(self, ids: Sequence[str]) -> BalanceArm:
        """Some of the samples."""
        known = {name: place for place, name in enumerate(self.ids)}
        places = [known[name] for name in ids]
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


def measures_of(arms: Mapping[str, BalanceArm], drawn: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of both arms and of their difference, and what is left out and why."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    kept, stripped = (arms[arm] for arm in (KEPT, STRIPPED))
    heads = kept.maps[0, 0].size
    for arm, own in arms.items():
        if own.several:
            here, draws = head_counts(own.maps[0], own.even, own.groups, seed=drawn["seed"], n=drawn["n"])
            _add(rows, gone, arm, own.columns, (here, draws), own.groups, heads, drawn, _no_system(arm, own))
    if stripped.several:
        same = kept.at(stripped.ids)
        pair = [head_counts(own.maps[0], own.even, own.groups, seed=drawn["seed"], n=drawn["n"])
                for own in (same, stripped)]  # fmt: skip
        change = {name: stripped.columns[name] - same.columns[name] for name in stripped.columns}
        change["changed"] = (stripped.texts != same.texts).astype(np.float64)
        counts = pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]
        why = "one of the arms has no system part, so that the difference is all of its share"
        _add(rows, gone, DIFFERENCE, change, counts, stripped.groups, heads, drawn, why)
    else:
        why = ONE_GROUP if stripped.ids else "no prompt has a system part, so that this arm would be the same as kept"
        gone += [{"arm": arm, "measure": "all", "why": why} for arm in (STRIPPED, DIFFERENCE)]
    table = pd.DataFrame(rows).astype(dict.fromkeys(("value", "low", "high"), np.float32))
    return table, pd.DataFrame(gone, columns=["arm", "measure", "why"])


def change_of(arms: Mapping[str, BalanceArm]) -> Float[np.ndarray, "layer head"]:
    """Mean over samples of balance without the system part less that with it."""
    stripped = arms[STRIPPED]
    return (stripped.maps[0] - arms[KEPT].at(stripped.ids).maps[0]).mean(axis=0, dtype=np.float32)


def _no_system(arm: str, own: BalanceArm) -> str:
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
    heads: int,
    drawn: Mapping[str, Any],
    no_system: str,
) -> None:
    """The rows of one arm, or of the difference, in the order of `MEASURES`."""
    names = list(columns)
    table = np.column_stack([columns[name] for name in names])
    least = [-1 if arm == DIFFERENCE and name != "changed" else 0 for name in names]
    found = mean_over_groups(table, groups, **drawn, bounds=(least, 1))
    for measure in (name for name in MEASURES if name in (*names, *COUNTS)):
        if measure in COUNTS:
            place = COUNTS.index(measure)
            known = np.ones(len(groups), dtype=bool)
            ends = (-heads if arm == DIFFERENCE else 0), heads
            one = counted(counts[0][place], counts[1][:, place], drawn["level"], units=len(set(groups)), bounds=ends)
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
