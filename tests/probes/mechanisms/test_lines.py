"""Lines of items: the paper's own pictures, geometry on whole tokens of every family, and pairs whose order differs."""

import hashlib
import json
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from golden import golden
from PIL import Image

from interp.datasets.synthetic.line_items import (
    ORANGE,
    PALETTE,
    Item,
    compatible,
    known_shapes,
    paired_shapes,
    squares,
    thumbnails,
    with_orange,
)
from interp.datasets.synthetic.lines import (
    PAPER_GEOMETRIES,
    LineGeometry,
    draw_alone,
    draw_blank,
    draw_grid,
    draw_line,
)
from interp.errors import InputError, RefusedError
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY
from probes.mechanisms.scenes.geometry import geometry_of, line_of
from probes.mechanisms.scenes.line_pairs import (
    AXIS_OF,
    DIRECTIONS,
    KINDS,
    OPPOSITE,
    line_pairs,
    said_by,
    setting_of,
)

AXES = {"h": "horizontal", "v": "vertical"}
TILED = {
    "tiny-smolvlm": "2 x 2 tokens are too few for 3 items",
    "tiny-llava_onevision": "its tokens show .* pixels along a side, and do not divide a canvas evenly",
}
"""Families that see tiles as well, and why items can not lie on whole tokens of all views."""


@cache
def model(name="shapes-vlm"):
    return HookedVLM.from_pretrained(name, self_check=False)


# pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_name", PAPER_GEOMETRIES)
def test_squares_are_the_papers_to_the_byte(model_name):
    recorded = json.loads((golden("images") / "squares_sha256_16.json").read_text())
    recorded = {key: digest for key, digest in recorded.items() if key.startswith(model_name)}
    items = {item.word: item for item in squares({**PALETTE, "Orange": ORANGE})}
    assert len(recorded) == 2 * 120
    for key, digest in recorded.items():
        name, axis, words = key.split("_")
        line = draw_line([items[word] for word in words.split("-")], AXES[axis], PAPER_GEOMETRIES[name])
        assert hashlib.sha256(line.image.tobytes()).hexdigest()[:16] == digest, key


@pytest.mark.parametrize("name", PAPER_GEOMETRIES)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("half", [0, 1])
def test_shapes_are_the_papers_in_98_of_100_pixels_and_of_those_of_each_item(name, axis, half):
    recorded = np.array(Image.open(golden("images") / f"shapes_{name}_{axis}_{half}.png").convert("RGB"))
    items = paired_shapes(with_orange() if name == "pixtral" else PALETTE)[3 * half : 3 * half + 3]
    line = draw_line(items, AXES[axis], PAPER_GEOMETRIES[name])
    same = (np.array(line.image) == recorded).all(axis=2)
    assert same.mean() >= 0.98
    for x0, y0, x1, y1 in PAPER_GEOMETRIES[name].slots(AXES[axis]):
        assert same[y0:y1, x0:x1].mean() >= 0.98


@pytest.mark.parametrize("items", [squares()[:3], paired_shapes()[3:], known_shapes()[::7][:3]])
@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_every_item_lies_in_its_box_and_nothing_lies_elsewhere(items, axis):
    geometry = LineGeometry(8, 8, 14, item=2, gap=1)
    line = draw_line(items, axis, geometry)
    drawn = (np.array(line.image) != 255).any(axis=2)
    for box in line.boxes:
        x0, y0, x1, y1 = map(int, box.xyxy)
        assert drawn[y0:y1, x0:x1].any(), box.label
        drawn[y0:y1, x0:x1] = False
    assert not drawn.any()
    assert line.boxes.labels == [item.name for item in items]


def test_an_item_alone_lies_where_the_second_of_a_line_does():
    geometry = PAPER_GEOMETRIES["gemma3"]
    red, green, blue = squares()[:3]
    alone = np.array(draw_alone(green, geometry))
    for axis in ("horizontal", "vertical"):
        line = np.array(draw_line([red, green, blue], axis, geometry).image)
        x0, y0, x1, y1 = geometry.slots(axis)[1]
        assert (alone[y0:y1, x0:x1] == line[y0:y1, x0:x1]).all()
    assert (alone != 255).any(axis=2).sum() == geometry.side**2
    assert (np.array(draw_blank(geometry)) == 255).all()


