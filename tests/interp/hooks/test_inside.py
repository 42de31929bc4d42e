"""Points inside of blocks show, in every family, what torch hooks on its modules see, and edits do what those would."""

import re
from contextlib import contextmanager
from functools import cache, partial

import pytest
import torch

from interp.errors import HookError
from interp.hooks.towers import submodule, text_tower, vision_tower
from interp.model.hooked_vlm import HookedVLM
from interp.proof.samples import one_prompt
from interp.zoo.tiny import TINY

FIRST_NORMS = ("input_layernorm", "layer_norm1", "norm1", "layernorm_before", "attention_norm")
SECOND_NORMS = ("pre_feedforward_layernorm", "layer_norm2", "norm2", "layernorm_after", "ffn_norm")
OUTPUTS = ("o_proj", "out_proj", "projection_layer", "attn.proj")
GATES, LINEAR = ("gate_proj",), ("up_proj",)
UNGATED, DOWN = ("fc1", "linear_fc1"), ("down_proj", "fc2", "linear_fc2")


@cache
def loaded(name):
    vlm = HookedVLM.from_pretrained(name)
    return vlm, one_prompt(vlm)


def found(block, names):
    """The one module of a block whose path ends in one of these names, or None."""
    matching = [part for path, part in block.named_modules() if f".{path}".endswith(tuple(f".{own}" for own in names))]
    return matching[0] if len(matching) == 1 else None


def gain_of(norm):
    """What a norm multiplies with: Gemma's keep it less one."""
    return 1 + norm.weight if type(norm).__name__.startswith("Gemma") else norm.weight


