"""Captured rows are eager attention's, row by row; rows are named, ordered and refused as the reader means them."""

import naive
import pytest
import tiny
import torch
from naive import in_place
from tiny import MODELS, case

from interp.errors import HookError
from interp.hooks.rows import Pass, RowHook, rows_in_pass

PATTERNS = [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]
ASKED = ["last", "all", [-1], [7], [0, 3, 30], [30, 0, -2], [10, 11, 12], "generated"]


def eager_attentions(tower, kv_heads, inputs):
    """Patterns [batch head row key] of each layer, from transformers' eager attention on the same weights."""
    model = tiny.model(tower=tower, kv_heads=kv_heads, attention="eager")
    with torch.no_grad():
        return model(**inputs.tensors, use_cache=False, output_attentions=True).attentions


def brute_force(rows, now):
    """Every position of the sequence, asked one by one."""
    here = range(now.offset, now.offset + now.length)
    if rows == "all":
        return [position - now.offset for position in here]
    if rows == "last":
        return [position - now.offset for position in here if position == now.prompt - 1]
    if rows == "generated":
        return [position - now.offset for position in here if position >= now.prompt - 1]
    wanted = [row if row >= 0 else now.prompt + row for row in rows]
    return [position - now.offset for position in wanted if position in here]


@pytest.mark.parametrize("rows", [*ASKED, (5,), [4, 5], [5, 4], range(2, 6)], ids=str)
@pytest.mark.parametrize("offset, length", [(0, 40), (39, 1), (40, 1), (45, 1), (0, 39), (5, 20)])
def test_rows_of_a_pass_are_those_that_counting_finds(rows, offset, length):
    now = Pass(offset=offset, length=length, prompt=40)
    assert list(rows_in_pass(rows, now)) == brute_force(rows, now)


@pytest.mark.parametrize("rows", ASKED, ids=str)
@pytest.mark.parametrize("tower, kv_heads, attention", MODELS)
def test_captured_patterns_are_those_of_eager_attention(tower, kv_heads, attention, rows):
    vlm, inputs, _ = case(tower, kv_heads, attention, dtype=torch.float32, samples=3)
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERNS, query_rows=rows)
    length = inputs.input_ids.shape[1]
    index = brute_force(rows, Pass(0, length, length))
    there = inputs.attention_mask.bool()[:, index]
    for layer, wanted in enumerate(eager_attentions(tower, kv_heads, inputs)):
        got = cache["pattern", layer]
        assert got.dtype == torch.float32 and got.shape == wanted[:, :, index].shape
        by_row, wanted = got.transpose(1, 2)[there], wanted[:, :, index].transpose(1, 2)[there]
        torch.testing.assert_close(by_row, wanted, rtol=0, atol=5e-5)
        torch.testing.assert_close(by_row.sum(-1), torch.ones_like(by_row[..., 0]))
        assert (got.transpose(1, 2)[~there] == 0).all()  # a padding row looks at nothing


@pytest.mark.parametrize("tower, kv_heads, attention", MODELS)
def test_captured_vision_patterns_are_those_of_eager_attention(tower, kv_heads, attention):
    vlm, inputs, _ = case(tower, kv_heads, attention, dtype=torch.float32)
    names = [name.replace("blocks", "vision.blocks") for name in PATTERNS]
    eager = tiny.model(tower=tower, kv_heads=kv_heads, attention="eager").model.vision_tower
    with torch.no_grad():
        wanted = eager(inputs.tensors["pixel_values"], output_attentions=True).attentions
    for rows in ("all", [0, 5], [9, 2], [-1]):
        _, cache = vlm.run_with_cache(inputs, names_filter=names, query_rows=rows)
        index = slice(None) if rows == "all" else rows
        for name, pattern in zip(names, wanted, strict=True):
            torch.testing.assert_close(cache[name], pattern[:, :, index], rtol=0, atol=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_logits_scores_and_patterns_are_those_of_explicit_loops(model, dtype):
    vlm, inputs, _ = case(*model, dtype=dtype)
    _, cache = vlm.run_with_cache(inputs, query_rows="all")
    mask = inputs.attention_mask.bool()
    causal = mask[:, None, None, :] & torch.ones(mask.shape[1], mask.shape[1]).tril().bool()
    for block, visible in (("blocks.2.", causal), ("vision.blocks.0.", None)):
        seen = {}
        parts = (cache[f"{block}attn.hook_{part}"] for part in ("rot_q", "rot_k", "v"))
        naive.attend(*parts, visible=visible, at=lambda name, value, seen=seen: seen.setdefault(name, value))
        for name, wanted in seen.items():
            assert cache[f"{block}{name}"].dtype == torch.float32
            torch.testing.assert_close(cache[f"{block}{name}"], wanted, rtol=1e-5, atol=1e-5)
        hidden = cache[f"{block}attn.hook_attn_scores"] == -torch.inf
        assert torch.equal(hidden, torch.zeros_like(hidden) if visible is None else ~visible.expand_as(hidden))


def test_capture_equals_the_naive_reference_at_every_point():
    for model in MODELS:
        vlm, inputs, _ = case(*model)
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: True, query_rows="all")
        with vlm.paused():
            seen = naive.naive_run(vlm.model, inputs.tensors)[1]
        assert set(seen) == set(cache.keys()) == set(vlm.hook_dict)
        there, close = inputs.attention_mask.bool(), naive.tolerance(vlm)
        for name, wanted in seen.items():
            got = cache[name]
            assert got.shape == wanted.shape
            if name.startswith("blocks") and got.shape[:2] == there.shape:
                got, wanted = got[there], wanted[there]
            elif name.startswith("blocks"):  # attention rows: rows and keys that hold a token
                whole = there[:, None, :, None] & there[:, None, None, :]
                got, wanted = got.where(whole, 0.0), wanted.where(whole, 0.0)
            elif name.startswith(("hook_embed", "ln_final", "unembed")):
                got, wanted = got[there], wanted[there]
            torch.testing.assert_close(
                got, wanted, rtol=close, atol=close, msg=lambda text, name=name: f"{name} {text}"
            )


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_ragged_batch_equals_single_runs(model):
    tower, kv_heads, attention = model
    vlm = tiny.vlm(tower=tower, kv_heads=kv_heads, attention=attention)
    photos = [tiny.photo(seed) for seed in range(4)]
    questions = [*tiny.QUESTIONS, "Where is the table in relation to the dog?"]
    batch = vlm.prepare(photos, questions)
    output, cache = vlm.run_with_cache(batch, names_filter=PATTERNS, query_rows="all")
    assert len({int(row.sum()) for row in batch.attention_mask}) > 2
    for sample, (image, question) in enumerate(zip(photos, questions, strict=True)):
        alone = vlm.prepare(image, question)
        single, own = vlm.run_with_cache(alone, names_filter=PATTERNS, query_rows="all")
        pad = batch.input_ids.shape[1] - alone.input_ids.shape[1]
        scale = single.logits.abs().max()
        assert (output.logits[sample, pad:] - single.logits[0]).abs().max() <= 1e-5 * scale
        for layer in range(3):
            part = cache["pattern", layer][sample, :, pad:]
            assert (part[..., :pad] == 0).all()
            torch.testing.assert_close(part[..., pad:], own["pattern", layer][0], rtol=0, atol=5e-5)
        assert batch.layouts[sample].kinds[pad:] == alone.layouts[0].kinds


