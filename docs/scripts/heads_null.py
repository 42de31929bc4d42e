"""How often each scorer that asks a model selects a head of one with random weights, shown noise.

`python docs/scripts/heads_null.py 200` asks as many models and puts the table into docs/probes/heads.md; `make docs`
leaves it as it is.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from adaptvis_page import markdown_table
from heads_page import PAGE
from page_blocks import put
from PIL import Image

from interp import HookedVLM, Sample
from interp.image.boxes import Box
from interp.objects.sample import Object
from interp.prompt.templates import paper_prompt
from interp.stats.intervals import wilson
from interp.zoo.tiny.llava import build_llava
from probes.heads.found.by_model import BY_MODEL
from probes.heads.scorers.ablation import ablation_scores
from probes.heads.scorers.attention import attention_scores
from probes.heads.scorers.divergence import divergence_scores
from probes.heads.scorers.gradient import gradient_scores
from probes.heads.scorers.id_write import id_write_scores
from probes.heads.scores import HeadScores
from probes.heads.selection.selectors import select_heads

MODELS, QUESTIONS, SIDE = 200, 32, 56
RULES, LEVEL = ("fdr", "max_t"), 0.05
WORDS = ("left", "right", "above", "below")
ASKED = "Where is the mug in relation to the table?"


def write_null(models: int = MODELS) -> Path:
    """Ask so many models and put what was found into the page."""
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "null models", null_told(models)), encoding="utf-8")
    return PAGE


def null_told(models: int) -> str:
    """Of so many models, how many have a head selected, by scorer and rule, and which scorers are beyond the level."""
    found = null_counts(models)
    rows = [{"scorer": f"`{name}`", **{f"`{rule}`": found[name, rule] for rule in RULES}} for name in BY_MODEL]
    beyond = [name for name in BY_MODEL if max(wilson(found[name, rule], models).low for rule in RULES) > LEVEL]
    more = f"more often than that by {', '.join(f'`{name}`' for name in beyond)}" if beyond else "by none more often"
    asked = (
        f"Tiny models with random weights were shown noise, with boxes at random places and answers drawn by lot, "
        f"{QUESTIONS} questions each (`docs/scripts/heads_null.py`). Of {models} models, so many have a head selected "
        f"at {LEVEL:g}; {LEVEL * models:.0f} are expected where the null is true:"
    )
    said = f"By Wilson's intervals of 95 %, each by itself, a head is selected {more}."
    return "\n\n".join([asked, markdown_table(pd.DataFrame(rows)), said])


def null_counts(models: int) -> Counter[tuple[str, str]]:
    """Of so many models, how many have a head selected, by scorer and rule."""
    found: Counter[tuple[str, str]] = Counter()
    for seed in range(models):
        vlm = HookedVLM.wrap(*build_llava(seed), self_check=False)
        for name, scores in scored(vlm, questions(seed), seed):
            for rule in RULES:
                found[name, rule] += bool(scores.functions) and len(select_heads(scores, rule=rule)) > 0
    return found


def questions(seed: int) -> list[Sample]:
    """Questions about noise, with boxes at random places and answers drawn by lot: nothing says anything of another."""
    rng = np.random.default_rng([seed, 1])
    return [_question(f"s{place}", rng) for place in range(QUESTIONS)]


def _question(name: str, rng: np.random.Generator) -> Sample:
    noise = Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    sides = 14 + 7 * rng.integers(0, 3, size=2)
    corners = [(float(x), float(y)) for x, y in (rng.integers(0, SIDE + 1 - side, size=2) for side in sides)]
    objects = tuple(
        Object(label, Box(label, (x, y, x + float(side), y + float(side))))
        for label, (x, y), side in zip(("mug", "table"), corners, sides, strict=True)
    )
    meta = {"paper_prompt": f"{paper_prompt(ASKED)}\n"}
    return Sample(name, noise, ASKED, (), str(rng.choice(WORDS)), objects, meta=meta)


def scored(vlm: HookedVLM, asked: list[Sample], seed: int) -> Iterator[tuple[str, HeadScores]]:
    """The scores of all scorers by name."""
    how: dict[str, Any] = {"prompt": "paper", "seed": seed, "draws": 1, "flips": 199, "progress": False}
    axes = np.random.default_rng([seed, 2]).normal(size=(vlm.cfg.n_layers + 1, 2, vlm.cfg.d_model))
    yield from attention_scores(vlm, asked, **how).items()
    yield "gradient", gradient_scores(vlm, asked, **how)
    yield from ablation_scores(vlm, asked, **how).items()
    yield from divergence_scores(vlm, asked, **how).items()
    how.pop("flips")
    yield "id_write", id_write_scores(vlm, asked, axes, **how)


if __name__ == "__main__":
    print(write_null(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS))
