"""Residual norms: those of what each layer is given, in a loop, and those that the paper's code recorded."""

import dataclasses
import gc
import json

import numpy as np
import pytest
import tiny
import torch
from golden import golden, golden_llava
from interval_coverage import RUNS, check_coverage
from matplotlib.figure import Figure
from ragged import loaded
from untouched import check_untouched

from interp.errors import InputError, ModelError
from interp.hooks.towers import submodule, text_tower
from interp.prompt.layout import TokenLayout
from interp.stats.intervals import spread_ends
from interp.zoo.tiny import TINY
from probes.position.figures.residual_norms import plot_residual_norms
from probes.position.mean_residual_norms import mean_residual_norms
from probes.position.residual_norms import FINAL, ResidualNorms, ratio_of, residual_norms

MEMBERS = {
    "bos": ("bos",),
    "system": ("system",),
    "text": ("question", "template"),
    "question": ("question",),
    "image": ("image",),
}


def made_up(text, image, *, after=(1.0, 2.0), extra=None, width=4, name="a"):
    """A result from the norms of words and image by depth, and of another group `extra` if given."""
    curves = {"text": text, "image": image} | (extra or {})
    norms = np.array(list(curves.values()), dtype=np.float32).T
    last = np.array([*after, *(norms[-1, 2:])], dtype=np.float32)
    return ResidualNorms(name, width, tuple(curves), np.full(len(curves), 3), norms, last)


@pytest.fixture(scope="module")
def found():
    vlm = tiny.vlm()
    return residual_norms(vlm, tiny.inputs(vlm, 3))


def given_to_layers(vlm, inputs):
    """What each layer is given, what the final norm is given, and what it makes of it, by hooks of torch's own."""
    layers = submodule(vlm.model, text_tower(vlm.model, vlm.family).blocks)
    norm, states = submodule(vlm.model, vlm.family.final_norm), []
    notes = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: states.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )
        for layer in layers
    ]
    notes.append(norm.register_forward_hook(lambda module, args, output: states.extend([args[0], output])))
    with torch.no_grad():
        vlm.model(**inputs.tensors, use_cache=False)
    for note in notes:
        note.remove()
    return states


@pytest.mark.parametrize("name", TINY)
def test_norms_are_means_over_the_positions_of_a_group_in_what_the_layers_are_given(name):
    vlm, inputs = loaded(name)
    states = given_to_layers(vlm, inputs)
    for sample, (found, layout) in enumerate(zip(residual_norms(vlm, inputs), inputs.layouts, strict=True)):
        for place, group in enumerate(found.groups):
            own = [position for position, kind in enumerate(layout.kinds) if kind in MEMBERS[group]]
            assert found.tokens[place] == len(own) > 0
            rows = [float(sum(state[sample, at].double().norm() for at in own)) / len(own) for state in states]
            assert found.norms[:, place] == pytest.approx(rows[:-1], rel=1e-5)
            assert found.normalized[place] == pytest.approx(rows[-1], rel=1e-5)
        absent = set(MEMBERS) - set(found.groups)
        assert all(not len(layout.positions(*MEMBERS[group])) for group in absent)
        assert found.norms.shape == (vlm.cfg.n_layers + 1, len(found.groups)) and found.norms.dtype == np.float32


def test_what_deepstack_adds_between_blocks_counts():
    vlm, inputs = loaded("tiny-qwen3_vl")
    with torch.no_grad():
        left = vlm.run_with_cache(inputs, names_filter="blocks.0.hook_resid_post")[1]["blocks.0.hook_resid_post"]
    for sample, found in enumerate(residual_norms(vlm, inputs)):
        layout = inputs.layouts[sample]
        before = {
            group: float(left[sample, layout.positions(*MEMBERS[group])].norm(dim=-1).mean())
            for group in ("text", "image")
        }
        assert found.of("text")[1] == pytest.approx(before["text"], rel=1e-5)
        assert abs(found.of("image")[1] / before["image"] - 1) > 0.01


