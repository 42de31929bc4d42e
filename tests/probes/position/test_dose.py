"""Doses: what is said and measured at each is what runs by hand say, paired with the untouched model, and resumed."""

import math

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from broken_off import break_second
from matplotlib.figure import Figure
from planted_order import make_alike, slot_samples, slot_vlm
from ragged import loaded
from towers_seen import tower_runs

from interp.errors import InputError
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_tokens import permute_image_tokens
from interp.objects.sample import Sample
from interp.stats.intervals import spread_ends
from interp.zoo.tiny import TINY
from probes.position.dose import dose_response
from probes.position.dose_answers import STATES, UNTOUCHED, Dose, DoseMeasurement, read_doses
from probes.position.dose_measures import MEASURES, AtDose, measure_doses
from probes.position.order import psi
from probes.position.order_sensitivity import measure_sensitivity
from probes.position.rope import rope_sensitivity

QUIET = {"progress": False, "prompt": "paper"}
SEEDS = range(5)


def asked(vlm, count=3, options=()):
    """Questions to a random model, of which the first two are rightly answered, by what it says."""
    photos, questions = [tiny.photo(seed) for seed in range(count)], list(tiny.QUESTIONS[:count])
    said = vlm.generate(vlm.prepare(photos, questions, prompt="paper"), 3).texts
    gold = [*said[:2], *["nothing of it"] * (count - 2)]
    every = zip(photos, questions, gold, strict=True)
    return [Sample(str(place), own, text, options, right) for place, (own, text, right) in enumerate(every)]


@pytest.fixture(scope="module")
def small():
    """A random model whose answers are lively, and what doses do to it."""
    vlm = tiny.vlm(self_check=False)
    samples = asked(vlm)
    return vlm, samples, dose_response(vlm, samples, (0.25, 1, 4), target_norms=(2,), max_new_tokens=3, **QUIET)


def by_hand(kind, value, order=None):
    """A plain hook function over image tokens of photos of 16: longer or shorter, and in another order."""

    def change(tensor, hook):
        made = tensor * value if kind == "scale" else tensor / tensor.norm(dim=-1, keepdim=True) * value
        return made if order is None else torch.cat([photo[order] for photo in made.split(16)])

    return [(IMAGE_POINT, change)]


def test_answers_and_states_are_those_of_a_loop_over_doses_and_seeds(small):
    vlm, samples, found = small
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    for dose in found.doses:
        answers = found.answers.query("kind == @dose.kind and dose == @dose.value").set_index(["id", "order"])
        states = found.states.query("kind == @dose.kind and dose == @dose.value")
        orders = {"original": None} | {f"seed {seed}": permute_image_tokens(inputs.grids, seed).order for seed in SEEDS}
        for name, order in orders.items():
            said = vlm.generate(inputs, 3, fwd_hooks=by_hand(dose.kind, dose.value, order))
            own = answers.loc[[(one.id, name) for one in samples]]
            assert own["text"].tolist() == list(said.texts)
            exact = {"rtol": 0, "atol": 0} if dose.kind == "scale" else {"rtol": 1e-4}
            np.testing.assert_allclose(own["confidence"], np.float32(said.confidence), **exact)
        with vlm.hooks(by_hand(dose.kind, dose.value)):
            turned = rope_sensitivity(vlm, inputs)
            _, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT)
        norms = [photo.norm(dim=-1).numpy() for photo in cache[IMAGE_POINT].split(16)]
        wanted = {
            "median_norm": [np.median(own) for own in norms],
            "image_mass": [one.alpha_v.mean() for one in turned],
            "abs_delta_g_v": [np.abs(one.delta_g_v).mean() for one in turned],
            "delta_alpha_v": [one.delta_alpha_v.mean() for one in turned],
        }
        for name, values in wanted.items():
            np.testing.assert_allclose(states[name], np.float32(values), rtol=1e-4 if name != "median_norm" else 1e-5)
    assert found.answers["text"].nunique() > 3 and len(found.answers) == 4 * 3 * 6  # so that there is something to tell


