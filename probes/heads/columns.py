"""Columns: what the files of the commands about heads hold; see `interp.commands.columns`."""

from __future__ import annotations

from probes.study.columns import NAMES as NAMES
from probes.study.columns import STUDY

_ARMS = ("original", "bbox", "mask", "bbox_mask", "elsewhere")

_EDITED = {
    "summary.json": "the sets, each arm, what is left out, the main sentence, and `settings`",
    "arms.parquet": "a row per arm: untouched, each tested set with its verdict, and each of its controls",
    "measures.parquet": "a row per task, arm and measure",
    "answers.parquet": "a row per task, arm and answer: how often it is right and is said",
    "doses.parquet": "a row per point of the dose curves",
    "samples.parquet": "a row per question and arm",
    "left_out.parquet": "a row per arm and measure that can not be told",
    "sets.png": "accuracy with each set edited, beside untouched and random sets",
    "dose_count.png": "accuracy by the number of heads, with `--doses`",
    "dose_factor.png": "accuracy by how strongly heads are edited, with `--factors`",
}

FILES: dict[str, dict[str, str]] = {
    "heads-collect": {
        "summary.json": "how many items, the axes, each function, the main sentence, and `settings`",
        "items.parquet": "a row per item: what was asked and answered, and which tokens were read",
        "functions.parquet": "a row per function: its items and how many are answered rightly",
        "left_out.parquet": "a row per item without activations, and per function that can not be scored",
        "shards/z-*.safetensors": "what every head puts out; `probes.load_head_activations` reads it",
    }
    | STUDY,
    "heads-find": {
        "summary.json": "the selected heads, sparsity and layers, what is left out, the main sentence, and `settings`",
        "manifest.json": "that the folder holds found heads",
        ".lock": STUDY["shards/.lock"],
        "scores.parquet": "a row per scorer, function and head",
        "selected.parquet": "a row per head that is selected, the strongest of each set first",
        "layout.parquet": "a row per scorer, function and measure of sparsity or layers",
        "profile.parquet": "a row per scorer, function and layer",
        "in_common.parquet": "a row per scorer, pair of functions and measure",
        "agreement.parquet": "a row per function, pair of scorers and measure; of two scorers or more",
        "left_out.parquet": "a row per function that is not scored, and per selection without a head",
        "functions_*.png": "all functions by layer, heads as cells, by one scorer",
        "scores/*.npz": "the scores of one scorer with their draws; `heads compare` and `heads mask` read them",
        "measured/*/manifest.json": "how the model was asked: `looks-...`, `gradient` and so on, and `axes`",
        "measured/*/shards/*.parquet": "what was measured of every head in every question",
        "measured/*/shards/.lock": STUDY["shards/.lock"],
        "report.html": STUDY["report.html"],
    },
    "heads-compare": {
        "summary.json": "what was compared, the rows of both tables, what is left out, the main sentence, `settings`",
        "manifest.json": "that the folder holds compared heads, and what of",
        ".lock": STUDY["shards/.lock"],
        "agreement.parquet": "a row per function, pair of scores of one model, and measure",
        "models.parquet": "a row per function and pair of models, by one scorer",
        "left_out.parquet": "a row per pair that can not be compared",
        "report.html": STUDY["report.html"],
    },
    "heads-mask": _EDITED | STUDY,
    "heads-steer": _EDITED | STUDY,
    "heads-sha": {
        "summary.json": "the arms, the rows of all tables, what is left out, the main sentence, and `settings`",
        "accuracy.parquet": "a row per arm, function and measure",
        "against_original.parquet": "a row per arm, baseline, function and measure: paired differences",
        "heads.parquet": "a row per arm and function: how many heads are selected",
        "heads_against_original.parquet": "a row per arm, baseline and function: how many more heads",
        "sha_answers.parquet": "a row per question and arm",
        "left_out.parquet": "a row per table, arm and function that can not be told",
        "accuracy.png": "accuracy by function and arm",
        "heads.png": "how many heads are selected, by function and arm",
        "cells.png": "the heads of a spatial function in each arm, as cells",
        "photos/*.png": "photos as the arms show them",
        "report.html": STUDY["report.html"],
    }
    | {
        f"{arm}/{name}": what
        for arm in _ARMS
        for name, what in {
            "manifest.json": STUDY["manifest.json"],
            "shards/.lock": STUDY["shards/.lock"],
            "shards/*.parquet": STUDY["shards/*.parquet"],
            "shards/z-*.safetensors": "what every head puts out in this arm",
        }.items()
    },
}
"""By command, what each file holds."""

