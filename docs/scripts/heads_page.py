"""The numbers and figures of docs/probes/heads.md, measured on the embedded model and written between its marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from adaptvis_page import markdown_table, weights
from heads_text import text_blocks
from page_blocks import between, draw, interval, put, reported, right_told, with_ends

from interp import HookedVLM, Sample
from interp.datasets.synthetic.shapes import shapes
from interp.plots.style import DIVERGING, figure_of
from interp.report.numbers import decimal, percent, points, significant
from probes import (
    FoundHeads,
    HeadEvaluation,
    ShaView,
    collect_heads,
    evaluate_heads,
    find_heads,
    id_scenes,
    select_heads,
    spatial_ids,
    step_samples,
    study_sha,
    synthetic_steps,
)
from probes.heads.data.prompts import BARE
from probes.heads.evaluation.report import evaluation_findings
from probes.heads.evaluation.verdicts import VERDICTS
from probes.heads.figures.cells import plot_functions
from probes.heads.found.asked import BY_MODEL
from probes.heads.functions import FUNCTIONS, TITLES
from probes.heads.sha.report import sha_findings

DOCS = Path(__file__).resolve().parent.parent
PAGE, IMAGES = DOCS / "probes" / "heads.md", DOCS / "images" / "heads"

QUESTIONS, SHA_QUESTIONS = 100, 40
"""Main questions, each with a step of every function."""
N, N_TRAIN, N_CONTROL, SEED = 120, 64, 80, 7
"""Scenes that heads are scored on, selected for, and tested on; training scenes; questions of the control task."""
DRAWS, DEALS = 1000, 1000
TESTED = (("ablation", 2), ("ablation", 8), ("id_write", 8), ("hit_rate", 8), ("gradient", 8))
"""Scorers whose strongest heads are edited, and how many of them."""
MEASURES = ("share_above", "gini", "effective_heads", "top_mass", "layer_centre")


def write_heads(page: Path = PAGE, images: Path = IMAGES) -> Path:
    """Measure, draw, and put every block at its place on the page."""
    images.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8")
    for name, block in measured_blocks(images):
        text = put(text, name, block)
    page.write_text(text, encoding="utf-8")
    return page


def measured_blocks(images: Path) -> Iterator[tuple[str, str]]:
    """Every block by its name."""
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    yield "model", describe(vlm)
    with TemporaryDirectory() as folder:
        yield from function_blocks(vlm, Path(folder), images)
        found = look_found(vlm)
        yield from look_blocks(found, images)
        yield from edit_blocks(vlm, found, images)
        yield from sha_blocks(vlm, Path(folder), images)
        told = text_blocks(Path(folder))
    if told is None:
        print("SmolLM2's weights are not installed: the blocks of the page that need them are left as they are")
    else:
        yield from told.items()


def describe(vlm: HookedVLM) -> str:
    """What was measured, on what."""
    return (
        f"Numbers and figures are of `shapes-vlm` (weights `{weights()}`, float32), an embedded model of "
        f"{vlm.cfg.n_layers} layers of {vlm.cfg.n_heads} heads that was trained on drawn scenes of two shapes. "
        f"Intervals are of 95 % ({DRAWS} draws of whole groups). Lists under tables are sentences of the tools' own "
        "reports."
    )


# functions --------------------------------------------------------------------------------------------------------


def function_blocks(vlm: HookedVLM, folder: Path, images: Path) -> Iterator[tuple[str, str]]:
    """All eight functions: how often the model is right, which heads tell them apart, and in how few that lies."""
    steps = step_samples(synthetic_steps(QUESTIONS, seed=SEED), BARE)
    heads = collect_heads(vlm, steps, out=folder / "collected", answers="reference", progress=False)
    own = collect_heads(vlm, steps, out=folder / "own", progress=False)
    found = find_heads(
        heads,
        ("linear_probe", "joint_network"),
        options={"joint_network": {"batch": 8}},
        draws=DRAWS,
        deals=DEALS,
        progress=False,
    )
    rows = []
    for name in FUNCTIONS:
        of = [name in each for each in own.functions]
        rows.append(
            {
                "function": f"`{name}`",
                "": TITLES[name],
                "questions": sum(of),
                "right, %": right_told(int(own.correct[of].sum()), sum(of)),
                **probe_cells(found, name),
            }
        )
    yield "functions", markdown_table(pd.DataFrame(rows))
    yield "network", network_told(found)
    scores = found.scores["linear_probe"]
    marked = np.stack([one.mask() for one in found.sets["linear_probe"]])
    axes = plot_functions(scores.values, scores.functions, marked=marked, titles=TITLES, label="balanced accuracy")
    draw(axes.flat[0], images / "functions.png")
    yield "layout", layout_table(found, "linear_probe", ("spatial", "relational", "math", "decision"))


def probe_cells(found: FoundHeads, name: str) -> dict[str, str]:
    """How many heads tell a function from others, and how well the best of them does."""
    scores, chosen = found.scores["linear_probe"], found.of(name)
    layer, head = np.unravel_index(int(np.nanargmax(scores.of(name))), scores.of(name).shape)
    at = (scores.place(name), layer, head)
    assert scores.null is not None
    return {
        "heads": f"{len(chosen)} of {scores.of(name).size}",
        "best head": f"{layer}.{head}: {decimal(*ends_of(scores, at))}",
        "its null": f"{scores.null[at]:.2f}",
    }


def ends_of(scores: Any, at: tuple[Any, ...]) -> list[float]:
    """A score and, where it has one, the ends of its interval."""
    return [float(own[at]) for own in (scores.values, scores.low, scores.high) if own is not None]


def network_told(found: FoundHeads) -> str:
    """How well the joint network names functions, and how far it agrees with single probes."""
    scores: Any = found.scores["joint_network"]
    assert found.agreement is not None
    of = found.agreement[found.agreement["measure"] == "spearman"]
    low, high = of["value"].min(), of["value"].max()
    beyond = int((of["p_random"] <= 0.05).sum())
    return (
        f"The network names the function of a held-out question in {interval(scores.accuracy)} of all cases; "
        f"networks of dealt labels in "
        f"{scores.control:.2f}. The order of heads by it and by single probes goes together by {low:.2f} to {high:.2f} "
        f"(Spearman), in {beyond} of {len(of)} functions beyond heads that are dealt anew (p at most 0.05 in each, not "
        "corrected for their number)."
    )


def layout_table(found: FoundHeads, scorer: str, functions: Sequence[str]) -> str:
    """Measures of sparsity beside those of noise."""
    every = found.layout[scorer].measures
    rows = []
    for name in functions:
        cells: dict[str, Any] = {"function": f"`{name}`"}
        for measure in MEASURES:
            row = every[(every["function"] == name) & (every["measure"] == measure)].iloc[0]
            cells[f"`{measure}`"] = (
                f"{row['value']:.2f} (random {row['random']:.2f}, {row['random_low']:.2f} to {row['random_high']:.2f})"
            )
        rows.append(cells)
    return markdown_table(pd.DataFrame(rows))


# scorers that ask the model ---------------------------------------------------------------------------------------


def relation_scenes(n: int, *, split: str = "val") -> list[Sample]:
    """Questions that the embedded model was trained on, about scenes that it has not seen."""
    return [
        Sample(**{**vars(one), "meta": {**one.meta, "functions": ["relational"]}})
        for one in shapes(n, split=split, seed=SEED, kinds=("relation",))
    ]


def look_found(vlm: HookedVLM) -> FoundHeads:
    """Every scorer that asks the model, over questions that it answers."""
    axes = spatial_ids(vlm, id_scenes(), progress=False).axes
    return find_heads(
        None,
        tuple(BY_MODEL),
        vlm=vlm,
        items=relation_scenes(N),
        axes=axes,
        draws=DRAWS,
        deals=DEALS,
        progress=False,
    )


def look_blocks(found: FoundHeads, images: Path) -> Iterator[tuple[str, str]]:
    """What each scorer says, and how far they agree."""
    rows = []
    for name, scores in found.scores.items():
        (chosen,) = found.sets[name]
        most = np.unravel_index(int(np.nanargmax(scores.values[0])), scores.values[0].shape)
        layer, head = chosen.heads[0] if len(chosen) else most
        at = (0, layer, head)
        rows.append(
            {
                "scorer": f"`{name}`",
                "heads": len(chosen),
                "best head": f"{layer}.{head}",
                "score": significant(*ends_of(scores, at)),
                "by chance": "-" if scores.null is None else f"{scores.null[at]:.3g}",
                "the next": ", ".join(f"{one}.{other}" for one, other in chosen.heads[1:4]) or "-",
            }
        )
    yield "scorers", markdown_table(pd.DataFrame(rows))
    assert found.agreement is not None
    draw(agreement_map(found), images / "agreement.png")
    of = found.agreement[found.agreement["measure"] == "spearman"].sort_values("value", ascending=False)
    rows = [
        {
            "scorers": f"`{row.first}`, `{row.second}`",
            "Spearman": decimal(row.value, row.low, row.high, signed=True),
            "dealt anew": f"{row.random_low:+.2f} to {row.random_high:+.2f}",
            "inside layers": f"{row.within_low:+.2f} to {row.within_high:+.2f}",
        }
        for row in [*of.head(4).itertuples(), *of.tail(3).itertuples()]
    ]
    yield "agreement", markdown_table(pd.DataFrame(rows))


def agreement_map(found: FoundHeads) -> Any:
    """Spearman's correlation of each pair of scorers as a map."""
    assert found.agreement is not None
    names = list(found.scores)
    values = np.eye(len(names))
    for row in found.agreement[found.agreement["measure"] == "spearman"].itertuples():
        one, other = names.index(str(row.first)), names.index(str(row.second))
        values[one, other] = values[other, one] = row.value
    _, ax = plt.subplots(figsize=(8.2, 7), layout="constrained")
    image = ax.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right")
    ax.set_yticks(range(len(names)), names)
    figure_of(ax).colorbar(image, ax=ax, label="Spearman over heads")
    return ax