def test_dose_one_is_the_untouched_model_to_the_bit(small):
    vlm, samples, found = small
    plain = psi(vlm, samples, SEEDS, max_new_tokens=3, **QUIET)
    own = found.answers.query("kind == 'scale' and dose == 1").drop(columns=["kind", "dose"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(own[plain.answers.columns], plain.answers)
    table = found.measures.query("kind == 'scale' and dose == 1").drop(columns=["kind", "dose"]).set_index("measure")
    for row in plain.measures.itertuples():
        told = table.loc[row.measure]
        np.testing.assert_array_equal(told[["value", "low", "high"]].astype(float), [row.value, row.low, row.high])
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    untouched = rope_sensitivity(vlm, inputs)
    states = found.states.query("kind == 'scale' and dose == 1")
    assert states["image_mass"].tolist() == [one.alpha_v.mean() for one in untouched]
    assert UNTOUCHED.edit.hooks(vlm.cfg, inputs.layouts) == []


def test_one_is_added_where_it_is_missing():
    given, with_one = read_doses((2, 0.5), (), (3,)), read_doses((0.5, 1, 2), (), (3.0,))
    assert given == with_one and [str(dose) for dose in given] == ["scale 0.5", "scale 1", "scale 2", "target 3"]


def test_measures_and_paired_differences_are_those_of_a_loop_over_the_draws():
    rng, count, draws = np.random.default_rng(3), 24, 60
    groups = np.repeat([f"pair {place}" for place in range(8)], 3).astype(object)
    relations = np.array(["left", "right"], dtype=object)[np.arange(count) % 2]
    found = [
        AtDose(
            dose, rng.random(count) < share, rng.random((count, 5)) < 0.5, rng.random((count, 5)) < 0.3,
            rng.random(count).astype(np.float32), rng.random((count, len(STATES))).astype(np.float32),
        )
        for dose, share in ((Dose("scale", 0.5), 0.7), (UNTOUCHED, 0.75))
    ]  # fmt: skip
    chance = np.full(count, 0.25)
    table, changes, out = measure_doses(found, chance, relations, groups, n=draws, seed=4)
    assert out.empty and set(table["measure"]) == set(MEASURES) and set(changes["dose"]) == {0.5}
    counts = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), size=draws)
    half, whole = found

    def means(at, column, count_of):
        times = np.repeat(count_of, 3)
        right = {"confidence_right": at.original, "confidence_wrong": ~at.original}.get(column, at.original | True)
        values = at.states[:, STATES.index(column)] if column in STATES else at.confidence
        values = at.original if column == "accuracy" else values
        below = (times * right).sum()
        return (values * right * times).sum() / below if below else np.nan

    def units(at, column):
        right = {"confidence_wrong": ~at.original}.get(column, at.original)
        return len(set(groups[right])) if column in ("psi", "confidence_right", "confidence_wrong") else 8

    def drawn(at, column):
        return np.array([means(at, column, count_of) for count_of in counts])

    def cell(frame, column, dose):
        (row,) = frame.query("relation == 'all' and measure == @column and dose == @dose").to_dict("records")
        return row["low"], row["high"]

    for column in ("accuracy", "confidence", "confidence_right", "confidence_wrong", *STATES):
        above = dict.fromkeys(("median_norm", "abs_delta_g_v"), (0, np.inf))
        limits = {"delta_alpha_v": (-1, 1), **above}.get(column, (0, 1))
        here, there = drawn(half, column), drawn(whole, column)
        before, after = means(whole, column, np.ones(8)), means(half, column, np.ones(8))
        own, other = units(half, column), units(whole, column)
        ends = spread_ends(after, here, 0.95, units=own, bounds=limits)
        np.testing.assert_allclose(cell(table, column, 0.5), ends, rtol=1e-5, atol=1e-6)
        span = (limits[0] - limits[1], limits[1] - limits[0])
        apart = spread_ends(after - before, here - there, 0.95, units=min(own, other), bounds=span)
        np.testing.assert_allclose(cell(changes, column, 0.5), apart, rtol=1e-5, atol=1e-6)
    alone, _ = measure_sensitivity(
        half.original, half.permuted, half.changed, chance, relations, groups, n=draws, seed=4
    )  # fmt: skip
    merged = table.query("dose == 0.5").merge(alone, on=["relation", "measure"], suffixes=("", "_alone"))
    assert len(merged) == len(alone) and all((merged[f"{end}_alone"] == merged[end]).all() for end in ("low", "high"))
    same, nothing, _ = measure_doses([half_as(UNTOUCHED, half), half], chance, relations, groups, n=draws)
    assert (nothing["value"] == 0).all() and len(same) == 2 * len(nothing)
    least = same.query("relation == 'all' and measure == 'accuracy'")["low"].iloc[0]
    for row in nothing.query("relation == 'all'").itertuples():
        most = 1 - 0.025 ** (1 / units(half, row.measure))  # paired: no draw differs, and as much may go unseen
        spans = {"drop": 2, "delta_alpha_v": 2, "psi": 1 / least, "psi_corrected": 1 / (least - 0.25)}
        span = spans.get(row.measure, 1) * most
        known = row.measure not in ("psi_position_alone", "median_norm", "abs_delta_g_v")
        assert (row.low, row.high) == (
            pytest.approx((-span, span)) if known else pytest.approx((np.nan,) * 2, nan_ok=True)
        )