def by_hand(norm, given):
    """Scale and normalized input of a norm, in double precision."""
    exact = given.double()
    if isinstance(norm, torch.nn.LayerNorm):
        exact = exact - exact.mean(-1, keepdim=True)
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    scale = (exact.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
    return scale, exact / scale


@contextmanager
def hooked(module, function):
    handle = module.register_forward_hook(function)
    try:
        yield
    finally:
        handle.remove()


def seen_at(vlm, inputs, modules):
    """What each module is given and gives, without our hooks."""
    seen = {}

    def note(module, args, output, *, key):
        seen[key] = args[0].clone(), output.clone()

    with torch.no_grad(), vlm.paused() as model:
        handles = [module.register_forward_hook(partial(note, key=key)) for key, module in modules.items()]
        model(**inputs.tensors, use_cache=False)
        for handle in handles:
            handle.remove()
    return seen


def towers(vlm):
    """By the beginning of hook names, the blocks of each tower."""
    text, vision = text_tower(vlm.model, vlm.family), vision_tower(vlm.model, vlm.family)
    return {"": submodule(vlm.model, text.blocks), "vision.": submodule(vlm.model, vision.blocks)}


@pytest.mark.parametrize("name", TINY)
def test_every_point_shows_what_torch_hooks_on_the_modules_see(name):
    vlm, inputs = loaded(name)
    modules = {"ln_final": submodule(vlm.model, vlm.family.final_norm), "embed": vlm.model.get_input_embeddings()}
    for tower, blocks in towers(vlm).items():
        for layer, block in enumerate(blocks):
            sandwich = found(block, ("pre_feedforward_layernorm",))
            second = SECOND_NORMS if sandwich or tower else ("post_attention_layernorm",)
            parts = {"ln1": FIRST_NORMS, "ln2": second, "out": OUTPUTS, "gate": GATES, "linear": LINEAR}
            parts |= {"ungated": UNGATED, "down": DOWN, "fused": ("gate_up_proj",)}
            own = {part: found(block, names) for part, names in parts.items()}
            modules |= {f"{tower}blocks.{layer}.{part}": module for part, module in own.items() if module is not None}
    seen = seen_at(vlm, inputs, modules)
    with torch.no_grad():
        _, ours = vlm.run_with_cache(inputs, names_filter=lambda name: True, query_rows="all")

    def same(point, wanted):
        got = ours[point].double()
        torch.testing.assert_close(
            got, wanted.double().reshape(got.shape), rtol=1e-5, atol=2e-5, msg=lambda m: point + m
        )

    same("hook_embed", seen["embed"][1])
    compared = {"hook_embed"}
    for key, (given, output) in seen.items():
        block, _, part = key.rpartition(".")
        points = {}
        if part.startswith("ln"):
            scale, normalized = by_hand(modules[key], given)
            points = {f"{part}.hook_scale": scale, f"{part}.hook_normalized": normalized, f"{part}.hook_out": output}
            bias = getattr(modules[key], "bias", None)
            torch.testing.assert_close(
                (normalized * gain_of(modules[key]) + (0 if bias is None else bias)).float(),
                output,
                rtol=1e-4,
                atol=1e-4,
            )
        elif part in ("gate", "ungated"):
            points = {"mlp.hook_pre": output}
        elif part == "linear":
            points = {"mlp.hook_pre_linear": output}
        elif part == "fused":
            half = output.shape[-1] // 2
            points = {"mlp.hook_pre": output[..., :half], "mlp.hook_pre_linear": output[..., half:]}
        elif part == "down":
            points = {"mlp.hook_post": given}
        elif part == "out":
            module, width = modules[key], ours[f"{block}.attn.hook_z"].shape[-1]
            heads = given.split(width, -1)
            each = [own @ module.weight[:, at * width : (at + 1) * width].T for at, own in enumerate(heads)]
            points = {"attn.hook_result": torch.stack(each, -2)}
            total = torch.stack(each).sum(0) + (0 if module.bias is None else module.bias)
            torch.testing.assert_close(total, output, rtol=1e-4, atol=1e-4)
        for point, wanted in points.items():
            same(f"{block}.{point}".lstrip("."), wanted)
            compared.add(f"{block}.{point}".lstrip("."))
    inside = re.compile(r"ln|\.mlp\.hook|hook_result|hook_embed")
    assert compared == {point for point in vlm.hook_dict if inside.search(point)}


def bend(tensor):
    return 0.8 * tensor + 0.1 * torch.sin(3 * tensor)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("tower", ["", "vision."])
def test_an_edit_does_what_a_torch_hook_on_the_module_does(name, tower):
    vlm, inputs = loaded(name)
    block, here = towers(vlm)[tower][0], f"{tower}blocks.0."
    second = (
        ("post_attention_layernorm",) if not tower and name not in ("tiny-gemma3", "tiny-paligemma2") else SECOND_NORMS
    )
    gate, fused = found(block, GATES) or found(block, UNGATED), found(block, ("gate_up_proj",))

    def halves(at, module, args, output):
        parts = list(output.chunk(2, -1))
        parts[at] = bend(parts[at])
        return torch.cat(parts, -1)

    def after(module, args, output):
        return bend(output)

    def before_gain(module, args, output):
        return output + (bend(by_hand(module, args[0])[1]) - by_hand(module, args[0])[1]).float() * gain_of(module)

    def longer(module, args, output):
        bias = 0 if getattr(module, "bias", None) is None else module.bias
        return (output - bias) / 1.25 + bias

    cases = [
        (f"{here}ln1.hook_normalized", bend, found(block, FIRST_NORMS), before_gain),
        (f"{here}ln2.hook_out", bend, found(block, second), after),
        (f"{here}ln2.hook_scale", lambda scale: scale * 1.25, found(block, second), longer),
        (f"{here}mlp.hook_pre", bend, gate or fused, after if gate else partial(halves, 0)),
    ]
    if fused or found(block, LINEAR):
        own = (fused, partial(halves, 1)) if fused else (found(block, LINEAR), after)
        cases.append((f"{here}mlp.hook_pre_linear", bend, *own))
    if not tower:
        cases.append(("hook_embed", bend, vlm.model.get_input_embeddings(), after))
        final = submodule(vlm.model, vlm.family.final_norm)
        cases.append(("ln_final.hook_normalized", bend, final, before_gain))
    with torch.no_grad():
        untouched = vlm(inputs).logits
        for point, edit, module, by_torch in cases:
            got = vlm.run_with_hooks(inputs, [(point, lambda tensor, hook, edit=edit: edit(tensor))]).logits
            with vlm.paused() as model, hooked(module, by_torch):
                wanted = model(**inputs.tensors, use_cache=False).logits
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4, msg=lambda text, at=point: f"{at} {text}")
            assert (got - untouched).abs().max() > 1e-3, point


def test_what_one_head_adds_can_be_taken_away_and_reading_it_moves_nothing():
    vlm, inputs = loaded("tiny-llava")
    name = "blocks.1.attn.hook_result"

    def without(tensor, hook):
        tensor[:, :, 2] = 0

    with torch.no_grad():
        base, cache = vlm.run_with_cache(inputs, [name])
        assert torch.equal(base.logits, vlm(inputs).logits)
        assert not any(key.endswith("hook_result") for key in vlm.run_with_cache(inputs)[1])  # only when it is named
        got = vlm.run_with_hooks(inputs, [(name, without)]).logits
        silenced = vlm.run_with_hooks(inputs, [("blocks.1.attn.hook_z", without)]).logits
    torch.testing.assert_close(got, silenced, rtol=1e-4, atol=1e-5)
    assert (got - base.logits).abs().max() > 1e-2


