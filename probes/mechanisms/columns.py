"""Columns: what the files of the commands about mechanisms hold; see `interp.commands.columns`."""

from __future__ import annotations

from probes.study.columns import NAMES as NAMES
from probes.study.columns import STUDY

FILES: dict[str, dict[str, str]] = {
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
    "lens-study": {
        "summary.json": "the share of tokens that say their object's word by slot, what is left out, the main "
        "sentence, and `settings`",
        "lens.parquet": "a row per what, where, measure and slot",
        "samples.parquet": "a row per sample, what, where and slot",
        "left_out.parquet": "a row per what and where that can not be told",
        "lens.png": "share of tokens that say their object's word, by slot, beside controls",
        "probability.png": "its mean probability, by slot",
        "rank.png": "the mean of 1 over its rank, by slot",
    }
    | STUDY,
    "ids": {
        "summary.json": "objects, cells, the rows that the sentences tell of, what is left out, the main sentence, and "
        "`settings`",
        "spatial_ids.parquet": "a row per slot and measure of the IDs",
        "plane.parquet": "a row per slot with a plane, and cell",
        "mirror_swap.parquet": "a row per set of tokens and slot",
        "steering.parquet": "a row per arm, measure and slot",
        "left_out.parquet": "a row per slot, object or measure that can not be told",
        "agreement.png": "cosine between an object's deviations and the ID of all others, by slot",
        "r2.png": "how much of the ID column, row and their product explain, by slot",
        "plane.png": "the cells in the plane of both axes, at the slot of the best fit",
        "mirror_swap.png": "belief shift by slot, by what is as in the mirrored photo's run",
        "steering.png": "share of right answers that turn by slot, beside random directions",
        "report.html": STUDY["report.html"],
    }
    | {
        f"{part}/{name}": STUDY[name]
        for part in ("ids", "mirror-swap", "steering")
        for name in ("manifest.json", "shards/.lock", "shards/*.parquet")
    },
    "lens": {
        "summary.json": "the question, the slot of the map, and `settings`",
        "lens.parquet": "a row per slot, image token and place of its most probable words",
        "words.parquet": "a row per slot, image token and word that was named, with `--words`",
        "lens_map.png": "the most probable word of each image token over the photo, at one slot",
        "words.png": "largest probability of each named word at any image token, by slot, with `--words`",
    },
}
"""By command, what each file holds."""

_AMPLIFIED = {
    "axis": "the axis that is asked about, `all` for both",
    "measure": "`accuracy` (right in both orders), `corrected` (wrong before, right after), `broken` (right before, "
    "wrong after) or `net` (corrected - broken), as shares of all items",
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

_LENS = {
    "what": "whose word is looked for: `all objects`, an object of the sample, or a word that was named",
    "where": "at which tokens: the `object`'s, `outside` all boxes, at `other` objects, a difference, or the whole "
    "`image`; of a named word, `object` is inside any box",
    "slot": "0: what enters block 0; l: what leaves block l - 1",
}

OWN: dict[str, dict[str, str]] = {
    "left_out": {
        "axis": "the axis that is asked about",
        "source": "whose directions, or which item",
        "direction": _PATCHED["direction"],
        "what": _LENS["what"] + "; of IDs, the object or measure",
        "where": _LENS["where"],
        "cases": "how many samples, pairs or measures it is of",
        "slot": "at which slot; -1 where it is about none alone",
    },
    "answers": {"group": "the group of the sample, which intervals draw whole"},
    "statements": {
        "statement": "which one, see `probes.DualMechanisms`",
        "axis": "`all` pairs; or those on one axis, where there are pairs on both",
        "shown": "whether its interval and its test leave out that there is nothing",
        "measure": "what is measured",
        "p": "by sign flips of whole groups, corrected for all slots that the statement is about, and of one axis for "
        "both axes",
        "slot": "at which slot `value` is; -1 where it is about none",
        "slots": "at which slots it is shown, with commas between; empty where it is about none",
        "pairs": "how many pairs, or samples, it is of",
        "picked_from": "from how many slots or swaps `value` was picked; its interval is one for all of them together",
        "shared_by": "how many of these have the same largest number; 1 where it was not picked as the largest",
    },
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
    "amplify": _AMPLIFIED,
    "held_out": {"measure": _AMPLIFIED["measure"]},
    "paper": {"alpha": "the best one, or `any`"},
    "lens": {
        **_LENS,
        "measure": "`share` of tokens that say the word among their first ones, its mean `probability`, or the mean of "
        "1 over its rank (`reciprocal_rank`)",
        "token": "number of the image token",
        "row": "of the grid",
        "col": "of the grid",
        "place": "0 is the most probable word",
        "word": "text of the token of the vocabulary",
        "probability": "of the word",
    },
    "spatial_ids": {
        "slot": _LENS["slot"],
        "measure": "`r2` of the rank-3 fit to the universal ID, or `agreement`, the cosine between an object's "
        "deviations and the ID of all others",
        "null": "its mean with each object's cells shuffled",
        "null_high": "the upper end of that",
        "p": "how often it is as large with cells shuffled, of this slot alone",
        "objects": "how many objects it is of",
    },
    "plane": {
        "slot": _LENS["slot"],
        "row": "of the cell",
        "col": "of the cell",
        "across": "along the horizontal axis of the IDs",
        "down": "along what of the vertical one is at a right angle to it",
    },
    "mirror_swap": {
        "tokens": "what is as in the mirrored photo's run: all `text` behind the photo, the `image` tokens, the "
        "`words` that name objects, as many `other_words`, or the difference of the last two",
        "slot": _LENS["slot"],
        "value": "belief shift: 0 nothing, 1 all that mirroring the photo does",
    },
    "steering": {
        "arm": "`ids`, `random` directions of the same length, or the difference",
        "measure": "`flipped`, the share of right answers that turn to the opposite, or `opposite`, the mean "
        "probability of the opposite word",
        "slot": _LENS["slot"],
    },
    "words": {
        "slot": _LENS["slot"],
        "token": "number of the image token",
        "row": "of the grid",
        "col": "of the grid",
        "word": "which word",
        "probability": "of all its spellings that are one token",
        "rank": "of its most probable spelling; 1 is the first",
    },
    "samples": {
        **_LENS,
        "kind": "whether the word is that of an `object` of the sample, or a `word` that was named",
        "tokens": "how many image tokens it is of",
        "share": "of these tokens, those that say the word among their first ones",
        "probability": "of the word, mean over these tokens",
        "reciprocal_rank": "1 over the word's rank, mean over these tokens",
    },
}
"""What a column holds in one file alone, by the file's name without ending."""

FILES["ablate-swap"] = FILES["interchange"]
FILES["mechanisms"] = {
    "report.html": "all tools on one page, which begins with what is shown",
    "summary.json": "the sentences, the numbers of each tool, what is refused, and `settings`",
    "statements/*": "what is shown of encoder and language model, with intervals and tests",
    "probe-horizontal/*": "a study of `probe`, and of the other axis `probe-vertical/*`",
    "probe-vertical/*": "see `probe-horizontal/*`",
    "ablate/*": "a study of `ablate`",
    "backup/*": "a study of `ablate --swap`",
} | {f"{name}/*": f"a study of `interchange --positions {name}`" for name in ("strip", "object", "background", "last")}
