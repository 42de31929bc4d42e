"""The numbers of the functional heads page that are of text: the whole path on SmolLM2's real weights.

`python docs/scripts/heads_text.py OUT [QUESTIONS]` writes them to OUT/numbers.json and goes on with what OUT holds;
`text_numbers` gives them to a page.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from adaptvis_page import markdown_table
from jaxtyping import Float, Float32
from page_blocks import right_told, with_ends
from PIL import Image

from interp import HookedVLM, Sample
from interp.errors import ModelError
from interp.model.forced import forced_tokens
from interp.report.numbers import decimal, percent, points
from interp.zoo import smollm
from interp.zoo.smollm import build_smollm, smollm_file
from probes import (
    HeadActivations,
    HeadScores,
    collect_heads,
    evaluate_heads,
    head_layout,
    joint_network,
    linear_probe,
    scorer_agreement,
    select_all,
    select_heads,
    step_samples,
)
from probes.heads.data.prompts import QueryPrompt
from probes.heads.data.text import TEXT_FUNCTIONS, text_steps

QUESTIONS = 12
"""Main questions; each has one step of every function."""

ASKED = QueryPrompt(context="none")
"""The main question and one step: earlier steps make prompts that this small a model answers by copying them."""

JOINT = {"epochs": 20, "batch": 8, "shuffles": 5}
"""What makes the joint network quick here; the papers' own are 100 epochs in steps of one item."""

MASKED, CONTROL, HEADS = "retrieval", "semantic", 8
"""The function whose heads are removed, the one that should hold, and how many heads are removed."""

SEED_OF_TEST = 1
"""The questions that heads are removed on are of another seed than those that they were found on."""


def text_blocks(folder: Path) -> dict[str, str] | None:
    """The same on a real language model, and text alone; None where its weights are not installed."""
    try:
        smollm_file()
    except ModelError:
        return None
    found = text_numbers(folder / "text")
    rows = []
    for name, own in found["answers"].items():
        best, gini = found["scores"]["linear_probe"][name], found["sparsity"]["linear_probe"][name]["gini"]
        rows.append(
            {
                "function": f"`{name}`",
                "questions": own["items"],
                "right, %": right_told(own["hits"], own["items"]),
                "by guessing": percent(own["guessed"]),
                "name an option": percent(own["read"]),
                "heads": found["selected"]["linear_probe"]["fdr"][name],
                "best head": f"{best['layer']}.{best['head']}: {decimal(best['values'], best['low'], best['high'])}",
                "its null": f"{best['null']:.2f}",
                "Gini": f"{gini[0]:.2f} (random {gini[3]:.2f})",
            }
        )
    right, dealt = found["joint_accuracy"]
    agreed = found["agreement"]["spearman"]
    network = (
        f"The joint network names the function of a held-out question in {right:.2f} of all cases, networks of dealt "
        f"labels in {dealt:.2f}; the order of heads by it and by single probes goes together by {agreed[0]:.2f} "
        f"(Spearman, mean over functions; heads dealt anew {agreed[1]:.2f}, inside layers {agreed[2]:.2f})."
    )
    return {
        "text": f"{markdown_table(pd.DataFrame(rows))}\n\n{network}",
        "text removed": text_removed(found["masked"]),
        "placeholder": placeholder_told(found["placeholder"]),
    }


def text_removed(found: dict[str, Any]) -> str:
    """What removing heads of one text function does, beside its controls."""
    rows = [
        {
            "arm": arm["arm"],
            "right, %": percent(*with_ends(arm, "accuracy")),
            "change, points": points(*with_ends(arm, "accuracy_change")) if arm["accuracy_change"] is not None else "-",
            "unreadable, %": percent(arm["parse_failures"]),
            "control task, points": points(arm["control_accuracy_change"])
            if arm.get("control_accuracy_change") is not None
            else "-",
        }
        for arm in found["arms"]
    ]
    asked = f"Of {found['items']} questions. Verdict: {found['verdict']}. {found['why'][0].upper()}{found['why'][1:]}."
    return f"{markdown_table(pd.DataFrame(rows))}\n\n{asked}"


def placeholder_told(found: dict[str, Any]) -> str:
    """What the image that stands where none is needed changes."""
    rows = [
        {
            "in place of a grey image": {"noise": "an image of noise", "no_image": "no image at all"}[name],
            "z moves by": f"{found[name]['z_moved']:.2f}",
            "scores move by, mean": f"{found[name]['score_change_mean']:.3f}",
            "at most": f"{found[name]['score_change_most']:.2f}",
            "Spearman": f"{found[name]['agreement']['spearman'][0]:.2f}",
            "the same best head": f"for {found[name]['same_best']} of {len(TEXT_FUNCTIONS)} functions",
        }
        for name in ("noise", "no_image")
    ]
    return (
        f"{markdown_table(pd.DataFrame(rows))}\n\nFrom one question to another z moves by "
        f"{found['other_item']['z_moved']:.2f}; intervals of scores are {found['interval_width_mean']:.2f} wide."
    )


