"""Benchmarks: our cost as a ratio to the plain model, measured pair by pair inside one process.

Run by `make bench`. Writes `out/bench.json`, prints the table, and rewrites `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "helpers"), str(ROOT)]

from bench_collect import many_lines  # noqa: E402
from bench_heads import head_lines  # noqa: E402
from bench_line import BARS as BARS  # noqa: E402
from bench_line import MIB, SHAPES, WHAT, Line, pairwise, peak_bytes, said, timed  # noqa: E402
from bench_models import (  # noqa: E402
    PATTERNS,
    prepared,
    random_llava,
    random_llava_next,
    random_qwen,
    with_1100_tokens,
)
from bench_probes import probe_memory, probe_times, sweep_times  # noqa: E402

from adaptvis import AdaptVis  # noqa: E402
from adaptvis.policy.answering import answer_batch  # noqa: E402
from interp import HookedVLM, Prefix, ScaleImageLogits, Untouched, VLMInputs  # noqa: E402
from interp.image.boxes import Box  # noqa: E402
from interp.intervene.base import Intervention, PerSample  # noqa: E402
from interp.maps.trajectory import NORMALISATIONS, Trajectory, trajectory  # noqa: E402
from interp.objects.sample import ROLES  # noqa: E402
from interp.overlap.overlap import overlap  # noqa: E402
from interp.overlap.study.request import NEUTRAL_PROMPT  # noqa: E402


def measure(model: Any, processor: Any, *, pairs: int, side: int = 336, suffix: str = "") -> dict[str, Line]:
    """The lines of the design's table for one model and a photo of `side` pixels."""
    vlm = HookedVLM.wrap(model, processor)
    inputs, device = prepared(vlm, side=side), model.device.type
    prefix = Prefix(vlm, inputs)
    sixteen = [ScaleImageLogits(0.5 + place / 10) for place in range(16)]
    gpu = device == "cuda"

    def plain() -> object:
        return model(**inputs.tensors, use_cache=False)

    def idle() -> object:
        return vlm(inputs)

    def capture() -> object:
        return vlm.run_with_cache(inputs, names_filter=PATTERNS)

    def marginal() -> list[float]:
        values = []
        for _ in range(pairs + 1):
            many = timed(lambda: prefix.step(sixteen), device)
            one = timed(lambda: prefix.step(sixteen[:1]), device)
            with vlm.paused():
                forward = timed(plain, device)
            values.append((many - one) / 15 / forward)
        return values[1:]

    def first_token() -> object:
        return model(**inputs.tensors, use_cache=True, logits_to_keep=1).logits.argmax(-1)

    lines: dict[str, Line] = {}

    def keep(name: str, values: list[float]) -> None:
        lines.update(said({name + suffix: Line.named(name, values, suffix=suffix)}))

    print(f"{device}: {pairs} pairs a line, some minutes; leave the machine alone", file=sys.stderr)
    with torch.no_grad():
        keep("idle_hooks", pairwise(idle, plain, vlm=vlm, pairs=pairs))
        keep("last_row_capture", pairwise(capture, plain, vlm=vlm, pairs=pairs))
        keep("one_more_alpha", marginal())
        policy = AdaptVis(0.5, 1.5, 0.4)
        adaptive = pairwise(lambda: first_tokens(vlm, inputs, policy), first_token, vlm=vlm, pairs=pairs)
        keep("adaptvis_first_token", adaptive)
        further = gpu_lines(vlm, pairs=pairs, policy=policy) if gpu else {}
        if not suffix or gpu:
            further |= scheme_lines(vlm, inputs, pairs=pairs)
        for name, values in further.items():
            keep(name, values)
        if not suffix:
            keep("study_row", pairwise(study_row(vlm, inputs), plain, vlm=vlm, pairs=pairs))
    return lines


def first_tokens(vlm: HookedVLM, inputs: VLMInputs, policy: AdaptVis) -> torch.Tensor:
    """The first answer token of each sample under a policy [batch]: one prefill and a single-token step."""
    prefix = Prefix(vlm, inputs)
    chosen = tuple(policy.choose(sure) for sure in prefix.step([Untouched()]).confidence[0])
    return prefix.step([PerSample(chosen)]).logits[0].argmax(-1)


