"""A small study for the tests of studies: samples, a measure whose numbers depend on the batch, ways to break off."""

import hashlib
import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress

import numpy as np
import pandas as pd
from PIL import Image

from interp.objects.sample import Sample
from interp.study.run import read_study, run_study

SETTINGS = {"model": "none", "dtype": "float32", "versions": {"torch": "2"}, "interventions": ["a", "b"], "seed": 0}


def made(place):
    image = Image.fromarray(np.full((4, 5, 3), place, np.uint8))
    question = "?" * random.Random(place).randrange(3, 9)
    return Sample(f"s-{place:03d}", image, question, ("left", "right"), "left", meta={"row": place})


SAMPLES = [made(place) for place in range(60)]
IDS = [sample.id for sample in SAMPLES]


def measure(batch):
    """Numbers that depend on the whole batch, as those of a padded batch do; gaps; one to three rows a sample."""
    seed = int(hashlib.sha256(" ".join(sample.id for sample in batch).encode()).hexdigest()[:8], 16)
    answers = []
    for sample in batch:
        place = sample.meta["row"]
        draw = np.random.default_rng([seed, place])
        rows = [
            {
                "turn": turn,
                "share": draw.random(),
                "narrow": np.float32(draw.random()),
                "count": None if place % 3 else 10**15 + place,
                "right": None if place % 5 else bool(place % 2),
                "word": "late" if len(sample.question) == 3 else None,  # the shortest questions are asked last
                "never": None,
                "profile": np.array([draw.random(), np.nan, -0.0, turn], np.float32),
                "rare": None if place % 7 else draw.random(3, np.float32),
            }
            for turn in range(1 + place % 3)
        ]
        answers.append(rows)
    return answers


def study(out, samples=SAMPLES, ask=measure, **changes):
    return run_study(samples, ask, out, **{"settings": SETTINGS, "batch": 2, "progress": False, **changes})


def same(table, other):
    pd.testing.assert_frame_equal(table, other, check_exact=True)


def kept(out):
    return set(read_study(out, partial=True)[0]["id"]) if (out / "manifest.json").exists() else set()


class Asked:
    """`measure` that writes down what it was asked, and fails or is interrupted before its n-th batch."""

    def __init__(self, fail_at=None, error=None):
        self.batches, self.fail_at, self.error = [], fail_at, error

    def __call__(self, batch):
        if len(self.batches) == self.fail_at:
            raise self.error
        self.batches.append([sample.id for sample in batch])
        return measure(batch)


def broken_off(out, after, **changes):
    """A study that stopped after some batches."""
    with suppress(ZeroDivisionError):
        study(out, ask=Asked(after, ZeroDivisionError()), **{"flush_seconds": 0.0, **changes})


def child(out, log, pause, flush, die):
    """Run the study; `die` kills the process right before or after a rename to a name that holds its second word."""
    rename = os.replace

    def deadly(source, target):
        if die and die.split()[1] in str(target):
            if die.startswith("after"):
                rename(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    def slow(batch):
        with log.open("a") as file:
            file.write(" ".join(sample.id for sample in batch) + "\n")
        time.sleep(pause)
        return measure(batch)

    os.replace = deadly
    study(out, ask=slow, resume=True, flush_seconds=flush)


def start(out, log, *, pause=0.0, flush=0.0, die=""):
    """A process of its own, forked from one that has the imports behind it."""
    log.write_text("")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["interp.study.run", "interp.objects.sample", "pandas", "pyarrow.parquet", "pytest"])
    process = context.Process(target=child, args=(out, log, pause, flush, die))
    process.start()
    return process
