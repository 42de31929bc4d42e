"""Columns: what the files of the commands about positions hold; see `interp.commands.columns`."""

from __future__ import annotations

from probes.study.columns import NAMES as NAMES
from probes.study.columns import STUDY

FILES: dict[str, dict[str, str]] = {
    "balance": {
        "summary.json": "the answer, the balance by layer, that of even attention, how many heads look mostly at the "
        "image and more than evenly, and `settings`",
        "balance.parquet": "a row per layer and head",
        "balance.png": "the balance by layer and head",
    },
    "balance-study": {
        "summary.json": "the measures by arm, what is left out, the main sentence, and `settings`",
        "measures.parquet": "a row per arm, or difference of the two, and measure",
        "by_head.parquet": "a row per arm, layer and head",
        "by_layer.parquet": "a row per arm and layer, heads averaged",
        "samples.parquet": "a row per sample and arm",
        "left_out.parquet": "a row per arm and measure that can not be told",
        "balance.png": "the balance by layer and head, prompts as they are",
        "layers.png": "the balance by layer, beside that of even attention",
        "shares.png": "the attention shares",
        "balance_stripped.png": "the balance by layer and head without the system part, where prompts have one",
        "balance_change.png": "what leaving the system part out changes, by layer and head",
    }
    | STUDY,
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
    "norms-study": {
        "summary.json": "the mean ratio of image to words by depth, ours and the paper's, what is after the final "
        "norm, median norms of tokens, the main sentence, and `settings`",
        "norm_ratios.parquet": "a row per convention and depth; by `stream`, last the one after the final norm",
        "residual_norms.parquet": "a row per convention, depth and group of positions",
        "norm_quartiles.parquet": "a row per definition, group of positions and quartile, of all samples' tokens",
        "residual_norms.png": "norm of the words, of the image, and their mean ratio with its interval, by depth",
        "residual_norms_paper.png": "the same with the paper's last depth, after the final norm",
        "token_norms.png": "violins of the norms of image tokens and words of all samples, by both definitions",
    }
    | STUDY,
    "rope-study": {
        "summary.json": "the size of delta g_V and delta alpha_V by axis, with intervals, the largest residuals, the "
        "main sentence, and `settings`",
        "rope.parquet": "a row per axis, layer and head: means over samples",
        "layers.parquet": "a row per axis and layer: means over samples and heads",
        "axes.parquet": "a row per axis: means over samples, layers and heads",
        "rope.png": "the size of delta g_V and delta alpha_V by layer with intervals, and by layer and head",
        "axes.png": "the curves of all axes over each other, with `--axis each`",
    }
    | STUDY,
    "rope": {
        "summary.json": "the size of delta g_V and delta alpha_V over all and by layer, the largest residual, and "
        "`settings`",
        "rope.parquet": "a row per layer and head",
        "rope.png": "the size of delta g_V and delta alpha_V by layer, and by layer and head",
    },
    "order-study": {
        "summary.json": "the measures over all, what is left out, the main sentence, and `settings`",
        "order.parquet": "a row per relation and measure",
        "answers.parquet": "a row per sample and order",
        "by_seed.parquet": "a row per relation and permutation",
        "left_out.parquet": "a row per relation and measure that can not be told",
        "compression.parquet": "a row per relation and number of image tokens, with `--sides`",
        "order.png": "accuracy in order and permuted, by relation",
        "psi.png": "PSI and the index against chance, by relation",
        "compression.png": "accuracy by number of image tokens",
    }
    | STUDY,
    "order": {
        "summary.json": "the answer, the share of permutations that it is the same under, and `settings`",
        "order.parquet": "a row per order of the image tokens",
        "order.png": "the confidence in each order, with the answers",
    },
    "normalise-study": {
        "summary.json": "the measures over all by dose, what is left out, the main sentence, and `settings`",
        "normalise.parquet": "a row per relation, dose and measure",
        "differences.parquet": "the same of each other dose minus the untouched model, of the same draws",
        "left_out.parquet": "a row per relation, dose and measure that can not be told",
        "answers.parquet": "a row per sample, dose and order",
        "states.parquet": "a row per sample and dose: length of the image tokens, attention on them, RoPE sensitivity",
        "normalise_*.png": "accuracy, PSI, RoPE sensitivity and confidence against the doses of one kind",
    }
    | STUDY,
    "normalise": {
        "summary.json": "the answer, the doses that change it, those out of the number type's range, `settings`",
        "normalise.parquet": "a row per dose; nothing is trained, and this is no method of the paper",
        "normalise_*.png": "confidence with the answers, attention on the image and RoPE sensitivity by dose",
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

_AT_DOSE = {
    "kind": "of the dose: `scale` (times a factor), `clip` (cut to at most a length), `target` (brought to one length)",
    "image_mass": "attention of the last prompt row on the image, mean over layers and heads",
    "delta_alpha_v": "change of that when the image keys are moved by one position, with its sign",
    "abs_delta_g_v": "size of delta_g_v, mean over layers and heads",
}

_RETRAINED = {
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

OWN: dict[str, dict[str, str]] = {
    "normalise": _AT_DOSE,
    "states": _AT_DOSE,
    "differences": {
        "kind": _AT_DOSE["kind"],
        "value": "of the measure at this dose minus that of the untouched model",
    },
    "answers": {"kind": _AT_DOSE["kind"], "group": "the group of the sample, which intervals draw whole"},
    "left_out": {"kind": _AT_DOSE["kind"]},
    "token_norms": {"norm": "L2 norm of what the first block receives"},
    "norm_quartiles": {"norm": "the quartile of the tokens' L2 norms by the definition"},
    "residual_norms": {"norm": "L2 norm of the residual stream, mean over the group's positions"},
    "comparison": _RETRAINED,
    "training": {name: _RETRAINED[name] for name in ("arm", "measure", "value")}
    | {"step": "steps that were taken", "seed": "which run"},
}
"""What a column holds in one file alone, by the file's name without ending."""
