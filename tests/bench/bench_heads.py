"""Lines of functional heads in minutes and MiB, each run in a process of its own: `python bench_heads.py probes`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bench_line import Line, peak_resident

from interp import HookedVLM, Sample
from interp.datasets.synthetic.shapes import shapes
from probes import (
    ShaView,
    collect_heads,
    evaluate_heads,
    find_heads,
    id_scenes,
    linear_probe,
    select_heads,
    spatial_ids,
    step_samples,
    study_sha,
    synthetic_steps,
)
from probes.heads.data.prompts import BARE
from probes.heads.found.asked import BY_MODEL, BY_NUMBERS
from probes.heads.functions import FUNCTIONS


@dataclass(frozen=True)
class MadeFeatures:
    """Features of a large model's heads, drawn layer by layer when they are read."""

    shape: tuple[int, int, int, int]

    def of_layer(self, layer: int) -> np.ndarray:
        """[item head d_head], float32."""
        items, _, heads, width = self.shape
        return np.random.default_rng(layer).standard_normal((items, heads, width), dtype=np.float32)


def probes_of_many(items: int = 4000, layers: int = 32, heads: int = 32, width: int = 128) -> object:
    """A linear probe for each of 1,024 heads and eight functions, with its null."""
    labels = np.eye(len(FUNCTIONS), dtype=bool)[np.arange(items) % len(FUNCTIONS)]
    groups = np.arange(items) // len(FUNCTIONS)
    return linear_probe(MadeFeatures((items, layers, heads, width)), labels, groups, progress=False)


def whole_path(questions: int = 40, scenes: int = 48) -> object:
    """Heads of the embedded model: collected, found by every scorer, removed and strengthened, SHA."""
    vlm, quiet = HookedVLM.from_pretrained("shapes-vlm", dtype="float32"), {"progress": False}
    with TemporaryDirectory() as folder:
        steps = step_samples(synthetic_steps(questions), BARE)
        kept = collect_heads(vlm, steps, out=Path(folder) / "z", answers="reference", **quiet)
        find_heads(kept, BY_NUMBERS, options={"joint_network": {"batch": 8}}, **quiet)
        axes = spatial_ids(vlm, id_scenes(), **quiet).axes
        found = find_heads(None, tuple(BY_MODEL), vlm=vlm, items=relations(scenes, "val"), axes=axes, **quiet)
        strongest = select_heads(found.scores["ablation"], rule="top_k", k=8)
        given: dict[str, Any] = {"scores": found.scores["ablation"], "doses": (1, 2, 4, 8), **quiet}
        control = shapes(scenes, split="test", seed=1, kinds=("color",))
        for edit, factor in (("scale", 0.0), ("gain", 2.0)):
            evaluate_heads(vlm, relations(scenes, "test"), strongest, edit, factor=factor, control=control, **given)
        few = steps[: len(FUNCTIONS) * questions // 2]
        return study_sha(vlm, few, out=Path(folder) / "sha", view=ShaView("drawn"), **quiet)


def relations(scenes: int, split: str) -> list[Sample]:
    """Questions that the embedded model was trained on."""
    return shapes(scenes, split=split, kinds=("relation",))


RUNS: dict[str, Callable[[], object]] = {"probes": probes_of_many, "path": whole_path}
NAMES = {"probes": "linear_probes", "path": "heads_path"}


def head_lines() -> dict[str, Line]:
    """Minutes and peak memory of each run."""
    lines = {}
    for run, name in NAMES.items():
        told = subprocess.run([sys.executable, __file__, run], check=True, capture_output=True, text=True).stdout
        found = json.loads(told.splitlines()[-1])
        lines[name] = Line.named(name, [found["minutes"]], unit="min")
        lines[f"{name}_memory"] = Line.named(f"{name}_memory", [found["mib"]], unit="MiB")
    return lines


def main() -> None:
    """Run one of `RUNS` and print what it took."""
    began = time.perf_counter()
    RUNS[sys.argv[1]]()
    minutes = (time.perf_counter() - began) / 60
    print(json.dumps({"minutes": minutes, "mib": peak_resident()}))


if __name__ == "__main__":
    main()
