"""The blocks of the position page that are of whole data sets: the dose-response, and all tools at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from adaptvis_page import markdown_table
from matplotlib.axes import Axes

from interp import HookedVLM, Sample
from interp.report.numbers import decimal
from probes import DoseResponse, dose_response, examine_position

MEASURES = {
    "median_norm": ("length of image tokens, median", 2),
    "accuracy": ("right", 2),
    "psi": ("PSI", 2),
    "abs_delta_g_v": ("size of delta g_V", 2),
    "confidence": ("confidence", 2),
}


def dose_blocks(
    vlm: HookedVLM, samples: Sequence[Sample], draw: Callable[..., Any], images: Path
) -> Iterator[tuple[str, str]]:
    """Accuracy, PSI, RoPE sensitivity and confidence by how long image tokens are."""
    found = dose_response(vlm, samples, prompt="paper", progress=False)
    axes: Sequence[Axes] = found.draw().ravel()
    draw(axes[0], images / "doses.png", dpi=75)
    yield "dose", f"{dose_table(found)}\n\n{widest(found)}"


def dose_table(found: DoseResponse) -> str:
    """One row per scale, all relations together."""
    own = found.to_dataframe().query("relation == 'all' and kind == 'scale'")
    rows = []
    for dose, part in own.groupby("dose"):
        by = part.set_index("measure")
        cells = {
            title: decimal(*by.loc[measure, ["value", "low", "high"]], digits=digits)
            for measure, (title, digits) in MEASURES.items()
            if measure in by.index
        }
        rows.append({"times": f"{dose:g}", **cells})
    return markdown_table(pd.DataFrame(rows))


def widest(found: DoseResponse) -> str:
    """What the largest dose changes against the untouched model, in a sentence."""
    own = found.differences().query("relation == 'all' and kind == 'scale'")
    last = own[own["dose"] == own["dose"].max()].set_index("measure")
    told = ", ".join(
        f"{MEASURES[name][0]} by {decimal(*last.loc[name, ['value', 'low', 'high']], digits=3, signed=True)}"
        for name in ("accuracy", "psi", "abs_delta_g_v")
        if name in last.index
    )
    return f"At {own['dose'].max():g} times their length, against the untouched model and sample by sample: {told}."


def study_blocks(vlm: HookedVLM, samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """One sentence a tool, as `python -m probes position` says them."""
    found = examine_position(vlm, samples, prompt="paper", progress=False)
    yield "studies", "\n".join(f"{place}. {line}" for place, line in enumerate(found.sentences(), 1))
