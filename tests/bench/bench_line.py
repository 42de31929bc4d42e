"""A line of the benchmarks: what is compared, its bar, its interval, and how pairs of runs and peaks are measured."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from interp import HookedVLM

os.environ["KINETO_LOG_LEVEL"] = "6"  # above all that torch's profiler would say of itself on stderr

BARS = {
    "idle_hooks": 1.02,
    "last_row_capture": 1.03,
    "capture_memory": 2.0,
    "capture_memory_anyres": 0.02,
    "one_more_alpha": 0.01,
    "one_more_alpha_gpu_7b": 0.02,
    "adaptvis_first_token": 1.10,
    "adaptvis_first_token_gpu_7b": None,
    "adaptvis_first_token_batch_16": 1.3,
    "adaptvis_answer": 0.50,
    "grid_answers": 0.035,
    "grid_first_tokens": 1 / 30,
    "study_row": 1.10,
    "batch_of_8_capture": None,
    "rope_probe": 1.15,
    "one_permutation": 1.02,
    "last_slot": 0.02,
    "head_masks": 0.01,
    "image_sweep": 0.6,
    "amplification": 1.02,
    "gradient_map": 3.2,
    "gradient_memory": 10.0,
    "collect_z": 1.10,
    "rope_memory": 5.0,
    "norms_memory": 5.0,
    "balance_memory": 5.0,
    "shares_memory": 5.0,
    "order_memory": 5.0,
    "collect_memory": 5.0,
    "probes_growth": 0.5,
    "linear_probes": 10.0,
    "linear_probes_memory": 2048.0,
    "many_heads": None,
    "many_heads_memory": 2048.0,
    "heads_path": 20.0,
    "heads_path_memory": None,
}
"""What each line must hold, of whatever shape unless one is named; None is measured and has no bar."""

WIDEST = 0.04  # a wider interval of a ratio says that the machine was too noisy
MIB = 2**20


SMALL = "16 layers x 16 heads x 1,100 tokens, 512 wide, fp32"

SHAPES = {
    "": "",
    "_qwen": " (Qwen2.5-VL shape, 576 image tokens)",
    "_gpu_7b": " (GPU, LLaVA-1.5-7B shape, bf16)",
}
"""What the end of a line's name says of its shape."""

WHAT = {
    "idle_hooks": "idle hooks / plain SDPA forward",
    "last_row_capture": "last-row capture, all layers and heads / plain forward",
    "capture_memory": f"extra peak memory of that capture, {SMALL}",
    "capture_memory_anyres": "extra peak memory of that capture / of eager `output_attentions`, LLaVA-NeXT shape, "
    "16 layers x 8 heads x 3,000 tokens, fp32",
    "one_more_alpha": "one more alpha, marginal, in a batch of 16 on one prefix / forward",
    "adaptvis_first_token": "AdaptVis first-token answer / plain first-token answer",
    "adaptvis_answer": "AdaptVis, 10 tokens / reference scheme: 2 eager generations",
    "grid_answers": "10 alphas in 8 windows of layers, 10 tokens each / reference scheme: 81 eager generations",
    "grid_first_tokens": "10 alphas in 8 windows of layers, first tokens / reference scheme: 81 eager prefills",
    "study_row": "a row of an overlap study: last-row capture, trajectory, every measure in four normalisations (nulls "
    "and the neutral prompt's pass apart) / plain forward",
    "batch_of_8_capture": "batch of 8 with capture / 8 single runs with capture",
    "adaptvis_first_token_batch_16": "AdaptVis first-token answers / plain first-token answers, 16 prompts at once",
    "rope_probe": "RoPE probe, one delta, all layers and heads / plain forward",
    "one_permutation": "one permutation of image tokens / the language model's own forward, the tower run once before",
    "last_slot": "interchange at the last position, one slot of a sweep over all, on one prefix / forward",
    "head_masks": "one head masked at the last position, of all L x H alone, on one prefix / forward",
    "image_sweep": "interchange of a strip of image tokens over L slots, both untouched runs counted / L forwards; "
    "32 layers x 8 heads x 512 wide",
    "amplification": "amplification at one alpha, probe and one random seed, two orders, scored / as many of the "
    "language model's own forwards, the tower run once before",
    "gradient_map": "gradient maps, all layers and heads, one answer token / plain forward; with backward it is three",
    "gradient_memory": f"extra peak memory of these over a plain forward and backward, {SMALL}",
    "collect_z": "z of all layers and heads at 10 answer tokens, kept while they are said / plain `generate` of them",
    "rope_memory": f"extra peak memory of RoPE sensitivity over a plain forward, {SMALL}",
    "norms_memory": f"the same of residual norms, {SMALL}",
    "balance_memory": f"the same of cross-modality balance, {SMALL}",
    "shares_memory": f"the same of attention shares and entropy over plain `generate`, 10 tokens, {SMALL}",
    "order_memory": f"the same of the photo's features kept and one permutation, {SMALL}",
    "collect_memory": f"the same of z at 10 answer tokens over plain `generate`, {SMALL}",
    "probes_growth": "memory of 8 samples asked one after the other, results kept, over that of 2: the worst of these "
    "six, 2 layers x 16 heads x 1,100 tokens, fp32",
    "linear_probes": "linear probes of 1,024 heads of 128 numbers, 8 functions, 4,000 made-up items, with their null",
    "linear_probes_memory": "peak memory of that whole process",
    "many_heads": "4,000 subquestions collected from 1,024 heads of 4 numbers, killed in the middle and gone on with "
    "to the bit, and linear probes of all",
    "many_heads_memory": "peak memory of collecting or of the probes, beside that of model, questions and libraries",
    "heads_path": "functional heads on the embedded model: 40 main questions of 8 steps collected, heads found by "
    "every scorer, removed and strengthened beside all controls, SHA in five arms",
    "heads_path_memory": "peak memory of that whole process, libraries and model counted",
}


