"""The lock of a hooked model, whatever the collection of garbage does to it and when."""

import gc
import sys
import threading

import pytest

from interp.hooks import turns
from interp.hooks.turns import Turns


def steps_that_leave_a_block_at_line(lock, number, steps):
    """Run steps, and at their n-th line in turns.py leave a block that nobody refers to, as its finaliser would."""
    abandoned, lines = lock.block(), []
    abandoned.__enter__()
    assert lock.owner is threading.current_thread()

    def trace(frame, event, arg):
        if frame.f_code.co_filename != turns.__file__:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == number:
                abandoned.gen.close()
        return trace

    sys.settrace(trace)
    try:
        steps()
    finally:
        sys.settrace(None)
    abandoned.gen.close()
    return len(lines)


def block_and_pass(lock, kept):
    with lock.block():
        kept.append(lock.owner)
    lock.begin_pass("language")
    kept.append(lock.owner)
    lock.end_pass("language")


def pass_around_a_block(lock, kept):
    lock.begin_pass("model")
    with lock.block():
        lock.begin_pass("language")
    kept.append(lock.owner if lock.inside() else None)
    lock.end_pass("model")


@pytest.mark.parametrize("steps", [block_and_pass, pass_around_a_block])
def test_a_block_that_is_left_by_a_collection_of_garbage_at_any_step_harms_none(steps):
    """Each line of the lock, one by one: no waiting for oneself, no turn lost while it is needed, none left over."""
    done = []

    def every_line():
        number, lines = 0, 1
        while number < lines:
            lock, kept, number = Turns(), [], number + 1
            lines = steps_that_leave_a_block_at_line(lock, number, lambda: steps(lock, kept))  # noqa: B023
            assert kept and all(owner is threading.current_thread() for owner in kept), number
            assert lock.owner is None and not lock._blocks and not lock._passes, number
        done.append(lines)

    thread = threading.Thread(target=every_line, daemon=True)
    thread.start()
    thread.join(20)
    assert done and done[0] > 15


def test_abandoned_blocks_in_cycles_are_collected_while_others_are_entered():
    lock, done = Turns(), []

    def abandon():
        def keep():
            with lock.block():
                yield

        generator = keep()
        next(generator)
        cycle = [generator]
        cycle.append(cycle)

    def many():
        for _ in range(200):
            abandon()
            with lock.block():
                lock.begin_pass("model")
                lock.end_pass("model")
        gc.collect()
        done.append(lock.owner)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        thread = threading.Thread(target=many, daemon=True)
        thread.start()
        thread.join(60)
    finally:
        gc.set_threshold(*before)
    assert done == [None]


def test_leaving_an_abandoned_block_keeps_the_pass_that_began_meanwhile():
    lock = Turns()
    abandoned = lock.block()
    abandoned.__enter__()
    lock.begin_pass("model")
    abandoned.gen.close()
    assert lock.inside() and lock.owner is threading.current_thread()
