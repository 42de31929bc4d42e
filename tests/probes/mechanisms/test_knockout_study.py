"""Knock-outs over a data set: against single passes and loops, resumed, and what is refused before the first pass."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from interp import HookedVLM, Knockout
from interp.datasets.reading import read_samples
from interp.errors import InputError
from interp.image.boxes import Box
from probes.__main__ import main
from probes.mechanisms.knockout.arms import ARMS, OBJECT, RANDOM_IMAGE, RANDOM_TEXT
from probes.mechanisms.knockout.measurement import KnockoutMeasurement, _tell, read_windows
from probes.mechanisms.knockout.report import knockout_findings
from probes.mechanisms.knockout.study import measure_cuts, study_knockout
from probes.mechanisms.scenes.vocabulary import spelled_ids

WINDOWS = {"first": (0, 1), "all": tuple(range(12))}


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("shapes-vlm", self_check=False)


@pytest.fixture(scope="module")
def samples():
    first, *others = read_samples("shapes", None, n=4)
    return [replace(first, answer=next(one for one in first.options if one != first.answer)), *others]  # one is wrong


@pytest.fixture(scope="module")
def found(vlm, samples):
    windows = {"first": (0, 1), "all": tuple(range(vlm.cfg.n_layers))}
    return study_knockout(vlm, samples, windows, batch=3, progress=False, draws=50)


def alone(vlm, sample, edit=None, prompt="chat"):
    """The probability of the answer in a pass of this sample alone, and whether it is the likeliest token."""
    inputs = vlm.prepare(sample.image, sample.question, prompt=prompt)
    with torch.no_grad():
        logits = vlm.run_with_hooks(inputs, intervention=edit).logits[0, -1].double()
    ids = spelled_ids(vlm, sample.answer)
    return sum(logits.softmax(-1)[word].item() for word in ids), int(logits.argmax()) in ids, inputs


def test_each_arm_is_a_pass_with_these_edges_cut(vlm, samples, found):
    assert found.arms == (OBJECT, RANDOM_IMAGE, RANDOM_TEXT, *ARMS[1:]) and found.cut.dtype == np.float32
    for place, sample in enumerate(samples):
        probability, right, inputs = alone(vlm, sample)
        assert found.probability[place] == pytest.approx(probability, abs=1e-4) and found.right[place] == right
        own = inputs.grids[0].tokens_in([thing.box for thing in sample.objects])
        for arm, edit in {
            OBJECT: {"image_tokens": own},
            "image->text": {"rows": "text"},
            "image->last": {},
            "text->last": {"keys": "text"},
        }.items():
            for number, layers in enumerate(found.windows.values()):
                wanted, top, _ = alone(vlm, sample, Knockout(**edit, layers=layers))
                where = found.arms.index(arm), number, place
                assert found.cut[where] == pytest.approx(wanted, abs=1e-4) and found.right_cut[where] == top
        for control in (RANDOM_IMAGE, RANDOM_TEXT):
            assert found.tokens[found.arms.index(control), place] <= len(own)
        assert found.tokens[0, place] == found.tokens[1, place] == len(own)
        words = inputs.layouts[0].last - inputs.layouts[0].image_positions[-1] - 1
        assert found.tokens[found.arms.index("text->last"), place] == words


def test_effects_are_relative_changes_of_what_is_right(found):
    frame = found.by_sample()
    assert 0 < found.right.mean() < 1
    for arm in found.arms:
        for window in found.windows:
            own = frame.query("arm == @arm and window == @window")
            some = own[own["right"]]
            wanted = (100 * (some["cut"] - some["probability"]) / some["probability"]).mean()
            assert found.value("effect", arm, window) == pytest.approx(wanted, rel=1e-3, abs=1e-2)
            change = own["right_cut"].mean() - own["right"].mean()
            assert found.value("accuracy_change", arm, window) == pytest.approx(change, abs=1e-6)
    gap = found.value("effect", OBJECT, "all") - found.value("effect", RANDOM_IMAGE, "all")
    assert found.value("beyond_random_image", OBJECT, "all") == pytest.approx(gap, abs=1e-2)
    assert found.row("accuracy", "untouched", "none")["value"] == pytest.approx(found.right.mean())
    assert not found.measures.isna().any().any()


def test_random_tokens_are_no_object_tokens_and_the_same_in_every_batch(vlm, samples):
    work = KnockoutMeasurement.of(vlm, WINDOWS, arms=OBJECT, seed=3)
    whole = vlm.prepare([one.image for one in samples], [one.question for one in samples])
    cuts = work._cuts(whole, samples)
    for place, sample in enumerate(samples):
        single = vlm.prepare(sample.image, sample.question)
        for arm in (RANDOM_IMAGE, RANDOM_TEXT):
            assert work._cuts(single, [sample])[arm][0].parts[0] == cuts[arm][0].parts[place]
        own = set(single.grids[0].tokens_in([thing.box for thing in sample.objects]))
        drawn = cuts[RANDOM_IMAGE][0].parts[place].image_tokens
        assert not own & set(drawn) and len(drawn) == len(own)
        (layout,) = single.layouts
        words = [len(layout) + key for key in cuts[RANDOM_TEXT][0].parts[place].keys]
        assert set(words) <= set(range(layout.image_positions[-1] + 1, layout.last))
    again = [replace(samples[0], id=f"the same {number}") for number in range(4)]
    same = vlm.prepare([one.image for one in again], [one.question for one in again])
    drawn = work._cuts(same, again)
    assert (
        len({part.keys for part in drawn[RANDOM_TEXT][0].parts})
        > 1
        < len({part.image_tokens for part in drawn[RANDOM_IMAGE][0].parts})
    )
    other = KnockoutMeasurement.of(vlm, WINDOWS, arms=OBJECT, seed=4)._cuts(whole, samples)
    assert other[RANDOM_IMAGE][0] != cuts[RANDOM_IMAGE][0]


def test_cuts_of_the_last_row_share_a_prefill_and_others_the_tower(vlm, samples):
    work = KnockoutMeasurement.of(vlm, 4, arms=("image->last", "image->text"))
    towers = []
    tower = vlm.model.model.vision_tower
    mark = tower.register_forward_pre_hook(lambda *given: towers.append(1))
    try:
        with tiny.passes(vlm) as ran:
            work(samples[:2])
    finally:
        mark.remove()
    windows = len(work.windows)
    assert len(towers) == 1 and sum(shape[1] > 1 for shape in ran) == 2 + windows


@pytest.mark.parametrize("name", ["tiny-pixtral", "tiny-qwen3_vl", "tiny-paligemma2", "tiny-gemma3"])
def test_families_of_every_attention_are_served(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    vocabulary = vlm.processor.tokenizer.get_vocab()
    word = next(word for word in sorted(vocabulary) if word.isalpha() and _one_token(vlm, word))
    photo = tiny.photo(0, (80, 60))
    samples = read_samples("shapes", None, n=2)
    samples = [replace(one, image=photo, answer=word, options=(), objects=()) for one in samples]
    work = KnockoutMeasurement.of(
        vlm, {"all": range(vlm.cfg.n_layers)}, arms=("image->text", "image->last"), prompt="paper"
    )
    work.check(samples, progress=False)
    for own, sample in zip(work(samples), samples, strict=True):
        for row, edit in zip(own, (Knockout(rows="text"), Knockout()), strict=True):
            probability, _, inputs = alone(vlm, sample, edit, "paper")
            assert row["cut"][0] == pytest.approx(probability, rel=1e-2, abs=1e-6)
            assert row["tokens"] == len(inputs.layouts[0].image_positions)


def _one_token(vlm, word):
    try:
        return bool(spelled_ids(vlm, word))
    except InputError:
        return False


def test_a_study_that_was_broken_off_ends_as_the_whole_one(vlm, samples, found, tmp_path):
    windows = {"first": (0, 1), "all": tuple(range(vlm.cfg.n_layers))}
    given = {"batch": 3, "progress": False, "draws": 50, "out": tmp_path / "k"}
    first = study_knockout(vlm, samples, windows, **given)
    assert first.measures.equals(found.measures)
    for part in sorted((tmp_path / "k" / "shards").glob("*.parquet"))[-1:]:
        part.unlink()
    again = study_knockout(vlm, samples, windows, resume=True, **given)
    assert again.measures.equals(found.measures) and again.by_sample().equals(found.by_sample())
    with pytest.raises(InputError):
        study_knockout(vlm, samples, {"all": (0,)}, resume=True, **given)


def test_measures_are_those_of_a_loop_and_what_can_not_be_told_is_named():
    rng = np.random.default_rng(0)
    right = rng.random(30) < 0.7
    effects = {
        arm: np.where(right[:, None], rng.normal(size=(30, 2)), np.nan) for arm in (OBJECT, RANDOM_IMAGE, RANDOM_TEXT)
    }
    cut = rng.random((3, 2, 30)) < 0.5
    groups = np.array([str(place // 3) for place in range(30)], dtype=object)
    shown, left_out = measure_cuts(effects, right, cut, ["a", "b"], groups, n=100)
    assert left_out.empty and set(shown["measure"]) == {
        "effect", "accuracy", "accuracy_change", "beyond_random_image", "beyond_random_text",
    }  # fmt: skip
    row = shown.query("arm == @OBJECT and window == 'b' and measure == 'beyond_random_text'").iloc[0]
    assert row.value == pytest.approx((effects[OBJECT] - effects[RANDOM_TEXT])[right, 1].mean(), abs=1e-5)
    assert row.samples == right.sum() and row.low < row.value < row.high
    row = shown.query("arm == @OBJECT and window == 'b' and measure == 'accuracy'").iloc[0]
    assert row.value == pytest.approx(cut[0, 1].mean()) and row.samples == 30  # also of those that are wrong untouched
    nobody = {arm: np.full((30, 2), np.nan) for arm in effects}
    shown, left_out = measure_cuts(nobody, np.zeros(30, bool), cut, ["a", "b"], groups, n=10)
    assert set(shown["measure"]) == {"accuracy", "accuracy_change"} and "nothing to lose" in left_out["why"].iloc[0]


def test_what_can_not_be_measured_is_refused_before_the_first_pass(vlm, samples):
    with tiny.passes(vlm) as ran:
        for change, says in (
            ({"samples": []}, "no samples"),
            ({"samples": [replace(one, group="one") for one in samples]}, "at least two groups"),
            ({"samples": [replace(one, objects=()) for one in samples]}, "no object has a box"),
            ({"samples": [replace(samples[0], answer="leftmost corner", options=()), *samples[1:]]}, "leftmost"),
            ({"arms": ("object->text",)}, "arms="),
            ({"arms": ()}, "arms="),
            ({"windows": {}}, "windows is empty"),
            ({"windows": 99}, "width=99"),
            ({"draws": 0}, "draws"),
            ({"seed": -1}, "seed"),
        ):
            given = {"samples": samples, "windows": None, "progress": False} | change
            with pytest.raises(InputError, match=says):
                study_knockout(vlm, given.pop("samples"), given.pop("windows"), **given)
        assert not ran
    assert list(read_windows(12, 11)) == ["0-10", "1-11"]


def test_the_page_says_that_the_largest_was_chosen_and_what_a_cut_does_not_show(found):
    page = knockout_findings(found)
    assert "picked after the fact" in page.sentences[0] and any("not what it uses" in one for one in page.cautions)
    assert "The numbers are of 3 to 4 groups" in page.few[0]
    assert set(page.tables) == {"knockout", "cuts", "left_out"} and len(page.sections()) > 3


def test_of_windows_the_one_that_costs_most_is_taken_among_those_whose_intervals_leave_out_nothing(found):
    measures = found.measures.copy()
    own = measures.index[measures["measure"] == "beyond_random_text"]
    windows = measures.loc[own, "window"].tolist()

    def put(rows, ends):
        for row, numbers in zip(rows, ends, strict=True):
            for name, number in zip(("value", "low", "high"), numbers, strict=True):
                measures.loc[row, name] = number

    put(own, [(-9.0, -20, 1)] + [(-1.0, -3, 2)] * (len(own) - 1))

    def told():
        page = knockout_findings(replace(found, measures=measures))
        assert not any("  " in one for one in page.sentences)
        (sentence,) = [one for one in page.sentences if "random text" in one and "cost" in one]
        return sentence

    assert f"In none of {len(windows)} windows" in told() and "-9.0" not in told()
    put(own[1:2], [(-4.0, -6, -2)])
    assert f"in 1 of {len(windows)} windows" in told() and ", -4.0 [95 % CI -6.0, -2.0] points" in told()


def test_the_command_writes_its_page(tmp_path, capsys):
    line = ["knockout", "--dataset", "shapes", "--n", "4", "--arms", "image->last", "--out", str(tmp_path / "k")]
    assert main(line) == 0
    assert (tmp_path / "k" / "report.html").exists() and "loses most by" in capsys.readouterr().out
    assert "all (0 to 11)" in (tmp_path / "k" / "report.html").read_text()


def test_the_command_leaves_out_samples_whose_objects_hold_no_token(tmp_path, capsys, monkeypatch):
    def drawn(name, folder, **how):
        first, *others = read_samples("shapes", n=3)
        thing = first.objects[0]
        return [replace(first, objects=(replace(thing, box=Box(thing.name, (1, 1, 3, 3))),)), *others]

    monkeypatch.setattr("interp.datasets.reading.read_samples", drawn)
    line = ["knockout", "--dataset", "shapes", "--width", "12", "--arms", "object->last"]
    assert main([*line, "--out", str(tmp_path / "k")]) == 0
    assert (
        "1 of 3 samples is left out, such as: sample 'shapes-test-0-00000': no image token" in capsys.readouterr().out
    )
    assert main(["knockout"]) == 2


def test_an_answer_is_as_probable_as_its_spellings_together():
    ((probability, right),) = _tell(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), [(0, 2)])
    assert probability == pytest.approx(0.4) and not right
    assert _tell(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), [(0, 3)])[0][1]
