"""The numbers and figures of docs/probes/mechanisms.md, measured on embedded models and written between its marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from adaptvis_page import markdown_table, weights
from page_blocks import between, draw, put, reported

from interp import HookedVLM, Sample
from interp.datasets.synthetic.line_items import squares
from interp.datasets.synthetic.shapes import shapes
from interp.planted.lines import BUILT_IN, COLORS, LINES, build_line_model
from interp.report.numbers import p_value
from probes import (
    DualMechanisms,
    Setting,
    amplify,
    axis_probe,
    dual_mechanisms,
    geometry_of,
    id_scenes,
    image_lens,
    interchange,
    line_pairs,
    mirror_swap,
    mirrored_pairs,
    setting_of,
    spatial_ids,
    steer_ids,
    study_knockout,
)
from probes.mechanisms.ablation.report import ablation_findings
from probes.mechanisms.amplify.report import amplify_findings
from probes.mechanisms.dual.report import dual_sentences
from probes.mechanisms.ids.report import id_findings, swap_findings
from probes.mechanisms.interchange.report import spans
from probes.mechanisms.interchange.shown import LEAST, raised
from probes.mechanisms.knockout.report import knockout_findings
from probes.mechanisms.lens.report import lens_findings
from probes.mechanisms.probe.report import position_probe_findings

DOCS = Path(__file__).resolve().parent.parent
PAGE, IMAGES = DOCS / "probes" / "mechanisms.md", DOCS / "images" / "mechanisms"

PAIRS, PLANTED_PAIRS = 12, 4
"""Pairs for each of four directions, of the embedded model and of planted ones."""
N, SEED = 60, 7
"""Scenes of `shapes` that knock-outs, the lens, mirror swaps and amplification are measured on."""
N_TRAIN = 48
"""Scenes that the directions of amplification are trained on."""
ALPHAS, SEEDS = (1, 2, 4, 8, 15), range(3)
DRAWS = 1000
HOW: dict[str, Any] = {"progress": False, "draws": DRAWS}


def write_mechanisms(page: Path = PAGE, images: Path = IMAGES) -> Path:
    """Measure, draw, and put every block at its place on the page."""
    images.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8")
    for name, block in measured_blocks(images):
        text = put(text, name, block)
    page.write_text(text, encoding="utf-8")
    return page


def measured_blocks(images: Path) -> Iterator[tuple[str, str]]:
    """Every block by its name."""
    yield from unmeasured_blocks()
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    yield "model", describe(vlm)
    yield from dual_blocks(vlm, images)
    scenes = shapes(N, split="test", seed=SEED, kinds=("relation",))
    yield from knockout_blocks(vlm, scenes, images)
    yield from lens_blocks(vlm, scenes, images)
    yield from id_blocks(vlm, images)
    yield from mirror_blocks(vlm, scenes, images)
    yield from amplify_blocks(vlm, scenes, images)
    yield "planted", markdown_table(pd.DataFrame([planted_row(name) for name in LINES]))


def describe(vlm: HookedVLM) -> str:
    """What was measured, on what."""
    return (
        f"Numbers and figures are of `shapes-vlm` (weights `{weights()}`, float32), an embedded model of "
        f"{vlm.cfg.n_layers} layers that was trained on drawn scenes of two shapes: on {PAIRS} pairs of lines for each "
        f"of four directions, and where it says so on {N} scenes of `shapes` that it has never seen. Intervals are of "
        f"95 % ({DRAWS} draws of whole groups); a number without one is of samples that are all alike. Lists under "
        "tables are sentences of the tools' own reports."
    )


def unmeasured_blocks() -> Iterator[tuple[str, str]]:
    """What the code says by itself, without a run."""
    rows = [
        {
            "planted model": f"`{name}`",
            "order is in tokens of squares": f"from slot {facts.order_from} on",
            "in the background too": "yes" if facts.in_background else "no",
            "the last row knows the side": f"from slot {facts.asked_from} on",
            "and the answer": f"from slot {facts.answered_from} on",
        }
        for name, facts in BUILT_IN.items()
    ]
    yield "built in", markdown_table(pd.DataFrame(rows))


# blocks -----------------------------------------------------------------------------------------------------------


def dual_blocks(vlm: HookedVLM, images: Path) -> Iterator[tuple[str, str]]:
    """The whole analysis, and what each of its tools found."""
    asked = line_pairs(setting_of("known"), geometry_of(vlm), form="relation", n=PAIRS)
    found = dual_mechanisms(vlm, asked, **HOW)
    yield "dual", told_of(found)
    draw(found.plot(), images / "dual.png")
    yield from interchange_blocks(found, images)
    every = interchange(vlm, asked, "all_image", slots=(0,), control=None, **HOW)
    yield "directions", direction_table({**found.sweeps, "all_image": every})
    last = line_pairs(setting_of("known"), geometry_of(vlm), kind="last", form="relation", n=PAIRS)
    yield "last", peak_table({"last": interchange(vlm, last, "last", **HOW)})
    yield from probe_blocks(found, images)
    assert found.ablation is not None
    draw(found.ablation.plot(), images / "ablation.png")
    own = found.ablation.measures.query("relation == 'all' and measure != 'over_chance'")
    rows = [
        {"arm": row.arm, "measure": row.measure, "percent": between(row, 100, ".1f"), "questions": row.samples}
        for row in own.itertuples()
    ]
    said = found.ablation.answers.query("arm == 'ordering removed'")
    often = ", ".join(f"{text} ({count})" for text, count in said["text"].value_counts().items())
    told = reported(ablation_findings(found.ablation))
    yield "ablation", f"{markdown_table(pd.DataFrame(rows))}\n\n{told}\n\nWith order removed it says: {often}."
    yield "backup", peak_table({"object, without order": found.sweeps["backup"]})


def told_of(found: DualMechanisms) -> str:
    """The sentences, and the statements behind them."""
    rows = [
        {
            "statement": f"`{row.statement}`",
            "axis": row.axis,
            "shown": "yes" if row.shown else "no",
            "value": between(row),
            "slots": row.slots or "-",
            "pairs": row.pairs,
        }
        for row in found.statements.itertuples()
    ]
    missing = [f"- `{row.measure}`, {row.axis}, is left out: {row.why}." for row in found.left_out.itertuples()]
    sentences = [f"{number}. {text}" for number, text in enumerate(dual_sentences(found), 1)]
    return "\n".join([*sentences, "", markdown_table(pd.DataFrame(rows)), "", *missing])


def interchange_blocks(found: DualMechanisms, images: Path) -> Iterator[tuple[str, str]]:
    """Curves over slots of each set, and how far each goes."""
    sets = ("strip", "object", "background", "last")
    for name in ("strip", "object", "last"):
        draw(found.sweeps[name].plot(), images / f"interchange_{name}.png")
    both = found.sweeps["strip"].both_right().set_index("direction").loc["all"]
    kept = f"Of {both['pairs']} pairs, the model gets both sides of {both['kept']} right; all numbers are of these."
    yield "interchange", f"{peak_table({name: found.sweeps[name] for name in sets})}\n\n{kept}"


def peak_table(sweeps: dict[str, Any]) -> str:
    """P(place) where tokens enter, and at the slot at which it goes furthest beyond the control, by token set."""
    rows = []
    for name, own in sweeps.items():
        every = own.differences()
        told = every[(every["direction"] == "all") & (every["outcome"] == "place")] if len(every) else every
        if not len(told):
            why = own.left_out["why"].iloc[0] if len(own.left_out) else "nothing is told"
            rows.append({"tokens": f"`{name}`", "P(place), slot 0": f"left out: {why}"})
            continue
        table = own.to_dataframe().query("direction == 'all' and outcome == 'place'")
        at_first = {part: table.query("set == @part and slot == 0").iloc[0] for part in ("patched", "control")}
        first, best = told.query("slot == 0").iloc[0], told.sort_values("value").iloc[-1]
        shown = told[raised(told)]["slot"].tolist()
        rows.append(
            {
                "tokens": f"`{name}`",
                "P(place), slot 0": between(at_first["patched"]),
                "control": between(at_first["control"]),
                "minus control": between(first, sign="+"),
                "furthest": f"slot {best['slot']}: {between(best, sign='+')}",
                "slots at which it is shown": runs_of(shown),
                "pairs": int(first["pairs"]),
            }
        )
    return markdown_table(pd.DataFrame(rows).fillna("-"))


def direction_table(sweeps: dict[str, Any]) -> str:
    """P(place) and P(clean) with tokens swapped where they enter, by what was asked, beside the counterfactual run."""
    own = sweeps["all_image"]
    rows, followed = [], defaultdict(list)
    for direction in dict.fromkeys(own.directions.tolist()):
        reached = own.runs().query("direction == @direction and run == 'counterfactual' and outcome == 'place'")
        cells = {"asked": direction, "the other photo: P(place)": between(reached.iloc[0])}
        for name, outcome in (("all_image", "place"), ("object", "place"), ("object", "clean"), ("strip", "place")):
            named = "direction == @direction and slot == 0 and set == 'patched' and outcome == @outcome"
            told = sweeps[name].to_dataframe().query(named)
            cells[f"`{name}`: P({outcome})"] = between(told.iloc[0])
        rows.append(cells)
        followed[what_objects_say(sweeps["object"], direction)].append(direction)
    told = "; ".join(f"asked {' and '.join(names)}, {said}" for said, names in followed.items())
    whole = f"With the tokens of the two shapes swapped where they enter, the model says: {told}."
    return f"{markdown_table(pd.DataFrame(rows))}\n\n{whole}"


def what_objects_say(sweep: Any, direction: str) -> str:
    """Whose answer the model gives with objects swapped at slot 0, as the intervals of both have it."""
    own = sweep.to_dataframe().query("direction == @direction and slot == 0 and set == 'patched'").set_index("outcome")
    for outcome, said in (("place", "what is right in the other photo"), ("clean", "what is right in its own")):
        if own.loc[outcome, "low"] > 0.5:
            return said
    return "neither photo's answer" if own.loc[["place", "clean"], "high"].sum() < 0.5 else "the one or the other"


def runs_of(slots: list[int]) -> str:
    """Slots, consecutive ones as first to last."""
    return spans(slots, range(max(slots, default=0) + 1)) or "none"


def probe_blocks(found: DualMechanisms, images: Path) -> Iterator[tuple[str, str]]:
    """Accuracy and strips along both axes, at some sites."""
    rows = []
    for axis, own in found.probes.items():
        if axis == "horizontal":
            draw(own.plot(), images / "probe_horizontal.png")
            draw(np.ravel(own.plot_strips("projector"))[0], images / "strips_horizontal.png")
        tests = own.strips().set_index("site")
        names = [name for name in own.names if name.startswith("vision")]
        layers = [name for name in own.names if name.startswith("blocks")]
        for site in (names[0], names[-1], "projector", layers[len(layers) // 2], layers[-1]):
            cells = {"axis": axis, "site": f"`{site}`"}
            for measure in ("accuracy", "control", "position", "beyond_position", "strip", "strip_position"):
                told = own.measures.query("measure == @measure and site == @site")
                cells[measure.replace("_", " ")] = between(told.iloc[0]) if len(told) else "-"
            p = tests["p_corrected"].get(site)
            rows.append({**cells, "p of strip": "-" if p is None else p_value(p)})
    told = "\n".join(reported(position_probe_findings(own)) for own in found.probes.values())
    yield "probe", f"{markdown_table(pd.DataFrame(rows))}\n\n{told}"


def knockout_blocks(vlm: HookedVLM, scenes: list[Sample], images: Path) -> Iterator[tuple[str, str]]:
    """What the right answer loses, by window and arm."""
    found = study_knockout(vlm, scenes, **HOW)
    draw(found.plot(), images / "knockout.png")
    rows = []
    for arm in found.arms:
        cells = {"cut": f"`{arm}`"}
        for window in found.windows:
            own = found.measures.query("arm == @arm and window == @window and measure == 'effect'")
            cells[window] = between(own.iloc[0], form=".0f") if len(own) else "-"
        rows.append(cells)
    of_all = found.right.sum()
    yield (
        "knockout",
        f"{markdown_table(pd.DataFrame(rows))}\n\nIn percent of the right answer's probability, mean over the "
        f"{of_all} of {len(found.right)} questions that are right with nothing cut.\n\n"
        f"{reported(knockout_findings(found))}",
    )


def lens_blocks(vlm: HookedVLM, scenes: list[Sample], images: Path) -> Iterator[tuple[str, str]]:
    """What share of an object's tokens say its word."""
    found = image_lens(vlm, scenes, **HOW)
    draw(found.plot(), images / "lens.png")
    rows = []
    slots = sorted({0, vlm.cfg.n_layers // 2, vlm.cfg.n_layers - 1, vlm.cfg.n_layers})
    for where in dict.fromkeys(found.measures["where"]):
        own = found.measures.query("what == 'all objects' and measure == 'share' and where == @where")
        if len(own):
            told = {f"slot {slot}": between(own[own["slot"] == slot].iloc[0]) for slot in slots}
            rows.append({"where": where, **told})
    yield "lens", f"{markdown_table(pd.DataFrame(rows))}\n\n{reported(lens_findings(found))}"


def id_blocks(vlm: HookedVLM, images: Path) -> Iterator[tuple[str, str]]:
    """What words of objects hold of their cell, and whether steering along it turns answers."""
    found = spatial_ids(vlm, id_scenes(), **HOW)
    draw(found.plot(), images / "spatial_ids.png")
    curve = found.curve()
    best = int(curve.sort_values("value")["slot"].iloc[-1])
    draw(found.plot_plane(best), images / "spatial_ids_plane.png")
    steered = steer_ids(vlm, id_scenes(seed=1), found, seeds=SEEDS, **HOW)
    draw(steered.plot(), images / "steering.png")
    turned = {name: steered.curve(name).set_index("slot") for name in ("ids", "random", "ids - random")}
    rows = []
    for row in curve.itertuples():
        cells = {"slot": row.slot, "R^2": between(row), "null": f"{row.null:.2f}", "p": p_value(row.p)}
        for name, own in turned.items():
            cells[f"turned, {name}"] = between(own.loc[row.slot]) if row.slot in own.index else "-"
        rows.append(cells)
    told = reported(id_findings(found, None, steered))
    yield "spatial ids", f"{markdown_table(pd.DataFrame(rows))}\n\n{told}"


def mirror_blocks(vlm: HookedVLM, scenes: list[Sample], images: Path) -> Iterator[tuple[str, str]]:
    """Which tokens carry what turns the answer when the photo is mirrored."""
    across = [one for one in scenes if one.relation in ("left", "right")]
    pairs, _ = mirrored_pairs(across)
    found = mirror_swap(vlm, pairs, **HOW)
    draw(found.plot(), images / "mirror.png")
    rows = []
    for name in dict.fromkeys(found.measures["tokens"]):
        own = found.curve(name).set_index("slot")
        told = {f"slot {slot}": between(own.loc[slot]) for slot in range(0, vlm.cfg.n_layers + 1, 2)}
        rows.append({"tokens": f"`{name}`", **told})
    count = int(found.measures["samples"].iloc[0])
    more = found.curve("words - other_words")
    shown = runs_of(more[more["low"] > LEAST]["slot"].tolist())
    yield (
        "mirror",
        f"{markdown_table(pd.DataFrame(rows))}\n\nOf {count} pairs that are right in both photos. Slots at which the "
        f"interval of `words - other_words` lies above {LEAST:g}, each by itself: {shown}.\n\n"
        f"{reported(swap_findings(found))}",
    )


def amplify_blocks(vlm: HookedVLM, scenes: list[Sample], images: Path) -> Iterator[tuple[str, str]]:
    """What amplification corrects and breaks, and what the paper's counting would say."""
    trained = shapes(N_TRAIN, split="train", seed=3, kinds=("relation",))
    probe = axis_probe(vlm, trained, **HOW)
    found = amplify(vlm, scenes, probe.weights, alphas=ALPHAS, seeds=SEEDS, trained_on=probe.trained_on, **HOW)
    draw(found.plot(), images / "amplify_net.png")
    own = found.measures[found.measures["axis"] == "all"]
    rows = []
    for (source, alpha), part in own.groupby(["source", "alpha"], sort=False):
        cells = {"along": source, "alpha": f"{alpha:g}"}
        for measure in ("accuracy", "corrected", "broken", "net"):
            told = part[part["measure"] == measure]
            cells[measure] = between(told.iloc[0], 100, ".0f") if len(told) else "-"
        rows.append(cells)
    held = [
        {"along": row.source, "measure": row.measure, "alpha chosen on other items": between(row, 100, ".0f")}
        for row in found.held_out.itertuples()
    ]
    before = found.untouched.all(axis=1)
    text = f"In percent of {len(before)} items, of which {before.sum()} are right in both orders untouched."
    tables = [markdown_table(pd.DataFrame(own)) for own in (rows, held)]
    yield "amplify", "\n\n".join([tables[0], text, tables[1], reported(amplify_findings(found))])


def planted_row(name: str) -> dict[str, Any]:
    """What the whole analysis says of a planted model."""
    vlm = HookedVLM.wrap(*build_line_model(name), self_check=False)
    rgb = {word: tuple(255 if channel > 0 else 0 for channel in own) for word, own in COLORS.items()}
    setting = Setting("planted", squares(rgb), "The color of the square {where} the middle square is")
    asked = line_pairs(setting, geometry_of(vlm), n=PLANTED_PAIRS)
    found = dual_mechanisms(vlm, asked, **HOW)
    own = found.statements.query("axis == 'all'").set_index("statement")
    cells = {"model": f"`{name}`", "verdict": found.verdict()}
    for statement in ("encoder_carries", "language_adds", "language_builds", "answer_is_read"):
        if statement in own.index:
            row = own.loc[statement]
            slots = f", slots {row['slots']}" if row["slots"] else ""
            cells[f"`{statement}`"] = f"{'' if row['shown'] else 'not shown, '}{between(row)}{slots}"
        else:
            cells[f"`{statement}`"] = "can not be told"
    return cells


if __name__ == "__main__":
    print(write_mechanisms())
