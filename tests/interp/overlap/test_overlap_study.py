"""An overlap study finds what was planted, beside nulls that find nothing, and its numbers are those of `overlap`."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from overlap_studies import load, looked_at, run

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.nulls import NULL_MEASURES, NULLS, REGIONS, BoxPool, moved_boxes
from interp.overlap.overlap import overlap
from interp.overlap.study.examine import examine_overlap
from interp.overlap.study.measurement import _judged
from interp.planted import llava as planted
from interp.planted.llava import planted_scenes

OBJECT, IDLE = planted.OBJECT_HEAD, (3, 0)
N = 40

# Whose weights on the image are those of rounding: of the null model, a head that looks at words alone.
BLANK = planted.FETCH_HEAD


@pytest.fixture(scope="module")
def one():
    """A study of questions about one object."""
    return run("planted-object", normalisations=("image", "keys"))


@pytest.fixture(scope="module")
def two():
    """A study of questions about two objects, in which the model reads the wrong one half of the time."""
    return run("planted-distractor", 60)


@pytest.fixture(scope="module")
def blind():
    """A study of two objects with a model whose every map is uneven, without ties, and knows nothing of them."""
    return run("planted-null", scenes=planted_scenes("planted-distractor", 60), normalisations=("image", "keys"))


def without_blank(values):
    """A measure [... layer head+1] without the one head that does not look at the image."""
    values = np.array(values)
    values[..., BLANK[0], BLANK[1]] = 0
    return values


# what was planted --------------------------------------------------------------------------------------------------


def test_that_arrays_have_their_axes_and_regions_are_named_in_order(one):
    assert one.regions == REGIONS == ("first", "second", "union", "first minus second")
    assert one.normalisations == ("image", "keys") and one.nulls == NULLS and len(one) == N
    nulls = {f"{name}_{null}" for null in NULLS for name in NULL_MEASURES} | {f"{name}_even" for name in MEASURES}
    assert set(one.measures) == {*MEASURES, *MAP_MEASURES, *nulls}
    for name, values in one.measures.items():
        regions = () if name in MAP_MEASURES else (4,)
        assert values.shape == (N, 2, *regions, planted.N_LAYERS, planted.N_HEADS + 1) and values.dtype == np.float32
    assert one.values("mass").shape == one.values("peaks").shape == (N, planted.N_LAYERS, planted.N_HEADS + 1)


def test_that_the_planted_head_is_on_its_object_in_every_measure(one):
    layer, head = OBJECT
    for name, wanted in {
        "mass": 1,
        "auroc": 1,
        "hit": 1,
        "hit_near": 1,
        "precision": 1,
        "cosine": 1,
        "lift": 16,
    }.items():
        assert one.values(name)[:, layer, head] == pytest.approx(wanted, rel=1e-3), name
    assert one.samples["right"].all() and (one.samples["found"] == "all").all() and one.samples["complete"].all()


def test_that_a_question_about_one_object_has_no_second_one(one):
    for name in ("mass", "mass_shuffled", "auroc_moved", "cosine_centre", "mass_even", "mass_heads"):
        assert np.array_equal(one.values(name, "first"), one.values(name, "union"))
        for region in ("second", "first minus second"):
            assert np.isnan(one.values(name, region)).all()


@pytest.mark.parametrize("null", ["even", *NULLS])
def test_that_the_planted_head_lies_far_above_every_null(one, null):
    layer, head = OBJECT
    lift = one.lift(null)[:, layer, head]
    assert np.nanmean(lift) > 3 and (np.isnan(lift) | (lift > 1)).all()
    if null != "even":
        assert (one.values(f"auroc_{null}")[:, layer, head] < 0.97).all()


@pytest.mark.parametrize("null", ["even", "shuffled", "moved"])
def test_that_an_even_head_is_no_better_than_boxes_that_mean_nothing(one, null):
    layer, head = IDLE
    assert one.lift(null)[:, layer, head] == pytest.approx(1, abs=1e-3)
    assert one.values(f"auroc_{null}")[:, layer, head] == pytest.approx(0.5, abs=1e-6)


def test_that_a_model_that_looks_at_random_lies_within_its_nulls():
    study = run("planted-null", 80)
    for name in NULL_MEASURES:
        gain = (study.values(name) - study.values(f"{name}_shuffled")).astype(np.float64)
        off = np.abs(gain.mean(0)) / (gain.std(0) / np.sqrt(len(study)) + 1e-6)
        assert off.max() < 4, name  # of 20 heads and means
    found = examine_overlap(study, measure="mass", n_draws=500)
    assert np.nanmin(found.pooled.p_max) > 0.02 and np.nanmin(found.within.p_max) > 0.02
    gain = found.above["shuffled"]
    assert ((gain.low <= 0) & (gain.high >= 0)).sum() >= planted.N_LAYERS - 1


def test_that_overlap_with_the_first_object_tells_right_from_wrong_where_the_model_reads_it_or_the_other(two):
    reads_asked = [scene.meta["reads_asked"] for scene in planted_scenes("planted-distractor", 60)]
    assert two.samples["right"].tolist() == reads_asked and (two.samples["found"] == "all").all()
    for region, sign in (("first", 1), ("second", -1), ("first minus second", 1)):
        found = examine_overlap(two, measure="mass", region=region, n_draws=500)
        for kind in (found.pooled, found.within):
            assert kind.auroc[OBJECT] == (1 if sign > 0 else 0) and kind.p_max[OBJECT] < 0.01
            assert kind.p_max[IDLE] > 0.05
        assert f"in layer {OBJECT[0]}" in found.describe().splitlines()[1]


def test_that_nothing_is_told_of_right_and_wrong_where_all_is_right(one):
    found = examine_overlap(one, n_draws=100)
    assert np.isnan(found.pooled.auroc).all() and found.accuracy.estimate == 1
    assert f"no right answer can be compared with a wrong one ({N} right, 0 wrong)" in found.describe()


# the numbers -------------------------------------------------------------------------------------------------------


def test_that_every_measure_is_that_of_the_row_behind_the_first_token(blind):
    scenes = planted_scenes("planted-distractor", 60)[:6]
    measured, grids = looked_at(load("planted-null"), scenes)
    for place, (looked, grid, scene) in enumerate(zip(measured, grids, scenes, strict=True)):
        first, second = (item.box for item in scene.objects)
        wanted = overlap(looked, grid, regions={"first": [first], "second": [second]}, contrast=("first", "second"))
        for name in MEASURES:
            for region in REGIONS:
                found, by_hand = blind.values(name, region)[place], wanted.values(name, region=region)
                assert without_blank(found) == pytest.approx(without_blank(by_hand), rel=1e-4, abs=2e-5), name
        for name in MAP_MEASURES:
            by_hand = without_blank(wanted.values(name))
            assert without_blank(blind.values(name)[place]) == pytest.approx(by_hand, abs=1e-4)
        row = blind.samples.iloc[place]
        assert row["id"] == scene.id and row["objects"] == "|".join(item.name for item in scene.objects)
        assert row["area_first"] == pytest.approx(4 / 64) and row["n_second"] == 1


def test_that_nulls_are_of_the_very_sample_whatever_the_batches(blind):
    scenes = planted_scenes("planted-distractor", 60)
    measured, grids = looked_at(load("planted-null"), scenes[:4])
    boxes = [
        {role: [item.box] for role, item in zip(("first", "second"), scene.objects, strict=True)} for scene in scenes
    ]
    pool = BoxPool(boxes, [scene.image.size for scene in scenes], [scene.id for scene in scenes])
    for place, (looked, grid) in enumerate(zip(measured, grids, strict=True)):
        draws = {
            "shuffled": pool.draw(place, draws=10, seed=0),
            "moved": moved_boxes(boxes[place], grid, place=place, draws=10, seed=0),
        }
        for null, drawn in draws.items():
            for region in ("first", "second", "union"):
                own = [
                    [box for role, some in one.items() for box in some if region in (role, "union")] for one in drawn
                ]
                every = [overlap(looked, grid, regions={"x": some}) for some in own]
                for name in NULL_MEASURES:
                    by_hand = np.mean([one.values(name) for one in every], axis=0)
                    found = blind.values(f"{name}_{null}", region)[place]
                    assert without_blank(found) == pytest.approx(without_blank(by_hand), abs=2e-5)


def test_that_keys_differ_from_image_by_the_share_of_the_image_alone(one, blind):
    for name in ("cosine", "auroc", "hit", "auroc_shuffled", "cosine_centre"):
        image, keys = (without_blank(blind.values(name, normalisation=kind)) for kind in blind.normalisations)
        assert keys == pytest.approx(image, abs=1e-4)
    for null in ("shuffled", "moved", "centre"):
        image, keys = (without_blank(blind.lift(null, normalisation=kind)) for kind in blind.normalisations)
        assert keys == pytest.approx(image, rel=1e-3)
    share = one.values("mass", normalisation="keys") / one.values("mass")
    assert 0.3 < np.median(share[:, *IDLE]) < 0.95


def test_that_the_null_of_other_heads_is_of_the_same_layer(one):
    mass, other = one.values("mass"), one.values("mass_heads")
    layer, head = OBJECT
    rest = np.delete(mass[:, layer, :-1], head, axis=1)
    assert (other[:, layer, head] <= rest.max(1) + 1e-6).all() and (other[:, layer, head] < 0.5).all()
    assert other[:, 3] == pytest.approx(mass[:, 3], abs=1e-5)  # all heads of the last layer are idle


def test_that_layers_that_were_not_asked_for_are_undefined_and_the_others_the_same(blind):
    scenes = planted_scenes("planted-distractor", 60)
    study = run("planted-null", scenes=scenes, normalisations=("image", "keys"), layers=(2, 0))
    assert study.layers == (2, 0) and study.n_layers == planted.N_LAYERS
    for name, values in study.measures.items():
        assert np.isnan(values[..., [1, 3], :]).all()
        if not name.endswith("_heads"):  # which are drawn for all layers together
            assert values[..., [0, 2], :] == pytest.approx(blind.measures[name][..., [0, 2], :], abs=1e-5), name
    table = study.to_dataframe(["mass", "peaks"], regions=("first",), normalisations=("keys",))
    assert len(table) == 60 * 2 * 5 and set(table["layer"]) == {0, 2} and set(table["head"]) == {-1, 0, 1, 2, 3}
    row = table.query("layer == 2 and head == -1").iloc[7]
    assert row["mass"] == study.values("mass", "first", "keys")[7, 2, -1] and row["sample"] == study.samples["id"][7]
    assert row["peaks"] == study.values("peaks", normalisation="keys")[7, 2, -1]
    assert "not all layers were measured" in examine_overlap(study, n_draws=50).describe()


def test_that_a_table_has_a_row_for_every_cell(blind):
    table = blind.to_dataframe(["auroc", "mass_moved"])
    assert len(table) == 60 * 2 * 4 * planted.N_LAYERS * (planted.N_HEADS + 1)
    keys = ["sample", "normalisation", "region", "layer", "head"]
    assert not table.duplicated(keys).any() and table["auroc"].dtype == np.float32
    rng = np.random.default_rng(0)
    for row in table.iloc[rng.choice(len(table), 40, replace=False)].itertuples():
        place = blind.samples["id"].tolist().index(row.sample)
        for name in ("auroc", "mass_moved"):
            found = blind.values(name, row.region, row.normalisation)[place, row.layer, row.head]
            assert getattr(row, name) == found or (np.isnan(found) and np.isnan(getattr(row, name)))


def test_that_sinks_are_found_in_a_first_pass_and_taken_out(monkeypatch):
    from interp.maps import sinks

    monkeypatch.setattr(sinks, "mass_sinks", partial(sinks.mass_sinks, times=3.0))
    study = run("planted-object", 12, normalisations=("image", "no-sinks"))
    row, col = planted.SINK
    assert study.settings["sinks"] == [row * planted.GRID + col]
    with_sink, without = (study.values("mass", normalisation=kind)[:, *IDLE] for kind in study.normalisations)
    assert with_sink == pytest.approx(4 / 64, rel=1e-4) and without == pytest.approx(4 / 63, rel=1e-4)
    assert study.lift("even", normalisation="no-sinks")[:, *IDLE] == pytest.approx(1, rel=1e-4)
    assert study.values("mass", normalisation="no-sinks")[:, *OBJECT] == pytest.approx(1, abs=1e-3)


def test_that_relative_divides_by_a_pass_with_the_neutral_prompt():
    scenes = planted_scenes("planted-distractor", 6)
    study = run("planted-object", scenes=scenes, normalisations=("image", "relative"), neutral_prompt="Look at this.")
    vlm = load("planted-object")
    measured, grids = looked_at(vlm, scenes)
    neutral, _ = looked_at(vlm, [replace(scene, question="Look at this.") for scene in scenes])
    for place, (looked, other, grid) in enumerate(zip(measured, neutral, grids, strict=True)):
        boxes = [scenes[place].objects[0].box]
        wanted = overlap(looked, grid, regions={"first": boxes}, normalisations=("relative",), neutral=other)
        found = study.values("mass", "first", "relative")[place]
        by_hand = wanted.values("mass", region="first", normalisation="relative")
        for cell in (OBJECT, IDLE, (2, -1), (3, -1)):
            assert found[cell] == pytest.approx(by_hand[cell], abs=1e-4, nan_ok=True)  # that head looks at words alone
        assert np.isfinite(found[[2, 3, 3], [-1, 0, -1]]).all()
    assert study.settings["neutral_prompt"] == "Look at this."


@pytest.mark.parametrize(
    "text, gold, options, predicted, right",
    [
        ("Left.", "left", ("left", "right"), "left", True),
        ("left and right", "right", ("left", "right"), "left", False),  # the paper's rule lets this pass
        ("On the left", "left", ("left", "right", "on", "under"), "left", True),
        ("A person", "on", ("on", "under"), None, False),
        ("touching it", "touching", (), "touching", True),
    ],
)
def test_that_right_is_the_strict_rule(text, gold, options, predicted, right):
    class Answer:
        texts, confidence = (text,), (0.5,)

    (row,) = _judged([Sample("s", planted_scenes("planted-object", 1)[0].image, "?", options, gold)], Answer)
    assert (row["predicted"], row["right"]) == (predicted, right)


def test_that_a_study_answers_only_for_what_it_has(one):
    for options, said in (
        ({"measure": "dice"}, "measure 'dice' is not in this study"),
        ({"measure": "mass", "region": "third"}, "region 'third'"),
        ({"measure": "mass", "normalisation": "relative"}, "normalisation 'relative'"),
        ({"measure": "peaks", "region": "first"}, "of the map alone"),
    ):
        with pytest.raises(InputError, match=said):
            one.values(**options)
    with pytest.raises(InputError, match="a lift of 'first minus second' says nothing"):
        one.lift("even", "first minus second")
    with pytest.raises(InputError, match="'mass_none' is not in this study"):
        one.lift("none")
