"""The numbers and figures of docs/probes/position.md, measured on embedded models and written between its marks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import retraining_page
from adaptvis_page import markdown_table, weights
from matplotlib.axes import Axes
from page_blocks import draw, interval, put
from position_studies import dose_blocks, study_blocks

from interp import HookedVLM, Sample
from interp.datasets import read_dataset
from interp.datasets.synthetic.shapes import shapes
from interp.datasets.synthetic.two_ds import CATEGORIES
from interp.errors import ModelError
from interp.report.numbers import decimal
from interp.stats.intervals import bootstrap
from interp.zoo import embedded_path
from interp.zoo.smollm import smollm_file
from probes import (
    OrderSensitivity,
    attention_entropy,
    constant_norm,
    cross_modality_balance,
    mean_balance,
    mean_residual_norms,
    mean_rope_sensitivity,
    mean_shares,
    modality_shares,
    psi,
    residual_norms,
    rope_sensitivity,
    token_norm_quartiles,
    token_norms,
    token_norms_by_group,
)

DOCS = Path(__file__).resolve().parent.parent
PAGE, IMAGES = DOCS / "probes" / "position.md", DOCS / "images" / "position"

N, SEED = 60, 7
"""Scenes that norms, attention and RoPE are measured on."""
N_ORDER, N_2DS = 120, 120
"""Questions that are asked under permutations: of `shapes`, and of `2ds-style`, six to a scene."""
SIDES, SEEDS, BATCH = (4, 2, 1), range(5), 16

READ_BY_EYE = {"first_quartile": 0.57, "median": 0.78, "third_quartile": 0.99}
"""Norms of the words of COCO captions in Vicuna-7B's embedding table, read by eye off a figure of the authors'
notebook, give or take 3 % of its axis."""

CAPTIONS = (
    "Two brown dogs run along the beach beside the water.",
    "A red bus waits at a crossing in the rain.",
    "A woman cuts bread on a wooden table in a small kitchen.",
    "Three zebras stand in the shade under a tree.",
    "A child on a blue bicycle rides past a parked car.",
    "A white cat sleeps on the keyboard of a laptop.",
    "A plate with rice, beans and a slice of lemon.",
    "Several boats lie in the harbor below the old town.",
    "A man in a green jacket throws a frisbee over the grass.",
    "An empty bench faces the lake in front of the hills.",
    "A clock hangs above the door of the station.",
    "Two people carry umbrellas across a busy street at night.",
)
"""Captions in the manner of COCO's, written for this page."""


def write_position(page: Path = PAGE, images: Path = IMAGES) -> Path:
    """Measure, draw, and put every block at its place on the page."""
    images.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8")
    for name, block in measured_blocks(images):
        text = put(text, name, block)
    page.write_text(text, encoding="utf-8")
    return page


def measured_blocks(images: Path) -> Iterator[tuple[str, str]]:
    """Every block by its name; the one of SmolLM2 only where its weights are installed."""
    yield from unmeasured_blocks()
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    yield "model", describe(vlm)
    batches = list(prepared(vlm, scenes(N)))
    yield from norm_blocks(vlm, batches, images)
    yield from attention_blocks(vlm, batches, images)
    yield from rope_blocks(vlm, batches, images)
    yield from order_blocks(vlm, images)
    yield from dose_blocks(vlm, scenes(N), draw, images)
    yield from study_blocks(vlm, scenes(N))
    block = smollm_block(images)
    if block is None:
        print("SmolLM2's weights are not installed: the block of the page that needs them is left as it is")
    else:
        yield "smollm", block


def describe(vlm: HookedVLM) -> str:
    """What was measured, on what."""
    return (
        f"Numbers and figures are of `shapes-vlm` (weights `{weights()}`, float32), an embedded model of "
        f"{vlm.cfg.n_layers} layers and {vlm.cfg.n_heads} heads that was trained on drawn scenes: on {N} scenes of "
        f"`shapes` that it has never seen, and for the order of image tokens on {N_ORDER} of them and on {N_2DS} "
        "questions of `2ds-style`. Intervals and bands are of 95 %, over scenes."
    )


