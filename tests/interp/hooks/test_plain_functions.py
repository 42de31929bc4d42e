"""A function without rows, rows where there are none, and what is no hook each get a sentence with a way out."""

import copy
from functools import partial

import pytest
import tiny
import torch

from interp import Chain, HookError, InputError, PerSample, Prefix, SpatialLensError, Untouched
from interp.hooks.rows import ROW_POINTS, RowHook
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import WholePasses

PATTERN, STREAM = "blocks.1.attn.hook_pattern", "blocks.1.hook_resid_post"


def halve(tensor, hook):
    return tensor * 0.5


class Own:
    """An intervention of the caller's, with these hooks."""

    def __init__(self, *hooks, given=None):
        self.given = list(hooks) if given is None else given

    def hooks(self, shape, layouts):
        return self.given

    def __str__(self):
        return "mine"


@pytest.fixture(scope="module")
def asked():
    vlm = tiny.vlm()
    return vlm, tiny.inputs(vlm)


SHARED = {
    "step": lambda vlm, inputs, edit: Prefix(vlm, inputs).step([Untouched(), edit]),
    "generate": lambda vlm, inputs, edit: Prefix(vlm, inputs).generate([edit], 2),
    "each sample": lambda vlm, inputs, edit: vlm.run_with_hooks(inputs, intervention=PerSample((edit,))),
    "in a chain": lambda vlm, inputs, edit: Prefix(vlm, inputs).step([Chain((Untouched(), edit))]),
    "each in a step": lambda vlm, inputs, edit: Prefix(vlm, inputs).step([PerSample((edit,))]),
}


@pytest.mark.parametrize("name", [f"blocks.1.attn.{point}" for point in ROW_POINTS])
@pytest.mark.parametrize("way", SHARED)
def test_a_plain_function_where_samples_meet_is_refused_and_the_advice_works(asked, way, name):
    vlm, inputs = asked
    with pytest.raises(HookError, match=rf"mine.*{name} is a plain one.*RowHook\(function, 'last'\)"):
        SHARED[way](vlm, inputs, Own((name, halve)))
    assert SHARED[way](vlm, inputs, Own((name, RowHook(halve, "last")))) is not None
    with torch.no_grad(), vlm.intervene(Own((name, halve)), inputs):
        assert vlm(inputs).logits.isfinite().all()


@pytest.mark.parametrize("way", SHARED)
def test_a_plain_function_on_a_stream_is_sent_to_the_whole_prompt(asked, way):
    vlm, inputs = asked
    with pytest.raises(HookError, match="run the intervention alone") as refusal:
        SHARED[way](vlm, inputs, Own((STREAM, halve)))
    assert "RowHook" not in str(refusal.value)
    wanted = vlm.run_with_hooks(inputs, fwd_hooks=[(STREAM, halve)]).logits
    assert torch.equal(vlm.run_with_hooks(inputs, intervention=Own((STREAM, halve))).logits, wanted)
    (said,) = WholePasses(vlm, inputs).step([Own((STREAM, halve))]).logits
    torch.testing.assert_close(said, wanted[:, -1])


WHOLE = (
    STREAM, "blocks.0.attn.hook_z", "blocks.0.attn.hook_rot_k", "blocks.0.attn.hook_q", "blocks.2.hook_mlp_out",
    "projector.hook_out", "ln_final.hook_normalized", "unembed.hook_out", "vision.blocks.0.hook_resid_post",
)  # fmt: skip