def with_prompt(inputs, ids, spans):
    """The recorded photos with another prompt, whose spans are known."""
    kinds = np.array(["bos"] + ["question"] * (len(ids) - 1), dtype=object)
    kinds[slice(*spans["system"])] = "system"
    kinds[slice(*spans["vision"])] = "image"
    batch = torch.tensor([ids] * len(inputs))
    tensors = {**inputs.tensors, "input_ids": batch, "attention_mask": torch.ones_like(batch)}
    layouts = (TokenLayout(tuple(kinds), tuple(map(str, ids))),) * len(inputs)
    return dataclasses.replace(inputs, tensors=tensors, layouts=layouts)


@pytest.mark.parametrize("kept", ["keep", "strip"])
def test_curves_are_those_that_the_papers_code_recorded_with_the_system_prompt_and_without(kept):
    vlm, inputs = golden_llava()
    recorded = np.load(golden("norms") / "residual_model_cases.npz")
    meta = json.loads((golden("norms") / "meta.json").read_text())
    for image in range(3):
        case = f"img{image}_{kept}"
        batch = with_prompt(inputs, meta[case]["input_ids"], meta[case]["spans"])
        found = residual_norms(vlm, batch)[image]
        assert ("system" in found.groups) == (kept == "keep")
        for group, theirs in (("text", "user_text"), ("image", "vision"), ("system", "sys")):
            if group in found.groups:
                curve = found.of(group, "paper")
                assert curve == pytest.approx(recorded[f"{case}.l2.{theirs}"], abs=1e-4)
                assert curve / found.d_model**0.5 == pytest.approx(recorded[f"{case}.rms.{theirs}"], abs=1e-4)
        assert found.rms[:-1, found.groups.index("image")] == pytest.approx(
            recorded[f"{case}.rms.vision"][:-1], abs=1e-4
        )


def test_means_and_the_mean_of_ratios_are_those_that_the_papers_code_recorded():
    vlm, inputs = golden_llava()
    recorded = np.load(golden("norms") / "residual_model_cases.npz")
    mean = mean_residual_norms(residual_norms(vlm, inputs), convention="paper")
    assert mean.of("text") == pytest.approx(recorded["dataset.mean_user_text"], abs=1e-4)
    assert mean.of("image") == pytest.approx(recorded["dataset.mean_vision"], abs=1e-4)
    assert mean.ratio.estimate == pytest.approx(recorded["dataset.mean_ratio"], abs=1e-4)


def test_a_zero_and_a_gap_count_as_the_papers_code_recorded():
    recorded = np.load(golden("norms") / "ratio_plain_cases.npz")
    results = [
        made_up(text, image, after=(text[-1], image[-1]))
        for text, image in zip(recorded["user_text"], recorded["vision"], strict=True)
    ]
    mean = mean_residual_norms(results, convention="paper")
    assert mean.ratio.estimate == pytest.approx(recorded["mean_ratio"], abs=1e-6)
    assert mean.of("text") == pytest.approx(recorded["mean_user_text"], abs=1e-6)
    assert mean.of("image") == pytest.approx(recorded["mean_vision"], abs=1e-6)


def test_the_papers_last_depth_is_after_the_final_norm_and_ours_before(found):
    one = found[0]
    for group in ("text", "image"):
        ours, theirs = one.of(group), one.of(group, "paper")
        assert np.array_equal(ours[:-1], theirs[:-1])
        assert ours[-1] == one.norms[-1, one.groups.index(group)]
        assert theirs[-1] == one.normalized[one.groups.index(group)] != ours[-1]
        assert one.after_final_norm[group] == theirs[-1]
    assert one.image_over_text() == pytest.approx(one.of("image") / one.of("text"))
    assert one.after_final_norm["image_over_text"] == pytest.approx(one.image_over_text("paper")[-1])


def test_words_of_norm_zero_have_no_ratio_but_by_the_papers_convention_one():
    assert ratio_of(np.array([6.0, 6.0]), np.array([0.0, 3.0]), "paper").tolist() == [1, pytest.approx(2)]
    one = made_up([0, 2, 4], [5, 6, 8])
    assert np.isnan(one.image_over_text()[0]) and one.image_over_text()[1:].tolist() == [3, 2]
    assert one.image_over_text("paper").tolist() == pytest.approx([1, 3, 2])
    table = one.ratios_to_dataframe()
    assert table["depth"].tolist() == [1, 2, 2] and table["point"].tolist()[-1] == FINAL
    two = mean_residual_norms([one, made_up([1, 1, 1], [7, 7, 7])])
    assert two.ratio.estimate == pytest.approx([7, 5, 4.5])
    assert two.ratios_to_dataframe()["samples"].tolist() == [1, 2, 2, 2]