_FUNCTION = {"function": "which of the eight functions, or `all` items; `any` of layouts is all functions together"}
_SCORED = _FUNCTION | {"scorer": "what heads were scored by"}

_GROUP = {"group": "what belongs together, such as a main question; intervals draw it whole"}

_ANSWERED = _GROUP | {
    "functions": "what it takes to answer, the primary function first",
    "answer": "the part of what was said that is the answer",
}

_DEALT = {
    "random": "the mean of it over random heads: sizes of noise for sparsity, heads dealt anew for all else",
    "random_low": "the lower end of that",
    "random_high": "the upper end of that",
}

_PAIR = _DEALT | {
    "first": "one of the pair",
    "second": "the other",
    "measure": "`spearman` or `pearson` over heads; of selected heads `jaccard`, or `shared`, the part of the smaller "
    "set; `several`, of the heads for any function, those for two or more",
    "interval": "what intervals draw: `groups` of items, or `layers` where a scorer keeps no draws",
    "heads": "how many heads both know",
    "p_random": "how often heads dealt anew are as alike, one-sided",
    "within": "the mean of it with heads dealt anew inside layers",
    "within_low": "the lower end of that",
    "within_high": "the upper end of that",
    "p_within": "how often these are as alike, one-sided",
    "p_random_holm": "`p_random` by Holm, for the functions of a pair of scorers, or for all pairs of functions",
    "p_within_holm": "`p_within` likewise",
}

_COUNTED = _FUNCTION | {
    "arm": "`original`; `bbox`, boxes; `mask`, objects hidden; `bbox_mask`, both; `elsewhere`, both where no object is",
    "of": "of how many heads",
    "null": "the mean number with the labels of main questions dealt anew",
    "null_high": "the upper end of that",
    "p": "how often dealt labels give as many, one-sided",
    "deals": "how many deals of labels could be scored",
}

_SHA = {name: _COUNTED[name] for name in ("arm", "function")} | {
    "measure": "`accuracy`, or `parse_failures`, answers that name no option",
}

_SET = {
    "arm": "which set of heads: `untouched`, a tested set by name, or a control of it",
    "task": "`main`, what the heads should serve; `control`, what they should not; `texts`, which are only read",
}