# edits ------------------------------------------------------------------------------------------------------------


def edit_blocks(vlm: HookedVLM, found: FoundHeads, images: Path) -> Iterator[tuple[str, str]]:
    """Heads removed and strengthened, beside their controls."""
    tested = relation_scenes(N, split="test")
    control = shapes(N_CONTROL, split="test", seed=SEED + 1, kinds=("color",))
    sets = {f"{k} of {name}": select_heads(found.scores[name], "relational", "top_k", k=k) for name, k in TESTED}
    how: dict[str, Any] = {"control": control, "progress": False, "draws": DRAWS}
    removed = evaluate_heads(vlm, tested, sets, factor=0.0, scores=found.scores["ablation"], doses=(1, 2, 4, 8), **how)
    yield "removed", f"{arms_table(removed)}\n\n{verdicts(removed)}"
    draw(removed.plot(), images / "removed.png")
    draw(removed.plot_doses(), images / "doses.png")
    gained = evaluate_heads(vlm, tested, sets, edit="gain", scores=found.scores["ablation"], **how)
    yield "gained", f"{arms_table(gained)}\n\n{verdicts(gained)}"


def verdicts(found: HeadEvaluation) -> str:
    """The sentence of its report on each tested set, and what the verdicts mean."""
    told = evaluation_findings(found)
    own = [found.verdict(name) for name in found.sets]
    meant = "\n".join(f"- `{name}`: {meaning}." for name, meaning in VERDICTS.items() if name in own)
    said = reported(replace(told, sentences=told.sentences[: len(found.sets)]))
    return f"{said}\n\nWhat these verdicts mean:\n\n{meant}"


