"""The block of the position page on retraining: table, sentences and figure, from docs/probes/retraining.json.

It draws the figures and prints the block, which `block()` gives to the script of the page. Given a folder of
`python -m probes retrain`, it takes the numbers over from there first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from site_pages import render

from interp.plots.style import figure_of
from probes.retraining.arms import ARMS
from probes.retraining.comparison import ArmComparison
from probes.retraining.findings import sentences, table_text
from probes.retraining.study import read_comparison

DOCS = Path(__file__).resolve().parent.parent
NUMBERS = DOCS / "probes" / "retraining.json"
PICTURE, CURVE = (DOCS / "images" / name for name in ("retraining.png", "retraining_curve.png"))


def block() -> str:
    """Markdown: what was done, the table, and what it says; every number is read from the file."""
    found = load()
    runs = found.settings["runs"]
    minutes = [run["seconds"] / 60 for run in runs]
    words = sum(run["start"]["word_length"] for run in runs) / len(runs)
    lengths = {when: {arm: _mean_of(runs, arm, when) for arm in found.arms} for when in ("start", "end")}
    arms = [
        {"name": arm, "words": ARMS[arm].words, **{when: f"{own[arm]:.2f}" for when, own in lengths.items()}}
        for arm in found.arms
    ]
    return render(
        "retraining.md.jinja",
        seeds=found.seeds,
        **{name: found.settings[name] for name in ("budget", "machine", "scenes")},
        intervals=found.settings.get("intervals", ""),
        shortest=f"{min(minutes):.0f}",
        longest=f"{max(minutes):.0f}",
        arms=arms,
        words=f"{words:.2f}",
        ratio=f"{lengths['start']['normalised'] / words:.1f}",
        numbers=table_text(found),
        picture=PICTURE.name,
        curve=CURVE.name,
        said=sentences(found),
    )


def load(path: Path = NUMBERS) -> ArmComparison:
    """The numbers that lie beside the page."""
    told = json.loads(path.read_text(encoding="utf-8"))
    tables = {name: pd.DataFrame(told[name]) for name in ("measures", "training", "left_out")}
    tables["left_out"] = tables["left_out"].reindex(columns=["measure", "part", "why"])
    return ArmComparison(arms=tuple(told["arms"]), seeds=told["seeds"], settings=told["settings"], **tables)


def take_over(folder: Path, path: Path = NUMBERS) -> Path:
    """Write the numbers of a folder of `python -m probes retrain` beside the page."""
    found = read_comparison(folder)
    told: dict[str, Any] = {"arms": list(found.arms), "seeds": found.seeds, "settings": dict(found.settings)}
    for name in ("measures", "training", "left_out"):
        table = getattr(found, name)
        told[name] = {column: [_short(value) for value in table[column]] for column in table}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def draw() -> list[Path]:
    """Draw both figures of the block, from the file."""
    found, drawn = load(), [PICTURE, CURVE]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    for picture, ax in zip(drawn, (found.plot()[0], found.plot_training()), strict=True):
        figure_of(ax).savefig(picture, dpi=110, bbox_inches="tight", facecolor="white")
    return drawn


def _mean_of(runs: list[dict[str, Any]], arm: str, when: str) -> float:
    """Mean length of the image tokens of an arm's runs, at the start or the end of training."""
    own = [run[when]["image_length"] for run in runs if run["arm"] == arm]
    return sum(own) / len(own)


def _short(value: Any) -> Any:
    """A cell in JSON's own types, a number with five digits."""
    own = value.item() if hasattr(value, "item") else value
    return float(f"{own:.5g}") if isinstance(own, float) else own


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        take_over(Path(folder))
    draw()
    print(block())
