"""Every family passes its proof, and the proof catches what it is there to catch."""

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tiny import rounding

from adaptvis import AdaptVis, answer
from interp import proof
from interp.__main__ import main
from interp.errors import InputError, ModelError, RefusedError
from interp.families import all_families
from interp.hooks import attention
from interp.hooks.checkpoints import Checkpoints
from interp.hooks.guard import Guard
from interp.hooks.implementations import Implementations
from interp.hooks.links import Links
from interp.hooks.turns import Turns
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix, WholePasses, share_prefill
from interp.proof.attention import _rounding
from interp.proof.pixels import check_photo
from interp.proof.samples import noise, one_prompt
from interp.zoo.tiny import TINY, build_tiny

REFUSED = {"tiny-paligemma": {"prefix"}, "tiny-paligemma2": {"prefix"}}
"""What a family refuses by name."""
BRIDGED = {
    "llava",
    "qwen2_5_vl",
    "qwen3_vl",
    "glm4v",
    "idefics3",
    "gemma3",
    "mistral3",
    "llava_next",
    "llava_onevision",
}
"""Model types that TransformerLens's bridge takes."""


@cache
def tiny(name):
    return HookedVLM.from_pretrained(name)


@pytest.mark.parametrize("name", TINY)
def test_every_claim_holds_or_is_refused_by_name(name):
    findings = proof.prove(tiny(name), name)
    assert [finding.claim for finding in findings] == [claim.name for claim in proof.CLAIMS]
    assert [f"{finding.claim}: {finding.value} {finding.detail}" for finding in findings if not finding.holds] == []
    refused = {finding.claim for finding in findings if finding.refused}
    assert refused - {"bridge"} == REFUSED.get(name, set())
    assert ("bridge" in refused) == (name.removeprefix("tiny-") not in BRIDGED)


def test_a_tolerance_grows_only_where_the_model_s_own_rounding_is_larger():
    """Weights that are scaled up make more of rounding; what is wrong is still off by more."""
    small, large = (proof.prove(proved(factor), "tiny-llava", ["rows", "bridge", "untouched"]) for factor in (1, 40))
    assert small[0].tolerance == large[0].tolerance == 0.0
    assert large[2].tolerance > 5 * small[2].tolerance >= 5 * proof.TOLERANCE
    assert all(finding.holds for finding in (*small, *large))


def test_kernels_of_transformers_that_disagree_by_more_than_rounding_give_no_room():
    """As eager and SDPA attention of a soft-capped model once did, by half a logit."""
    ones = torch.ones(3)
    assert _rounding([ones], [ones + 1e-5]) == pytest.approx(1e-5, rel=0.1)
    assert _rounding([ones], [ones + 0.5]) == 0.0


def proved(factor):
    """A tiny model whose residual stream is so many times as large."""
    vlm = HookedVLM.from_pretrained("tiny-llava")
    with torch.no_grad():
        for layer in vlm.model.model.language_model.layers:
            layer.mlp.down_proj.weight *= factor
            layer.self_attn.o_proj.weight *= factor
    return vlm


def test_every_claim_holds_on_the_trained_model():
    findings = proof.prove(HookedVLM.from_pretrained("shapes-vlm"), "shapes-vlm")
    assert all(finding.holds for finding in findings)
    assert max(finding.tolerance for finding in findings if finding.claim != "bridge") < 1e-3


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(1, 1), (57, 43), (640, 480), (333, 777), (1000, 75)], ids=str)
def test_boxes_hold_on_photos_of_any_shape(name, size):
    try:
        grid, mistakes, tried = check_photo(tiny(name), noise(size, 7))
    except InputError as refusal:
        pytest.skip(f"refused: {refusal}")
    assert mistakes == 0
    assert tried or min(size) < 100  # enlarged, a small photo has no box beyond the reach of the filter