def arms_table(found: HeadEvaluation) -> str:
    """Tested sets with what may be claimed, beside their controls."""
    rows = []
    for name in found.sets:
        arm = found.arm(name)
        controls = found.arms[(found.arms["of"] == name) & (found.arms["arm"] != name)]
        random = controls[controls["role"].astype(str).str.contains("random")]["accuracy_change"]
        rows.append(
            {
                "strongest heads": name,
                "accuracy, %": percent(*with_ends(arm, "accuracy")),
                "change, points": points(*with_ends(arm, "accuracy_change")),
                "random sets": f"{points(random.min())} to {points(random.max())}" if len(random) else "-",
                "below chance": "yes" if arm["below_chance"] else "no",
                "control task": points(*with_ends(arm, "control_accuracy_change")),
                "verdict": arm["verdict"],
            }
        )
    untouched = percent(*with_ends(found.arm("untouched"), "accuracy"))
    return f"{markdown_table(pd.DataFrame(rows))}\n\nUntouched: {untouched} %."


# latent heads -----------------------------------------------------------------------------------------------------


def sha_blocks(vlm: HookedVLM, folder: Path, images: Path) -> Iterator[tuple[str, str]]:
    """Answers and number of heads with boxes and masks."""
    items = step_samples(synthetic_steps(SHA_QUESTIONS, split="val", seed=SEED), BARE)
    found = study_sha(vlm, items, out=folder / "sha", view=ShaView("drawn"), draws=DRAWS, deals=99, progress=False)
    draw(found.plot(), images / "sha.png")
    draw(found.plot_heads(), images / "sha_heads.png")
    rows = []
    for arm in found.arms:
        for name in ("spatial", "relational"):
            share, count = found.share("accuracy", arm, name), found.found(arm, name)
            rows.append(
                {
                    "arm": f"`{arm}`",
                    "function": f"`{name}`",
                    "right": between(share),
                    "heads": between(count, form=".0f"),
                    "dealt labels": f"{count['null']:.1f}, up to {count['null_high']:.0f}",
                }
            )
    yield "sha", f"{markdown_table(pd.DataFrame(rows))}\n\n{reported(sha_findings(found))}"