@pytest.mark.parametrize("name", PAPER_GEOMETRIES)
def test_items_cover_the_tokens_that_the_paper_names(name):
    recorded = json.loads((golden("regions") / "real_grids.json").read_text())[name]
    geometry = PAPER_GEOMETRIES[name]
    for axis, direction in (("horizontal", "left"), ("vertical", "above")):
        assert [tokens_of(slot, geometry) for slot in geometry.slots(axis)] == recorded["slots"][direction]
    for k in ("2", "3"):
        cells = [tokens_of(slot, geometry) for slot in geometry.cells(int(k))]
        assert cells == list(recorded["grids"][k].values())


def test_items_cover_the_recorded_tokens_on_other_grids():
    recorded = json.loads((golden("regions") / "other_grids.json").read_text())
    for name, regions in recorded.items():
        tokens, item, gap = (int(part[1:]) for part in name.split("_"))
        geometry = LineGeometry(tokens, tokens, 10, item=item, gap=gap)
        row, column = (geometry.slots(axis) for axis in ("horizontal", "vertical"))
        named = {"left": row[0], "middle": row[1], "right": row[2], "top": column[0], "bottom": column[2]}
        for region, slot in named.items():
            assert tokens_of(slot, geometry) == regions[region], (name, region)


def tokens_of(slot, geometry):
    x0, y0, x1, y1 = (corner // geometry.patch_px for corner in slot)
    return [row * geometry.columns + column for row in range(y0, y1) for column in range(x0, x1)]


def test_a_grid_of_items_has_one_in_each_cell():
    geometry = PAPER_GEOMETRIES["qwen2vl"]
    line = draw_grid(squares()[:4], 2, geometry)
    colors = [line.image.getpixel((int(box.centre[0]), int(box.centre[1]))) for box in line.boxes]
    assert colors == list(PALETTE.values())[:4]
    with pytest.raises(InputError, match="4 items of 2 tokens .* need 14 tokens"):
        draw_grid(squares()[:4] * 4, 4, geometry)


def test_thumbnails_keep_their_proportions_and_are_called_as_their_files(tmp_path):
    for name, size in {"red-pot": (40, 20), "bell": (10, 30), "hat": (8, 8)}.items():
        Image.new("RGB", size, (200, 0, 0)).save(tmp_path / f"{name}.png")
    items = thumbnails(tmp_path)
    assert [item.word for item in items] == ["bell", "hat", "red pot"]
    red = (np.array(items[2].tile(28).convert("RGB")) != 255).any(axis=2)
    assert red.sum() == 28 * 14 and red[7:21].all()
    (tmp_path / "red_pot.jpg").write_bytes((tmp_path / "hat.png").read_bytes())
    with pytest.raises(InputError, match="two pictures .* are called 'red pot'"):
        thumbnails(tmp_path)


def test_a_folder_that_can_not_make_a_line_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        thumbnails(tmp_path / "none")
    with pytest.raises(InputError, match="holds 0 pictures"):
        thumbnails(tmp_path)


@pytest.mark.parametrize("bad", [dict(item=0), dict(gap=-1), dict(rows=5), dict(columns=5), dict(patch_px=1.5)])
def test_a_geometry_that_can_not_be_drawn_is_refused(bad):
    with pytest.raises(InputError):
        LineGeometry(**{**dict(rows=8, columns=8, patch_px=14, item=2, gap=1), **bad})


# geometry of models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shapes-vlm", *(name for name in TINY if name not in TILED)])
def test_items_lie_exactly_on_whole_tokens_of_the_grid_that_the_model_makes(name):
    vlm = model(name)
    geometry = geometry_of(vlm)
    for axis in ("horizontal", "vertical"):
        line = draw_line(squares()[:3], axis, geometry)
        grid = vlm.prepare(line.image, "Where?", prompt="paper").grids[0]
        every = np.stack([grid.membership(box) for box in line.boxes])
        assert np.allclose(every, every.round(), atol=1e-6)
        assert len(set(every.round().sum(axis=1))) == 1, "as many tokens each, those of tiles included"
        shares = every[:, grid.view == 0].round()
        assert (shares.sum(axis=1) == geometry.item**2).all()
        for share, slot in zip(shares, geometry.slots(axis), strict=True):
            assert np.flatnonzero(share).tolist() == tokens_of(slot, geometry)


def test_the_embedded_model_has_items_of_two_tokens_one_apart():
    assert geometry_of(model()) == LineGeometry(8, 8, 14, item=2, gap=1)


@pytest.mark.parametrize("name", TILED)
def test_tiled_families_without_whole_tokens_in_all_views_are_refused_by_name(name):
    with pytest.raises(RefusedError, match=f"family {model(name).family.name}: {TILED[name]}"):
        geometry_of(model(name))


def test_a_canvas_may_be_chosen_and_is_refused_where_it_does_not_fit():
    vlm = model("tiny-qwen2_vl")
    assert geometry_of(vlm, canvas=84).rows == 3
    with pytest.raises(InputError, match="canvas of 100 x 100 pixels .* resized"):
        geometry_of(vlm, canvas=100)
    with pytest.raises(InputError, match="canvas=0"):
        geometry_of(vlm, canvas=0)


def test_the_papers_grids_give_the_papers_items():
    for geometry in PAPER_GEOMETRIES.values():
        assert line_of(geometry.rows) == (geometry.item, geometry.gap)
    assert line_of(2) is None


# pairs ------------------------------------------------------------------------------------------------------------


def answer_by_looking(sample, boxes=None):
    """What lies where a question points, read off the boxes alone."""
    boxes = list(boxes or sample.meta["boxes"])
    middle = boxes[1].centre
    x, y = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}[sample.meta["direction"]]
    offsets = [x * (box.centre[0] - middle[0]) + y * (box.centre[1] - middle[1]) for box in boxes]
    return sample.meta["words"][int(np.argmax(offsets))]