def text_numbers(out: str | Path, questions: int = QUESTIONS, vlm: HookedVLM | None = None) -> dict[str, Any]:
    """Find and remove heads of the text functions of SmolLM2, and say what the placeholder image changes.

    Args:
        out: a folder for activations.
        questions: main questions.
        vlm: the model; SmolLM2 by default.

    Raises:
        ModelError: the weights are not installed.
    """
    began = time.process_time()
    model = vlm or HookedVLM.wrap(*build_smollm(), self_check=False)
    made = text_steps(questions, form="cogvsr")
    grey, noise = placeholders()
    items, others = (step_samples(made, ASKED, image=image) for image in (grey, noise))
    own = _collected(model, items, Path(out) / "own", answers="own")
    forced, swapped = (
        _collected(model, asked, Path(out) / name, answers="reference")
        for name, asked in (("grey", items), ("noise", others))
    )
    bare = z_without_image(model, items, forced)
    scores = {"linear_probe": probed(own), "joint_network": _joint(own)}
    found: dict[str, Any] = {
        "items": len(items),
        "questions": questions,
        "answers": answers_by_function(own, items),
        "scores": {name: strongest(one) for name, one in scores.items()},
        "joint_accuracy": [scores["joint_network"].accuracy.estimate, scores["joint_network"].control],
        "selected": {name: selected(one) for name, one in scores.items()},
        "sparsity": {name: sparsity(one) for name, one in scores.items()},
        "agreement": _agreement(list(scores.values())),
        "placeholder": placeholder_numbers(forced, swapped, bare),
        "masked": masked(model, scores["linear_probe"], questions, grey),
    }
    return {**found, "cpu_seconds": time.process_time() - began}


def placeholders() -> tuple[Image.Image, Image.Image]:
    """Two images that questions of text alone can be shown: mid grey, and noise."""
    noise = np.random.default_rng(0).integers(0, 256, (smollm.SIDE, smollm.SIDE, 3), dtype=np.uint8)
    return Image.new("RGB", (smollm.SIDE, smollm.SIDE), (128, 128, 128)), Image.fromarray(noise)


