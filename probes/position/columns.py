"""Columns: what the files of the probes' commands hold; see `interp.commands.columns`."""

from __future__ import annotations

STUDY = {
    "report.html": "what was found, in one page that needs no other file",
    "manifest.json": "what the study was begun with; a resumed run must agree with it",
    "shards/.lock": "empty; whoever writes to the study holds it",
    "shards/*.parquet": "what was measured, as it was measured",
}
"""What every study of a data set has."""

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
    "probe-study": {
        "summary.json": "the measures at the projector, what is left out, the main sentence, and `settings`",
        "probe.parquet": "a row per site and measure",
        "strips.parquet": "a row per site with a strip score",
        "probe_left_out.parquet": "a row per site and measure that can not be told",
        "probes.safetensors": "the probe of each site: weights, bias and centre; `probes.load_probes` reads it",
        "accuracy.png": "accuracy on object tokens by site, with its controls",
        "strip_scores.png": "the strip score by site, with its controls",
        "strips.png": "what the probe says of every patch, over a photo",
        "report.html": STUDY["report.html"],
        "train/manifest.json": STUDY["manifest.json"],
        "test/manifest.json": STUDY["manifest.json"],
        "train/shards/.lock": STUDY["shards/.lock"],
        "test/shards/.lock": STUDY["shards/.lock"],
        "train/shards/*.parquet": STUDY["shards/*.parquet"],
        "test/shards/*.parquet": STUDY["shards/*.parquet"],
    },
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
    "ablate": {
        "summary.json": "the measures, chance, what is left out, the main sentence, and `settings`",
        "ablate.parquet": "a row per relation, arm (or difference of two) and measure",
        "answers.parquet": "a row per photo and arm",
        "left_out.parquet": "a row per relation, arm and measure that can not be told",
        "ablate.png": "accuracy of each arm, by relation",
    }
    | STUDY,
    "knockout": {
        "summary.json": "the windows, the measures, what is left out, the main sentence, and `settings`",
        "knockout.parquet": "a row per arm, window and measure",
        "cuts.parquet": "a row per sample, arm and window",
        "left_out.parquet": "a row per arm and measure that can not be told",
        "windows.png": "what the right answer's probability loses, by window of layers and by what is cut",
        "accuracy.png": "accuracy, by window of layers and by what is cut",
    }
    | STUDY,
    "interchange": {
        "summary.json": "pairs asked and kept, what was patched, what is left out, the main sentence, and `settings`",
        "interchange.parquet": "a row per direction, set, slot and outcome: means over pairs kept",
        "runs.parquet": "a row per direction, run without a patch, and outcome",
        "beyond_control.parquet": "a row per direction, slot and outcome: patched minus control, pair by pair",
        "restoration.parquet": "a row per direction, set and slot: how far the patch goes to the counterfactual run",
        "both_right.parquet": "a row per direction: pairs kept and dropped",
        "pairs.parquet": "a row per pair, set, slot and outcome",
        "left_out.parquet": "a row per direction and measure that can not be told",
        "interchange.png": "probability of each outcome over slots, all pairs kept",
        "interchange_*.png": "the same of one direction",
        "beyond_control.png": "patched minus control over slots, with intervals",
    }
    | STUDY,
    "amplify": {
        "summary.json": "items and dropped ones, how far tokens moved at the largest alpha, whether a gain is claimed, "
        "the held-out measures, the chosen alphas, the paper's counting, what is left out, the main sentence, and "
        "`settings`",
        "amplify.parquet": "a row per axis, source of directions, alpha and measure",
        "held_out.parquet": "the same with alpha chosen on one half of the items and reported on the other, both ways",
        "chosen.parquet": "a row per source, or seed of it, and half: the alpha that was chosen there",
        "paper.parquet": "a row per source, or seed of it, and rule: what the paper would report",
        "answers.parquet": "a row per item, source and alpha",
        "left_out.parquet": "a row per table, axis and source that can not be told, and per item that directions were "
        "trained on",
        "accuracy.png": "share that is right in both orders, against alpha",
        "corrected.png": "share that is wrong before and right after, against alpha",
        "broken.png": "share that is right before and wrong after, against alpha",
        "net.png": "the difference of both, against alpha",
        "directions.npz": "the directions by axis, and the ids of the samples that they were trained on",
        "axis-probe/manifest.json": "what the training of directions was begun with, without `--directions`",
        "axis-probe/shards/.lock": "empty; whoever writes to it holds it",
        "axis-probe/shards/*.parquet": "what the directions were trained on",
    }
    | STUDY,
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

