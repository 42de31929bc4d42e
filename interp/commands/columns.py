"""Columns: what the files of the instrument's commands hold, file by file and column by column; docs/files.md shows it.

A test holds it against what the commands write: a file or column of which nothing is said here fails it, and so does
one of which something is said and that nothing writes.
"""

from __future__ import annotations

from collections.abc import Mapping

from interp.maps.trajectory import PARTS
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.nulls import NULLS

_OF = {
    "gradient": "attention times what the answer's log-probability would gain from more of it",
    "gradient-alone": "that gain by itself",
    "gradcam": "attention times one gain for each head",
    "relative": "attention over that under a neutral prompt",
    "lens": "how probable the answer's token is at each image token",
}
"""What each further map over the image tokens is."""

FILES: dict[str, dict[str, str]] = {
    "analyze": {
        "summary.json": "the answer, the main numbers, the boxes, and `settings`",
        "trajectory.parquet": "where each row looks; a row per layer, head and step",
        "overlap.parquet": "attention against the boxes; a row per normalisation, region, layer, head and step. With a "
        "detector or boxes that found something",
        "two-stage.parquet": "the rows seen through the vision tower; a row per layer, step and patch (`--also`)",
        "vision.parquet": "where the tower looks, by layer of the tower (`--also`)",
        "rollout.parquet": "which patches feed the image tokens (`--also`)",
        "overlap_two-stage.parquet": "these maps against the boxes, as `overlap.parquet`",
        "overlap_vision.parquet": "the same, by layer of the tower",
        "overlap_rollout.parquet": "the same, of the last layer that the roll-out goes through",
        **{
            f"{name}.parquet": f"{what}; a row per layer, step and image token (`--also`)" for name, what in _OF.items()
        },
        **{f"overlap_{name}.parquet": "these maps against the boxes, as `overlap.parquet`" for name in _OF},
        "overlap_by_map.parquet": "raw attention and these maps under the same measures; a row per map and layer",
        "heatmaps.png": "attention over the photo in the chosen layers",
        "share_by_layer.png": "how much attention the image gets, by layer",
        "overlap_by_layer.png": "cosine with the boxes by layer, beside even attention",
        "tokens.png": "attention by token of the answer (`--tokens all`)",
        "two-stage.png": "these maps over the photo",
        "vision.png": "these maps over the photo",
        "rollout.png": "these maps over the photo",
        **{f"{name}.png": "these maps over the photo" for name in _OF},
        "overlap_by_map.png": "which map lies on the objects, by layer: lift and AUROC beside raw attention",
        "grid.png": "which pixels each image token saw (`--show-grid`)",
        "explore.html": "a page to look through every layer and head (`--html`)",
    },
    "overlap": {
        "report.html": "what was found, in one page that needs no other file",
        "summary.json": "all numbers of the report, and `settings`",
        "manifest.json": "what the study was begun with; a resumed run must agree with it",
        "shards/.lock": "empty; whoever writes to the study holds it",
        "shards/*.parquet": "what was measured, as it was measured; read it with `read_overlap_study`",
        "boxes/*.json": "what the detector found in each photo, so that it need not look twice",
        "overlap.parquet": "all measures of the head mean; a row per sample, layer, region and normalisation",
        "overlap_two-stage.parquet": "the same of the rows seen through the vision tower (`--also`)",
        "overlap_vision.parquet": "the same of the tower's own attention (`--also`)",
        **{f"overlap_{name}.parquet": f"the same of {_OF[name]} (`--also`)" for name in _OF if name != "relative"},
        "samples.parquet": "what was asked and answered, and what was found; a row per sample. Also as CSV",
        "coverage.parquet": "in how many samples the objects were found; a row per relation, `all` first. Also as CSV",
        "agreement.parquet": "the detector against the data set's own boxes; a row per label, all together first. Also "
        "as CSV",
        "means.parquet": "each measure by layer, for right and wrong answers apart. Also as CSV",
        "above_nulls.parquet": "how far the measure lies above each null, by layer. Also as CSV",
        "association.parquet": "does the measure tell right from wrong answers; a row per layer and head. Also as CSV",
        "layer_choice.parquet": "each layer alone, and how often it was chosen as the best. Also as CSV",
        "partial_effect.parquet": "the measure beside the logit of confidence, the log of the boxes' area and the "
        "relation in a regression, by layer. Also as CSV",
        "coverage.png": "objects found, by relation",
        "overlap_by_answer.png": "the measure for right and wrong answers, by layer",
        "overlap_by_head.png": "the measure by layer and head",
        "lift.png": "how many times more than each null, by layer",
        "auroc.png": "how well the measure tells right from wrong, over all pairs and inside relations",
        "auroc_by_head.png": "the same by head, over all pairs",
        "auroc_by_head_within.png": "the same by head, inside relations",
        "partial_effect.png": "the slope beside the logit of confidence, the log of the boxes' area and the "
        "relation, by layer",
        "gallery.png": "some samples, chosen by rule",
        "path.png": "where attention goes in one photo, layer by layer",
        "path.gif": "the same as a film",
    },
}
"""By command, what each file holds; `*` stands for a name that the run makes."""

