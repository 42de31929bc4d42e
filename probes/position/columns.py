"""Columns: what the files of the probes' commands hold; see `interp.commands.columns`."""

from __future__ import annotations

FILES: dict[str, dict[str, str]] = {
    "balance": {
        "summary.json": "the answer, the balance by layer, and `settings`",
        "balance.parquet": "a row per layer and head",
        "balance.png": "the balance by layer and head",
    },
    "order": {
        "summary.json": "the answer, the share of permutations that it is the same under, and `settings`",
        "order.parquet": "a row per order of the image tokens",
        "order.png": "the confidence in each order, with the answers",
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
    "order": "`original`; `seed 0` and up: image tokens permuted; `side 4`: pooled to so many rows and columns",
    "image_tokens": "how many image tokens the prompt has",
    "text": "the answer",
    "confidence": "the largest probability of the answer's first token",
}
"""What a column holds, wherever it stands."""

OWN: dict[str, dict[str, str]] = {}
"""What a column holds in one file alone, by the file's name without ending."""