def test_rows_come_in_the_order_in_which_they_were_named():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    _, everything = vlm.run_with_cache(inputs, names_filter=PATTERNS, query_rows="all")
    _, some = vlm.run_with_cache(inputs, names_filter=PATTERNS, query_rows=[9, -1, 4])
    apart = some["pattern", 1] - everything["pattern", 1][:, :, [9, -1, 4]]
    assert apart.abs().max() <= 1e-12  # products of other shapes, in double precision


def test_readers_of_different_rows_do_not_disturb_each_other():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    seen = {}

    def reader(key):
        return RowHook(lambda t, hook: seen.update({key: t.clone()}), key, reads_only=True)

    name = PATTERNS[1]
    keys = [(3,), "last", (8, 2), "all"]
    output = vlm.run_with_hooks(inputs, fwd_hooks=[(name, reader(key)) for key in keys])
    assert torch.equal(output.logits, untouched)
    for key in keys:
        index = {"last": [-1], "all": slice(None)}.get(key, list(key)) if isinstance(key, str) else list(key)
        assert torch.equal(seen[key], seen["all"][:, :, index])


@pytest.mark.parametrize(
    "rows", ["first", "", [], 5, [0.5], ["a"], [float("nan")], [50], [-99], [3, 3], "LAST"], ids=str
)
def test_rows_that_mean_nothing_are_refused_in_one_line(rows):
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    assert inputs.input_ids.shape[1] < 50
    with pytest.raises(HookError, match="query_rows") as refusal:
        vlm.run_with_cache(inputs, names_filter=PATTERNS, query_rows=rows)
    assert "\n" not in str(refusal.value)
    assert torch.equal(vlm(inputs).logits, untouched)


def test_rows_of_the_vision_tower_must_be_named():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    name = "vision.blocks.0.attn.hook_pattern"
    attempts = [
        lambda: vlm.run_with_cache(inputs, names_filter=name),
        lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: None)]),
        lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: None)], query_rows="last"),
        lambda: vlm.run_with_cache(inputs, names_filter=name, query_rows="last"),
        lambda: vlm.add_hook(name, lambda t, hook: None),
    ]
    for attempt in attempts:
        with pytest.raises(HookError, match="name the rows of the vision tower"):
            attempt()
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
    _, cache = vlm.run_with_cache(inputs)
    assert not any(key.startswith("vision") and key.endswith(("logits", "scores", "pattern")) for key in cache)


def test_a_captured_tensor_is_a_copy():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    output, cache = vlm.run_with_cache(inputs, query_rows="all")
    assert torch.equal(output.logits, untouched)
    later = {name: value.clone() for name, value in cache.items()}
    vlm.run_with_hooks(inputs, fwd_hooks=[(list(later), in_place(lambda t: t * 0))], query_rows="all")
    assert all(torch.equal(cache[name], value) for name, value in later.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.gpu
def test_captured_patterns_are_the_same_on_a_gpu():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)
    _, here = vlm.run_with_cache(inputs, names_filter=PATTERNS)
    there = tiny.vlm(kv_heads=2).to("cuda")
    _, cache = there.run_with_cache(tiny.inputs(there, 2), names_filter=PATTERNS)
    torch.testing.assert_close(cache["pattern", 2].cpu(), here["pattern", 2], rtol=0, atol=1e-3)