@pytest.mark.parametrize("name", TINY)
def test_a_model_saved_and_loaded_from_its_folder_is_the_same(name, tmp_path):
    hooked = tiny(name)
    inputs = one_prompt(hooked)
    with torch.no_grad():
        before = hooked(inputs).logits
    with hooked.paused() as model:
        model.save_pretrained(tmp_path)
    hooked.processor.save_pretrained(tmp_path)
    loaded = HookedVLM.from_pretrained(tmp_path)
    again = one_prompt(loaded)
    assert again.layouts == inputs.layouts
    assert (again.grids[0].boxes == inputs.grids[0].boxes).all()
    with torch.no_grad():
        # Weights that lie elsewhere in memory may be summed in another order.
        torch.testing.assert_close(loaded(again).logits, before, rtol=0, atol=rounding(hooked))
    for (key, weight), other in zip(hooked.model.state_dict().items(), loaded.model.state_dict().values(), strict=True):
        assert torch.equal(weight, other), key


@pytest.mark.parametrize("name", TINY)
def test_what_a_block_adds_is_what_its_hooks_show(name):
    """resid_pre + attn_out = resid_mid, and resid_mid + mlp_out = resid_post, in both towers."""
    hooked = tiny(name)
    with torch.no_grad():
        _, kept = hooked.run_with_cache(
            one_prompt(hooked), names_filter=lambda hook: hook.endswith(("_out", "_pre", "_mid", "_post"))
        )
    blocks = {hook.rsplit(".", 1)[0] for hook in kept if hook.endswith("hook_resid_pre")}
    assert len(blocks) == hooked.cfg.n_layers + len(hooked.vision.blocks)
    for block in blocks:
        pre, mid, post = (kept[f"{block}.hook_resid_{part}"] for part in ("pre", "mid", "post"))
        assert torch.allclose(pre + kept[f"{block}.hook_attn_out"], mid, atol=1e-5), block
        assert torch.allclose(mid + kept[f"{block}.hook_mlp_out"], post, atol=1e-5), block


@pytest.mark.parametrize("name", TINY)
def test_queries_keys_and_values_have_the_shapes_that_the_hooks_promise(name):
    hooked = tiny(name)
    with torch.no_grad():
        _, kept = hooked.run_with_cache(
            one_prompt(hooked), names_filter=lambda hook: hook.endswith(("_q", "_k", "_v", "_z", "resid_pre"))
        )
    for hook, tensor in kept.items():
        block = hook.split(".attn.")[0]
        if ".attn." in hook:
            assert tensor.ndim == 4 and tensor.shape[:2] == kept[f"{block}.hook_resid_pre"].shape[:2], hook
    first = {part: kept[f"blocks.0.attn.hook_{part}"].shape[2:] for part in ("q", "k", "v", "z")}
    shape = hooked.cfg
    assert first["q"] == first["z"] == (shape.n_heads, shape.d_head)
    assert first["k"] == first["v"] == (shape.n_kv_heads, shape.d_head)


@pytest.mark.parametrize("name", TINY)
def test_an_edit_of_what_the_language_model_receives_reaches_it(name):
    hooked = tiny(name)
    inputs = one_prompt(hooked)
    seen = []

    def turn(tensor, hook):
        seen.append(tensor.shape)
        return -tensor

    with torch.no_grad():
        plain = hooked(inputs).logits
        turned = hooked.run_with_hooks(inputs, fwd_hooks=[("projector.hook_out", turn)]).logits
    assert seen == [(inputs.grids[0].n_slots, hooked.cfg.d_model)]
    assert not torch.allclose(plain, turned, atol=1e-3)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", TINY)
def test_what_breaks_off_in_the_middle_leaves_the_model_as_it_was(name, error):
    hooked = tiny(name)
    inputs = one_prompt(hooked)

    def break_off(tensor, hook):
        raise error("stop")

    with torch.no_grad():
        before = hooked(inputs).logits
        for point in ("projector.hook_out", "blocks.1.attn.hook_pattern", "vision.blocks.0.attn.hook_attn_logits"):
            rows = "all" if "attn" in point else None
            with pytest.raises(error, match="stop"):
                hooked.run_with_hooks(inputs, fwd_hooks=[(point, break_off)], query_rows=rows)
            assert torch.equal(hooked(inputs).logits, before), point
        with pytest.raises(error, match="stop"):
            hooked.generate(inputs, 2, fwd_hooks=[("blocks.1.attn.hook_pattern", break_off)])
        assert torch.equal(hooked(inputs).logits, before)
        with hooked.paused() as model:
            assert torch.equal(model(**inputs.tensors, use_cache=False).logits, before)


