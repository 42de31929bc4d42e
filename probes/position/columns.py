"""Columns: what the files of the probes' commands hold; see `interp.commands.columns`."""

from __future__ import annotations

FILES: dict[str, dict[str, str]] = {
    "balance": {
        "summary.json": "the answer, the balance by layer, and `settings`",
        "balance.parquet": "a row per layer and head",
        "balance.png": "the balance by layer and head",
    },
    "shares": {
        "summary.json": "the answer, the shares, the mean entropy by both alignments, and `settings`",
        "shares.parquet": "a row per system prompt (kept or masked) and group",
        "entropy.parquet": "a row per generated token and alignment",
        "shares.png": "the shares, with the system prompt kept and masked",
        "entropy.png": "the entropy over the image behind each generated token",
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
    "system_prompt": "whether the system prompt is one of the groups that share (`kept`) or not (`masked`)",
    "group": "system, image or text; BOS, image markers and generated tokens are in none",
    "share": "part of what the groups get together, heads and layers averaged, mean over steps",
    "share_authors": "the same as the authors compute it: a product of means for image and text with the prompt kept",
    "alignment": "which pass a token has: the one that `produced` it, or the next, whose query it is (`consumed`)",
    "step": "which generated token, 0-based",
    "token": "the text of the generated token",
    "entropy": "of attention over the image, 0 (on one image token) to 1 (even)",
}
"""What a column holds, wherever it stands."""

OWN: dict[str, dict[str, str]] = {}
"""What a column holds in one file alone, by the file's name without ending."""