def test_floor_is_added_below():
    assert ratio_of(np.array([1e-12]), np.array([1e-12]), "paper").item() == pytest.approx(0.5)


def test_the_mean_is_of_ratios_and_not_a_ratio_of_means():
    mean = mean_residual_norms([made_up([1, 1], [10, 10]), made_up([4, 4], [4, 8])])
    assert mean.ratio.estimate == pytest.approx([(10 + 1) / 2, (10 + 2) / 2])
    assert mean.of("image") / mean.of("text") == pytest.approx([14 / 5, 18 / 5])
    assert mean.normalized_ratio.estimate == 2 and mean.normalized_ratios.tolist() == [2, 2]


def test_the_interval_draws_samples_each_by_itself_where_no_groups_are_named(found):
    mean = mean_residual_norms(found, seed=3, n=50, level=0.9)
    table = np.stack([np.float64(one.of("image")) / one.of("text") for one in found])
    counts = np.random.default_rng(3).multinomial(len(found), np.full(len(found), 1 / len(found)), size=50)
    draws = counts @ table / len(found)
    assert mean.ratio.estimate == pytest.approx(table.mean(0), rel=1e-6)
    low, high = spread_ends(table.mean(0), draws, 0.9, units=len(found))
    assert mean.ratio.low == pytest.approx(low, rel=1e-6) and mean.ratio.high == pytest.approx(high, rel=1e-6)
    assert (mean.ratio.low < mean.ratio.high).all() and mean.ratio.draws == 50 and mean.ratio.level == 0.9
    assert mean.normalized_ratio.low <= mean.normalized_ratio.estimate <= mean.normalized_ratio.high


def test_the_interval_draws_whole_groups():
    rng = np.random.default_rng(0)
    each = [made_up([1, 1], own) for own in rng.uniform(2, 9, size=(12, 2))]
    alone, thrice = mean_residual_norms(each), mean_residual_norms(each * 3)
    groups = [f"photo {place}" for place in range(12)] * 3
    together = mean_residual_norms(each * 3, groups=groups)
    for end in ("estimate", "low", "high"):  # copies say nothing new
        assert getattr(together.ratio, end) == pytest.approx(getattr(alone.ratio, end))
    assert (together.ratio.high - together.ratio.low > 1.5 * (thrice.ratio.high - thrice.ratio.low)).all()
    one = mean_residual_norms(each, groups=["photo"] * 12)
    assert np.isnan(one.ratio.low).all() and np.isnan(one.normalized_ratio.high)
    assert "low" not in one.ratios_to_dataframe() and len(one.plot()[2].collections) == 0
    for wrong in (["photo"] * 11, "photo", 3):
        with pytest.raises(InputError, match="for 12 samples: give a list"):
            mean_residual_norms(each, groups=wrong)


@pytest.mark.parametrize("convention", ["stream", "paper"])
def test_intervals_of_the_ratio_hold_the_truth_as_often_as_they_say(convention):
    """200 depths are 200 tables, of 80 samples each, in which image and words are equally long on the mean."""
    rng = np.random.default_rng(1)
    text = rng.lognormal(size=(80, RUNS))
    image = text * rng.uniform(0.2, 1.8, size=text.shape)
    results = [made_up(*curves, after=(1, 1)) for curves in zip(text, image, strict=True)]
    ratio = mean_residual_norms(results, convention=convention).ratio
    check_coverage((ratio.low <= 1) & (ratio.high >= 1))


def test_a_single_sample_has_no_interval_and_its_table_no_gap(found):
    mean = mean_residual_norms(found[:1])
    assert np.isnan(mean.ratio.low).all() and np.isnan(mean.normalized_ratio.high)
    table = mean.ratios_to_dataframe()
    assert "low" not in table and table.notna().all(axis=None)
    assert len(mean.plot()[2].collections) == 0