NAMES: dict[str, str] = {
    "sample": "which sample: the name of the photo's file, or the id",
    "id": "which sample",
    "layer": "0-based; of the vision tower where `maps` says `vision` or `rollout`",
    "head": "0-based; -1 is the head mean: attention averaged over heads, then measured",
    "step": "0 is the last prompt row, whose output is the first answer token; then one for each further token",
    "token": "the text of the token that the step gave",
    "region": "of which boxes: each label, or `first` and `second` object, `union` of all, `first minus second`",
    "normalisation": "what attention was divided by: `image`, `keys`, `no-sinks` or `relative`",
    "maps": "which maps: `rows` of the language model, `two-stage`, `vision`, `rollout`, or one of `gradient`, "
    "`gradient-alone`, `gradcam`, `relative` and `lens`",
    "entropy": "of the row over all keys, nats",
    "image_entropy": "of the row inside the image, nats; NaN without weight there",
    "image_entropy_normalised": "the same over that of even attention, 0 to 1",
    "area_share": "share of the seen photo that the region covers",
    "coverage": "share of the boxes' own area that the model saw",
    "objects": "how many boxes the region has",
    "objects_seen": "how many of them the model saw any part of",
    "patch": "number of the patch, view after view, row after row",
    "image_token": "number of the image token, in the order of its grid",
    "view": "of the patch or image token: 0 is the whole photo, tiles count from 1",
    "row": "of the patch or image token in its view",
    "col": "column of the patch or image token in its view",
    "weight": "of the patch or image token, head mean; sums to one over them, and is NaN where nothing is",
    "dataset": "which data set",
    "photo": "path of the photo; empty where it was drawn",
    "question": "as asked, with its options",
    "relation": "the group that tables go by, often the right answer",
    "group": "what belongs together, such as questions about one photo: bootstraps draw whole groups",
    "gold": "the right answer",
    "options": "what to choose from, `|` between",
    "text": "the answer as generated",
    "predicted": "the option that the answer names; missing where it names none",
    "right": "whether it is right, by the strict rule",
    "confidence": "probability of the untouched first token, over the whole vocabulary",
    "no_class": "those of the objects that the detector has no class for, `|` between",
    "found": "of how many objects there are boxes: `all`, `some` or `none`; `absent` where the question rightly says "
    "that something is not there, `unread` where no object could be read off it",
    "complete": "whether it is `all`",
    "visible": "whether the model saw something of each object that has boxes",
    "shared": "whether both objects have the very same boxes",
    "n_first": "boxes of the first object",
    "n_second": "boxes of the second object",
    "area_first": "share of the seen photo that the first object's boxes cover",
    "area_second": "the same of the second",
    "area_union": "the same of all",
    "seen_union": "share of the boxes' own area that the model saw",
    "boxes": "label, corners in pixels and confidence of each box, as JSON by role",
    "true_boxes": "the same of the data set's own boxes, where a detector looked and the data set has some",
    "width": "of the photo, pixels",
    "height": "of the photo, pixels",
    "unseen_share": "share of the photo that the model never saw",
    "n": "how many samples",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "absent": "samples whose question rightly says that something is not there",
    "absent_with_box": "those of `absent` for which a box was found nevertheless; it does not count",
    "unread": "samples whose question no object could be read off",
    "looked_for": "the other samples",
    "all": "samples with boxes of all objects, of `looked_for`",
    "some": "samples with boxes of some objects, of `looked_for`",
    "none": "samples without a box, of `looked_for`",
    "share": "`all` of `looked_for`",
    "label": "the label; `all` for all together",
    "n_truth": "boxes of the data set",
    "n_found": "boxes of the detector",
    "n_matched": "pairs of the two that overlap by half or more",
    "recall": "matched over those of the data set",
    "recall_low": "lower end of its 95 % interval",
    "recall_high": "upper end",
    "precision_low": "lower end of the 95 % interval of `precision`",
    "precision_high": "upper end",
    "mean_iou": "mean intersection over union of matched pairs",
    "measure": "which measure",
    "answers": "`right` or `wrong`: whose mean it is",
    "mean": "mean over samples, groups drawn whole",
    "null": "which null",
    "estimate": "mean over samples of the measure less the null's",
    "null_mean": "mean AUROC over every way to shuffle the labels",
    "null_low": "lower end of the central 95 % of the shuffles",
    "null_high": "upper end",
    "p": "two-sided, of this row alone",
    "low_all": "lower end of the interval that holds for all layers and heads together: for rows that are picked",
    "high_all": "upper end",
    "p_max": "corrected for all layers and heads, family-wise",
    "p_bh": "corrected for all layers and heads, false discovery rate",
    "pairs": "pairs of a right and a wrong answer that were compared",
    "undefined": "samples left out, as they have no score here",
    "compared": "`all pairs`, or `inside relations`",
    "times_chosen": "share of choices, on other samples, that took this layer as the best",
    "chosen": "whether it is one of the layers that are held against the best: the paper's",
    "left_out": "samples without a score; in `partial_effect` also those without a covariate, or of a relation whose "
    "answers are all right or all wrong",
    "explained": "share of the score's variance that the covariates explain",
    "adjusted_*": "beside the logit of confidence, the log of the boxes' area and the relation: log odds per standard "
    "deviation of the score, its interval, p, p corrected over layers, and whether the penalty alone holds it "
    "(`separated`)",
    "unadjusted_*": "the same of the score alone, on the same samples",
}
"""What a column holds, wherever it stands; `*` stands for one of several endings."""