FILES["ablate-swap"] = FILES["interchange"]

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
    "quartile": "which one: `first_quartile`, `median` or `third_quartile`",
    "convention": "what the last depth is, and a ratio over zero: `stream`, what leaves the last block, and none; "
    "`paper`, what leaves the final norm, and 1",
    "depth": "0 to L of L blocks: what enters block `depth`, and at L what leaves the last block or the final norm",
    "point": "the hook point at which the norm is taken; `ln_final.hook_normalized` is after the final norm",
    "rms": "the norm over the root of the stream's width",
    "ratio": "mean norm of the image over that of the words",
    "axis": "along which axis the image keys were moved, or `all`",
    "delta": "by how many positions",
    "alpha_v": "attention of the query row on the image, among all keys that it sees",
    "alpha_product": "alpha_v (1 - alpha_v): near zero, the softmax is saturated",
    "delta_alpha_v": "change of alpha_v when the image keys are moved, with its sign",
    "delta_alpha_v_low": "lower end of its interval, which draws whole groups",
    "delta_alpha_v_high": "upper end of it",
    "abs_delta_g_v": "|delta_g_v|, absolute in each sample, layer and head before any mean",
    "abs_delta_g_v_low": "lower end of its interval, which draws whole groups",
    "abs_delta_g_v_high": "upper end of it",
    "largest_residual": "the largest |residual| in any sample, layer and head",
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
    "id": "which sample",
    "gold": "the answer that is right",
    "options": "the answers that the question offers",
    "relation": "the relation that is asked about, `all` for all samples",
    "predicted": "the option that was read from the answer",
    "correct": "whether it is the right one, by the strict rule",
    "correct_paper": "the same by the rule of AdaptVis' evaluation: the right answer occurs in the text",
    "parsed": "whether an option could be read",
    "changed": "whether the text is another than with the tokens in order",
    "seed": "of the permutation",
    "accuracy": "share of right answers, by the strict rule",
    "measure": "what is measured; see `probes.OrderSensitivity`, `probes.BalanceStudy`, `probes.KnockoutStudy` and "
    "`probes.OrderingAblation`",
    "arm": "of prompts, as they are (`kept`), without their system part (`stripped`), or the difference, sample by "
    "sample; of a knock-out or an ablation, as in its main table",
    "steps": "how many tokens the answer has, with its end token",
    "system_tokens": "how many tokens of the prompt are its system part",
    "text_tokens": "how many tokens of the prompt are question or template",
    "even": "the balance of even attention: image tokens over image tokens and words",
    "share_system": "part of the attention on the system part, of what it, image and words get; 0 without one",
    "share_image": "part of the attention on the image, of what all three get",
    "share_text": "part of the attention on the words, of what all three get",
    "share_system_authors": "as `share_system`",
    "share_image_authors": "part of the attention on the image in the authors' pie of three, a product of means",
    "share_text_authors": "the rest of the authors' pie",
    "share_image_masked": "the image's part of what image and words get",
    "coverage": "part of a row, BOS left out, that lies on system part, image or words",
    "entropy_produced": "entropy over the image, mean over the answer's tokens, each with the pass that produced it",
    "entropy_consumed": "the same, each with the pass whose query it is; missing where the answer is a single token",
    "value": "of the measure",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "samples": "how many samples it is of",
    "groups": "how many groups these lie in, which the intervals draw",
    "why": "why it can not be told",
    "dose": "the factor, or the length; scale 1 is the untouched model",
    "agreeing": "share of the permutations under which the answer is that with the tokens in order",
    "source": "whose directions: `untouched` (none), `probe`, `random` (a mean over seeds; `random 0` is one of them), "
    "or `probe - random`; with `same alphas`, random ones at the alphas that were chosen for the probe's",
    "alpha": "how much what tokens hold along the directions is made larger; 0 is the untouched model",
    "first": "the likeliest word, sides in order (left or right, above or below)",
    "second": "the likeliest word, sides in the other order",
    "moved": "by what part of their length image tokens were moved, mean over tokens",
    "chosen_on": "the half that alpha was chosen on",
    "reported_on": "the half that it was reported on",
    "net_chosen_on": "the net gain on the half that chose it, where it is the best of many",
    "rule": "`probe` or `random`: the alpha that is best on the same items; `probe_any`, `random_any`: any, item by "
    "item",
    "failures": "items that are wrong before",
    "corrected": "of these, how many have every order that failed right after",
    "corrected_rate": "the same as a share of failures",
    "accuracy_before": "share of items that are right in both orders, untouched",
    "accuracy_after": "the same with all that is corrected counted as right; what was right is not asked again",
    "gain": "the difference of both, with an interval that knows nothing of the choice",
    "table": "the table that it is left out of",
    "median_norm": "median length of the sample's image tokens",
}
"""What a column holds, wherever it stands."""

_AT_DOSE = {
    "kind": "of the dose: `scale` (times a factor), `clip` (cut to at most a length), `target` (brought to one length)",
    "image_mass": "attention of the last prompt row on the image, mean over layers and heads",
    "delta_alpha_v": "change of that when the image keys are moved by one position, with its sign",
    "abs_delta_g_v": "size of delta_g_v, mean over layers and heads",
}