def test_every_family_has_a_tiny_model():
    proved = {tiny(name).family.name for name in TINY}
    assert proved == {family.name for family in all_families()}


def test_an_unknown_tiny_model_or_claim_is_refused():
    with pytest.raises(ModelError, match="tiny-llava"):
        build_tiny("tiny-nothing")
    with pytest.raises(InputError, match="rows"):
        proof.check_claims(["row"])


def test_what_a_family_can_not_do_is_said_and_refused():
    hooked = tiny("tiny-paligemma")
    reason = hooked.capabilities()["prefix"]
    with pytest.raises(RefusedError, match="prefix is not offered"):
        Prefix(hooked, one_prompt(hooked))
    assert reason.startswith("no: ") and set(tiny("tiny-llava").capabilities().values()) == {"yes"}
    assert "one sequence" in tiny("tiny-qwen3_vl").capabilities()["vision"]


@pytest.mark.parametrize("name", ["tiny-paligemma", "tiny-llava"])
def test_whole_passes_say_what_runs_of_the_prompt_say_and_what_a_prefix_says(name):
    hooked = tiny(name)
    inputs, plans = one_prompt(hooked), [Untouched(), ScaleImageLogits(0.5), ScaleImageLogits(2.0, mode="temper")]
    hook = "blocks.1.attn.hook_pattern"
    step = WholePasses(hooked, inputs).step(plans, capture=[hook])
    for place, plan in enumerate(plans):
        with torch.no_grad():
            output, cache = hooked.run_with_cache(
                inputs, names_filter=hook, fwd_hooks=plan.hooks(hooked.cfg, inputs.layouts)
            )
        assert torch.allclose(step.logits[place], output.logits[:, -1], atol=1e-5)
        assert torch.allclose(step.captured[hook][place], cache[hook], atol=1e-6)
    assert not torch.allclose(step.logits[0], step.logits[1], atol=1e-3)
    shared = share_prefill(hooked, inputs)
    assert isinstance(shared, Prefix) == (name == "tiny-llava")
    assert torch.allclose(shared.step(plans).logits, step.logits, atol=1e-5)
    wanted = WholePasses(hooked, inputs).generate(plans, 4)
    assert [one.texts for one in shared.generate(plans, 4)] == [one.texts for one in wanted]


@pytest.mark.parametrize("name", ["tiny-paligemma"])
def test_adaptvis_answers_where_no_prefill_can_be_shared(name):
    said = answer(tiny(name), noise((60, 40)), "Where?", AdaptVis(0.5, 1.5, 0.4), prompt="paper", max_new_tokens=3)
    assert said.branch and said.text is not None


# the proof itself -----------------------------------------------------------------------------------------------


def does_not_hold(name, claim):
    (finding,) = proof.prove(tiny(name), name, [claim])
    return not finding.holds


def with_grid(monkeypatch, name, change):
    family = tiny(name).family
    monkeypatch.setattr(tiny(name), "family", replace(family, grid=lambda *given: change(family.grid(*given))))
    monkeypatch.setattr("interp.prompt.inputs.family_of", lambda model: tiny(name).family)


@pytest.mark.parametrize(
    "change",
    [
        lambda grid: replace(grid, boxes=grid.boxes[::-1]),
        lambda grid: replace(grid, boxes=np.roll(grid.boxes, 1, axis=0)),
        lambda grid: replace(grid, boxes=grid.boxes * [0.5, 1.0, 0.5, 1.0]),
        lambda grid: replace(grid, boxes=(grid.boxes + [2, 0, 2, 0]).clip(max=[*grid.image_size] * 2)),
        lambda grid: replace(grid, reach=grid.reach * 8),
        lambda grid: replace(grid, n_slots=grid.n_slots + 1),
    ],
    ids=["backwards", "one off", "half as wide", "two pixels off", "blurred", "a slot too many"],
)
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl"])
def test_boxes_in_a_wrong_place_are_caught(monkeypatch, name, change):
    with_grid(monkeypatch, name, change)
    assert does_not_hold(name, "boxes")


def test_key_heads_dealt_out_in_turn_are_caught(monkeypatch):
    def tiled(query, seen, scaling, softcap=None):
        shared = query.shape[1] // seen.key.shape[1]
        return query.float() @ seen.key.repeat(1, shared, 1, 1).float().transpose(2, 3) * scaling

    monkeypatch.setattr(attention, "attention_logits", tiled)
    assert does_not_hold("tiny-llava", "rows") and does_not_hold("tiny-llava", "edit")