def test_a_group_that_some_samples_lack_is_averaged_over_those_that_have_it():
    one = made_up([1, 1], [2, 2], extra={"system": [5, 7]})
    mean = mean_residual_norms([made_up([3, 3], [2, 2]), one])
    assert mean.groups == ("system", "text", "image") and mean.samples.tolist() == [1, 2, 2]
    assert mean.of("system").tolist() == [5, 7] and mean.of("text").tolist() == [2, 2]
    with pytest.raises(InputError, match="no position is in group 'bos': this has system, text, image"):
        mean.of("bos")


def test_a_sample_has_the_same_norms_in_a_padded_batch_and_alone(found):
    vlm = tiny.vlm()
    assert "pad" in tiny.inputs(vlm, 3).layouts[2].kinds
    for place, together in enumerate(found):
        (alone,) = residual_norms(vlm, vlm.prepare(tiny.photo(place), tiny.QUESTIONS[place]))
        assert together.groups == alone.groups and np.array_equal(together.tokens, alone.tokens)
        assert together.norms == pytest.approx(alone.norms, rel=1e-4)
        assert together.normalized == pytest.approx(alone.normalized, rel=1e-4)


def test_a_planted_length_of_the_image_is_found_at_the_input_and_gone_after_the_final_norm(found):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)
    with vlm.hooks([("projector.hook_out", lambda tensor, hook: 1000 * tensor)]):
        long = residual_norms(vlm, inputs)
    for before, after in zip(found, long, strict=True):
        assert after.image_over_text()[0] == pytest.approx(1000 * before.image_over_text()[0], rel=1e-5)
        assert after.of("text")[0] == pytest.approx(before.of("text")[0])
        assert after.image_over_text()[-1] > 100 and after.after_final_norm["image_over_text"] == pytest.approx(1, 0.2)


def test_no_stream_is_kept_from_one_layer_to_the_next():
    vlm = tiny.vlm(layers=12)
    inputs = tiny.inputs(vlm, 2)
    size, counted = (2, inputs.input_ids.shape[1], vlm.cfg.d_model), []

    def count(tensor, hook):
        counted.append(sum(type(one) is torch.Tensor and one.shape == size for one in gc.get_objects()))

    with vlm.hooks([(FINAL, count)]):
        residual_norms(vlm, inputs)
        measured = counted[-1]
        with torch.no_grad():
            vlm(inputs)
    assert measured == counted[-1] < 6


def test_tables_have_a_row_per_depth_and_group_and_last_those_after_the_final_norm(found):
    one, mean = found[1], mean_residual_norms(found, sample_id="all")
    for result, counts in ((one, "tokens"), (mean, "samples")):
        table = result.to_dataframe()
        n_groups = len(result.groups)
        assert len(table) == 5 * n_groups and table.notna().all(axis=None) and "system" not in set(table["group"])
        assert table["depth"].tolist() == [depth for depth in (0, 1, 2, 3, 3) for _ in range(n_groups)]
        row = table[(table["point"] == "blocks.1.hook_resid_pre") & (table["group"] == "image")].iloc[0]
        assert row["depth"] == 1 and row["norm"] == result.of("image")[1]
        assert row["rms"] == pytest.approx(row["norm"] / 32**0.5) == result.rms[1, result.groups.index("image")]
        assert row[counts] == getattr(result, counts)[result.groups.index("image")]
        points = list(dict.fromkeys(table["point"]))
        assert points[-2:] == ["blocks.2.hook_resid_post", FINAL]
        last = table[table["point"] == FINAL]
        assert np.array_equal(last["norm"], result.normalized)
        assert {str(table[name].dtype) for name in ("norm", "rms")} == {"float32"}
    ratios = mean.ratios_to_dataframe()
    assert ratios["ratio"].tolist()[:-1] == pytest.approx(mean.ratio.estimate.tolist())
    assert ratios["low"].iloc[-1] == pytest.approx(mean.normalized_ratio.low) and set(ratios["samples"]) == {3}


def test_tables_by_the_papers_convention_end_after_the_final_norm(found):
    mean = mean_residual_norms(found, convention="paper")
    table, ratios = mean.to_dataframe(), mean.ratios_to_dataframe()
    assert list(dict.fromkeys(table["point"]))[-2:] == ["blocks.2.hook_resid_pre", FINAL]
    assert ratios["depth"].tolist() == [0, 1, 2, 3] and ratios["point"].tolist()[-1] == FINAL
    assert ratios["ratio"].tolist() == pytest.approx(mean.ratio.estimate.tolist())
    assert np.array_equal(table[table["point"] == FINAL]["norm"], mean.normalized)


