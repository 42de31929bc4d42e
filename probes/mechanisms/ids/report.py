"""What spatial IDs, the mirror swap and steering say: in sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp.numeric import bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_said, share
from interp.report.verdicts import undetected
from interp.stats.clusters import few_groups
from interp.stats.intervals import APART, SHARE
from probes.mechanisms.ids.mirror_swap import BEYOND as MORE_THAN_OTHER_WORDS
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.ids.mirror_swap import MirrorSwap
    from probes.mechanisms.ids.spatial_ids import SpatialIDs
    from probes.mechanisms.ids.steer_ids import IdSteering

SHUFFLED = "cells shuffled, of this slot alone"
"""The test of an ID, which is not corrected."""

NAMED = {
    "words": "The names of the objects",
    "image": "The image tokens",
    "text": "The tokens of all text behind the photo",
}
"""What is swapped, as a sentence begins."""

CAUTIONS = (
    "That words hold the cell of their object does not show that the answer hangs on it. Where an object lies and what "
    "is right to say of it go together in these scenes, so that a part of an ID may be the answer itself.",
    "The position code of the fit (column, row and their product) is ours. A model may hold places in another form: "
    "its IDs then agree between objects, and their R² is low.",
    "Intervals of IDs draw objects. The best slot is picked after the fact by the numbers that are then told of it. "
    "Their intervals allow for that: they hold for all slots together; p-values are slot by slot.",
)
OF_SWAPS = (
    "A mirror swap tells where what turns the answer stands, and not that it is a place: all else in which the two "
    "runs differ at these tokens moves with it."
)
OF_STEERING = (
    "The authors steer from corner to corner at five times another length; the length is ours, and how many answers "
    "turn depends on it. IDs that were made of the samples that are steered would flatter them."
)


def swap_findings(found: MirrorSwap) -> Findings:
    """What a mirror swap says."""
    return Findings(
        title="Which tokens carry what turns the answer when the photo is mirrored?",
        sentences=tuple(_of_swap(found)),
        cautions=(OF_SWAPS,),
        tables={"mirror_swap": found.measures, "pairs": found.pairs, "left_out": found.left_out},
        shown={"Belief shift by slot": _by_slot(found.measures, "tokens")},
        figures=_swap_figure(found),
        summary={"left_out": found.left_out.to_dict("records"), "sentence": _of_swap(found)[0]},
        settings=dict(found.settings),
    )


def id_findings(
    found: SpatialIDs,
    swap: MirrorSwap | None = None,
    steering: IdSteering | None = None,
    *,
    untold: Sequence[str] = (),
) -> Findings:
    """What spatial IDs say, and what a mirror swap and steering add.

    Args:
        found: the IDs.
        swap: a mirror swap of the same model.
        steering: steering by these IDs.
        untold: sentences that say why one of these is missing.
    """
    sentences = _of_ids(found)
    tables = {"spatial_ids": found.measures, "plane": found.plane_to_dataframe()}
    tables["left_out"] = _left_out(found, swap, steering)
    figures: dict[str, Drawn] = {}
    shown: dict[str, pd.DataFrame] = {}
    cautions: tuple[str, ...] = CAUTIONS
    if few := few_groups(len(found.objects), "IDs are of", "object"):
        cautions = (few, *CAUTIONS)
    if len(found.measures):
        captions = {"r2": "How much of the universal ID a position code explains", "agreement": "Agreement of objects"}
        figures = {
            name: Drawn(title, figure_of(found.plot(measure=name)), "By slot, beside cells that are shuffled.")
            for name, title in captions.items()
        }
        shown["By slot"] = _by_slot(found.measures, "measure")
        figures |= _plane_figure(found, tables["plane"])
    if swap is not None:
        sentences += _of_swap(swap)
        tables["mirror_swap"], cautions = swap.measures, (*cautions, OF_SWAPS)
        figures |= _swap_figure(swap)
        if len(swap.measures):
            shown["Belief shift by slot"] = _by_slot(swap.measures, "tokens")
    if steering is not None:
        sentences += _of_steering(steering)
        tables["steering"], cautions = steering.measures, (*cautions, OF_STEERING)
        if len(steering.measures):
            figures["steering"] = Drawn("Steering", figure_of(steering.plot()), "Beside directions of the same length.")
    return Findings(
        title="Do words of objects hold where their objects lie?",
        sentences=(*sentences, *untold),
        cautions=cautions,
        tables=tables,
        shown=shown,
        figures=figures,
        summary={
            "objects": list(found.objects),
            "cells": found.cells,
            "best": _best_of(found, swap, steering),
            "left_out": tables["left_out"].to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _left_out(found: SpatialIDs, swap: MirrorSwap | None, steering: IdSteering | None) -> pd.DataFrame:
    """What can not be told of all three, in the columns of the IDs; -1 is no slot alone."""
    import pandas as pd

    parts = [found.left_out.assign(cases=1)]
    for name, own in (("mirror swap", swap), ("steering", steering)):
        if own is not None and len(own.left_out):
            parts.append(own.left_out.assign(what=name + ": " + own.left_out["what"], slot=-1)[[*parts[0]]])
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _best_of(found: SpatialIDs, swap: MirrorSwap | None, steering: IdSteering | None) -> dict[str, Any]:
    """The rows that the sentences tell of."""
    best: dict[str, dict[str, Any]] = {}
    if len(found.measures):
        best |= {name: _best(found.curve(name)).to_dict() for name in ("agreement", "r2")}
    if swap is not None and len(swap.measures):
        best |= {f"mirror_swap {name}": _best(swap.curve(name)).to_dict() for name in NAMED}
    if steering is not None and len(steering.measures):
        best["steering"] = _best(steering.curve("ids")).to_dict()
    return best


def _plane_figure(found: SpatialIDs, plane: pd.DataFrame) -> dict[str, Drawn]:
    """The cells in their plane, at the slot of the best fit; nothing where words do not move along two axes there."""
    slot = int(_best(found.curve("r2"))["slot"])
    if not (plane["slot"] == slot).any():
        return {}
    caption = f"The universal ID of each cell at slot {slot}, where the fit is best: a grid where words hold the cell."
    return {"plane": Drawn("Where words put the cells", figure_of(found.plot_plane(slot)), caption)}


def _of_ids(found: SpatialIDs) -> list[str]:
    if found.measures.empty:
        return ["At no slot do words of objects change with the cell that their object lies in."]
    told = []
    for measure, what in (
        ("agreement", "an object's word moves with the cell as those of the other objects do, with a cosine of"),
        ("r2", "column, row and their product explain of the universal ID an R² of"),
    ):
        curve = found.curve(measure)
        best, bounds = _best(curve), SHARE if measure == "r2" else APART
        ends = picked_ends(best, len(curve), level_of(found.settings), bounds=bounds, units="objects")
        told.append(
            f"At slot {int(best['slot'])} of 0 to {len(found.ids) - 1}, {what} "
            f"{decimal(*ends, level=level_of(found.settings))} ({_chosen(curve)}"
            f"{together(len(curve), best['low'])}), with each object's cells shuffled {decimal(best['null'])}, "
            f"{p_said(best['p'], test=SHUFFLED)} ({counted(len(found.objects), 'object')})."
        )
    return told


def _of_swap(found: MirrorSwap) -> list[str]:
    if found.measures.empty:
        return ["No belief shift can be told; left_out.csv says why."]
    told = []
    level = level_of(found.settings)
    for tokens, what in NAMED.items():
        curve = found.curve(tokens)
        best, count = _best(curve), len(curve)
        sentence = (
            f"{what}, as in the mirrored photo's run, move the answer most at slot {int(best['slot'])}: a belief "
            f"shift of {decimal(*picked_ends(best, count, level), level=level)} ({_chosen(curve)}; "
            f"{counted(int(best['samples']), 'pair')}"
            f"{together(count, best['low'])})"
        )
        if tokens == "words":
            more = found.curve(MORE_THAN_OTHER_WORDS)
            row = more[more["slot"] == best["slot"]].iloc[0]
            ends = picked_ends(row, count, level)
            sentence += f", {decimal(*ends, signed=True, level=level)} beyond as many other tokens"
            sentence += undetected(*ends[1:])
        told.append(f"{sentence}.")
    return told


def _of_steering(found: IdSteering) -> list[str]:
    if found.measures.empty:
        return ["No steering can be told; left_out.csv says why."]
    curve = found.curve("ids")
    best, count = _best(curve), len(curve)
    other, level = found.curve("random"), level_of(found.settings)
    row = other[other["slot"] == best["slot"]].iloc[0]
    turned, at_random = (share(*picked_ends(one, count, level, bounds=SHARE), level=level) for one in (best, row))
    return [
        f"Told the other side by their IDs at slot {int(best['slot'])}, words of both objects turn "
        f"{turned} of {counted(int(best['samples']), 'right answer')} ({_chosen(curve)}"
        f"{together(count, best['low'])}); random directions of the same length {at_random}."
    ]


def _best(curve: pd.DataFrame) -> pd.Series:
    return curve.loc[curve["value"].idxmax()]


def _chosen(curve: pd.DataFrame) -> str:
    """What is said of the slot that sentences tell of, and of others that have as much."""
    return f"the largest{shared(curve['value'], _best(curve)['value'])}"


def _swap_figure(found: MirrorSwap) -> dict[str, Drawn]:
    if found.measures.empty:
        return {}
    bands = " Bands draw groups." if bounded(found.measures["low"]) else ""
    caption = f"1 is what mirroring the photo does to the right answer's probability.{bands}"
    return {"mirror_swap": Drawn("Mirror swap", figure_of(found.plot()), caption)}


def _by_slot(measures: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row per slot, a column for each name."""
    import pandas as pd

    cells = measures.assign(cell=[decimal(*row) for row in measures[["value", "low", "high"]].to_numpy(float)])
    if cells.empty:
        return pd.DataFrame(columns=["slot"])
    names = list(dict.fromkeys(cells[column]))
    table = cells.pivot(index="slot", columns=column, values="cell")[names].fillna("–").reset_index()
    table.columns.name = None
    return table.rename(columns={name: name.replace("_", " ").replace("r2", "R²") for name in names})