OWN: dict[str, dict[str, str]] = {
    "means": {"n": "samples with these answers that have a value in this layer"},
    "above_nulls": {"n": "samples that have a value and a null's in this layer"},
    "samples": {"objects": "what the question asks about, `|` between"},
    "coverage": {
        "objects": "questions about how many objects: `one`, `two`, or `any`",
        "no_class": "samples of `looked_for` with an object that the detector has no class for",
    },
    "agreement": {"precision": "matched over those of the detector"},
    "association": {
        "auroc": "how well the measure ranks right answers over wrong ones; 0.5 says nothing",
        "n": "samples that enter such a pair",
    },
    "layer_choice": {"auroc": "how well the measure of this layer alone ranks right answers over wrong ones"},
}
"""What a column holds in one file alone, by the file's name without ending."""

MEASURED: dict[str, str] = {
    "cosine": "of attention and the boxes' shares of the tokens",
    "mass": "attention inside the boxes",
    "lift": "mass over that of even attention",
    "hit": "pointing game: whether the token with most attention is in the boxes",
    "hit_near": "the same, or a neighbour of it is",
    "auroc": "how well attention ranks the photo's area, inside the boxes over outside",
    "precision": "average precision of the same ranking",
    "nss": "attention, standardised, in the boxes",
    "distance": "from the centroid of attention to the middle of the boxes; less is better",
    "spatial_entropy": "how scattered the map is, whatever the boxes",
    "peaks": "how many separate peaks the map has",
}
"""What each measure of a map is; see docs/overlap.md for the formulas."""

UNDER: dict[str, str] = {
    "even": "attention spread evenly",
    "shuffled": "boxes of other photos, mean over draws",
    "moved": "the same boxes at other places, mean over draws",
    "centre": "a map centred on the photo",
    "heads": "other heads of the layer, mean over draws",
}
"""What each null puts in the place of the attention or of the boxes."""

SETTINGS: dict[str, str] = {
    "begun": "when the run was begun, ISO 8601 with the time zone",
    "command": "the command as it was typed, or `from Python`",
    "resumed": "when, and by which command, it was gone on with; where it was",
    "model": "its name, as it was loaded",
    "revision": "on the hub, as asked",
    "processor": "settings of the processor that were given; where there were some",
    "image_backend": "what resized the photos, `pil` or `torchvision`",
    "adapters": "adapters of peft that were on, each with the scales that its layers gave it; where there were some",
    "weights": "`sha256`, of what it was taken (`hashed`), and the `commit` on the hub where there is one",
    "family": "of the model, see docs/families.md",
    "n_layers": "of the language model",
    "n_heads": "of the language model",
    "dtype": "type of the numbers that it ran in",
    "device": "where it ran",
    "attention": "the attention implementations under the hooks",
    "self_check": "whether the check on load was made; false after `self_check=False`",
    "decoding": "how answers were decoded",
    "versions": "of this package and of the libraries that make the numbers",
}
"""What `settings` hold in every summary, manifest and report, beside the options of the command."""

Told = tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]


def meaning_of(column: str, table: str = "", told: Told = (NAMES, OWN)) -> tuple[str, str] | None:
    """What a column of a table holds, behind the entry that says so; None where nothing does.

    Args:
        column: its name.
        table: the file's name without ending, as some names mean something else in one file.
        told: what is known by name, and by table and name.

    Example:
        >>> meaning_of("auroc", "association")
        ('association.auroc', 'how well the measure ranks right answers over wrong ones; 0.5 says nothing')
    """
    names, own = told
    if column in own.get(table, {}):
        return f"{table}.{column}", own[table][column]
    if column in names:
        return column, names[column]
    if column in MEASURED:
        return column, MEASURED[column]
    for front, what in (("token_share_", "share of the visible positions in"), ("share_", "share of attention on")):
        if column in [f"{front}{part}" for part in PARTS]:
            return f"{front}*", f"{what} this part of the prompt"
    for null in ("even", *NULLS):
        for measure in (*MEASURES, *MAP_MEASURES):
            if column in (f"{null}_{measure}", f"{measure}_{null}"):
                return f"<{null}>", f"what the measure is under the null `{null}`: {UNDER[null]}"
    first = next((name for name in names if name.endswith("*") and column.startswith(name[:-1])), None)
    return None if first is None else (first, names[first])