@pytest.mark.parametrize("kinds", [("bos", "question"), ("bos", "image", "image_marker")])
def test_a_prompt_without_image_or_without_words_is_refused_before_the_first_pass(kinds):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 1)
    every = (*kinds, *[kinds[-1]] * inputs.input_ids.shape[1])[: inputs.input_ids.shape[1]]
    given = dataclasses.replace(inputs, layouts=(TokenLayout(every, every),))
    with tiny.passes(vlm) as shapes, pytest.raises(InputError, match="sample 'x' has no position in group"):
        residual_norms(vlm, given, sample_ids=["x"])
    assert shapes == []


def test_norms_that_are_not_finite_are_refused_by_the_name_of_their_sample_but_not_those_of_padding():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)

    def overflow(tensor, hook, position):
        tensor[2, position] = torch.nan

    for position, refused in ((-1, True), (0, False)):
        assert (inputs.layouts[2].kinds[position] == "pad") != refused
        with vlm.hooks([(FINAL, lambda tensor, hook, at=position: overflow(tensor, hook, at))]):
            if refused:
                with pytest.raises(ModelError, match="sample '2'.*infinite or NaN"):
                    residual_norms(vlm, inputs)
            else:
                assert len(residual_norms(vlm, inputs)) == 3


def test_the_model_is_untouched_afterwards_also_after_an_error():
    check_untouched(residual_norms)


def test_what_can_not_be_averaged_is_refused():
    one = made_up([1, 1], [2, 2])
    for wrong in ([], [one, made_up([1, 1, 1], [2, 2, 2])], [one, made_up([1, 1], [2, 2], width=9)]):
        with pytest.raises(InputError, match="can not average"):
            mean_residual_norms(wrong)
    with pytest.raises(InputError, match="draws"):
        mean_residual_norms([one], n=0)


def test_a_convention_that_is_not_known_is_refused():
    one = made_up([1, 1], [2, 2])
    for wrong in (
        lambda: one.of("text", "theirs"),
        lambda: one.image_over_text("theirs"),
        lambda: mean_residual_norms([one], convention="theirs"),
        lambda: ratio_of(np.ones(1), np.ones(1), "theirs"),
    ):
        with pytest.raises(InputError, match="'theirs' is not known: use one of stream, paper"):
            wrong()


def test_the_panels_are_words_and_image_on_log_axes_and_log10_of_their_ratio():
    one = made_up([1, 10, 100], [100, 100, 100], after=(3, 6))
    panels = one.plot()
    assert [ax.get_yscale() for ax in panels] == ["log", "log", "linear"]
    curves = [ax.lines[0].get_ydata().tolist() for ax in panels]
    assert curves == [[1, 10, 100], [100, 100, 100], pytest.approx([2, 1, 0])]
    rings = [(ax.lines[1].get_xdata()[0], ax.lines[1].get_ydata()[0]) for ax in panels]
    assert rings == [(2, 3), (2, 6), (2, pytest.approx(np.log10(2)))]
    assert "after last block" in panels[0].get_xlabel()


def test_the_mean_draws_its_interval_and_the_papers_convention_says_where_it_ends(found):
    axes = Figure().subplots(1, 3)
    panels = mean_residual_norms(found, convention="paper").plot(axes)
    assert list(panels) == list(axes) and "after final norm" in panels[2].get_xlabel()
    assert len(panels[2].collections) == 1 and panels[0].get_legend() is None


def test_zeros_leave_gaps_and_wrong_axes_are_refused():
    panels = made_up([0, 2, 4], [5, 6, 8]).plot()
    assert np.isnan(panels[0].lines[0].get_ydata()[0]) and np.isnan(panels[2].lines[0].get_ydata()[0])
    with pytest.raises(InputError, match="give three"):
        made_up([1, 1], [2, 2]).plot(Figure().subplots(1, 2))
    with pytest.raises(InputError, match="give three"):
        plot_residual_norms(np.ones(3), np.ones(2), np.ones(3))
