"""The demo: what it says an alpha changes is what whole passes give, and its files say what its tables say."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from truth import Truth

from adaptvis.demo.change import choice_of, measure_change
from adaptvis.demo.demo import run_demo, summarise_demo, write
from adaptvis.demo.figures import best_layer, draw_scenes, telling_flip
from adaptvis.demo.scene_attention import look
from adaptvis.demo.words import dose_table, lead, sections, tell
from adaptvis.evaluation.evaluation import evaluate
from adaptvis.report.columns import FILES, KEYS
from adaptvis.sweep.flips import (
    AMOUNT,
    EVERYWHERE,
    ONLY,
    SHARES,
    SHARPENING,
    dose_response,
    follow_flips,
    strongest_alpha,
    windows_of,
    with_changes,
)
from adaptvis.sweep.matched import TRIED, ask_matched, matching_shifts
from adaptvis.sweep.plan import UNTOUCHED
from interp.answers.scoring import first_option, score
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.record import record
from interp.stats.intervals import wilson
from interp.store.folder import OutputFolder
from interp.study.prompter import prepare_samples

ALPHAS = (0.0, 0.5, 4.0)
FIGURES = {"dose_response", "share_by_layer", "overlap_by_layer", "heatmaps"}


@pytest.fixture(scope="module")
def ran():
    """A model whose answers change under some alphas, asked as the demo asks."""
    vlm = tiny.vlm(seed=3)
    with torch.no_grad():  # so that the answers hang on the image
        for block in vlm.model.model.language_model.layers:
            block.self_attn.q_proj.weight *= 4
            block.self_attn.o_proj.weight *= 4
    validation, test = (shapes(n, split=split, kinds=("relation",)) for n, split in ((6, "val"), (16, "test")))
    evaluation = evaluate(vlm, test, validation=validation, alphas=ALPHAS, progress=False)
    looked = look(vlm, test, Truth(test), prompt="paper", batch=4)
    return vlm, test, evaluation, looked, measure_change(vlm, evaluation, test, prompt="paper")


def said(vlm, sample, intervention):
    """What a run of the whole prompt answers."""
    return vlm.generate(prepare_samples(vlm, [sample], "paper"), 10, intervention=intervention).texts[0]


def flips(before, after, options):
    """Whether both answers name an option, and not the same."""
    named = [first_option(text, options) for text in (before, after)]
    return None not in named and named[0] != named[1]


def test_the_named_alpha_is_the_one_that_turns_most_answers_to_another_option(ran):
    table = ran[2].test
    counts = {}
    for alpha in ALPHAS:
        pairs = zip(table[table["alpha"] == alpha].itertuples(), ran[1], strict=True)
        base = table[table["setting"] == UNTOUCHED].set_index("id")["text"]
        counts[alpha] = sum(flips(base[row.id], row.text, sample.options) for row, sample in pairs)
    assert max(counts.values()) > 0 and counts[ran[4].flips.alpha] == max(counts.values())
    assert len(ran[4].flips.answers) == counts[ran[4].flips.alpha]


def test_a_tie_names_the_alpha_nearest_to_one_and_no_change_names_none():
    rows = [
        {"id": "a", "setting": setting, "mode": mode, "alpha": alpha, "layers": "all", "heads": "all", "text": text,
         "predicted": text, "correct": True}
        for setting, mode, alpha, text in (
            (UNTOUCHED, "", np.nan, "left"), ("0", "mul", 0.0, "on"), ("2", "mul", 2.5, "on"), ("1", "mul", 1.5, "up")
        )
    ]  # fmt: skip
    assert strongest_alpha(pd.DataFrame(rows)) == 1.5
    assert strongest_alpha(pd.DataFrame(rows).assign(predicted="left")) is None


ASKED = ("a", "b", "c", "d", "e")
SAID = {
    None: ("above", "under", "above", "below", "on"),  # untouched
    0.0: ("below", "below", "over", "Below.", "under"),
    2.0: ("on", "on", "under", "on", "it is under"),
}


def planted():
    """A sweep whose answers are in part synonyms of the options; right is above, of b below."""
    rows = [
        {
            **{"id": name, "text": text, "gold": "below" if name == "b" else "above", "options": "above|below"},
            **{"setting": UNTOUCHED if alpha is None else f"alpha {alpha:g}", "mode": "" if alpha is None else "mul"},
            **{"alpha": np.nan if alpha is None else alpha, "layers": "all", "heads": "all", "relation": "above"},
        }
        for alpha, texts in SAID.items()
        for name, text in zip(ASKED, texts, strict=True)
    ]
    return score(pd.DataFrame(rows))


def test_a_synonym_is_wrong_in_its_words_and_no_flip():
    rows = with_changes(planted())

    def where(alpha, column):
        own = rows[rows["alpha"] == alpha].set_index("id")[column]
        return "".join(own.index[own])

    assert (where(0, "changed"), where(0, "reworded")) == ("a", "bce")
    assert (where(0, "correct"), where(0, "named_another"), where(0, "named_none")) == ("b", "ad", "ce")
    assert (where(2, "changed"), where(2, "reworded"), where(2, "named_none")) == ("", "abcde", "abcde")
    assert (where(1, "named_another"), where(1, "named_none")) == ("d", "be")
    assert not rows[rows["alpha"] == 1][["changed", "reworded"]].any(axis=None)
    assert strongest_alpha(planted()) == 0  # more answers differ at 2, but none names another option


def test_wrong_answers_are_told_apart_with_counts_and_intervals(ran):
    rows = with_changes(planted())
    change = dataclasses.replace(ran[4], scaled=rows, dose=dose_response(rows), flips=None)
    told, another, none = change.summary()["wrong_answers"], wilson(1, 5), wilson(2, 5)
    assert (told["answers"], told["wrong"], told["words_that_name_none"]) == (5, 3, {"under": 1, "on": 1})
    assert told["named_another"] == {"count": 1, "share": another.estimate, "low": another.low, "high": another.high}
    assert told["named_none"] == {"count": 2, "share": none.estimate, "low": none.low, "high": none.high}
    said = "“under” (1) and “on” (1)"
    assert said in lead(*ran[2:4], summarise_demo(*ran[2:4]), change)
    line = dose_table(dataclasses.replace(change, matched=change.matched.iloc[:0].assign(untouched=0.0))).iloc[0]
    assert line["other option %"].startswith("40.0 [") and line["no option %"].startswith("40.0 [")


def test_a_choice_that_moved_no_answer_is_not_given_as_a_gain(ran):
    from adaptvis.demo.words import _choice

    choice = dataclasses.replace(choice_of(ran[2]), alpha=1.0, moved=0)
    assert "made no answer right or wrong" in _choice(choice) and "(p " not in _choice(choice)
    assert "(p " in _choice(dataclasses.replace(choice, moved=2))


def test_the_scene_before_and_after_flips_in_a_run_of_the_whole_prompt(ran):
    vlm, _, evaluation, looked, change = ran
    one = telling_flip(change.flips, evaluation, looked)
    answers = change.flips.answers.set_index("id").loc[one.sample.id]
    plans = {"before": None, "after": ScaleImageLogits(change.flips.alpha)}
    for when, plan in plans.items():
        assert first_option(said(vlm, one.sample, plan), one.sample.options) == answers[when] is not None
    assert answers["before"] != answers["after"]


def test_an_alpha_in_a_window_of_layers_answers_as_a_run_of_the_whole_prompt(ran):
    vlm, test, _, _, change = ran
    flips, samples = change.flips, {sample.id: sample for sample in test}
    windows = windows_of(vlm.cfg.n_layers)
    asked = {**windows, (EVERYWHERE, -1): None}
    assert set(zip(flips.windows["kind"], flips.windows["layer"], strict=True)) == {
        *asked,
        (SHARPENING, -1),
        (AMOUNT, -1),
    }
    for row in flips.windows[flips.windows["id"].isin(flips.answers["id"][:3])].itertuples():
        if row.kind not in (AMOUNT, SHARPENING):
            plan = ScaleImageLogits(flips.alpha, layers=asked[row.kind, row.layer])
            assert said(vlm, samples[row.id], plan) == row.text, (row.kind, row.layer)
        after = flips.answers.set_index("id").loc[row.id, "after"]
        assert row.same == (first_option(row.text, samples[row.id].options) == after)
    assert flips.of(EVERYWHERE).estimate == 1.0
    alone = flips.windows[flips.windows["kind"] == ONLY].groupby("layer")["same"].mean()
    assert flips.strongest_layer()[1].estimate == alone.max() == alone[flips.strongest_layer()[0]]


def test_windows_are_each_layer_the_first_and_the_last_ones():
    from adaptvis.sweep.flips import FROM_ON, UP_TO

    assert windows_of(2) == {
        (ONLY, 0): (0,), (ONLY, 1): (1,), (UP_TO, 0): (0,), (UP_TO, 1): (0, 1), (FROM_ON, 0): (0, 1), (FROM_ON, 1): (1,)
    }  # fmt: skip


def share_of_image(vlm, sample, intervention):
    """The image's share of the last row's attention in a run of the whole prompt."""
    inputs = prepare_samples(vlm, [sample], "paper")
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(vlm.cfg.n_layers)]
    with vlm.intervene(intervention, inputs):
        _, cache = vlm.run_with_cache(inputs, names_filter=names)
    image = inputs.layouts[0].image_positions
    return float(np.mean([float(cache[name][0, :, 0, image].sum(-1).mean()) for name in names]))


def test_the_control_gives_the_image_as_much_attention_as_alpha_and_answers_as_a_whole_run(ran):
    vlm, test, _, _, change = ran
    samples = {sample.id: sample for sample in test[:3]}
    for row in change.matched[change.matched["id"].isin(samples)].itertuples():
        sample, control = samples[row.id], ScaleImageLogits(row.shift, mode="add")
        assert row.scaled == pytest.approx(share_of_image(vlm, sample, ScaleImageLogits(row.alpha)), abs=1e-5)
        assert row.matched == pytest.approx(share_of_image(vlm, sample, control), abs=1e-5)
        assert row.text == said(vlm, sample, control)
        tried = [share_of_image(vlm, sample, ScaleImageLogits(shift, mode="add")) for shift in TRIED]
        assert abs(row.matched - row.scaled) <= min(abs(share - row.scaled) for share in tried) + 1e-5
    moved, left = (np.abs(change.matched[name] - change.matched["scaled"]).mean() for name in ("untouched", "matched"))
    assert left < 0.2 * moved


def test_a_matching_constant_is_exact_in_a_single_layer():
    def share(shift):
        return 1 / (1 + np.exp([0.5, 0.1]).sum() / np.exp(np.array([0.3, -1.0, 2.0]) + shift).sum())

    known = np.array([-16.0, -5.0, 0.0, 5.0, 16.0])[:, None, None] * np.ones((1, 3, 1))
    wanted = np.array([[share(shift)] for shift in (-3.3, 0.0, 7.7)])
    found = matching_shifts(known, np.vectorize(share)(known), wanted)
    np.testing.assert_allclose(found[:, 0], (-3.3, 0.0, 7.7), atol=1e-2)


def test_dose_and_response_are_shares_with_wilson_intervals(ran):
    rows = with_changes(ran[2].test)
    for line in dose_response(rows).itertuples():
        own = rows if line.relation == "all" else rows[rows["relation"] == line.relation]
        own = own[own["alpha"] == line.alpha]
        for name, column in SHARES.items():
            found = wilson(int(own[column].sum()), len(own))
            ends = (found.estimate, found.low, found.high)
            assert (getattr(line, name), getattr(line, f"{name}_low"), getattr(line, f"{name}_high")) == ends
    assert not rows[rows["alpha"] == 1]["changed"].any()


def settings(vlm):
    return record(vlm, prompt="paper", seed=0, scenes=16, validation_scenes=6, detector="truth")


def test_the_demo_writes_every_file_and_the_numbers_of_its_tables(ran, tmp_path, capsys):
    vlm, test, evaluation, looked, change = ran
    write(OutputFolder(tmp_path), vlm, evaluation, looked, change, settings(vlm))
    pictures = FIGURES | {"before_after", "flip_by_layers"}
    files = {"report.html", "results.parquet", "attention.parquet", "summary.json"}
    assert (
        {path.name for path in tmp_path.iterdir()} == files | {f"{name}.png" for name in pictures} == set(FILES["demo"])
    )
    results, attention = pd.read_parquet(tmp_path / "results.parquet"), pd.read_parquet(tmp_path / "attention.parquet")
    assert len(results) == 3 * len(test) and len(attention) == len(test) * vlm.cfg.n_layers * vlm.cfg.n_heads
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == set(KEYS["demo"])
    baseline = results[results["policy"] == "baseline"]
    assert summary["accuracy"][0]["accuracy"] == pytest.approx(baseline["correct"].mean())
    assert summary["image_share"] == pytest.approx(attention["share_image"].mean(), abs=1e-6)
    named = summary["largest_change_in_answers"]
    assert (named["alpha"], named["scenes"]) == (change.flips.alpha, len(change.flips.answers))
    page, out = (tmp_path / "report.html").read_text(), capsys.readouterr().out
    assert page.count("<img") == len(pictures) and "http" not in page.split("<body")[1].split("<img")[0]
    for words in (f"Largest change in answers: alpha {change.flips.alpha:g}", "not as an improvement"):
        assert words in page and words in out
    assert "report.html" in out and len(out.splitlines()) < 20


@pytest.mark.parametrize("same, words", [(False, "half of it takes all layers"), (True, "are enough for half")])
def test_the_page_says_what_was_measured_where_no_layers_reach_half_or_all_do(ran, same, words):
    _, _, evaluation, looked, change = ran
    flips = dataclasses.replace(change.flips, windows=change.flips.windows.assign(same=same))
    own = dataclasses.replace(change, flips=flips)
    figures = dict.fromkeys(FIGURES | {"before_after", "flip_by_layers"})
    told = sections(evaluation, looked, summarise_demo(evaluation, looked), own, figures)
    (text,) = [one.text for one in told if one.title == "Which layers carry the change"]
    assert words in " ".join(text) and words in tell(evaluation, own)
    assert f"In all layers {len(flips.answers) if same else 0} do, as they were chosen" in " ".join(text)


def test_one_best_layer_is_named_also_where_overlap_is_undefined_in_some_layer(ran):
    _, _, evaluation, looked, _ = ran
    lifts = [one.overlap.by_layer("lift").copy() for one in looked]
    best = best_layer(looked)[0]
    other = (best + 1) % len(lifts[0])
    lifts[0][other], lifts[0][best] = 1e3, np.nan  # of a scene that is not compared, as one layer has none
    marred = [SimpleNamespace(by_layer=lambda name, own=own: own, even_score=lambda name: 0.0) for own in lifts]
    seen = [dataclasses.replace(one, overlap=made) for one, made in zip(looked, marred, strict=True)]
    layers = summarise_demo(evaluation, seen)["overlap_by_layer"]
    assert best_layer(seen)[0] == max(layers, key=lambda line: line["lift"])["layer"]
    assert best_layer(seen)[1] == pytest.approx(max(line["lift"] for line in layers))


def test_where_no_answer_changes_the_demo_says_so_and_draws_no_flip(ran, tmp_path, capsys):
    vlm, test, evaluation, looked, change = ran
    still = dataclasses.replace(change, scaled=change.scaled.assign(changed=False), flips=None)
    still = dataclasses.replace(still, dose=dose_response(still.scaled))
    write(OutputFolder(tmp_path), vlm, evaluation, looked, still, settings(vlm))
    assert {path.stem for path in tmp_path.glob("*.png")} == FIGURES
    page, out = (tmp_path / "report.html").read_text(), capsys.readouterr().out
    assert (
        "changes any answer" in page and "changes any answer" in out and "none of its answers to another option" in page
    )
    assert json.loads((tmp_path / "summary.json").read_text())["largest_change_in_answers"] is None
    assert page.count("<img") == len(FIGURES) and "Largest change" not in page
    table = evaluation.test
    with pytest.raises(InputError, match="changes no answer"):
        follow_flips(vlm, test, table.assign(predicted="left"), change.matched, 0.5, prompt="paper")


def test_titles_of_scenes_name_layer_and_heads_and_do_not_run_into_the_next(ran):
    _, _, evaluation, looked, _ = ran
    figure = draw_scenes(looked, evaluation.rows("baseline").set_index("id"))
    figure.canvas.draw()
    titled = [ax for ax in figure.axes if ax.get_title(loc="left")]
    maps = [ax for ax in titled if ax.get_title(loc="left").startswith("layer")]
    assert len(maps) >= 2 and all(", head mean" in ax.get_title(loc="left") for ax in maps)
    spans = [(ax.get_window_extent().y1, ax._left_title.get_window_extent()) for ax in titled]
    for top, own in spans:
        others = [other for at, other in spans if at == top and other.x0 > own.x0]
        assert all(own.x1 < other.x0 for other in others)


def test_the_page_opens_with_three_plain_sentences(ran):
    _, _, evaluation, looked, change = ran
    for each in (change, dataclasses.replace(change, flips=None)):
        told = lead(evaluation, looked, summarise_demo(evaluation, looked), each)
        sentences = [part for part in told.split(". ") if part]
        assert len(sentences) == 3 and told.endswith(".")
        assert not {"logit", "McNemar", "alpha", "Wilson"} & set(told.split())


def test_what_was_chosen_stands_beside_its_gain_on_the_scenes_that_chose_it(ran):
    _, _, evaluation, _, change = ran
    choice = choice_of(evaluation)
    rows = evaluation.validation
    right = {alpha: own["correct"].mean() for alpha, own in rows.groupby("alpha")}
    right[1.0] = rows[rows["setting"] == UNTOUCHED]["correct"].mean()
    assert choice.alpha == evaluation.policies["scaling"].alpha and right[choice.alpha] == max(right.values())
    assert choice.gain.estimate == pytest.approx(right[choice.other] - right[1.0])
    assert choice.gain.low <= choice.gain.estimate <= choice.gain.high
    assert f"Chosen on 6 other scenes: alpha {choice.alpha:g}" in tell(evaluation, change)


def test_nothing_to_match_is_refused(ran):
    for samples, alphas in (([], (0.5,)), (ran[1][:1], (1.0,))):
        with pytest.raises(InputError, match="other than 1"):
            ask_matched(ran[0], samples, alphas)


def test_overlap_by_layer_is_compared_with_its_null(ran):
    answers = ran[2].answers
    half = dataclasses.replace(ran[2], answers=answers.assign(correct=np.arange(len(answers)) // 4 % 2 == 0))
    layers = summarise_demo(half, ran[3])["overlap_by_layer"]
    assert [line["layer"] for line in layers] == list(range(ran[0].cfg.n_layers))
    assert all(0 < line["p"] <= 1 and line["null_low"] <= line["null_high"] for line in layers)


def test_too_few_scenes_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="too few"):
        run_demo(tiny.vlm(), str(tmp_path / "out"), scenes=10)
    assert not (tmp_path / "out").exists()
