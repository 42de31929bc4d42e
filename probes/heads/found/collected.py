"""What collected activations are of: how many items, how they were answered, and what each function has of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import agree, counted
from interp.report.numbers import percent, share
from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import DRAWS, SHARE
from probes.heads.activations.result import LISTS
from probes.heads.functions import TITLES, in_order
from probes.heads.scorers.items import LEAST
from probes.study.findings import Findings
from probes.study.parts import ALL
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd

    from probes.heads.activations.result import HeadActivations

UNREAD = ("parse_failures", "parse_failures_low", "parse_failures_high")
"""The columns of the share of answers that can not be read."""

CAUTIONS = (
    "These are activations, and nothing is found in them yet: python -m probes heads find scores the heads.",
    "Heads are read at the tokens of answers that the model gave, right or wrong, unless answers were given: what a "
    "model does where it is wrong may differ from what it does where it is right.",
    "Whether an answer is right is told by the strict rule: the option that it names first is the right one.",
)


def collected_findings(heads: HeadActivations, *, seed: int = 0, draws: int = DRAWS, level: float = 0.95) -> Findings:
    """What collected activations are of, ready to be written beside them."""
    table, left_out = functions_table(heads, seed=seed, draws=draws, level=level)
    sentences = tuple(_sentences(heads, table, level))
    items = heads.items.drop(columns=["shard", "place", "shard_sha256"], errors="ignore")
    items = items.assign(**{name: [json.dumps(list(cell)) for cell in items[name]] for name in LISTS if name in items})
    return Findings(
        title="What heads put out at the tokens of answers",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={"items": items, "functions": table, "left_out": left_out},
        shown={"By function": _shown(table)},
        figures={},
        summary={
            "items": len(heads),
            "left_out": len(heads.left_out),
            "axes": dict(zip(("layers", "heads", "width"), heads.axes, strict=True)),
            "functions": table.to_dict("records"),
            "sentence": sentences[0],
        },
        settings={**heads.settings, "level": level},
    )


def functions_table(
    heads: HeadActivations, *, seed: int, draws: int, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each function and for all items: how many, in how many groups, and accuracy with its interval.

    Beside it, what is left out: items that were answered with nothing, functions in one group, and those of too few
    items to be scored.
    """
    import pandas as pd

    names = in_order(name for own in heads.functions for name in own)
    groups, right = np.array(heads.groups, dtype=object), heads.correct.astype(float)
    parsed = heads.items["parsed"].to_numpy(bool)
    parts = {ALL: np.ones(len(heads), bool)} | {name: heads.labels((name,))[:, 0] for name in names}
    rows = []
    out = [{"id": one.id, "function": ALL, "why": one.why} for one in heads.left_out.itertuples()]
    for name, some in parts.items():
        both = np.stack([right[some], ~parsed[some]], axis=1)
        found = mean_over_groups(both, groups[some], seed=seed, n=draws, level=level, bounds=SHARE)
        ends, failed = np.stack([found.estimate, found.low, found.high], axis=1).astype(float).tolist()
        counts = {"items": int(some.sum()), "groups": len(set(groups[some]))}
        rows.append({"function": name, **counts, **dict(zip(("accuracy", "low", "high"), ends, strict=True)),
                     **dict(zip(UNREAD, failed, strict=True))})  # fmt: skip
        if counts["groups"] < 2:
            out.append({"id": "", "function": name, "why": ONE_GROUP})
        others = len(heads) - counts["items"]
        if name != ALL and min(counts["items"], others) < LEAST:
            own, beside = counted(counts["items"], "item"), counted(others, "other")
            why = f"{own} of it and {beside}: scorers need at least {LEAST} of each"
            out.append({"id": "", "function": name, "why": why})
    return pd.DataFrame(rows), pd.DataFrame(out, columns=["id", "function", "why"])


def _sentences(heads: HeadActivations, table: pd.DataFrame, level: float) -> list[str]:
    every = table.iloc[0]
    layers, across, width = heads.axes
    told = [
        f"{counted(len(heads), 'item')}, {counted(layers, 'layer')} of {counted(across, 'head')}, "
        f"{counted(width, 'number')} each; {share(every.accuracy, every.low, every.high, level=level)} of the answers "
        f"are right, and {share(*_unread(every), level=level)} name none of their options."
    ]
    if len(heads.left_out):
        told.append(
            f"{counted(len(heads.left_out), 'item')} {agree(len(heads.left_out), 'has', 'have')} no "
            f"activations: {heads.left_out['why'].iloc[0]}."
        )
    if len(table) == 1:
        told.append("No item is labelled with a function, so that no head can be scored for one.")
    return told


def _unread(row: Mapping[str, Any] | pd.Series) -> list[float]:
    """The share of answers that name none of their options, with its interval."""
    return [row[name] for name in UNREAD]


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "function": TITLES.get(one["function"], one["function"]),
            "items": one["items"],
            "groups": one["groups"],
            "right, %": percent(one["accuracy"], one["low"], one["high"]),
            "no option, %": percent(*_unread(one)),
        }
        for one in table.to_dict("records")
    ]
    return pd.DataFrame(rows)