def half_as(dose, found):
    return AtDose(**{**vars(found), "dose": dose})


def test_where_all_image_tokens_are_alike_order_is_nothing_at_any_dose():
    vlm = tiny.vlm(self_check=False)
    make_alike(vlm.model)
    found = dose_response(vlm, asked(vlm), (0.5, 4), max_new_tokens=3, **QUIET)
    rows = found.measures.query("measure in ('psi', 'drop', 'changed')")
    assert len(rows) == 3 * 3 and (rows["value"] == 0).all()
    most = 1 - 0.025 ** (1 / 3)  # no draw of the three samples differs, and as much may go unseen
    for measure, ends in {"drop": (-most, most), "changed": (0, most), "psi": (np.nan,) * 2}.items():  # two are right
        own = rows[rows["measure"] == measure][["low", "high"]].to_numpy()
        np.testing.assert_allclose(own, [ends] * 3, rtol=1e-6)
    unknown = found.left_out.query("measure in ('psi_corrected', 'psi_position_alone')")
    assert len(unknown) == 6 and unknown["why"].str.contains("chance is not known").all()


def test_a_model_that_answers_by_position_alone_does_so_at_every_dose_until_it_is_blind():
    found = dose_response(slot_vlm(), slot_samples(range(0, 64, 3)), (0.5, 2), max_new_tokens=2, batch=32, **QUIET)
    for dose in (0.5, 1, 2):
        assert found.value("accuracy", dose) == 1 and found.value("psi_position_alone", dose) == 0.5
        assert 0.3 < found.value("psi", dose) < 0.7
        assert found.value("median_norm", dose) == pytest.approx(dose * found.value("median_norm"), rel=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_every_family_is_measured_at_every_dose_and_the_tower_runs_once(name):
    vlm, inputs = loaded(name, 2)
    work = DoseMeasurement.of(vlm, read_doses((0.5,), (1.0,), ()), range(2), max_new_tokens=2)
    with tower_runs(vlm) as calls:
        vlm.generate(inputs, 2)
        one = len(calls)
        found = work.ask(inputs)
    assert len(calls) == 2 * one and len(found) == 2
    for own in found:
        assert [str(dose) for dose in own.doses] == ["scale 0.5", "scale 1", "clip 1"]
        half, whole, cut = own.median_norm
        assert half == pytest.approx(whole / 2, rel=1e-5) and cut == pytest.approx(min(whole, 1), rel=1e-4)
        assert all(np.isfinite(getattr(own, state)).all() for state in STATES) and 0 < own.image_mass.min()
    plain = vlm.generate(inputs, 2)
    assert [own.texts[1] for own in found] == list(plain.texts)
    assert [float(own.confidence[1]) for own in found] == pytest.approx(plain.confidence, abs=0)


def test_a_study_that_was_broken_off_goes_on_to_the_same_table(small, tmp_path, monkeypatch):
    vlm, samples, _ = small
    options = {"batch": 1, "max_new_tokens": 2, **QUIET}
    whole = dose_response(vlm, samples, (0.5,), **options)
    calls = break_second(monkeypatch, DoseMeasurement, "ask")
    with pytest.raises(KeyboardInterrupt):
        dose_response(vlm, samples, (0.5,), out=tmp_path, **options)
    again = dose_response(vlm, samples, (0.5,), out=tmp_path, resume=True, **options)
    assert len(calls) == 4
    for name in ("measures", "changes", "left_out", "answers", "states"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(whole, name))
    with pytest.raises(InputError, match="doses"):
        dose_response(vlm, samples, (0.5, 2), out=tmp_path, resume=True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "no dose is given"),
        ({"scales": (1,)}, "no dose is given"),
        ({"scales": (0, 1)}, "a dose of scale is 0"),
        ({"scales": (-2.0,)}, "a dose of scale is -2.0"),
        ({"scales": (math.nan,)}, "nan: give a finite number"),
        ({"scales": (math.inf,)}, "inf: give a finite number"),
        ({"scales": (True, 2)}, "a dose of scale is True"),
        ({"scales": ("2",)}, "a dose of scale is '2'"),
        ({"scales": 2}, "scales=2 is no list"),
        ({"scales": "2"}, "scales='2' is no list"),
        ({"clips": (0.0,)}, "a dose of clip is 0"),
        ({"target_norms": 3}, "target_norms=3 is no list"),
        ({"scales": (2, 1, 2.0)}, "scale 2 is given twice"),
        ({"seeds": range(4)}, "give at least 5"),
        ({"seeds": [0, 1, 2, 3, 4, 4]}, "each once"),
        ({"chance": 1.0}, "chance=1.0"),
        ({"draws": 0}, "0 draws at level"),
        ({"level": 1.0}, "draws at level 1.0"),
        ({"samples": []}, "no samples"),
        ({"samples": slot_samples((3,))}, "at least two groups"),
        ({"within": "tiles"}, "not known"),
    ],
    ids=str,
)
def test_what_can_not_be_asked_is_refused_before_the_first_pass(small, options, message):
    vlm, samples, _ = small
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match=message):
        dose_response(vlm, **{"samples": samples, **QUIET, **options})
    assert not passes


