"""The benchmarks: every line has its bar in one place, and nothing but our own words reaches the terminal."""

import json
import subprocess
import sys
from pathlib import Path

import bench
import bench_collect
import bench_heads
import bench_line
import bench_probes
import numpy as np
import pytest
import tiny
import torch
from bench_probes import PROBES, amplification, embedded, growth
from towers_seen import tower_runs

from interp.intervene.image_tokens import permute_image_tokens
from interp.model.features import ImageFeatures
from probes import load_head_activations

HERE = Path(__file__).resolve().parent


def test_every_line_has_its_bar_in_one_place():
    shapes = {name.removesuffix(suffix) for name in bench.BARS for suffix in bench.SHAPES if name.endswith(suffix)}
    assert set(bench.WHAT) <= set(bench.BARS) and set(bench.WHAT) <= shapes
    assert all(name.removesuffix("_gpu_7b") in bench.WHAT for name in bench.BARS)


@pytest.mark.parametrize(
    "suffix, values, ok",
    [("", [0.011] * 21, False), ("_qwen", [0.009] * 21, True), ("_gpu_7b", [0.011] * 21, True)],
    ids=str,
)
def test_a_line_is_held_against_the_bar_of_its_own_shape(suffix, values, ok):
    assert bench.Line.named("one_more_alpha", values, suffix=suffix).ok is ok


def test_a_wide_interval_says_that_the_machine_was_too_noisy():
    assert bench.Line.named("idle_hooks", [0.9, 1.0, 1.2] * 7).ok is None
    assert bench.Line.named("adaptvis_first_token", [9.9] * 21, suffix="_gpu_7b").ok is None, "no bar"


def test_the_profiler_says_nothing_of_itself_and_our_own_words_are_kept():
    code = (
        "import sys, torch, bench; "
        "bytes = bench.peak_bytes(lambda: torch.ones(256) + 1, 'cpu'); "
        "print('ours', bytes, file=sys.stderr)"
    )
    command = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent.parent)!r}]; {code}"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert len(said.stderr.splitlines()) == 1 and said.stderr.startswith("ours ") and not said.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it so")
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it():
    large = np.ones(64 * bench.MIB)  # 512 MiB
    code = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent.parent)!r}]; import bench_line as b; "
    told = [
        float(subprocess.run([sys.executable, "-c", code + more], capture_output=True, text=True, check=True).stdout)
        for more in ("print(b.peak_resident())", "kept = bytearray(b'1') * (100 * b.MIB); print(b.peak_resident())")
    ]
    assert bench_line.peak_resident() > large.nbytes / bench.MIB
    assert 50 < told[1] - told[0] < 150 and told[0] < bench_line.peak_resident()


def asked(vlm, place):
    return vlm.prepare(tiny.photo(place), tiny.QUESTIONS[0], prompt="paper")


@pytest.mark.parametrize("name", PROBES)
def test_what_a_probe_needs_does_not_grow_with_samples_but_by_its_small_results(name):
    assert growth(tiny.vlm(self_check=False), PROBES[name], asked) < 2**14


def test_growth_sees_tensors_and_arrays_that_results_keep():
    vlm = tiny.vlm(self_check=False)

    def keeps_tensors(vlm, inputs):
        return vlm.run_with_cache(inputs)

    def keeps_arrays(vlm, inputs):
        return (np.zeros(2**12, dtype=np.float32)[:4], (np.zeros(2**12, dtype=np.float32),))

    assert growth(vlm, keeps_tensors, asked) > 2**17
    assert growth(vlm, keeps_arrays, asked) == 6 * 2 * 2**14


def test_one_permutation_is_held_against_the_language_model_alone_and_runs_no_tower():
    vlm = tiny.vlm(self_check=False)
    inputs = asked(vlm, 0)
    with torch.no_grad():
        features, given = ImageFeatures.capture(vlm, inputs), embedded(vlm, inputs)
        with tower_runs(vlm) as calls, vlm.paused():
            alone = vlm.model(**given, use_cache=False).logits
        assert torch.equal(alone, vlm(inputs).logits)
        with tower_runs(vlm) as more:
            permuted = features.forward(intervention=permute_image_tokens(inputs.grids, 0), use_cache=False).logits
    assert not calls and not more and not torch.equal(permuted, alone)


