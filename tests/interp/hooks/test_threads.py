"""Threads that share a hooked model get what they would get one after another, or are told who keeps the model."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny
import torch
from transformers import TextIteratorStreamer

from interp.errors import HookError
from interp.hooks import turns
from interp.hooks.turns import Turns
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix

BLIND = ScaleImageLogits(-50, mode="add", rows="after_image")
LAST = ScaleImageLogits(-50, mode="add")
TIMES = 6
PATTERN = "blocks.0.attn.hook_pattern"


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl"])
def asked(request):
    vlm = HookedVLM.from_pretrained(request.param, dtype="float32")
    questions = ("Where is the mug?", "Is the small cup on the left of the big table?")
    return vlm, [vlm.prepare(tiny.photo(n), questions[n % 2], prompt="paper") for n in range(2)]


def own_call(vlm, inputs):
    with torch.no_grad():
        return vlm.model(**inputs.tensors).logits


def own_call_edited(vlm, inputs):
    with vlm.intervene(BLIND, inputs):
        return own_call(vlm, inputs)


WORKS = {
    "untouched": lambda vlm, inputs: vlm.generate(inputs, 3).first_logits,
    "edited": lambda vlm, inputs: vlm.generate(inputs, 3, intervention=BLIND).first_logits,
    "own call": own_call,
    "own call, edited": own_call_edited,
    "prefix": lambda vlm, inputs: Prefix(vlm, inputs).step([Untouched(), LAST]).logits,
    "prefix, generated": lambda vlm, inputs: Prefix(vlm, inputs).generate([LAST], 3)[0].first_logits,
    "captured": lambda vlm, inputs: vlm.run_with_cache(inputs, names_filter=PATTERN)[1][PATTERN],
}


def together(*works):
    """Run functions at once, each in a thread of its own; what they gave back, in order."""
    barrier = threading.Barrier(len(works))

    def begin(work):
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(begin, work) for work in works]]


def in_a_thread(work):
    return together(work)[0]


def free(vlm):
    guarded = vlm._wiring.guard.turns
    return guarded.owner is None and not guarded._blocks and not guarded._passes


@pytest.mark.parametrize("first", ["untouched", "own call", "captured"])
@pytest.mark.parametrize("second", ["edited", "own call, edited", "prefix", "prefix, generated"])
def test_two_threads_get_what_each_gets_alone(asked, first, second):
    vlm, batches = asked

    def many(name):
        return [WORKS[name](vlm, inputs) for _ in range(TIMES) for inputs in batches]

    alone = {name: [WORKS[name](vlm, inputs) for inputs in batches] * TIMES for name in (first, second)}
    got = together(lambda: many(first), lambda: many(second))
    for name, values in zip((first, second), got, strict=True):
        assert all(torch.equal(ours, wanted) for ours, wanted in zip(values, alone[name], strict=True)), name
    assert free(vlm)


def test_an_untouched_pass_under_way_does_not_meet_hooks_that_are_put_on_meanwhile():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    plain, began, edited = vlm(inputs).logits, threading.Event(), threading.Event()

    def slow(module, args):
        began.set()
        edited.wait(0.3)  # the other thread has time to come in between

    def edit():
        began.wait()
        vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.2.hook_resid_post", lambda t, hook: t * 0)])
        edited.set()

    handle = vlm.model.model.language_model.layers[0].register_forward_pre_hook(slow)
    got = together(lambda: own_call(vlm, inputs), edit)[0]
    handle.remove()
    assert torch.equal(got, plain) and free(vlm)


def test_one_thread_may_nest_what_it_likes(asked):
    vlm, (inputs, _) = asked
    plain = own_call(vlm, inputs)
    with vlm.hooks(), vlm.turn(), vlm.intervene(Untouched(), inputs):
        assert torch.equal(vlm(inputs).logits, plain)
        assert torch.equal(vlm.run_with_cache(inputs, names_filter=PATTERN)[0].logits, plain)
    assert free(vlm)


def test_hooks_may_be_taken_off_in_another_thread_than_they_were_put_on(asked):
    vlm, (inputs, _) = asked
    plain = own_call(vlm, inputs)
    context = vlm.intervene(BLIND, inputs)
    in_a_thread(context.__enter__)
    context.__exit__(None, None, None)
    assert free(vlm) and torch.equal(own_call(vlm, inputs), plain)


def test_hooks_of_a_thread_that_has_ended_are_told_and_not_waited_for(asked):
    vlm, (inputs, _) = asked
    context = vlm.intervene(BLIND, inputs)
    thread = threading.Thread(target=context.__enter__, name="asker")
    thread.start()
    thread.join()
    for work in WORKS.values():
        with pytest.raises(HookError, match="'asker' ended while its hooks were on"):
            work(vlm, inputs)
    context.__exit__(None, None, None)
    assert free(vlm) and own_call(vlm, inputs) is not None


def test_who_waits_for_a_thread_that_waits_for_him_is_told_in_the_end(asked, monkeypatch):
    vlm, (inputs, _) = asked
    monkeypatch.setattr(turns, "PATIENCE", 0.3)
    for work in WORKS.values():
        with vlm.intervene(BLIND, inputs), pytest.raises(HookError, match="keeps this model, with its hooks on"):
            in_a_thread(lambda work=work: work(vlm, inputs))
    assert free(vlm)


def test_a_thread_that_goes_on_running_passes_is_waited_for(asked, monkeypatch):
    vlm, (inputs, _) = asked
    plain = own_call(vlm, inputs)
    monkeypatch.setattr(turns, "PATIENCE", 1.0)
    held = threading.Event()

    def busy():
        with vlm.intervene(BLIND, inputs):
            held.set()
            for _ in range(8):
                own_call(vlm, inputs)
                threading.Event().wait(0.3)

    def other():
        held.wait()
        return own_call(vlm, inputs)

    assert torch.equal(together(busy, other)[1], plain)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_pass_that_breaks_off_gives_the_model_back(asked, error):
    vlm, (inputs, _) = asked
    plain = own_call(vlm, inputs)

    def fail(tensor, hook):
        raise error("stop")

    with pytest.raises(error):
        vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.1.hook_resid_post", fail)])
    assert free(vlm)
    with pytest.raises(error), vlm.hooks([("blocks.1.hook_resid_post", fail)]):
        own_call(vlm, inputs)
    assert free(vlm) and torch.equal(in_a_thread(lambda: own_call(vlm, inputs)), plain)


def test_a_pass_of_the_users_own_that_is_interrupted_is_forgotten_with_his_next_one():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)

    def stop(module, args):
        raise KeyboardInterrupt

    handle = vlm.model.model.language_model.layers[0].register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        own_call(vlm, inputs)
    handle.remove()
    assert not free(vlm)
    own_call(vlm, inputs)
    assert free(vlm)


def interrupted(vlm, inputs, error):
    """A pass of the user's own that is broken off by something that torch does not tell its hooks of."""

    def stop(module, args):
        raise error

    handle = vlm.model.model.language_model.layers[0].register_forward_pre_hook(stop)
    try:
        with pytest.raises(error):
            own_call(vlm, inputs)
    finally:
        handle.remove()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("work", WORKS)
