"""Sentences of a comparison over made-up numbers, contradicting ones too: each is held against its numbers."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_models import made_up_comparison
from said import check_form, check_intervals, intervals_in, made_up_ends

from probes.retraining.comparison import SEEDS
from probes.retraining.findings import gap_of_losses, lines_of, sentences, table_text


@pytest.fixture(scope="module")
def found():
    return made_up_comparison()


def made_up(found, seed):
    """The comparison with other numbers in each row: intervals that disagree, of no width, or none; other logs."""
    rng = np.random.default_rng(seed)
    table = found.measures.copy()
    ends = np.array([made_up_ends(rng, spread=0.5) for _ in range(len(table))], dtype=np.float32)
    ends[rng.random(len(table)) < 0.2, 1:] = np.nan
    table[["value", "low", "high"]] = ends
    kind = ("learned", "never", "half", "alike", "no logs")[seed % 5]
    logs = found.training.copy()
    if kind == "alike":
        logs["value"] = np.float32(0.4)
    elif kind != "learned":
        logs["value"] = (0.3 if kind == "never" else 1.0) * rng.random(len(logs)).astype(np.float32)
    settings = {**found.settings, "level": float(rng.choice([0.9, 0.95]))}
    some = [] if seed % 3 else [{"measure": "psi", "part": "photo", "why": "nothing was right"}]
    left_out = pd.DataFrame(some, columns=["measure", "part", "why"])
    training = logs.iloc[:0] if kind == "no logs" else logs
    if kind == "half":  # some parts are not there
        table = table[table["measure"] != "accuracy"]
    return replace(found, measures=table, training=training, left_out=left_out, settings=settings)


def between(found, line, arm, against):
    both = [found.value(arm, line.measure, line.part, against=against, interval=one) for one in (found.drawn, SEEDS)]
    return both, [int(one.low > 0) - int(one.high < 0) for one in both]


@pytest.mark.parametrize("seed", range(40))
def test_sentences(found, seed):
    own = made_up(found, seed)
    said, level = sentences(own), own.settings["level"]
    for one in said:
        check_form(one)
        assert one.endswith(".") and not re.search(r"(?<!depth )\b0 of\b", one), one
    logs, first = own.training, own.arms[0]
    if len(logs):
        last = logs[(logs["measure"] == "answer") & (logs["step"] == logs["step"].max())]
        by = {arm: last[last["arm"] == arm].sort_values("seed")["value"].to_numpy(float) for arm in own.arms}
        gaps = [gap_of_losses(by[arm], by[first], level) for arm in own.arms[1:]]
        known = [(one.estimate, one.low, one.high) for one in gaps if np.isfinite(one.low)]
        check_intervals(said[0], known, level=level, all_of=True)
        apart = [not low <= 0 <= high for _, low, high in known]
        assert said[0].count("not the same") == sum(apart)
        assert said[0].count("no difference was detected") == len(apart) - sum(apart)
        assert said[0].count("nothing is claimed") == len(gaps) - len(known)
        for arm in own.arms:
            assert f"{arm} {by[arm].mean():.3f} ({by[arm].min():.3f} to {by[arm].max():.3f})" in said[0]
        watched = logs[logs["measure"] == "right_relation"]
        for arm in own.arms:
            rows = watched[watched["arm"] == arm].groupby("step")["value"].mean()
            assert f"{arm} {100 * rows.iloc[-2]:.1f} % to {100 * rows.iloc[-1]:.1f} %" in said[1].replace(
                " to", " % to"
            )
    (learned,) = [one for one in said if "above chance" in one] or [""]
    models = own.measures.query("what == 'model' and measure == 'accuracy' and part == 'relation'")
    assert bool(learned) == bool(len(models))
    if learned:
        good = int((models["low"] > own.settings["chance"]["relation"]).sum())
        assert learned.startswith(f"Of {len(models)} models, {good or 'none'} answer")
        assert learned.count(" of seed ") == (len(models) - good if good else 0)
    for arm, against in (("normalised", "plain"), ("scaled", "plain"), ("scaled", "normalised")):
        (one,) = [text for text in said if text.startswith(f"{arm.capitalize()} beside {against}:")]
        parts = {"higher": "higher in ", "lower": "lower in ", "unsure": "nothing is claimed, in ",
                 "untold": "There is no interval in ", "alike": "No difference was detected in "}  # fmt: skip
        listed = {key: re.search(rf"{start}(.*?)(?: and lower in|\. |\.$)", one) for key, start in parts.items()}
        named = {key: hit[1].split("; ") if hit else [] for key, hit in listed.items()}
        for line in lines_of(own):
            both, sides = between(own, line, arm, against)
            none = not any(np.isfinite(end.low) for end in both)
            want = "untold" if none else {2: "higher", -2: "lower"}.get(sum(sides), "unsure" if any(sides) else "alike")
            assert [key for key, words in named.items() if line.words.replace(" (%)", "") in words] == [want], one
        equal = [text for text in said if "equally well" in text and f"{arm} and {against} " in text.lower()]
        first_line = lines_of(own)[0]
        if first_line.measure == "accuracy":
            both, sides = between(own, first_line, arm, against)
            assert bool(equal) == any(sides)
    (count,) = [one for one in said if "differences are told of" in one]
    assert count.startswith(f"{3 * len(lines_of(own))} ") and f"{100 * level:g} %" in count
    assert sum(one.startswith("There is no psi of photo") for one in said) == len(own.left_out)


@pytest.mark.parametrize("seed", range(10))
def test_the_table_has_every_interval_that_there_is_and_names_its_level_in_its_heading(found, seed):
    own = made_up(found, seed)
    head, _, *rows = table_text(own).splitlines()
    assert f"[{100 * own.settings['level']:g} % CI, seeds and scenes; t: over seeds, Student's]" in head
    assert "nan" not in head + "".join(rows)
    for line, row in zip(lines_of(own), rows, strict=True):
        cells = row.strip("| ").split(" | ")
        assert cells[0] == line.words
        for arm, cell in zip(own.arms, cells[1:], strict=False):
            value = own.value(arm, line.measure, line.part)
            factor = 100 if line.share else 1
            assert float(cell.split(" ")[0]) == pytest.approx(
                factor * value.estimate, abs=0.051 if line.share else 0.0051
            )
            assert ("[" in cell) == bool(np.isfinite(value.low))
        for (arm, against), cell in zip((("normalised", "plain"), ("scaled", "plain")), cells[4:], strict=False):
            both, _ = between(own, line, arm, against)
            assert cell.count("[") == sum(np.isfinite(end.low) for end in both) and cell.count("; t [") == np.isfinite(
                both[1].low
            )
    assert not intervals_in(" ".join(rows))  # levels are named once