def unmeasured_blocks() -> Iterator[tuple[str, str]]:
    """What the code says by itself, without a run."""
    own = json.loads((embedded_path("shapes-vlm") / "config.json").read_text(encoding="utf-8"))
    widths = {4096: "LLaVA-1.5-7B", 576: "SmolLM2-135M", own["text_config"]["hidden_size"]: "`shapes-vlm`"}
    rows = [
        {
            "width": width,
            "of": of,
            "length behind RMSNorm": f"{found.rms_norm:.2f}",
            "length of every image token": f"{found.norm:.4f}",
            "smallest weight for which it holds": f"{found.least_weight:.3f}",
        }
        for width, of in widths.items()
        for found in [constant_norm(width)]
    ]
    yield "constant norm", markdown_table(pd.DataFrame(rows))
    if retraining_page.NUMBERS.exists():
        yield "retraining", retraining_page.block()


def scenes(n: int) -> list[Sample]:
    """Held-out drawn scenes, each with a question about how two shapes lie to each other."""
    return shapes(n, split="test", seed=SEED, kinds=("relation",))


def prepared(vlm: HookedVLM, samples: Sequence[Sample]) -> Iterator[Any]:
    """Their prompts, in batches."""
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        yield vlm.prepare([one.image for one in part], [one.question for one in part], prompt="paper")


# blocks -----------------------------------------------------------------------------------------------------------


def norm_blocks(vlm: HookedVLM, batches: Sequence[Any], images: Path) -> Iterator[tuple[str, str]]:
    """Norms of tokens, and by depth."""
    from probes.position.figures.token_norms import plot_token_norms

    tokens = [one for inputs in batches for one in token_norms(vlm, inputs)]
    draw(plot_token_norms(token_norms_by_group(tokens)), images / "token_norms.png")
    yield "token norms", quartile_table(token_norm_quartiles(tokens))
    mean = mean_residual_norms(one for inputs in batches for one in residual_norms(vlm, inputs))
    draw(mean.plot()[0], images / "residual_norms.png")
    text, image = mean.of("text"), mean.of("image")
    rows = [
        {
            "depth": depth,
            "words": f"{text[depth]:.2f}",
            "image": f"{image[depth]:.2f}",
            "image / words": interval(mean.ratio, depth),
            "log10": f"{np.log10(mean.ratio.estimate[depth]):+.2f}",
        }
        for depth in range(len(text))
    ]
    after, ratio = mean.after_final_norm, mean.normalized_ratio
    final = {"words": f"{after['text']:.2f}", "image": f"{after['image']:.2f}", "image / words": interval(ratio)}
    log10 = f"{np.log10(ratio.estimate):+.2f}"
    rows.append({"depth": f"{len(text) - 1}, after the final norm", **final, "log10": log10})
    yield "residual norms", markdown_table(pd.DataFrame(rows))


def quartile_table(quartiles: pd.DataFrame) -> str:
    """Quartiles of both definitions, as they are on the page."""
    shown = quartiles[quartiles["group"].isin(["bos", "text", "image"])]
    rows = [
        {
            "definition": f"`{one.definition}`",
            "group": f"`{one.group}`",
            "tokens": one.tokens,
            "quartiles": " / ".join(f"{part:.2f}" for part in (one.first_quartile, one.median, one.third_quartile)),
        }
        for one in shown.itertuples()
    ]
    return markdown_table(pd.DataFrame(rows))