def test_a_pass_that_broke_off_with_its_thread_is_not_waited_for(asked, error, work):
    vlm, (inputs, _) = asked
    alone = WORKS[work](vlm, inputs)
    thread = threading.Thread(target=lambda: interrupted(vlm, inputs, error))
    thread.start()
    thread.join()
    assert not free(vlm)
    assert torch.equal(WORKS[work](vlm, inputs), alone) and free(vlm)


def test_a_pass_that_broke_off_in_a_thread_that_lives_on_is_not_waited_for(asked, monkeypatch):
    vlm, (inputs, _) = asked
    monkeypatch.setattr(turns, "LONGEST_PASS", 1.0)
    plain, edited = own_call(vlm, inputs), own_call_edited(vlm, inputs)
    interrupted(vlm, inputs, KeyboardInterrupt)
    assert not free(vlm)
    assert torch.equal(in_a_thread(lambda: own_call_edited(vlm, inputs)), edited) and free(vlm)
    interrupted(vlm, inputs, KeyboardInterrupt)
    with vlm.turn():  # of the same thread, and without a pass
        pass
    assert free(vlm)
    with vlm.intervene(BLIND, inputs):
        interrupted(vlm, inputs, KeyboardInterrupt)
    assert free(vlm) and torch.equal(own_call(vlm, inputs), plain)


