"""A step on the shared prefill says what the whole intervened pass says, however the steps are grouped."""

import naive
import pytest
import tiny
import torch
from tiny import MODELS, case, passes

from interp.errors import HookError, InputError, ModelError
from interp.hooks.rows import RowHook
from interp.intervene.base import PerSample, Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.prefix import Prefix, WholePasses

MANY = [
    Untouched(),
    ScaleImageLogits(0.5),
    ScaleImageLogits(2.0, layers=(1,)),
    ScaleImageLogits(1.5, layers=(0, 2), heads=(3, 1)),
    ScaleImageLogits(2.0, mode="add"),
    ScaleImageLogits(-1.0, mode="add", heads=(0,)),
    ScaleImageLogits(0.3, mode="temper"),
    ScaleImageLogits(1.0),
]
ROWS = [
    f"blocks.{layer}.attn.hook_{point}" for layer in range(3) for point in ("attn_logits", "attn_scores", "pattern")
]


def mixed(samples):
    return PerSample(tuple(MANY[1 : 1 + samples]))


def whole_pass(vlm, inputs, intervention):
    with vlm.intervene(intervention, inputs):
        return vlm(inputs).logits[:, -1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_a_step_is_the_whole_intervened_pass(model, dtype, samples):
    vlm, inputs, _ = case(*model, dtype=dtype, samples=samples)
    close = 1e-5 if dtype == torch.float32 else max(2e-7, naive.tolerance(vlm))
    many = [*MANY, mixed(samples)]
    step = Prefix(vlm, inputs).step(many)
    assert step.logits.shape == (len(many), samples, vlm.cfg.d_vocab) and step.logits.dtype == torch.float32
    for logits, intervention in zip(step.logits, many, strict=True):
        wanted = whole_pass(vlm, inputs, intervention)
        assert (logits - wanted).abs().max() <= close * wanted.abs().max()
    confidence = torch.tensor(step.confidence)
    torch.testing.assert_close(confidence, step.logits.softmax(-1).amax(-1))


def test_steps_do_not_depend_on_order_grouping_or_what_ran_between():
    vlm, inputs, untouched = case("clip", 2, "sdpa", samples=3)
    wanted = Prefix(vlm, inputs).step(MANY).logits
    close = {"rtol": 1e-6, "atol": 1e-6}
    for chunk in (1, 3, 4, 7, 1000):
        torch.testing.assert_close(Prefix(vlm, inputs, chunk=chunk).step(MANY).logits, wanted, **close)
    prefix = Prefix(vlm, inputs, chunk=6)
    torch.testing.assert_close(prefix.step(MANY[::-1]).logits, wanted.flip(0), **close)
    for place, intervention in enumerate(MANY):
        alone = prefix.step([intervention], capture=ROWS)
        torch.testing.assert_close(alone.logits[0], wanted[place], **close)
        other = tiny.inputs(vlm, 1)
        vlm.generate(other, 3)
        vlm.run_with_cache(other)
        Prefix(vlm, other).generate([Untouched()], 2)
        prefix.generate([intervention], 3)
    torch.testing.assert_close(prefix.step(MANY).logits, wanted, **close)
    assert torch.equal(vlm(inputs).logits, untouched)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_what_edits_nothing_costs_no_step_and_is_the_plain_run_to_the_bit(model):
    vlm, inputs, _ = case(*model, dtype=torch.float32, samples=3)
    with torch.no_grad(), vlm.paused():
        untouched = vlm.model(**inputs.tensors, logits_to_keep=1).logits
    nothing = [Untouched(), ScaleImageLogits(1.0), PerSample((Untouched(),) * 3)]
    with passes(vlm) as shapes:
        prefix = Prefix(vlm, inputs, chunk=6)
        step, some = prefix.step(nothing), prefix.step(nothing[:2], samples=[2, 0])
    assert shapes == [tuple(inputs.input_ids.shape)]
    assert torch.equal(step.logits, untouched[:, -1].expand(3, -1, -1))
    assert torch.equal(some.logits, step.logits[:2, [2, 0]])
    with passes(vlm) as shapes:
        answers = prefix.generate(nothing, 4)
    assert shapes == [(6, 1)] * 3 + [(3, 1)] * 3, "two chunks, and the first token of each is known"
    wanted = vlm.generate(inputs, 4)
    assert all(answer.texts == wanted.texts for answer in answers)


@pytest.mark.parametrize("chunk", [1, 64])
def test_beside_an_edit_the_untouched_row_is_run_like_the_edited_one(chunk):
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1)
    prefix = Prefix(vlm, inputs, chunk=chunk)
    barely = ScaleImageLogits(1.0 + 2**-52)
    for ask in (lambda: prefix.step([Untouched(), barely]), lambda: prefix.generate([Untouched(), barely], 1)):
        with passes(vlm) as shapes:
            ask()
        assert shapes == ([(1, 1), (1, 1)] if chunk == 1 else [(2, 1)])
    with passes(vlm) as shapes:
        captured = prefix.step([Untouched()], capture=ROWS[2])
    assert shapes == [(1, 1)] and list(captured.captured) == [ROWS[2]]