@pytest.mark.parametrize("kind", ["reversed", "last"])
def test_the_answers_of_both_samples_and_every_outcome_are_what_the_pictures_show(kind):
    pairs = line_pairs(setting_of("squares"), PAPER_GEOMETRIES["qwen2vl"], kind=kind, n=6)
    assert [pair.clean.relation for pair in pairs] == [direction for direction in DIRECTIONS for _ in range(6)]
    for pair in pairs:
        clean, other, direction = pair.clean, pair.counterfactual, pair.clean.relation
        assert pair.axis == AXIS_OF[direction] and pair.outcomes["clean"] == clean.answer
        assert answer_by_looking(clean) == clean.answer and answer_by_looking(other) == other.answer
        assert clean.meta["words"][1] == other.meta["words"][1] and clean.answer in clean.options
        assert {"left": "left", "right": "right"}.get(direction, direction) in clean.question
        if kind == "reversed":
            assert other.question == clean.question and other.meta["words"] == clean.meta["words"][::-1]
            assert pair.outcomes == {"clean": clean.answer, "place": other.answer}
        else:
            assert other.meta["direction"] == OPPOSITE[direction]
            pointed = clean.meta["words"][2 if OPPOSITE[direction] in ("right", "below") else 0]
            assert pair.outcomes == {"clean": clean.answer, "place": pointed, "content": other.answer}
            assert len({*clean.meta["words"], *other.meta["words"]}) == 5 and not clean.objects


def test_reversed_pairs_name_the_side_items_where_each_picture_shows_them():
    for pair in line_pairs(setting_of("shapes"), PAPER_GEOMETRIES["gemma3"], n=3):
        for sample in (pair.clean, pair.counterfactual):
            for thing in sample.objects:
                assert thing.box == next(box for box in sample.meta["boxes"] if box.label == thing.name)
        first = pair.clean.objects[0].name
        assert pair.clean.meta["words"][pair.clean.meta["items"].index(first)] == pair.clean.answer
        swapped = [thing.box.xyxy for thing in pair.counterfactual.objects[::-1]]
        assert [thing.box.xyxy for thing in pair.clean.objects] == swapped


def test_a_question_for_a_relation_is_answered_by_the_direction_and_by_its_opposite():
    for pair in line_pairs(setting_of("known"), LineGeometry(8, 8, 14, item=2, gap=1), form="relation", n=4):
        direction = pair.clean.relation
        assert pair.outcomes == {"clean": direction, "place": OPPOSITE[direction]}
        assert (pair.clean.answer, pair.counterfactual.answer) == (direction, OPPOSITE[direction])
        assert pair.clean.question == pair.counterfactual.question
        subject, reference = pair.clean.objects
        assert pair.clean.question.startswith(f"Where is the {subject.name} in relation to the {reference.name}?")
        across, down = (a - b for a, b in zip(subject.box.centre, reference.box.centre, strict=True))
        assert {"left": across < 0, "right": across > 0, "above": down < 0, "below": down > 0}[direction]