def answers_by_function(own: HeadActivations, items: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """The share of answers that are right, that can be read, and that guessing among the options gets right."""
    guessed = {item.id: 1 / len(item.options) for item in items}
    table = own.to_dataframe().assign(function=own.primary, guessed=[guessed[name] for name in own.ids])
    return {
        name: {
            "right": float(part["correct"].mean()),
            "hits": int(part["correct"].sum()),
            "read": float(part["parsed"].mean()),
            "guessed": float(part["guessed"].mean()),
            "items": len(part),
        }
        for name, part in table.groupby("function")
    }


def probed(features: HeadActivations | np.ndarray, of: HeadActivations | None = None) -> HeadScores:
    """Linear probes of all text functions; of an array, with the labels of activations."""
    known = features if of is None else of
    labels = known.labels(TEXT_FUNCTIONS)
    return linear_probe(features, labels, known.groups, functions=TEXT_FUNCTIONS, shuffles=50, progress=False)


def strongest(scores: HeadScores) -> dict[str, dict[str, Any]]:
    """The strongest head of each function, its score, and what chance gives it."""
    found = {}
    for place, name in enumerate(scores.functions):
        layer, head = np.unravel_index(int(scores.values[place].argmax()), scores.values.shape[1:])
        cell = {
            key: float(own[place, layer, head])
            for key in ("values", "low", "high", "null", "p_any")
            if (own := getattr(scores, key)) is not None
        }
        found[name] = {"layer": int(layer), "head": int(head), **cell}
    return found


def selected(scores: HeadScores) -> dict[str, dict[str, int]]:
    """How many heads each rule selects."""
    return {rule: {one.function: len(one) for one in select_all(scores, rule)} for rule in ("elbow", "fdr", "max_t")}


def sparsity(scores: HeadScores) -> dict[str, dict[str, list[float]]]:
    """Gini and effective heads of each function, beside noise as large: value, low, high, random."""
    sizes = "above_null" if scores.scorer == "linear_probe" else "absolute"
    table = head_layout(scores, sizes=sizes).measures
    kept = table[table["measure"].isin(["gini", "effective_heads", "layer_centre"])]
    return {
        name: {row.measure: [row.value, row.low, row.high, row.random] for row in part.itertuples()}
        for name, part in kept.groupby("function")
    }


def placeholder_numbers(
    grey: HeadActivations, noise: HeadActivations, bare: Float32[np.ndarray, "item layer head d_head"]
) -> dict[str, Any]:
    """What the placeholder changes in z at the tokens of right answers, and in the scores of probes of it."""
    z = {"grey": _array(grey), "noise": _array(noise), "no_image": bare}
    scores = {name: replace(probed(own, grey), scorer=name) for name, own in z.items()}
    found: dict[str, Any] = {}
    for name in ("noise", "no_image"):
        agreed = _agreement([scores["grey"], scores[name]])
        change = np.abs(scores["grey"].values - scores[name].values)
        found[name] = {
            "z_moved": _moved(z["grey"], z[name]),
            "score_change_mean": float(change.mean()),
            "score_change_most": float(change.max()),
            "agreement": agreed,
            "same_best": sum(
                int(one.argmax() == other.argmax())
                for one, other in zip(scores["grey"].values, scores[name].values, strict=True)
            ),
        }
    apart = np.random.default_rng(0).permutation(len(bare))
    found["other_item"] = {"z_moved": _moved(z["grey"], z["grey"][apart])}
    width = scores["grey"].high - scores["grey"].low
    found["interval_width_mean"] = float(width.mean())
    return found


def z_without_image(
    vlm: HookedVLM, items: Sequence[Sample], forced: HeadActivations
) -> Float32[np.ndarray, "item layer head d_head"]:
    """Z at the same tokens of the same answers, where the prompt has no image: Hugging Face's own forward, by hooks."""
    layers = vlm.model.model.language_model.layers
    kept: dict[int, torch.Tensor] = {}
    hooks = [layer.self_attn.o_proj.register_forward_pre_hook(_keep(kept, place)) for place, layer in enumerate(layers)]
    found = []
    try:
        for item, chosen in zip(items, forced.to_dataframe()["chosen"], strict=True):
            (prompt,) = vlm.prepare(item.image, item.question).prompts
            ids = vlm.processor.tokenizer(prompt.replace(f"{smollm.IMAGE_TOKEN}\n", ""))["input_ids"]
            answer = forced_tokens(vlm, prompt, item.answer)
            with vlm.paused(), torch.no_grad():
                vlm.model.model(input_ids=torch.tensor([[*ids, *answer]]), use_cache=False)
            rows = [len(ids) + place for place in chosen]
            z = torch.stack([kept[place][0, rows].mean(0) for place in range(len(layers))])
            found.append(z.reshape(len(layers), vlm.cfg.n_heads, vlm.cfg.d_head).numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return np.stack(found)


def masked(vlm: HookedVLM, scores: HeadScores, questions: int, image: Image.Image) -> dict[str, Any]:
    """Remove the strongest heads of one function on new questions, beside controls; the table of arms."""
    made = text_steps(questions, seed=SEED_OF_TEST, form="cogvsr")
    every = step_samples(made, ASKED, image=image)
    tested, held = ([item for item in every if item.relation == name] for name in (MASKED, CONTROL))
    heads = select_heads(scores, MASKED, "top_k", k=HEADS)
    found = evaluate_heads(vlm, tested, {MASKED: heads}, scores=scores, control=held, max_new_tokens=8, progress=False)
    spans = [f"{name}{end}" for name in ("accuracy", "accuracy_change") for end in ("", "_low", "_high")]
    columns = ["arm", "role", *spans, "parse_failures", "chance", "control_accuracy_change", "p"]
    table = found.arms[[name for name in columns if name in found.arms]]
    ratios = found.measures.query("task == 'main' and measure == 'perplexity_ratio'")
    return {
        "function": MASKED,
        "control": CONTROL,
        "heads": list(heads),
        "items": len(tested),
        "arms": json.loads(table.to_json(orient="records")),
        "perplexity_ratio": dict(zip(ratios["arm"], ratios["value"], strict=True)),
        "verdict": found.verdict(),
        "why": str(found.arm()["why"]),
    }


def _collected(vlm: HookedVLM, items: Sequence[Sample], out: Path, *, answers: str) -> HeadActivations:
    resume = out.exists()
    return collect_heads(vlm, items, out=out, answers=answers, max_new_tokens=8, resume=resume, progress=False)


def _joint(own: HeadActivations) -> Any:
    labels = own.labels(TEXT_FUNCTIONS)
    return joint_network(own, labels, own.groups, functions=TEXT_FUNCTIONS, progress=False, **JOINT)


def _agreement(several: Sequence[HeadScores]) -> dict[str, list[float]]:
    """Spearman and Jaccard, mean over functions: value, and what heads dealt anew give."""
    table = scorer_agreement(several).table
    return {
        name: [float(part["value"].mean()), float(part["random"].mean()), float(part["within"].mean())]
        for name, part in table.groupby("measure")
    }


def _array(own: HeadActivations) -> Float32[np.ndarray, "item layer head d_head"]:
    return np.stack([own.of_layer(layer) for layer in range(own.axes.layers)], axis=1)


def _moved(
    one: Float[np.ndarray, "item layer head d_head"], other: Float[np.ndarray, "item layer head d_head"]
) -> float:
    """How far z moves, as a share of its length; the median over items and heads."""
    return float(np.median(np.linalg.norm(one - other, axis=-1) / np.linalg.norm(one, axis=-1).clip(1e-12)))


def _keep(kept: dict[int, torch.Tensor], place: int) -> Callable[..., None]:
    def hook(module: Any, given: tuple[torch.Tensor, ...]) -> None:
        kept[place] = given[0].detach()

    return hook


if __name__ == "__main__":
    target, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else QUESTIONS
    numbers = text_numbers(target, count)
    (target / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"{numbers['items']} items, {numbers['cpu_seconds']:.0f} s of CPU: {str(target / 'numbers.json')!r}")