@pytest.mark.parametrize("chosen", [[0], [2], [2, 0], [1, 1, 0]], ids=str)
def test_samples_may_be_chosen(chosen):
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=3)
    prefix = Prefix(vlm, inputs)
    own = mixed(3).parts
    everything = prefix.step([*MANY, mixed(3)], capture=ROWS[2:3])
    theirs = PerSample(tuple(own[sample] for sample in chosen))
    some = prefix.step([*MANY, theirs], samples=chosen, capture=ROWS[2:3])
    torch.testing.assert_close(some.logits, everything.logits[:, chosen], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(some.captured[ROWS[2]], everything.captured[ROWS[2]][:, chosen])
    with pytest.raises(InputError, match="one each"):
        prefix.step([PerSample(own[:2] * 2)], samples=chosen)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_captured_rows_are_those_of_the_whole_intervened_pass(model):
    vlm, inputs, _ = case(*model, dtype=torch.float32, samples=3)
    step = Prefix(vlm, inputs, chunk=6).step(MANY, capture=ROWS)
    for place, intervention in enumerate(MANY):
        edit = intervention.hooks(vlm.cfg, inputs.layouts)
        _, cache = vlm.run_with_cache(inputs, names_filter=ROWS, fwd_hooks=edit)
        for name in ROWS:
            got = step.captured[name][place]
            assert torch.equal(got == -torch.inf, cache[name] == -torch.inf)
            seen = cache["attn_scores", 0] > -torch.inf  # what stands in padding differs, and means nothing
            torch.testing.assert_close(got.where(seen, 0.0), cache[name].where(seen, 0.0), rtol=5e-5, atol=5e-5)
    one = Prefix(vlm, inputs).step([Untouched()], capture=ROWS[2])
    assert list(one.captured) == [ROWS[2]]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_answers_are_those_of_the_whole_intervened_run(model, samples):
    vlm, inputs, _ = case(*model, dtype=torch.float32, samples=samples)
    many = [*MANY, mixed(samples)]
    answers = Prefix(vlm, inputs, chunk=5).generate(many, 6)
    assert len({answer.texts for answer in answers}) > 1
    for answer, intervention in zip(answers, many, strict=True):
        wanted = vlm.generate(inputs, 6, intervention=intervention)
        assert torch.equal(answer.tokens, wanted.tokens)
        assert (answer.texts, answer.lengths) == (wanted.texts, wanted.lengths)
        torch.testing.assert_close(answer.first_logits, wanted.first_logits, rtol=1e-4, atol=1e-4)


def test_answers_that_end_early_are_those_of_the_whole_run():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)
    free = vlm.generate(inputs, 6).tokens
    for ends in (int(free[0, 1]), [int(free[1, 0]), int(free[2, 2])], [int(token) for token in free[:, 0]]):
        vlm.model.generation_config.eos_token_id = ends
        for answer, intervention in zip(Prefix(vlm, inputs).generate(MANY, 6), MANY, strict=True):
            wanted = vlm.generate(inputs, 6, intervention=intervention)
            assert (answer.texts, answer.lengths) == (wanted.texts, wanted.lengths)
            assert torch.equal(answer.tokens, wanted.tokens)


@pytest.mark.parametrize("window", [64, 24, 12])
def test_a_step_is_the_whole_pass_with_a_sliding_window_that_holds_the_prompt_or_part_of_it(window):
    vlm = tiny.vlm(window=window, dtype=torch.float64)
    inputs = tiny.inputs(vlm, 2)
    with passes(vlm) as shapes:
        (alone,) = Prefix(vlm, inputs).step([Untouched()]).logits
    assert len(shapes) == 2, "a window may have dropped what the last row needs: it is run by itself"
    torch.testing.assert_close(alone, whole_pass(vlm, inputs, Untouched()).float(), rtol=1e-6, atol=1e-6)
    for logits, intervention in zip(Prefix(vlm, inputs).step(MANY).logits, MANY, strict=True):
        torch.testing.assert_close(logits, whole_pass(vlm, inputs, intervention).float(), rtol=1e-6, atol=1e-6)