def test_nothing_is_on_the_modules_while_nobody_listens():
    vlm, inputs = loaded("tiny-llava")
    norm = vlm.model.model.language_model.norm
    assert not norm._forward_hooks
    with vlm.hooks([("ln_final.hook_scale", lambda tensor, hook: None)]):
        with vlm.hooks([("ln_final.hook_out", lambda tensor, hook: None)]):
            assert len(norm._forward_hooks) == 1
        assert len(norm._forward_hooks) == 1
        with vlm.paused():
            assert not norm._forward_hooks
        assert len(norm._forward_hooks) == 1
    assert not norm._forward_hooks


def test_a_hook_on_a_tensor_s_point_survives_pausing():
    vlm, inputs = loaded("tiny-llava")
    shapes = []
    with torch.no_grad(), vlm.hooks([("blocks.0.mlp.hook_post", lambda tensor, hook: shapes.append(tensor.shape))]):
        vlm(inputs)
        with vlm.paused() as model:
            model(**inputs.tensors, use_cache=False)
        vlm(inputs)
    assert len(shapes) == 2


@pytest.mark.parametrize(
    "name, point, why",
    [
        ("tiny-llava", "vision.blocks.0.mlp.hook_pre_linear", "CLIPMLP is not gated"),
        ("tiny-qwen2_vl", "vision.blocks.1.mlp.hook_pre_linear", "VisionMlp is not gated"),
        ("tiny-gemma3", "vision.blocks.0.mlp.hook_pre_linear", "SiglipMLP is not gated"),
    ],
)
def test_a_point_that_a_family_can_not_serve_is_refused_by_name_with_the_reason(name, point, why):
    vlm, inputs = loaded(name)
    for use in (
        vlm.run_with_cache,
        lambda given, names: vlm.run_with_hooks(given, [(names, lambda tensor, hook: None)]),
    ):
        with pytest.raises(HookError, match=f"{re.escape(point)} is not offered for this model: {why}"):
            use(inputs, point)


@pytest.mark.parametrize("left_out, points", [("gate_proj", "mlp"), ("down_proj", "mlp"), ("input_layernorm", "ln1")])
def test_a_decoder_of_another_kind_loads_and_refuses_what_it_lacks(monkeypatch, left_out, points):
    from interp.hooks import parts

    has = parts._has
    monkeypatch.setattr(parts, "_has", lambda root, path: path != left_out and has(root, path))
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    assert not any(f"blocks.0.{points}." in name and "vision" not in name for name in vlm.hook_dict)
    with pytest.raises(HookError, match=f"has no {left_out}"):
        vlm.run_with_cache(one_prompt(vlm), f"blocks.0.{points}.hook_{'scale' if points == 'ln1' else 'post'}")
    if points == "mlp":
        with pytest.raises(HookError, match="W_in is not offered"):
            _ = vlm.W_in


def test_a_norm_that_computes_something_else_is_refused_and_what_it_gives_is_shown():
    vlm = HookedVLM.from_pretrained("tiny-llava")
    inputs, norm = one_prompt(vlm), vlm.model.model.language_model.norm
    forward = type(norm).forward
    norm.forward = lambda given: forward(norm, given).tanh()
    with torch.no_grad():
        with pytest.raises(HookError, match="ln_final.hook_out, which it gives"):
            vlm.run_with_cache(inputs, "ln_final.hook_normalized")
        assert vlm.run_with_cache(inputs, "ln_final.hook_out")[1]["ln_final.hook_out"].abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_scale_and_normalized_are_float32_and_reading_moves_nothing(dtype):
    vlm = HookedVLM.from_pretrained("tiny-gemma3", dtype=dtype, self_check=False)
    inputs = one_prompt(vlm)
    points = [f"ln_final.{point}" for point in ("hook_scale", "hook_normalized", "hook_out")]
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, points)
        assert torch.equal(output.logits, vlm(inputs).logits)
        same = vlm.run_with_hooks(inputs, [(points[1], lambda tensor, hook: tensor.clone())]).logits
    assert [cache[point].dtype for point in points] == [torch.float32, torch.float32, dtype]
    assert torch.equal(same, output.logits)