@dataclass(frozen=True)
class Line:
    """One line of the table: a ratio (or MiB) with its 95 % interval, how often it was measured, and its bar."""

    ratio: float
    low: float
    high: float
    pairs: int
    bar: float | None
    ok: bool | None
    unit: str = "ratio"

    @classmethod
    def named(cls, name: str, values: list[float], *, suffix: str = "", unit: str = "ratio") -> Line:
        """A line with the bar that is set for its name."""
        return cls.of(values, BARS.get(name + suffix, BARS[name]), unit=unit)

    @classmethod
    def of(cls, values: list[float], bar: float | None, *, widest: float = WIDEST, unit: str = "ratio") -> Line:
        """The median of pairwise values and its bootstrap interval.

        `ok` is True where the whole interval is within the bar, else None where it is too wide to say.
        """
        rng = np.random.default_rng(0)
        draws = np.median(rng.choice(values, size=(4000, len(values))), axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        middle = statistics.median(values)
        ok = None
        if bar is not None and high <= bar:
            ok = True
        elif bar is not None and high - low <= widest:
            ok = middle <= bar
        return cls(middle, float(low), float(high), len(values), bar, ok, unit)


def said(lines: dict[str, Line]) -> dict[str, Line]:
    """The lines, each told on standard error as it was measured, since all of them take the better part of an hour."""
    for name, line in lines.items():
        print(f"{name}: {line.ratio:.5g} [{line.low:.5g}, {line.high:.5g}] {line.unit}", file=sys.stderr, flush=True)
    return lines


def peak_resident() -> float:
    """MiB of memory that this process held at most; what `getrusage` tells begins with what its parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MIB


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def pairwise(
    ours: Callable[[], object], plain: Callable[[], object], *, vlm: HookedVLM, pairs: int, pause: bool = True
) -> list[float]:
    """Ratios ours / plain of interleaved runs, the order changing from pair to pair; one uncounted pair first.

    `plain` runs on the model as transformers made it, the wiring off meanwhile, unless `pause` is False.
    """
    ratios, device = [], vlm.device.type
    for pair in range(pairs + 1):
        seconds = {}
        for name in ("ours", "plain") if pair % 2 else ("plain", "ours"):
            if name == "ours":
                seconds[name] = timed(ours, device)
            else:
                with vlm.paused() if pause else nullcontext():
                    seconds[name] = timed(plain, device)
        ratios.append(seconds["ours"] / seconds["plain"])
    return ratios[1:]


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """Peak of live tensor bytes above what is live before the call."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Profiler clears events", category=UserWarning)  # of earlier torch
        with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            kept = run()
    del kept
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return int(live.max())