def attention_blocks(vlm: HookedVLM, batches: Sequence[Any], images: Path) -> Iterator[tuple[str, str]]:
    """Balance by layer and head, and shares and entropy of the answers."""
    every = [rows for inputs in batches for rows in vlm.generate_with_cache(inputs, 4)[1]]
    balance = mean_balance(cross_modality_balance(rows.pattern, rows.layout) for rows in every)
    draw(balance.plot(), images / "balance.png")
    rows = [
        {
            "layer": layer,
            "mean over heads": interval(balance.by_layer, layer),
            "least": f"{own.min():.2f}",
            "most": f"{own.max():.2f}",
            "on image and words, of all": f"{(balance.image_mass + balance.text_mass)[layer].mean():.2f}",
        }
        for layer, own in enumerate(balance.values)
    ]
    yield "balance", markdown_table(pd.DataFrame(rows))
    shares = mean_shares(modality_shares(rows.pattern, rows.layout) for rows in every)
    draw(shares.plot(), images / "shares.png")
    entropy = {
        name: bootstrap([attention_entropy(rows, alignment=name).values.mean() for rows in every], seed=0)
        for name in ("produced", "consumed")
    }
    told = {
        "share of the image among image and words (`masked`)": shares.image,
        "mean over layers and heads of the balance, for comparison": bootstrap(
            [cross_modality_balance(rows.pattern, rows.layout).values.mean() for rows in every], seed=0
        ),
        "entropy, the pass that produced a token": entropy["produced"],
        "entropy, the authors' pass, one later": entropy["consumed"],
    }
    rows = [{"what": name, "mean over scenes": interval(found, digits=3)} for name, found in told.items()]
    yield "shares", markdown_table(pd.DataFrame(rows))


def rope_blocks(vlm: HookedVLM, batches: Sequence[Any], images: Path) -> Iterator[tuple[str, str]]:
    """Layer curves and heat maps of the last prompt row, and how another row differs."""
    summaries = {
        row: mean_rope_sensitivity(one for inputs in batches for one in rope_sensitivity(vlm, inputs, query_row=row))
        for row in ("last", "appended_eos")
    }
    draw(summaries["last"].draw()[0], images / "rope.png", dpi=80)
    rows = []
    for layer in range(vlm.cfg.n_layers):
        cells: dict[str, Any] = {"layer": layer}
        for row, found in summaries.items():
            name = "last row" if row == "last" else "appended end"
            cells[f"size of delta g_V, {name}"] = interval(found.abs_delta_g_v_by_layer, layer)
            cells[f"delta alpha_V, {name}"] = interval(found.delta_alpha_v_by_layer, layer, digits=3, signed=True)
        rows.append(cells)
    yield "rope", markdown_table(pd.DataFrame(rows))


def order_blocks(vlm: HookedVLM, images: Path) -> Iterator[tuple[str, str]]:
    """The index by relation, accuracy by number of image tokens, and the same on the categories of 2DS-style."""
    asked: Mapping[str, Any] = {"prompt": "paper", "sides": SIDES, "progress": False, "batch": BATCH}
    found = psi(vlm, scenes(N_ORDER), SEEDS, **asked)
    draw(found.plot(), images / "order.png")
    draw(found.plot_psi(), images / "psi.png")
    draw(found.plot_compression(), images / "compression.png")
    yield "psi", psi_table(found, "relation")
    curve = found.compression()
    curve = curve[curve["relation"] == "all"].sort_values("image_tokens", ascending=False)
    rows = [
        {"image tokens": f"{one.image_tokens:g}", "right": decimal(one.accuracy, one.low, one.high)}
        for one in curve.itertuples()
    ]
    yield "compression", markdown_table(pd.DataFrame(rows))
    style = psi(vlm, read_dataset("2ds-style", n=N_2DS), SEEDS, **{**asked, "sides": ()})
    yield "2ds style", psi_table(style, "category", order=CATEGORIES)