OWN: dict[str, dict[str, str]] = {
    "items": _ANSWERED
    | {
        "finished": "whether the answer came to its end within the allowed tokens",
        "tokens": "the tokens of all that was said, as a JSON list",
        "log_probs": "their log-probabilities, as a JSON list",
        "chosen": "which of them the activations are the mean of, as a JSON list of places",
        "rule": "the rule that chose them",
        "log_prob": "of all that was said",
        "perplexity": "e to the mean negative log-probability of a token",
    },
    "functions": _FUNCTION
    | {
        "items": "how many there are",
        "parse_failures": "share of answers that name no option",
        "parse_failures_low": "lower end of its interval",
        "parse_failures_high": "upper end of its interval",
    },
    "left_out": _SCORED
    | {
        "first": "one of the pair",
        "second": "the other",
        "id": "which item; empty where it is about a function",
        "arm": "which arm or set of heads, or `all`",
    },
    "scores": _SCORED
    | {
        "value": "the score",
        "null": "what it would be by chance, by the scorer's own null",
        "p": "one-sided, against that null, uncorrected",
        "p_any": "the same corrected for all heads of the function",
        "selected": "whether the rule selects the head",
    },
    "selected": _SCORED | {"rule": "what selected it", "rank": "from 0, the strongest", "value": "its score"},
    "layout": _SCORED
    | _DEALT
    | {
        "measure": "of sparsity (`share_above`, `gini`, `hoyer`, `effective_heads`, `participation_ratio`, `top_mass`, "
        "`elbow_count`) or layers (`layer_centre`), see `probes.head_layout`",
        "even": "what it is where all heads have the same size",
    },
    "profile": _SCORED
    | _DEALT
    | {
        "value": "share of all size that lies in the layer",
        "even": "what it is where all layers have the same",
    },
    "in_common": _PAIR | {"scorer": _SCORED["scorer"]},
    "agreement": _PAIR | _FUNCTION,
    "models": _SCORED
    | _DEALT
    | {
        "first": "one model, by folder and scorer",
        "second": "the other",
        "value": "correlation of the shares of layers at relative depth",
        "p": "how often heads dealt anew correlate as much, one-sided",
        "p_holm": "the same by Holm over the functions of a pair of models",
    },
    "accuracy": _SHA,
    "against_original": _SHA
    | {
        "baseline": "what it is held against: `original`, or `elsewhere`",
        "value": "the difference, the same questions in both",
        "p": "two-sided, by sign flips of whole groups",
        "p_any": "the same corrected for the arms that are held against the original",
    },
    "heads": _COUNTED | {"value": "how many heads are selected"},
    "heads_against_original": {name: what for name, what in _COUNTED.items() if name != "of"}
    | {
        "baseline": "what it is held against: `original`, or `elsewhere`",
        "value": "how many more than in the baseline",
        "null": "the mean difference with labels dealt anew, the same deals in both",
        "p": "how often dealt labels differ as much, one-sided",
    },
    "sha_answers": _ANSWERED | {"arm": _COUNTED["arm"]},
    "arms": {
        "arm": _SET["arm"],
        "role": "`untouched`, `tested`, or which control it is",
        "of": "the tested set that it belongs to",
        "dose": "`count` or `factor` where it is a point of a dose curve",
        "factor": "how strongly heads are edited",
        "heads": "how many heads the set has",
        "edited": "of how many of these something is edited",
        "edits": "whether it edits anything in any question",
        "corrected": "wrong untouched and right so",
        "broken": "right untouched and wrong so",
        "net": "how many more are right",
        "chance": "a blind choice among the options",
        "below_chance": "whether accuracy lies below chance by its interval: that means broken, not causal",
        "leans_to": "the answer that is said too often by most",
        "lean": "by how much of all answers",
        "perplexity_ratio": "of what control task and texts expect, over untouched; the larger of both",
        "p": "two-sided against untouched, by sign flips of whole groups",
        "p_holm": "the same by Holm over the tested sets",
        "p_random_holm": "the larger of that and those against the mean of each random control, by Holm",
        "verdict": "what may be claimed of a tested set, see `probes.heads.evaluation.verdicts`",
        "why": "why",
    }
    | {
        f"{front}{name}{end}": f"{what}{ends}"
        for front, told in (
            ("", ("accuracy", "accuracy_change", "parse_failures", "parse_failures_change", "confidence")),
            ("control_", ("accuracy_change",)),
        )
        for name in told
        for what in [
            {
                "accuracy": "share of right answers",
                "accuracy_change": "that less the share untouched" + (", of the control task" if front else ""),
                "parse_failures": "share of answers that name no option",
                "parse_failures_change": "that less the share untouched",
                "confidence": "largest probability of the first token, mean over questions",
            }[name]
        ]
        for end, ends in (("", ""), ("_low", "; lower end"), ("_high", "; upper end"))
    },
    "measures": _SET | {"measure": "see `probes.heads.evaluation.measures.TELLS`; `beyond_*`, less its controls' mean"},
    "answers": _SET
    | {
        "answer": "which one; `none` names no option",
        "gold": "how often it is right",
        "gold_share": "that as a share",
        "predicted": "how often it is said",
        "predicted_share": "that as a share",
    },
    "doses": {
        "of": "the tested set",
        "dose": "what it is a dose of: the number of heads (`count`), or how strongly they are edited (`factor`)",
        "at": "how many, or how strongly",
        "arm": _SET["arm"],
        "accuracy_low": "the lower end of accuracy",
        "accuracy_high": "the upper end of accuracy",
        "sets": "how many random sets there are at the same dose",
        "random": "their mean accuracy",
        "random_least": "the least of them",
        "random_most": "the most of them",
    },
    "samples": _SET
    | _GROUP
    | {
        "edits": "whether the arm edits anything in this question's batch",
        "log_prob": "of the right answer, forced",
        "tokens": "how many tokens that has",
        "key": "the sample's content key",
    },
}
"""What a column holds in one file alone, by the file's name without ending."""
