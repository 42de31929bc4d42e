"""Maps beside raw attention in an analysis: each is its own tool's, and all lie under the same measures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from interp.__main__ import main as interp
from interp.analysis.analyze import analyze
from interp.analysis.request import ALSO as EVERY
from interp.analysis.request import AnalyzeRequest
from interp.analysis.result import draw_token_maps
from interp.analysis.token_maps import ALSO
from interp.detect import GivenBoxes
from interp.errors import InputError, ModelError
from interp.layers import HEAD_MEAN
from interp.maps.answer_lens import answer_lens
from interp.maps.gradients import KINDS, answer_gradient
from interp.maps.trajectory import normalise
from interp.model.hooked_vlm import HookedVLM
from interp.overlap.measures import MEASURES
from interp.overlap.overlap import overlap
from interp.overlap.study.request import NEUTRAL_PROMPT
from interp.planted.llava import OBJECT_HEAD, build_planted, planted_scenes

QUESTION = "Where is the mug in relation to the table? Answer with left, right, above or below."
BOXES = GivenBoxes.parse("mug=5,5,25,25; table=30,20,70,55")


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm()


@pytest.fixture(scope="module", params=["first", "all"])
def analysis(vlm, request):
    """All maps of one photo, of what the model says itself."""
    settings = {"detector": BOXES, "tokens": request.param, "sample_id": "one", "max_new_tokens": 3}
    return analyze(tiny.photo(), QUESTION, model=vlm, also=ALSO, **settings)


@pytest.fixture(scope="module")
def inputs(vlm):
    return vlm.prepare(tiny.photo(), QUESTION)


def rows_of(vlm, inputs):
    """Attention of the last prompt row over the image tokens, [layer head token]."""
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.startswith("blocks") and "pattern" in name)
    rows = np.stack([cache["pattern", layer][0, :, -1].numpy() for layer in range(vlm.cfg.n_layers)])
    return rows[..., inputs.layouts[0].image_positions]


# --- the maps


def test_each_map_is_that_of_its_own_tool(vlm, inputs, analysis):
    said = vlm.generate(inputs, 1).tokens[0, 0].item()
    (slopes,), ((token, chance),) = answer_gradient(vlm, inputs, said), answer_lens(vlm, inputs, said)
    rows, other = analysis.trajectory.image_attention, rows_of(vlm, vlm.prepare(tiny.photo(), NEUTRAL_PROMPT))
    relative = normalise(rows, "relative", neutral=np.broadcast_to(other[:, :, None], rows.shape))
    wanted = {kind: slopes.maps(kind)[:, :, None] for kind in KINDS}
    wanted |= {"relative": relative, "lens": chance[:, None, None]}
    assert tuple(analysis.also) == tuple(wanted) == ALSO
    for name, maps in wanted.items():
        found = analysis.also[name]
        np.testing.assert_allclose(found.maps, maps, atol=1e-6)
        assert found.answer == (None if name == "relative" else token)
        mean = normalise(maps.mean(axis=1, dtype=np.float64), "image")
        if name == "relative":  # weights are averaged over heads first, then divided
            mean = normalise(rows.mean(axis=1), "relative", neutral=other.mean(axis=1)[:, None])
        np.testing.assert_allclose(found.weights, mean, atol=1e-6)
        assert found.layers == (0, 1, 2) and found.grid is analysis.grid


def test_each_map_lies_under_the_measures_that_raw_attention_does(vlm, analysis):
    boxes, table = analysis.found.boxes, analysis.overlap_by_map()
    assert list(dict.fromkeys(table["maps"])) == ["rows", *ALSO]
    everything = {"rows": analysis.overlap, **{name: maps.overlap for name, maps in analysis.also.items()}}
    for name, found in everything.items():
        own = table[table["maps"] == name]
        assert list(own["layer"]) == [0, 1, 2] and set(own["sample"]) == {"one"}
        for measure in MEASURES:
            kind = "relative" if name == "relative" else "image"
            values = found.values(measure, normalisation=kind)
            values = values[..., 0] if values.ndim == 3 else values
            np.testing.assert_array_equal(own[measure], values[:, HEAD_MEAN])
        np.testing.assert_array_equal(own["cosine_even"], table.loc[table["maps"] == "rows", "cosine_even"])
    mask = analysis.grid.union_membership(boxes).astype(np.float64)
    for name, maps in analysis.also.items():
        mass = maps.weights[:, 0] @ mask
        np.testing.assert_allclose(table.loc[table["maps"] == name, "mass"], mass, atol=1e-6)
    alone = overlap(analysis.also["gradient"].maps[:, :, 0], analysis.grid, boxes)
    np.testing.assert_array_equal(analysis.also["gradient"].overlap.values("auroc")[..., 0], alone.values("auroc"))


def test_what_is_written_says_of_which_layer_and_image_token_each_number_is(analysis, tmp_path):
    written = {path.name for path in analysis.save(tmp_path)}
    assert {f"{name}.png" for name in ALSO} | {"overlap_by_map.png", "overlap_by_map.parquet"} <= written
    for name, maps in analysis.also.items():
        table, against = (pd.read_parquet(tmp_path / f"{front}{name}.parquet") for front in ("", "overlap_"))
        one = table[(table["layer"] == 1) & (table["step"] == 0)]
        np.testing.assert_array_equal(one["weight"], maps.weights[1, 0])
        assert np.array_equal(one["image_token"], np.arange(len(maps.grid)))
        assert np.array_equal(one[["row", "col"]].to_numpy().T, [maps.grid.rows, maps.grid.cols])
        assert set(table["maps"]) == set(against["maps"]) == {name}
        assert set(against["head"]) == ({HEAD_MEAN} if name == "lens" else {HEAD_MEAN, 0, 1, 2, 3})
        assert Image.open(tmp_path / f"{name}.png").size[0] > 200
        of = "" if name == "relative" else f" of {maps.answer.text!r}"
        assert f"{name}{of}: maps over 16 image tokens; cosine with the boxes" in analysis.describe()


def test_a_figure_says_what_its_numbers_are_and_how_much_of_the_map_lies_on_the_objects(analysis):
    for name, maps in analysis.also.items():
        figure = draw_token_maps(analysis, maps)
        titles = [ax.get_title(loc="left") for ax in figure.axes]
        lift = maps.overlap.values("lift", normalisation=maps.normalisation).reshape(3, maps.maps.shape[1] + 1, -1)
        for layer, own in enumerate(lift[:, -1, 0]):
            heads = "" if name == "lens" else "head mean, "
            wanted = f"layer {layer}, {heads}first token\non the objects: {own:.1f} times even"
            assert (wanted in titles) == (not np.isnan(own)), titles
        label = next(ax.get_ylabel() for ax in figure.axes if "bar:" in ax.get_ylabel())
        assert ("attention" in label) == (name != "lens")
        assert ("share of the whole map" in label) == (name != "relative") and "share of the image's" not in label
        plt.close(figure)


def test_maps_come_in_the_order_asked_for_beside_those_of_the_tower(vlm):
    names = ("lens", "rollout", "gradient")
    found = analyze(tiny.photo(), QUESTION, model=vlm, also=names, max_new_tokens=1)
    assert tuple(found.also) == names and tuple(found.token_maps) == ("lens", "gradient")
    assert found.also["gradient"].overlap is None and found.overlap_by_map() is None
    with pytest.raises(InputError, match="no boxes"):
        found.also["gradient"].overlap_table()


def test_the_analysis_itself_is_what_it_is_without_further_maps(vlm, analysis):
    tokens = "all" if analysis.trajectory.generated else "first"
    alone = analyze(tiny.photo(), QUESTION, model=vlm, detector=BOXES, tokens=tokens, max_new_tokens=3)
    assert (alone.answer, alone.confidence) == (analysis.answer, analysis.confidence)
    np.testing.assert_array_equal(alone.trajectory.image_attention, analysis.trajectory.image_attention)


def test_the_tower_runs_once_and_gradients_share_a_run(vlm):
    towers = []
    note = vlm.model.model.vision_tower.register_forward_hook(lambda *_: towers.append(1))
    try:
        with tiny.passes(vlm) as ran:
            analyze(tiny.photo(), QUESTION, model=vlm, also=ALSO, max_new_tokens=1)
    finally:
        note.remove()
    lengths = [shape[1] for shape in ran]
    assert len(towers) == 1
    assert lengths[0] == lengths[1] == lengths[3] and lengths[2] == 1 and len(lengths) == 5  # the last: the neutral one


def test_a_word_may_be_named_in_place_of_what_the_model_says(vlm, inputs):
    asked = {"also": ["gradient", "lens"], "max_new_tokens": 1}
    found = analyze(tiny.photo(), QUESTION, model=vlm, answer="below", **asked)
    (slopes,) = answer_gradient(vlm, inputs, "below")
    np.testing.assert_allclose(found.also["gradient"].maps[:, :, 0], slopes.maps(), atol=1e-6)
    assert found.also["lens"].answer.text == "below" and found.settings["answer"] == "below"


def test_on_a_planted_model_the_gradient_finds_the_object_that_raw_attention_does_not():
    vlm = HookedVLM.wrap(*build_planted("planted-object"), self_check=False)
    for scene in planted_scenes("planted-object", 3, seed=5):
        box = scene.objects[0].box
        settings = {"model": vlm, "prompt": "paper", "detector": GivenBoxes((box,)), "max_new_tokens": 1}
        found = analyze(scene.image, scene.question, also=["gradient", "gradcam"], **settings)
        table = found.overlap_by_map().set_index(["maps", "layer"])["mass"]
        assert table["gradient", OBJECT_HEAD[0]] > 0.99
        assert table["rows", OBJECT_HEAD[0]] < 0.9  # other heads look, too, and nobody uses what they see
        assert found.also["gradient"].overlap.values("mass")[OBJECT_HEAD][0] > 0.99


# --- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    {
        "a map": ({"also": ["saliency"]}, f"some of {', '.join(EVERY)}"),
        "a word alone": ({"answer": "left"}, "would change nothing"),
        "a word for others": ({"answer": "left", "also": ["relative"]}, "would change nothing"),
        "no word": ({"answer": 3, "also": ["lens"]}, "is no text"),
        "another prompt alone": ({"neutral_prompt": "Look."}, "goes with the further map 'relative'"),
        "no prompt": ({"neutral_prompt": " ", "also": ["relative"]}, "asks for nothing in particular"),
    }.values(),
    ids=str,
)
def test_a_request_that_means_nothing_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        AnalyzeRequest(**given)


def test_what_can_not_be_made_is_refused_before_the_model_runs(vlm, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with tiny.passes(vlm) as ran:
        with pytest.raises(InputError, match="even everywhere"):
            analyze(tiny.photo(), QUESTION, model=vlm, also=["relative"], neutral_prompt=QUESTION, out=out)
        with pytest.raises(InputError, match="not known to the tokenizer"):
            analyze(tiny.photo(), QUESTION, model=vlm, also=["lens"], answer="giraffe", out=out)
        monkeypatch.setattr(vlm.model, "is_quantized", True, raising=False)
        with pytest.raises(ModelError, match="quantised"):
            analyze(tiny.photo(), QUESTION, model=vlm, also=["gradcam"], out=out)
    assert ran == [] and not out.exists()


# --- the command


def test_the_command_makes_them_of_a_word_and_beside_a_prompt(tmp_path, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    tiny.photo().save(photo)
    options = ["--max-new-tokens", "1", "--also", "gradient,relative,lens", "--answer", "left"]
    options += ["--neutral-prompt", "Look.", "--boxes", "mug=5,5,25,25", "--out", str(out)]
    assert interp(["analyze", str(photo), QUESTION, *options]) == 0
    wanted = {f"{name}.png" for name in ("gradient", "relative", "lens")}
    assert wanted | {"overlap_by_map.parquet"} <= {path.name for path in out.iterdir()}
    assert "gradient of 'left'" in capsys.readouterr().out
    assert interp(["analyze", str(photo), QUESTION, "--answer", "left", "--out", str(out)]) == 2
    assert "would change nothing" in capsys.readouterr().err
