"""Columns: what the files of the probes' commands hold; see `interp.commands.columns`."""

from __future__ import annotations

FILES: dict[str, dict[str, str]] = {
    "balance": {
        "summary.json": "the answer, the balance by layer, and `settings`",
        "balance.parquet": "a row per layer and head",
        "balance.png": "the balance by layer and head",
    },
    "norms": {
        "summary.json": "the ratio of image to words by depth, ours and the paper's, norms after the final norm, and "
        "`settings`",
        "token_norms.parquet": "a row per token of the prompt",
        "token_norm_quartiles.parquet": "a row per definition and group of tokens",
        "residual_norms.parquet": "a row per depth and group of positions, and last those after the final norm",
        "norm_ratios.parquet": "a row per depth, and last the one after the final norm",
        "token_norms.png": "violins of the norms of image tokens and words",
        "residual_norms.png": "norm of the words, of the image, and their ratio, by depth",
    },
    "rope": {
        "summary.json": "the size of delta g_V and delta alpha_V over all and by layer, the largest residual, and "
        "`settings`",
        "rope.parquet": "a row per layer and head",
        "rope.png": "the size of delta g_V and delta alpha_V by layer, and by layer and head",
    },
    "order": {
        "summary.json": "the answer, the share of permutations that it is the same under, and `settings`",
        "order.parquet": "a row per order of the image tokens",
        "order.png": "the confidence in each order, with the answers",
    },
    "shares": {
        "summary.json": "the answer, the shares, the mean entropy by both alignments, and `settings`",
        "shares.parquet": "a row per system prompt (kept or masked) and group",
        "entropy.parquet": "a row per generated token and alignment",
        "shares.png": "the shares, with the system prompt kept and masked",
        "entropy.png": "the entropy over the image behind each generated token",
    },
    "retrain": {
        "summary.json": "what the comparison says, in sentences (`findings`), the differences that they tell of, and "
        "`settings`",
        "comparison.parquet": "a row per model, arm or difference of two, measure, part of it, and interval",
        "training.parquet": "a row per run, step and number that was written down in training",
        "comparison.png": "accuracy, the index of order, RoPE sensitivity by layer, length of the stream by depth",
        "manifest.json": "the budget of all runs; a resumed comparison must agree with it",
        "runs/*": "a folder per tower and trained model, with its record `training.json`",
        "measures/*": "what was measured of each model, scene by scene",
    },
}
"""By command, what each file holds."""

NAMES: dict[str, str] = {
    "sample": "which sample",
    "layer": "0-based",
    "head": "0-based",
    "balance": "attention on the image over that on image and words, mean over steps: 0 is only words, 1 only image",
    "image_mass": "attention on the image, mean over steps",
    "text_mass": "attention on the words, mean over steps",
    "position": "place in the padded prompt, 0-based",
    "kind": "what stands there: `bos`, `system`, `image`, `image_marker`, `question` or `template`",
    "token": "the token's text",
    "paper_norm": "L2 norm of the projector's output for an image token, of its raw row of the embeddings for others",
    "definition": "`received`: of what the first block receives; `paper`: the paper's norm of a token",
    "group": "`bos`, `system`, `text` (question and template), `question` or `image`; shares have system, image and "
    "text, and BOS, image markers and generated tokens are in none",
    "tokens": "how many tokens are in the group",
    "first_quartile": "a quarter of the group's norms are below",
    "median": "of the group's norms",
    "third_quartile": "a quarter of the group's norms are above",
    "depth": "0 to L of L blocks: what enters block `depth`, and at L what leaves the last block or the final norm",
    "point": "the hook point at which the norm is taken; `ln_final.hook_normalized` is after the final norm",
    "rms": "the norm over the root of the stream's width",
    "ratio": "mean norm of the image over that of the words",
    "axis": "along which axis the image keys were moved, or `all`",
    "delta": "by how many positions",
    "alpha_v": "attention of the query row on the image, among all keys that it sees",
    "alpha_product": "alpha_v (1 - alpha_v): near zero, the softmax is saturated",
    "delta_alpha_v": "change of alpha_v when the image keys are moved, with its sign",
    "delta_g_v": "mean change of the image keys' logits per position, weighted by their attention, with its sign",
    "residual": "delta_alpha_v - alpha_product * delta_g_v * delta: what first order leaves",
    "image_keys": "image keys that the query row sees; 0 behind a sliding window, where all measures are 0",
    "order": "`original`; `seed 0` and up: image tokens permuted; `side 4`: pooled to so many rows and columns",
    "image_tokens": "how many image tokens the prompt has",
    "text": "the answer",
    "confidence": "the largest probability of the answer's first token",
    "system_prompt": "whether the system prompt is one of the groups that share (`kept`) or not (`masked`)",
    "share": "part of what the groups get together, heads and layers averaged, mean over steps",
    "share_authors": "the same as the authors compute it: a product of means for image and text with the prompt kept",
    "alignment": "which pass a token has: the one that `produced` it, or the next, whose query it is (`consumed`)",
    "step": "which generated token, 0-based",
    "entropy": "of attention over the image, 0 (on one image token) to 1 (even)",
    "what": "`model` (one run), `arm` (the mean of its runs) or `difference` (of two arms)",
    "arm": "what stands between the frozen tower and the language model; of a difference, what is subtracted from",
    "against": "of a difference, the arm that is subtracted; else empty",
    "seed": "which run; `all` for arms and differences",
    "measure": "`accuracy`, `psi`, `psi_corrected`, `abs_delta_g_v`, `delta_alpha_v` or `ratio`; in training, a loss "
    "(`answer`, `caption`, ...), an accuracy on validation scenes (`right_*`), or a mean length",
    "part": "kind of question, layer or depth",
    "value": "the number",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "interval": "what is drawn: `scenes`, `seeds and scenes`, or `t over seeds` (Student's, by formula)",
    "seeds": "runs that the number is of",
    "scenes": "scenes that it is of, the same for all runs",
}
"""What a column holds, wherever it stands."""

OWN: dict[str, dict[str, str]] = {
    "token_norms": {"norm": "L2 norm of what the first block receives"},
    "residual_norms": {"norm": "L2 norm of the residual stream, mean over the group's positions"},
    "training": {"step": "steps that were taken", "seed": "which run"},
}
"""What a column holds in one file alone, by the file's name without ending."""