def study_row(vlm: HookedVLM, inputs: VLMInputs) -> Callable[[], object]:
    """What a row of an overlap study is made of: capture, trajectory, all measures in all normalisations; no nulls."""
    boxes = dict(zip(ROLES, ([Box("mug", (40, 60, 130, 200))], [Box("table", (150, 180, 330, 300))]), strict=True))
    sinks = np.arange(len(inputs.grids[0])) % 100 == 0

    def looked(asked: VLMInputs) -> Trajectory:
        _, cache = vlm.run_with_cache(asked, names_filter=PATTERNS)
        rows = [cache[f"blocks.{layer}.attn.hook_pattern"][0, :, 0] for layer in range(vlm.cfg.n_layers)]
        return trajectory(np.stack([row.numpy() for row in rows]), asked.layouts[0], asked.grids[0])

    neutral = looked(vlm.prepare(inputs.images[0], NEUTRAL_PROMPT, prompt="paper"))
    given: dict[str, Any] = {"normalisations": NORMALISATIONS, "sinks": sinks, "neutral": neutral}
    return lambda: overlap(looked(inputs), inputs.grids[0], regions=boxes, contrast=ROLES, **given)


def scheme_lines(vlm: HookedVLM, inputs: VLMInputs, *, pairs: int) -> dict[str, list[float]]:
    """AdaptVis and grids of settings, against the reference scheme: one whole eager generation for each setting."""
    grid = settings_grid(vlm.cfg.n_layers)

    def times(ours: Callable[[], object], settings: int, tokens: int, pairs: int) -> list[float]:
        """Ours over so many generations of the reference, of which one is run and counted so often."""

        def reference() -> None:
            vlm.model.set_attn_implementation("eager")
            try:
                vlm.model.generate(**inputs.tensors, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
            finally:
                vlm.model.set_attn_implementation("sdpa")

        return [ratio / settings for ratio in pairwise(ours, reference, vlm=vlm, pairs=pairs)]

    few = max(pairs // 4, 3)
    policy = AdaptVis(0.5, 1.5, 0.4)
    return {
        "adaptvis_answer": times(lambda: answer_batch(vlm, inputs, policy), 2, 10, pairs),
        "grid_answers": times(lambda: Prefix(vlm, inputs).generate(grid, 10), len(grid), 10, few),
        "grid_first_tokens": times(lambda: Prefix(vlm, inputs).step(grid), len(grid), 1, few),
    }


def settings_grid(n_layers: int) -> list[Intervention]:
    """The untouched run, and 10 alphas in each of 8 windows of layers."""
    windows = [tuple(range(n_layers * part // 8, n_layers * (part + 1) // 8)) for part in range(8)]
    alphas = (0.0, 0.25, 0.5, 0.65, 0.8, 1.2, 1.5, 1.75, 2.0, 2.5)
    return [Untouched(), *(ScaleImageLogits(alpha, layers=layers) for layers in windows for alpha in alphas)]


def gpu_lines(vlm: HookedVLM, *, pairs: int, policy: AdaptVis) -> dict[str, list[float]]:
    """Batches, which only a GPU has room for."""
    eight, sixteen, single = prepared(vlm, 8), prepared(vlm, 16), prepared(vlm)

    def together() -> object:
        return vlm.run_with_cache(eight, names_filter=PATTERNS)

    def apart() -> object:
        return [vlm.run_with_cache(single, names_filter=PATTERNS) for _ in range(8)]

    def plain_sixteen() -> object:
        return vlm.model(**sixteen.tensors, use_cache=True, logits_to_keep=1).logits.argmax(-1)

    return {
        "batch_of_8_capture": pairwise(together, apart, vlm=vlm, pairs=pairs, pause=False),
        "adaptvis_first_token_batch_16": pairwise(
            lambda: first_tokens(vlm, sixteen, policy), plain_sixteen, vlm=vlm, pairs=pairs
        ),
    }


def capture_memory(device: str) -> Line:
    """Extra peak memory of a last-row capture, 16 layers x 16 heads x 1,100 tokens, fp32, in MiB."""
    model, processor = random_llava(tokens=1024, device=device, dtype=torch.float32, width=512)
    vlm = HookedVLM.wrap(model, processor)
    inputs = with_1100_tokens(vlm, 0)
    with torch.no_grad():
        with vlm.paused():
            plain = peak_bytes(lambda: model(**inputs.tensors, use_cache=False), device)
        ours = peak_bytes(lambda: vlm.run_with_cache(inputs, names_filter=PATTERNS), device)
    return Line.named("capture_memory", [(ours - plain) / MIB], unit="MiB")


def capture_memory_anyres() -> Line:
    """Extra peak memory of a last-row capture over that of eager `output_attentions`, both over the plain run's."""
    model, processor = random_llava_next()
    vlm = HookedVLM.wrap(model, processor)
    inputs = prepared(vlm, side=672)
    with torch.no_grad():
        with vlm.paused():
            plain = peak_bytes(lambda: model(**inputs.tensors, use_cache=False), "cpu")
        ours = peak_bytes(lambda: vlm.run_with_cache(inputs, names_filter=PATTERNS), "cpu")
        vlm.unwrap().set_attn_implementation("eager")
        eager = peak_bytes(lambda: model(**inputs.tensors, use_cache=False, output_attentions=True), "cpu")
    print(f"eager output_attentions needs {(eager - plain) / MIB:.0f} MiB more than a plain run", file=sys.stderr)
    return Line.named("capture_memory_anyres", [(ours - plain) / (eager - plain)])


def as_markdown(lines: dict[str, Line], machine: str) -> str:
    """The page for the docs."""
    rows = ["| what | measured | 95 % interval | pairs | bar | |", "|---|---|---|---|---|---|"]
    for name, line in lines.items():
        suffix = max((suffix for suffix in SHAPES if name.endswith(suffix)), key=len)
        what = WHAT[name.removesuffix(suffix)] + SHAPES[suffix]
        verdict = {True: "holds", False: "**over**", None: "no bar" if line.bar is None else "too noisy to say"}[
            line.ok
        ]
        unit = "" if line.unit == "ratio" else f" {line.unit}"
        bar = "" if line.bar is None else f"{line.bar:g}{unit}"
        middle, low, high = (
            f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.5f}" for value in (line.ratio, line.low, line.high)
        )
        rows.append(f"| {what} | {middle}{unit} | {low} to {high} | {line.pairs} | {bar} | {verdict} |")
    head = (
        "# Benchmarks\n\nWritten by `make bench`. Each line compares two runs inside one process, pair by pair, on "
        "random weights of a real model's shape: LLaVA-1.5's with 16 layers, 16 heads, 1,024 wide, 576 image tokens, "
        "fp32, where nothing else is said.\n\n"
    )
    missing = "" if torch.cuda.is_available() else "\nNo GPU was there, so the GPU lines are missing.\n"
    return head + "\n".join(rows) + "\n" + missing + f"\nMachine: {machine}.\n"


def main() -> int:
    """Measure, print, write; exit code 1 where a bar is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21, help="pairs of runs for each line (default: %(default)s)")
    options = parser.parse_args()
    pairs = max(options.pairs, 3)
    lines = measure(*random_llava(tokens=576, device="cpu", dtype=torch.float32), pairs=pairs)
    lines |= said(probe_times(*random_llava(tokens=576, device="cpu", dtype=torch.float32), pairs=pairs))
    lines |= measure(*random_qwen(), pairs=pairs, side=672, suffix="_qwen")
    lines |= said({"capture_memory": capture_memory("cpu"), "capture_memory_anyres": capture_memory_anyres()})
    lines |= said(sweep_times(pairs=max(pairs // 3, 3)))  # each pair is of many forwards
    lines |= said(probe_memory())
    lines |= said(head_lines())
    lines |= said(many_lines())
    if torch.cuda.is_available():
        seven = dict(layers=32, heads=32, width=4096)
        model, processor = random_llava(tokens=576, device="cuda", dtype=torch.bfloat16, **seven)
        lines |= measure(model, processor, pairs=pairs, suffix="_gpu_7b")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    fields = ("ratio", "low", "high", "pairs", "bar", "ok", "unit")
    content = {name: {field: getattr(line, field) for field in fields} for name, line in lines.items()}
    (out / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
    page = as_markdown(lines, machine)
    (ROOT / "docs" / "benchmarks.md").write_text(page)
    print(page)
    return 1 if any(line.ok is False for line in lines.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