_AMPLIFIED = {
    "axis": "the axis that is asked about, `all` for both",
    "measure": "`accuracy` (right in both orders), `corrected` (wrong before, right after), `broken` (right before, "
    "wrong after) or `net` (corrected - broken), as shares of all items",
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

_PATCHED = {
    "direction": "what was asked, `all` for all pairs",
    "set": "which tokens were patched: the set that was asked for (`patched`), or as many random ones (`control`)",
    "slot": "layer slot, 0 the input of block 0, l the output of block l - 1; of other hooks, 0-based layer",
    "outcome": "what the word means: `clean` no effect, `place` the place moved, `content` what stood there moved",
    "std": "standard deviation over pairs",
    "pairs": "how many pairs it is of",
}
_MEAN = _PATCHED | {"value": "mean probability of the outcome's word at the last position"}

_CUT = {
    "arm": "which edges are cut, as keys->rows; `untouched` has none cut",
    "window": "in which layers, by name or as first to last, 0-based",
}

_AT_SITE = {
    "site": "where image tokens are read: after a block of the vision tower, at the projector, or after a block of the "
    "language model",
    "part": "`vision`, `projector` or `language`",
    "layer": "which block, 0-based; -1 at the projector",
    "measure": "see `probes.PositionProbe`",
}

OWN: dict[str, dict[str, str]] = {
    "ablate": {
        "arm": "`untouched`; `ordering removed`; `ordering kept`, the control that replaces as much; `random tokens`, "
        "as many without items; or a difference of two",
    },
    "knockout": _CUT,
    "cuts": _CUT
    | {
        "tokens": "how many keys are cut off",
        "probability": "of the right answer's first token, its spellings summed, nothing cut",
        "right": "whether that token is the likeliest, nothing cut",
        "cut": "the probability with the edges cut",
        "right_cut": "whether the token is the likeliest with the edges cut",
    },
    "probe": _AT_SITE,
    "probe_left_out": _AT_SITE,
    "strips": {name: _AT_SITE[name] for name in ("site", "part", "layer")}
    | {
        "strip": "the strip score, see `probes.PositionProbe`",
        "p_value": "how often it would be as large if lines of background were dealt anew",
        "p_corrected": "the same, corrected for all sites together",
    },
    "interchange": _MEAN,
    "runs": {name: _MEAN[name] for name in ("direction", "outcome", "std", "pairs", "value")}
    | {"run": "`clean` or `counterfactual`"},
    "beyond_control": {name: _PATCHED[name] for name in ("direction", "slot", "outcome", "std", "pairs")}
    | {
        "value": "mean difference of the probability, patched minus control",
        "p": "two-sided, of this slot alone, by sign flips of whole groups",
        "p_any": "the same corrected for all slots of this direction and outcome (maxT)",
    },
    "restoration": _PATCHED | {"value": "mean share of the way from the clean to the counterfactual run"},
    "both_right": {
        "direction": _PATCHED["direction"],
        "pairs": "how many were asked",
        "kept": "of how many the model gets both sides right",
        "dropped": "of how many it does not",
        "clean_wrong": "of how many it gets the clean side wrong",
        "counterfactual_wrong": "of how many it gets the counterfactual side wrong",
    },
    "pairs": {name: _PATCHED[name] for name in ("direction", "set", "slot", "outcome")}
    | {
        "id": "which pair",
        "group": "what is drawn together",
        "kept": "whether the model gets both sides right",
        "p": "probability of the outcome's word with tokens patched",
        "p_clean": "the same after the clean prompt, untouched",
        "p_counterfactual": "the same after the counterfactual prompt, untouched",
    },
    "normalise": _AT_DOSE,
    "states": _AT_DOSE,
    "differences": {
        "kind": _AT_DOSE["kind"],
        "value": "of the measure at this dose minus that of the untouched model",
    },
    "answers": {"kind": _AT_DOSE["kind"], "group": "the group of the sample, which intervals draw whole"},
    "left_out": {
        "kind": _AT_DOSE["kind"],
        "axis": "the axis that is asked about",
        "source": "whose directions, or which item",
        "direction": _PATCHED["direction"],
    },
    "amplify": _AMPLIFIED,
    "held_out": _AMPLIFIED,
    "paper": {"alpha": "the best one, or `any`"},
    "token_norms": {"norm": "L2 norm of what the first block receives"},
    "norm_quartiles": {"norm": "the quartile of the tokens' L2 norms by the definition"},
    "residual_norms": {"norm": "L2 norm of the residual stream, mean over the group's positions"},
    "comparison": _RETRAINED,
    "training": {name: _RETRAINED[name] for name in ("arm", "measure", "value")}
    | {"step": "steps that were taken", "seed": "which run"},
}
"""What a column holds in one file alone, by the file's name without ending."""