PUT_ON = {
    "run_with_hooks": lambda vlm, inputs, pair: vlm.run_with_hooks(inputs, fwd_hooks=[pair]),
    "run_with_cache": lambda vlm, inputs, pair: vlm.run_with_cache(inputs, names_filter=PATTERN, fwd_hooks=[pair]),
    "backward": lambda vlm, inputs, pair: vlm.run_with_hooks(inputs, bwd_hooks=[pair]),
    "add_hook": lambda vlm, inputs, pair: vlm.add_hook(*pair),
    "add_perma_hook": lambda vlm, inputs, pair: vlm.add_perma_hook(*pair),
    "generate": lambda vlm, inputs, pair: vlm.generate(inputs, 2, fwd_hooks=[pair]),
    "intervention": lambda vlm, inputs, pair: vlm.generate(inputs, 2, intervention=Own(pair)),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("way", PUT_ON)
def test_a_row_hook_on_a_point_without_rows_is_refused_before_the_first_pass(asked, way, name):
    vlm, inputs = asked
    with tiny.passes(vlm) as ran, pytest.raises(HookError, match=f"{name} shows no attention rows"):
        PUT_ON[way](vlm, inputs, (name, RowHook(halve, "last")))
    assert ran == [] and not any(point.has_hooks() for point in vlm.hook_dict.values())


@pytest.mark.parametrize("way", PUT_ON)
def test_a_row_hook_on_the_tower_names_its_rows(asked, way):
    """The tower has no last prompt row: such a hook would never have been called."""
    vlm, inputs = asked
    with pytest.raises(HookError, match="name the rows of the vision tower"):
        PUT_ON[way](vlm, inputs, ("vision.blocks.0.attn.hook_pattern", RowHook(halve, "last")))
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def test_a_row_hook_that_is_put_on_the_point_itself_is_refused_in_the_pass(asked):
    vlm, inputs = asked
    for name in (STREAM, "vision.blocks.0.hook_resid_post"):
        vlm.hook_dict[name].add_hook(RowHook(halve, "last"))
        try:
            with pytest.raises(HookError, match=f"{name} shows no attention rows"):
                vlm(inputs)
        finally:
            vlm.reset_hooks()


NO_HOOKS = (None, "x", halve, [(PATTERN,)], [halve], [(PATTERN, "halve")], {PATTERN: halve}, [(PATTERN, halve, "fwd")])


@pytest.mark.parametrize("given", NO_HOOKS, ids=range(len(NO_HOOKS)))
def test_an_intervention_that_gives_no_list_of_hooks_is_refused_by_its_name(asked, given):
    vlm, inputs = asked
    edit = Own(given=given) if given is not None else type("Nothing", (Own,), {"hooks": lambda *args: None})()
    for run in (
        lambda: vlm.run_with_hooks(inputs, intervention=edit),
        lambda: Prefix(vlm, inputs).step([edit]),
        lambda: WholePasses(vlm, inputs).step([edit]),
        lambda: vlm.run_with_hooks(inputs, intervention=Chain((edit,))),
    ):
        with pytest.raises(InputError, match=r"mine: its hooks\(...\) gave"):
            run()


@pytest.mark.parametrize("given", [3, "zero", None, torch.zeros(2)], ids=str)
def test_what_is_no_function_is_refused_before_the_first_pass(asked, given):
    vlm, inputs = asked
    for name in (PATTERN, STREAM):
        with tiny.passes(vlm) as ran, pytest.raises(SpatialLensError, match="is no function"):
            vlm.run_with_hooks(inputs, fwd_hooks=[(name, given)])
        assert ran == []


class Functor:
    def __call__(self, tensor):
        return tensor * 0


NO_ARGUMENT = {
    "the tensor alone": lambda tensor: tensor * 0,
    "another name": lambda tensor, point: tensor * 0,
    "one more": lambda tensor, hook, scale: tensor * scale,
    "nothing": lambda: None,
    "an object": Functor(),
    "by place": lambda tensor, hook, /: None,
    "a class": dict,
}


@pytest.mark.parametrize("name", NO_ARGUMENT)
def test_a_function_that_can_not_be_called_with_hook_is_refused_before_the_first_pass(asked, name):
    vlm, inputs = asked
    given = NO_ARGUMENT[name]
    for use in (
        lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(STREAM, given)]),
        lambda: vlm.run_with_hooks(inputs, bwd_hooks=[(STREAM, given)]),
        lambda: vlm.run_with_cache(inputs, PATTERN, fwd_hooks=[(STREAM, given)]),
        lambda: vlm.generate(inputs, 1, fwd_hooks=[(PATTERN, given)]),
        lambda: vlm.add_hook(STREAM, given),
        lambda: vlm.add_perma_hook(STREAM, given),
    ):
        with tiny.passes(vlm) as ran, pytest.raises(HookError, match=r"function\(tensor, hook=point\)"):
            use()
        assert ran == [] and not vlm.hook_dict[STREAM].has_hooks()