def test_unwrap_takes_off_the_hooks_of_a_thread_that_has_ended(asked):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    plain, context = own_call(vlm, inputs), vlm.intervene(BLIND, inputs)
    thread = threading.Thread(target=context.__enter__)
    thread.start()
    thread.join()
    with pytest.raises(HookError, match=r"vlm\.unwrap\(\) takes its hooks off, and HookedVLM\.wrap"):
        own_call(vlm, inputs)
    again = HookedVLM.wrap(vlm.unwrap(), vlm.processor, self_check=False)
    assert free(vlm) and torch.equal(own_call(again, inputs), plain)
    with again.turn(), vlm.turn():
        context.__exit__(None, None, None)  # late, and of the old one
        assert not free(vlm)
    assert free(vlm) and free(again)


def test_a_new_thread_with_the_number_of_one_that_ended_does_not_inherit_its_hooks(asked):
    vlm, (inputs, _) = asked
    context, told = vlm.intervene(BLIND, inputs), {}

    def ask():
        with pytest.raises(HookError, match="'asker' ended while its hooks were on"):
            own_call(vlm, inputs)
        told[threading.get_ident()] = True

    first = threading.Thread(target=context.__enter__, name="asker")
    first.start()
    first.join()
    for _ in range(20):  # systems use the numbers of ended threads again
        other = threading.Thread(target=ask)
        other.start()
        other.join()
        assert told.get(other.ident)
        if other.ident == first.ident:
            break
    context.__exit__(None, None, None)
    assert free(vlm)


def test_an_answer_is_streamed_under_an_intervention_of_the_thread_that_generates(asked, monkeypatch):
    vlm, (inputs, _) = asked
    settings = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    monkeypatch.setattr(turns, "PATIENCE", 0.3)
    with vlm.intervene(BLIND, inputs):
        wanted = vlm.model.generate(**inputs.tensors, **settings)[0, -3:]
        with pytest.raises(HookError, match="put the `with` into the thread that runs the model"):
            in_a_thread(lambda: vlm.model.generate(**inputs.tensors, **settings))
    streamer = TextIteratorStreamer(vlm.processor.tokenizer, skip_prompt=True, timeout=60)

    def generate():
        with vlm.intervene(BLIND, inputs):
            vlm.model.generate(**inputs.tensors, **settings, streamer=streamer)

    thread = threading.Thread(target=generate)
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == vlm.processor.tokenizer.decode(wanted) and free(vlm)


def test_pausing_waits_for_passes_and_the_others_for_its_end(asked):
    vlm, (inputs, _) = asked
    plain, paused, go = own_call(vlm, inputs), threading.Event(), threading.Event()

    def pause():
        with vlm.paused():
            paused.set()
            go.wait(0.3)

    def other():
        paused.wait()
        return WORKS["edited"](vlm, inputs)

    wanted = WORKS["edited"](vlm, inputs)
    assert torch.equal(together(pause, other)[1], wanted)
    assert torch.equal(own_call(vlm, inputs), plain)


def test_two_models_do_not_wait_for_each_other(asked, monkeypatch):
    vlm, (inputs, _) = asked
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    other = tiny.vlm()
    with vlm.intervene(BLIND, inputs):
        assert in_a_thread(lambda: other(tiny.inputs(other))) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_are_not_in_it():
    lock, entered, leave = Turns(), threading.Event(), threading.Event()

    def keep():
        with lock.block():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=keep)
    thread.start()
    entered.wait()
    child = os.fork()
    if child == 0:
        try:
            with lock.block():
                os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    with lock.block():
        child = os.fork()
        if child == 0:
            try:
                with lock.block():
                    pass
                os._exit(0 if lock.owner is threading.current_thread() else 2)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
