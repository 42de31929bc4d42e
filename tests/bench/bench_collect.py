"""Collecting from 1,024 heads: 4,000 subquestions, the process killed in the middle and gone on with, heads found."""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bench_line import MIB, Line, peak_resident

from interp import HookedVLM, Sample
from interp.study.prompter import batches
from probes import collect_heads, find_heads, step_samples, synthetic_steps
from probes.heads.activations.measurement import HeadMeasurement
from probes.heads.activations.result import load_head_activations
from probes.heads.data.prompts import BARE

ITEMS, LAYERS, HEADS, WIDTH, BATCH, SIDE = 4000, 32, 32, 4, 16, 56


def collect_many(folder: Path) -> None:
    """Collect, or go on with it; what the process needs beside its model and its items is printed."""
    vlm, items = narrow_model(), many_steps()
    before = resident()
    collect_heads(vlm, items, out=folder, answers="reference", batch=BATCH, resume=True, progress=False)
    tell(peak_resident() - before)


def find_many(folder: Path) -> None:
    """Score all heads by linear probes; what that needs beside the libraries is printed."""
    heads = load_head_activations(folder)
    assert heads.shape == (ITEMS, LAYERS, HEADS, WIDTH), heads.shape
    before = resident()
    find_heads(heads, "linear_probe", progress=False)
    tell(peak_resident() - before)


def compare_many(folder: Path) -> None:
    """Measure every fortieth batch anew, and hold it against what is kept, to the bit."""
    heads, items = load_head_activations(folder), many_steps()
    work = HeadMeasurement.of(narrow_model(), items, batch=BATCH, answers="reference")
    kept = {heads.ids[place]: own for places, z in heads.chunks() for place, own in zip(places, z, strict=True)}
    for places in list(batches(items, BATCH))[::40]:
        own = [items[place] for place in places]
        for item, values in zip(own, work.measure(own)[1], strict=True):
            assert kept[item.id].tobytes() == values.tobytes(), item.id
    tell(0.0)


RUNS: dict[str, Callable[[Path], None]] = {"collect": collect_many, "find": find_many, "compare": compare_many}


def many_lines() -> dict[str, Line]:
    """Peak memory of collecting, killed once, and of finding; and the minutes of both."""
    began = time.perf_counter()
    with TemporaryDirectory() as place:
        folder = Path(place) / "z"
        kill_in_the_middle(folder)
        collected, found = (child(run, folder)["mib"] for run in ("collect", "find"))
        child("compare", folder)
    minutes = (time.perf_counter() - began) / 60
    return {
        "many_heads": Line.named("many_heads", [minutes], unit="min"),
        "many_heads_memory": Line.named("many_heads_memory", [max(collected, found)], unit="MiB"),
    }


def kill_in_the_middle(folder: Path) -> None:
    """Begin to collect, and kill the process (SIGKILL) once it has written half of its shards."""
    half = ITEMS // BATCH // 2
    process = subprocess.Popen([sys.executable, __file__, "collect", str(folder)], stdout=subprocess.DEVNULL)
    while len(list((folder / "shards").glob("z-*.safetensors"))) < half:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.2)
    process.kill()
    process.wait()


def child(run: str, folder: Path) -> dict[str, Any]:
    """Run one of `RUNS` in a process of its own."""
    told = subprocess.run([sys.executable, __file__, run, str(folder)], check=True, capture_output=True, text=True)
    return json.loads(told.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def narrow_model() -> HookedVLM:
    """A model like the embedded one, of 32 layers and 32 heads, 16 image tokens and random weights."""
    whole = HookedVLM.from_pretrained("shapes-vlm", dtype="float32", self_check=False)
    model, processor = whole.unwrap(), copy.deepcopy(whole.processor)
    config = copy.deepcopy(model.config)
    config.text_config.update(
        {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": WIDTH}
    )
    config.vision_config.update({"image_size": SIDE, "num_hidden_layers": 2})
    config.image_seq_length = (SIDE // config.vision_config.patch_size) ** 2
    processor.image_processor.size = {"shortest_edge": SIDE}
    processor.image_processor.crop_size = {"height": SIDE, "width": SIDE}
    torch.manual_seed(0)
    return HookedVLM.wrap(
        type(model)._from_config(config, attn_implementation="sdpa").eval().requires_grad_(False), processor
    )


def many_steps() -> list[Sample]:
    """4,000 subquestions of 500 main questions."""
    return step_samples(synthetic_steps(ITEMS // 8), BARE)[:ITEMS]


def tell(mib: float) -> None:
    """Say what a run needed, for the process that waits for it."""
    print(json.dumps({"mib": mib}))


def resident() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


if __name__ == "__main__":
    RUNS[sys.argv[1]](Path(sys.argv[2]))