def test_a_single_intervention_where_several_are_expected_is_refused():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    prefix = Prefix(vlm, inputs)
    for ask in (prefix.step, prefix.generate):
        with pytest.raises(InputError, match="where a list is expected"):
            ask(ScaleImageLogits(0.5))
        with pytest.raises(InputError, match="no intervention is given"):
            ask([])


class Elsewhere:
    """An intervention of the last row, on a point of the caller's choice."""

    rows = "last"

    def __init__(self, name):
        self.name = name

    def hooks(self, shape, layouts):
        return [(self.name, RowHook(lambda t, hook: t * 2, "last"))]


@pytest.mark.parametrize("rows", ["all", "after_image", (-1,), (3, 4)], ids=str)
def test_an_intervention_on_other_rows_is_refused(rows):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    prefix = Prefix(vlm, inputs)
    bad = ScaleImageLogits(0.5, rows=rows)
    for interventions in ([bad], [Untouched(), bad], [PerSample((bad, bad))]):
        with pytest.raises(HookError, match="shares all rows before the last"):
            prefix.step(interventions)
        with pytest.raises(HookError, match="shares all rows before the last"):
            prefix.generate(interventions)


@pytest.mark.parametrize(
    "name",
    ["vision.blocks.0.attn.hook_pattern", "projector.hook_out", "blocks.0.hook_resid_pre", "blocks.0.attn.hook_q"],
)
def test_what_is_no_attention_row_of_the_language_model_is_refused(name):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    prefix = Prefix(vlm, inputs)
    with pytest.raises(HookError, match="no attention row"):
        prefix.step([Elsewhere(name)])
    with pytest.raises(HookError, match="no attention row"):
        prefix.step([Untouched()], capture=[name])
    with pytest.raises(HookError, match="did you mean"):
        prefix.step([Untouched()], capture=["blocks.0.attn.hook_patern"])


def test_hooks_that_are_on_are_refused():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    prefix = Prefix(vlm, inputs)
    with vlm.hooks([("blocks.0.hook_resid_pre", lambda t, hook: t * 2)]):
        for attempt in (
            lambda: Prefix(vlm, inputs),
            lambda: prefix.step([Untouched()]),
            lambda: prefix.generate([Untouched()]),
        ):
            with pytest.raises(HookError, match="hooks are on"):
                attempt()
    prefix.step([Untouched()])


def test_what_can_not_be_shared_is_refused():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    prefix = Prefix(vlm, inputs)
    for attempt in (lambda: prefix.step([]), lambda: prefix.generate([])):
        with pytest.raises(InputError, match="no intervention"):
            attempt()
    with pytest.raises(InputError, match="one each"):
        prefix.step([PerSample((Untouched(),) * 5)])
    for samples in ([2], [-1], [], [True], "0", 1, [0.5]):
        for runs in (prefix, WholePasses(vlm, inputs)):
            with pytest.raises(InputError, match="name some of the 2 of the batch"):
                runs.step([Untouched()], samples=samples)
    for chunk in (0, "6", True):
        with pytest.raises(InputError, match="chunk .* can not be used"):
            Prefix(vlm, inputs, chunk=chunk)
    with pytest.raises(HookError, match="layer"):
        prefix.step([ScaleImageLogits(0.5, layers=(3,))])
    with pytest.raises(InputError, match="ends with the image"):
        Prefix(vlm, vlm.prepare(tiny.photo(), "Where is the mug? <image>", prompt="raw"))
    vlm.unwrap()
    for attempt in (lambda: Prefix(vlm, inputs), lambda: prefix.step([Untouched()])):
        with pytest.raises(ModelError, match="unwrapped"):
            attempt()


def test_an_error_in_a_step_leaves_the_prefix_usable():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    prefix = Prefix(vlm, inputs)
    wanted = prefix.step(MANY).logits

    class Broken(Elsewhere):
        def hooks(self, shape, layouts):
            return [(ROWS[0], RowHook(lambda t, hook: 1 / 0, "last"))]

    with pytest.raises(ZeroDivisionError):
        prefix.step([Broken("")])
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
    assert torch.equal(prefix.step(MANY).logits, wanted)
