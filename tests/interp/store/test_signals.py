"""A signal ends whatever goes on for long, also where Python swallows what the signal's handler raises."""

import ctypes
import gc
import os
import re
import signal
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import interp
from interp.cli import Parser, run
from interp.detect.batching import detect_many
from interp.image.boxes import Boxes
from interp.model.hooked_vlm import HookedVLM
from interp.store.progress import ProgressBar
from interp.store.signals import check_stopped
from interp.study.run import read_study
from tests.helpers.studies import SETTINGS, Asked, same, study


def told(number):
    """Get a signal, and give its handler the time to raise."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


class Told:
    """Gets a signal while it is finalised."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        told(self.number)


def in_a_weak_reference(number):
    held = set()
    kept = weakref.ref(held_in := type("Held", (), {})(), lambda _: told(number))
    del held_in
    assert kept() is None and not held


def in_a_finaliser(number):
    one = Told(number)
    del one


def in_a_function_that_c_calls(number):
    ctypes.CFUNCTYPE(None)(lambda: told(number))()


def in_a_collection_of_garbage(number):
    def seen(phase, about):
        gc.callbacks.remove(seen)
        told(number)

    gc.callbacks.append(seen)
    gc.collect()


SWALLOWED = [in_a_weak_reference, in_a_finaliser, in_a_function_that_c_calls, in_a_collection_of_garbage]
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


def code(does):
    """The exit code of a command that does this."""
    parser = Parser(prog="test")
    parser.set_defaults(command=lambda options: does())
    return run(parser, [])


@pytest.mark.parametrize("swallow", SWALLOWED, ids=lambda each: each.__name__)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
def test_that_a_signal_which_python_swallows_ends_a_study_that_keeps_all(tmp_path, capsys, swallow, number):
    asked = Asked()

    def ask(batch):
        if len(asked.batches) == 5:
            swallow(number)
        return asked(batch)

    before = {one: signal.getsignal(one) for one in SIGNALS}, sys.unraisablehook
    assert code(lambda: study(tmp_path / "out", ask=ask, flush_seconds=3600)) == 128 + number
    err = capsys.readouterr().err
    assert "keeps what was measured: go on with --resume" in err and "Traceback" not in err
    assert ({one: signal.getsignal(one) for one in SIGNALS}, sys.unraisablehook) == before
    assert read_study(tmp_path / "out", partial=True)[0]["id"].nunique() == 12, "the batch that was swallowed in too"
    same(study(tmp_path / "out", settings=SETTINGS, resume=True), study(None))


@pytest.mark.parametrize("shown", [False, True])
def test_that_loops_with_a_bar_end_between_two_steps(shown):
    steps = []

    def loop():
        for step in ProgressBar(range(5), disable=not shown):
            steps.append(step)
            if step == 2:
                in_a_weak_reference(signal.SIGTERM)

    assert code(loop) == 128 + signal.SIGTERM
    assert steps == [0, 1, 2]


def test_that_detecting_ends_with_the_boxes_found_so_far_kept(tmp_path):
    class Finds:
        name, labels, settings = "finds", ("mug",), {"kind": "none"}
        calls = 0

        def detect(self, photo, words=None):
            self.calls += 1
            if self.calls == 3:
                in_a_finaliser(signal.SIGTERM)
            return Boxes(source="finds")

    finds = Finds()
    photos = [Image.fromarray(np.full((6, 6, 3), place, np.uint8)) for place in range(8)]
    assert code(lambda: detect_many(finds, photos, cache=tmp_path, batch=1, progress=False)) == 128 + signal.SIGTERM
    assert finds.calls == len(list(tmp_path.glob("*.json"))) == 3


def test_that_no_pass_begins_behind_a_signal():
    vlm = HookedVLM.from_pretrained("tiny-llava", dtype="float32")
    ids = vlm.processor.tokenizer("where is the mug", return_tensors="pt")["input_ids"]
    passes = []

    def loop():
        for _ in range(4):
            vlm.model(input_ids=ids)
            passes.append(1)
            if len(passes) == 2:
                in_a_weak_reference(signal.SIGTERM)

    assert code(loop) == 128 + signal.SIGTERM
    assert len(passes) == 2
    vlm.model(input_ids=ids)


def test_that_a_signal_is_forgotten_when_its_command_has_ended():
    assert code(lambda: in_a_weak_reference(signal.SIGTERM)) == 0, "nothing was left to do"
    check_stopped()
    assert code(check_stopped) == 0


def test_that_what_else_python_swallows_is_still_told():
    told_of = []

    class Wrong:
        def __del__(self):
            raise ValueError("ours")

    def does():
        one = Wrong()
        del one

    before, sys.unraisablehook = sys.unraisablehook, lambda swallowed: told_of.append(str(swallowed.exc_value))
    try:
        assert code(does) == 0
    finally:
        sys.unraisablehook = before
    assert told_of == ["ours"]


def test_that_every_bar_hears_signals():
    root = Path(interp.__file__).parents[1]
    files = [file for part in ("interp", "adaptvis", "probes") for file in (root / part).rglob("*.py")]
    own = [str(file.relative_to(root)) for file in files if re.search(r"import tqdm|from tqdm", file.read_text())]
    assert own == ["interp/store/progress.py"]