def test_windows_that_see_each_other_are_caught(monkeypatch):
    monkeypatch.setattr(
        attention,
        "_same_window",
        lambda windows, rows, device: torch.ones(1, 1, len(rows), windows[-1], dtype=torch.bool, device=device),
    )
    assert does_not_hold("tiny-qwen2_5_vl", "rows")


def test_an_edit_that_is_lost_is_caught(monkeypatch):
    monkeypatch.setattr(attention.EditedRows, "written_over", lambda edited, out: out)
    monkeypatch.setattr(attention, "_written", lambda *given: None)
    assert does_not_hold("tiny-llava", "edit")


@pytest.mark.parametrize("lost", ["block", "begin_pass"])
def test_threads_that_do_not_wait_for_each_other_are_caught(monkeypatch, lost):
    free = (lambda turns: nullcontext()) if lost == "block" else (lambda turns, door, module=None: None)
    monkeypatch.setattr(Turns, lost, free)
    try:
        assert does_not_hold("tiny-llava", "threads")
    except (ArithmeticError, LookupError, RuntimeError, TypeError):
        pass  # two threads in one model at a time may also break what it computes


@pytest.mark.parametrize("broken", ["Implementations.follow", "Checkpoints.follow", "Links.check", "Guard.heard"])
def test_hooks_that_a_life_loses_are_caught(monkeypatch, broken):
    parts = {"Implementations": Implementations, "Checkpoints": Checkpoints, "Links": Links, "Guard": Guard}
    owner, name = broken.split(".")
    monkeypatch.setattr(parts[owner], name, lambda *given: nullcontext())
    assert does_not_hold("tiny-llava", "lifecycle")


def test_a_life_is_the_copy_s_and_leaves_the_model_as_it_was():
    vlm = tiny("tiny-llava")
    before = [weight.requires_grad for weight in vlm.model.parameters()], list(vlm.implementations)
    assert not does_not_hold("tiny-llava", "lifecycle")
    assert before == ([weight.requires_grad for weight in vlm.model.parameters()], list(vlm.implementations))
    assert vlm.wrapped and not any(module.training for module in vlm.model.modules())


# the command line -----------------------------------------------------------------------------------------------


def test_the_command_prints_a_line_for_each_model_and_says_what_is_refused(capsys):
    assert main(["selfcheck", "tiny-paligemma", "--claims", "untouched,prefix"]) == 0
    said = capsys.readouterr().out
    assert "tiny-paligemma" in said and "prefix is refused" in said


def test_the_command_prints_data_with_one_entry_a_model(capsys):
    assert main(["selfcheck", "tiny-llava", "--json", "--claims", "untouched"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["family"] == "llava" and entry["holds"] and entry["dtype"] == "float32"
    assert entry["claims"]["untouched"] == {
        "value": 0.0,
        "tolerance": 0.0,
        "detail": entry["claims"]["untouched"]["detail"],
        "refused": False,
        "holds": True,
    }


def test_several_models_may_be_named_and_all_names_are_looked_at_first(capsys):
    assert main(["selfcheck", "tiny-llava", "tiny-gemma3", "--json", "--claims", "untouched"]) == 0
    assert [entry["model"] for entry in json.loads(capsys.readouterr().out)] == ["tiny-llava", "tiny-gemma3"]
    assert main(["selfcheck", "tiny-llava", "no-such-model", "--claims", "untouched"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: no model 'no-such-model'")
    with pytest.raises(SystemExit):
        main(["selfcheck", "tiny-llava", "--all-families"])


def test_the_command_s_exit_code_is_one_where_something_does_not_hold(monkeypatch, capsys):
    monkeypatch.setattr(attention.EditedRows, "written_over", lambda edited, out: out)
    monkeypatch.setattr(attention, "_written", lambda *given: None)
    assert main(["selfcheck", "tiny-llava", "--claims", "edit"]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["selfcheck"], ["selfcheck", "tiny-llava", "--claims", "nothing"]])
def test_a_call_that_names_nothing_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) if len(arguments) == 1 else nullcontext():
        assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error:")