def test_a_slot_of_an_interchange_is_a_share_of_one_step_over_all_slots():
    vlm = tiny.vlm(self_check=False)
    inputs = asked(vlm, 0)
    with torch.no_grad(), tiny.passes(vlm) as shapes:
        values = bench_probes.last_slot(vlm, inputs, pairs=3)
    assert len(values) == 3 and all(value > 0 for value in values)
    assert shapes.count((vlm.cfg.n_layers + 1, 1)) >= 3  # every slot is a row of one single-token step


def test_a_masked_head_is_a_share_of_one_step_over_all_heads_of_all_layers():
    vlm = tiny.vlm(self_check=False)
    inputs = asked(vlm, 0)
    with torch.no_grad(), tiny.passes(vlm) as shapes:
        values = bench_probes.head_masks(vlm, inputs, pairs=3)
    assert len(values) == 3 and all(value > 0 for value in values)
    assert shapes.count((vlm.cfg.n_layers * vlm.cfg.n_heads, 1)) == 4  # of three pairs, and one that is not counted


def test_a_sweep_over_image_tokens_runs_each_tower_once_and_each_slot_from_its_block_on():
    vlm = tiny.vlm(self_check=False)
    blocks, ran = vlm.model.model.language_model.layers, []
    for place, block in enumerate(blocks):
        block.mlp.register_forward_hook(lambda *of_no_interest, place=place: ran.append(place))
    with tower_runs(vlm) as calls:
        values = bench_probes.image_sweep(vlm, pairs=1, side=28)
    assert len(values) == 1 and values[0] > 0
    layers = len(blocks)
    # of each of two sweeps: two runs of all blocks, and one from each slot on; beside each one plain forward
    assert len(ran) == 2 * (3 * layers + layers * (layers + 1) // 2) and len(calls) == 2 * 3


def test_z_of_answers_is_held_against_plain_answers_of_as_many_tokens():
    vlm = tiny.vlm(self_check=False)
    inputs = asked(vlm, 0)
    with torch.no_grad(), tiny.passes(vlm) as shapes:
        values = bench_probes.collected(vlm, inputs, tokens=3, pairs=1)
    assert len(values) == 1 and values[0] > 0
    assert shapes.count((1, 1)) == 2 * (3 + 2)  # one pass more, as the last token's own state is kept


def test_amplification_is_held_against_as_many_forwards_as_it_makes_and_runs_no_tower():
    vlm = tiny.vlm(self_check=False)
    with torch.no_grad():
        features = ImageFeatures.capture(vlm, asked(vlm, 0))
        run, forwards = amplification(vlm, features)
        with tower_runs(vlm) as calls, tiny.passes(vlm) as shapes:
            (rows,) = run()
    assert not calls and len(shapes) == forwards and len(rows) == 3


def test_probes_that_are_timed_are_of_all_heads_and_functions_and_find_nothing_in_noise():
    found = bench_heads.probes_of_many(items=160, layers=2, heads=3, width=4)
    assert found.values.shape == (8, 2, 3) and abs(found.values.mean() - 0.5) < 0.1


def test_a_run_says_its_minutes_and_its_memory(monkeypatch, capsys):
    monkeypatch.setitem(bench_heads.RUNS, "probes", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench_heads.py", "probes"])
    bench_heads.main()
    told = json.loads(capsys.readouterr().out)
    assert 0 <= told["minutes"] < 1 and told["mib"] > 10


def test_collecting_from_many_heads_goes_on_and_is_held_to_the_bit(tmp_path, monkeypatch, capsys):
    for name, small in {"ITEMS": 80, "LAYERS": 2, "HEADS": 3}.items():
        monkeypatch.setattr(bench_collect, name, small)
    folder = tmp_path / "z"
    for run in ("collect", "find", "collect", "compare"):
        bench_collect.RUNS[run](folder)
    assert all(0 <= json.loads(line)["mib"] < 2048 for line in capsys.readouterr().out.splitlines())
    heads = load_head_activations(folder)
    assert heads.shape == (80, 2, 3, 4)
    monkeypatch.setattr(type(heads), "chunks", lambda heads: [(np.arange(80), np.zeros((80, 2, 3, 4), np.float32))])
    with pytest.raises(AssertionError):
        bench_collect.compare_many(folder)