def psi_table(found: OrderSensitivity, first: str, order: Sequence[str] = ()) -> str:
    """Accuracy in order and permuted, and both indices, by relation; a dash where an index can not be told."""
    names = list(dict.fromkeys(found.measures["relation"]))
    rows = []
    for name in [names[0], *(order or names[1:])]:
        own = found.measures[found.measures["relation"] == name].set_index("measure")
        cells = {first: f"`{name}`", "n": int(own["samples"].iloc[0])}
        cells["chance"] = f"{found.chance[name]:.2f}" if name in found.chance else "-"
        for measure, title in MEASURES.items():
            there = measure in own.index
            cells[title] = decimal(*own.loc[measure, ["value", "low", "high"]]) if there else "-"
        rows.append(cells)
    return markdown_table(pd.DataFrame(rows))


MEASURES = {"accuracy": "right, in order", "permuted": "right, permuted", "psi": "PSI", "psi_corrected": "corrected"}


def smollm_block(images: Path) -> str | None:
    """Norms of the words of a real language model; None where its weights are not installed."""
    try:
        file = smollm_file()
    except ModelError:
        return None
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    rows = gguf.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    captions = norms[caption_ids(file)]
    draw(plot_words(norms, captions), images / "smollm_norms.png")
    parts = {f"SmolLM2-135M, all {len(norms):,} rows": norms, f"the same, {len(CAPTIONS)} captions": captions}
    table = [
        {
            "words": name,
            "tokens": f"{len(own):,}",
            **_quartiles(np.quantile(own, (0.25, 0.5, 0.75))),
            "shortest": f"{own.min():.2f}",
        }
        for name, own in parts.items()
    ]
    eye = {"words": "Vicuna-7B, COCO captions, read by eye", "tokens": "1,497", **_quartiles(READ_BY_EYE.values())}
    return markdown_table(pd.DataFrame([*table, {**eye, "shortest": "-"}]))


def _quartiles(values: Any) -> dict[str, str]:
    names = ("first quartile", "median", "third quartile")
    return {name: f"{value:.2f}" for name, value in zip(names, values, strict=True)}


def caption_ids(file: Path) -> np.ndarray:
    """The tokens of all captions, each begun as the tokenizer begins a text."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return np.concatenate([[words.bos_token_id, *words(caption).input_ids] for caption in CAPTIONS])


def plot_words(norms: np.ndarray, captions: np.ndarray) -> Axes:
    """Violins of both, one above the other, and the three quartiles of Vicuna as lines."""
    from interp.plots.style import INK, PALETTE, TICK, new_axes, tidy

    ax = new_axes(None, (7.2, 2.7))
    drawn = {f"all {len(norms):,} rows": norms, "captions": captions}
    parts = ax.violinplot(
        [np.log10(own) for own in drawn.values()], orientation="horizontal", widths=0.8, showextrema=False,
        quantiles=[[0.25, 0.5, 0.75]] * 2, points=200,
    )  # fmt: skip
    for body in parts["bodies"]:
        body.set(facecolor=PALETTE[2], alpha=0.55)
    parts["cquantiles"].set(color=INK, linewidth=1.2, linestyle="--")
    for value in READ_BY_EYE.values():
        ax.axvline(np.log10(value), color=PALETTE[4], linewidth=1.4, linestyle="--")
    ax.annotate(
        "quartiles of Vicuna-7B\n(read by eye)", (np.log10(READ_BY_EYE["third_quartile"]), 1.5), xytext=(6, 0),
        textcoords="offset points", fontsize=TICK, color=INK, va="center",
    )  # fmt: skip
    ticks = (0.5, 1, 2, 4, 8)
    ax.set_xticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
    ax.set_yticks((1, 2), [f"SmolLM2,\n{name}" for name in drawn])
    tidy(ax, title="Norms of words in the embedding table", x="L2 norm of the row (log)")
    ax.yaxis.grid(False)
    ax.xaxis.grid(True, color="#e6e6e6", linewidth=0.8)
    return ax


if __name__ == "__main__":
    print(write_position())