def test_tables_have_no_gaps_and_say_what_is_left_out(small):
    _, _, found = small
    assert not found.states.isna().any(axis=None) and not found.left_out.isna().any(axis=None)
    for table in (found.to_dataframe(), found.differences()):
        assert not table.drop(columns=["low", "high"]).isna().any(axis=None)
        gaps = table[table["low"].isna() | table["high"].isna()]
        assert gaps[["low", "high"]].isna().all(axis=None) and len(gaps) < len(table) / 2
        few = {"psi", "confidence_right", "confidence_wrong"}  # of the three samples fewer are right, or wrong
        assert set(gaps["measure"]) <= {*few, "median_norm"}  # of which no draw differs, and nothing bounds it
    assert {str(found.measures[name].dtype) for name in ("value", "low", "high")} == {"float32"}
    assert found.value("accuracy") == pytest.approx(2 / 3)
    assert set(found.differences()["kind"] + found.differences()["dose"].astype(str)) == {
        "scale0.25", "scale4.0", "target2.0",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"at scale 1: chance is not known"):
        found.value("psi_corrected")
    with pytest.raises(InputError, match="at scale 3: no such name"):
        found.value("accuracy", 3)


def test_figures_draw_the_table_and_mark_the_untouched_model(small):
    _, _, found = small
    ax = found.plot(Figure().subplots(), measure="image_mass")
    rows = found.measures.query("measure == 'image_mass' and kind == 'scale'")
    line, mark = ax.get_lines()
    assert line.get_ydata().tolist() == rows["value"].tolist() and line.get_xdata().tolist() == [0.25, 1, 4]
    assert ax.get_xscale() == "log" and mark.get_xdata() == [1, 1] and "without training" in ax.get_title("left")
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == rows["low"].min() and band.max() == rows["high"].max()
    axes = found.draw()
    assert [own.get_title("left") for own in axes] == [
        "Accuracy", "Position sensitivity index", "RoPE sensitivity", "Confidence",
    ]  # fmt: skip
    assert "no method of the paper" in axes[0].get_figure().get_suptitle()
    level = found.plot(Figure().subplots(), measure="confidence", kind="target").get_lines()[-1]
    assert level.get_ydata()[0] == np.float32(found.value("confidence"))
    for wrong in ({"measure": "norm"}, {"relation": "under"}, {"kind": "clip"}):
        with pytest.raises(InputError):
            found.plot(Figure().subplots(), **wrong)


def test_one_photo_has_a_table_a_line_and_four_panels(small):
    vlm, samples, _ = small
    work = DoseMeasurement.of(vlm, read_doses((0.5, 2), (), ()), range(2), max_new_tokens=2)
    (own,) = work.ask(vlm.prepare(samples[0].image, samples[0].question, prompt="paper"))
    table = own.to_dataframe()
    assert table["dose"].tolist() == [0.5, 1, 2] and table["text"].tolist() == list(own.texts)
    assert own.plot(Figure().subplots(), measure="delta_alpha_v").get_lines()[0].get_ydata().tolist() == list(
        own.delta_alpha_v
    )
    axes = own.draw()
    assert len(axes) == 4 and len(axes[0].texts) == 3
    with pytest.raises(InputError, match="not known"):
        own.plot(measure="accuracy")
