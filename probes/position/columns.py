"""Columns: what the files of the probes' commands hold; see `interp.commands.columns`."""

from __future__ import annotations

FILES: dict[str, dict[str, str]] = {
    "balance": {
        "summary.json": "the answer, the balance by layer, and `settings`",
        "balance.parquet": "a row per layer and head",
        "balance.png": "the balance by layer and head",
    },
    "rope": {
        "summary.json": "|delta g_V| and delta alpha_V over all and by layer, the largest residual, and `settings`",
        "rope.parquet": "a row per layer and head",
        "rope.png": "|delta g_V| and delta alpha_V by layer, and by layer and head",
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
    "axis": "along which axis the image keys were moved, or `all`",
    "delta": "by how many positions",
    "alpha_v": "attention of the query row on the image, among all keys that it sees",
    "alpha_product": "alpha_v (1 - alpha_v): near zero, the softmax is saturated",
    "delta_alpha_v": "change of alpha_v when the image keys are moved, with its sign",
    "delta_g_v": "mean change of the image keys' logits per position, weighted by their attention, with its sign",
    "residual": "delta_alpha_v - alpha_product * delta_g_v * delta: what first order leaves",
    "image_keys": "image keys that the query row sees; 0 behind a sliding window, where all measures are 0",
}
"""What a column holds, wherever it stands."""

OWN: dict[str, dict[str, str]] = {}
"""What a column holds in one file alone, by the file's name without ending."""