def test_pairs_are_drawn_by_their_seed_and_none_comes_twice():
    geometry, setting = PAPER_GEOMETRIES["pixtral"], setting_of("squares").only(list(PALETTE))
    draws = [line_pairs(setting, geometry, n=120, directions=["left"], seed=seed) for seed in (0, 0, 1)]
    lines = [[tuple(pair.clean.meta["words"]) for pair in drawn] for drawn in draws]
    assert lines[0] == lines[1] != lines[2]
    assert set(lines[0]) == set(permutations(PALETTE, 3))
    with pytest.raises(InputError, match="6 items .* make 120 choices of 3 .* 121 pairs"):
        line_pairs(setting, geometry, n=121)


def test_items_of_a_line_share_neither_colour_nor_shape_in_the_embedded_models_setting():
    pairs = line_pairs(setting_of("known"), LineGeometry(8, 8, 14, item=2, gap=1), form="relation", kind="last", n=5)
    for pair in pairs:
        for sample in (pair.clean, pair.counterfactual):
            assert len({word for item in sample.meta["items"] for word in item.split()}) == 6
    assert not compatible(known_shapes()[:2]) and compatible([Item("a", "a", None), Item("b", "b", None)])


def test_pairs_bring_the_reference_pictures_of_an_ordering_ablation():
    geometry = PAPER_GEOMETRIES["qwen2vl"]
    pair = line_pairs(setting_of("squares"), geometry, n=1, directions=["below"])[0]
    items = {item.name: item for item in setting_of("squares").items}
    for name, alone in zip(pair.clean.meta["items"], pair.clean.meta["alone"], strict=True):
        assert alone.tobytes() == draw_alone(items[name], geometry).tobytes()
    assert pair.clean.meta["blank"].tobytes() == draw_blank(geometry).tobytes()


def test_words_of_several_tokens_are_dropped_by_name_and_a_pool_of_too_few_is_refused():
    vlm, known = model(), setting_of("known")
    setting, found = said_by(vlm, known, form="relation", after="ASSISTANT:")
    assert setting is known and found.words == DIRECTIONS
    with pytest.raises(InputError, match="0 of 24 words are kept; dropped: red circle"):
        said_by(vlm, known, form="item", after="ASSISTANT:")
    setting, found = said_by(vlm, renamed(setting_of("squares")), form="item", after="ASSISTANT:")
    assert [item.word for item in setting.items] == ["red", "green", "blue", "orange"]
    assert list(found.dropped) == ["black", "brown", "gray"]


def renamed(setting):
    """The setting with its words in lower case, as the embedded model knows them."""
    from dataclasses import replace

    items = tuple(replace(item, word=item.word.lower(), traits=()) for item in setting.items)
    return replace(setting, items=items)


@pytest.mark.parametrize("name", [name for name in TINY if name not in TILED])
def test_both_samples_of_a_pair_are_prompts_of_one_length_on_one_grid_in_every_family(name):
    vlm = model(name)
    prompt = "paper" if vlm.processor.chat_template is None else "chat"
    for kind in KINDS:
        (pair,) = line_pairs(setting_of("squares"), geometry_of(vlm), kind=kind, n=1, directions=["left"])
        clean, other = (
            vlm.prepare(one.image, one.question, prompt=prompt) for one in (pair.clean, pair.counterfactual)
        )
        images = [layout.image_positions.tolist() for layout in (*clean.layouts, *other.layouts)]
        assert images[0] == images[1] and (clean.grids[0].boxes == other.grids[0].boxes).all()
        if kind == "reversed":
            assert clean.input_ids.tolist() == other.input_ids.tolist()


@pytest.mark.parametrize(
    "bad", [dict(kind="four"), dict(form="text"), dict(directions=["up"]), dict(directions=[]), dict(n=0)]
)
def test_pairs_that_can_not_be_are_refused(bad):
    with pytest.raises(InputError):
        line_pairs(setting_of("squares"), PAPER_GEOMETRIES["qwen2vl"], **bad)


def test_settings_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="no setting 'cubes'"):
        setting_of("cubes")
    with pytest.raises(InputError, match="name the folder"):
        setting_of("objects")
    with pytest.raises(InputError, match="reads no files"):
        setting_of("squares", tmp_path)