@pytest.mark.parametrize(
    "given", [lambda *all, **more: None, lambda tensor, hook=None: None, partial(lambda own, tensor, hook: None, 1)]
)
def test_every_function_that_can_be_called_so_is_taken(asked, given):
    vlm, inputs = asked
    vlm.run_with_hooks(inputs, fwd_hooks=[(STREAM, given)])


NO_PAIRS = {
    "a pair that stands alone": (STREAM, halve),
    "a dictionary": {STREAM: halve},
    "a name alone": [STREAM],
    "three things": [(STREAM, halve, "fwd")],
    "a function alone": halve,
    "a text": STREAM,
}


@pytest.mark.parametrize("given", NO_PAIRS.values(), ids=NO_PAIRS)
@pytest.mark.parametrize("option", ["fwd_hooks", "bwd_hooks"])
def test_what_is_no_list_of_pairs_is_refused_with_its_form(asked, option, given):
    vlm, inputs = asked
    with pytest.raises(HookError, match=rf"{option} is a list of \(name, function\) pairs, and .* is none"):
        vlm.run_with_hooks(inputs, **{option: given})
    if option == "fwd_hooks":
        with pytest.raises(HookError, match="is a list of"):
            vlm.run_with_cache(inputs, STREAM, fwd_hooks=given)


@pytest.mark.parametrize("name", [None, 3, [STREAM, None], [3], 1.5])
def test_what_is_no_name_is_refused_wherever_names_are_given(asked, name):
    vlm, inputs = asked
    with pytest.raises(HookError, match="is no hook name"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(name, halve)])
    if name is not None:
        with pytest.raises(HookError, match="is no hook name"):
            vlm.run_with_cache(inputs, name)


def test_no_hooks_at_all_are_no_edit(asked):
    vlm, inputs = asked
    assert torch.equal(vlm.run_with_hooks(inputs, None, bwd_hooks=None).logits, vlm(inputs).logits)


IMAGE = "vision.blocks.0.hook_resid_post"
RUNS = {
    "whole": lambda vlm, inputs: vlm(inputs),
    "cache": lambda vlm, inputs: vlm.run_with_cache(inputs, STREAM),
    "without its head": lambda vlm, inputs: vlm.model.model(input_ids=inputs.input_ids[:, :3]),
    "language model": lambda vlm, inputs: vlm.model.model.language_model(input_ids=inputs.input_ids[:, :3]),
}


@pytest.mark.parametrize("name", [STREAM, IMAGE])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_function_that_runs_its_own_model_is_refused_and_a_copy_of_it_runs(asked, run, name):
    vlm, inputs = asked
    plain = vlm(inputs).logits

    def again(of):
        def hook(tensor, hook):
            run(of, inputs)
            return tensor

        return [(name, hook)]

    with pytest.raises(HookError, match="a function that runs inside a pass of this model ran the same model"):
        vlm.run_with_hooks(inputs, fwd_hooks=again(vlm))
    assert torch.equal(vlm(inputs).logits, plain)  # nothing of the refused pass stays
    with vlm.paused() as model:
        copied = copy.deepcopy(model)
    second = HookedVLM.wrap(copied, vlm.processor)
    assert torch.equal(vlm.run_with_hooks(inputs, fwd_hooks=again(second)).logits, plain)


def test_a_pass_after_one_that_was_broken_off_is_not_taken_for_one_inside_it(asked):
    vlm, inputs = asked
    plain = vlm(inputs).logits

    def stop(tensor, hook):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            vlm.run_with_hooks(inputs, fwd_hooks=[(STREAM, stop)])
    assert torch.equal(vlm.run_with_hooks(inputs, fwd_hooks=[(STREAM, lambda tensor, hook: None)]).logits, plain)
