"""What is built into planted models of lines is what swaps, ablations and patches of them find, slot by slot."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from planted_lines import five_items, load, prepared, reversed_pairs

from interp.errors import InputError, ModelError
from interp.planted import lines as planted
from interp.planted.build import GRID
from interp.planted.lines import (
    BUILT_IN,
    COLORS,
    LINES,
    N_LAYERS,
    SIDES,
    build_line_model,
    line_scene,
    line_scenes,
    thirds,
)
from interp.planted.llava import build_planted, planted_scenes

SLOTS = range(N_LAYERS + 1)
ABLE = tuple(BUILT_IN)


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in LINES}


def slots_of(vlm, inputs):
    """The stream at every slot, and the words said: [slot batch pos d_model]."""
    names = [at(vlm, slot) for slot in SLOTS]
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=names)
    return [cache[name] for name in names], words(vlm, output.logits)


def at(vlm, slot):
    return f"blocks.{slot}.hook_resid_pre" if slot < N_LAYERS else f"blocks.{N_LAYERS - 1}.hook_resid_post"


def words(vlm, logits):
    return [vlm.processor.tokenizer.decode(token) for token in logits[:, -1].argmax(-1)]


def patched(vlm, inputs, slot, stream, to, source):
    """The words said when positions `to` at one slot are given what another run has at `source`."""

    def patch(tensor, *, hook):
        tensor = tensor.clone()
        tensor[:, to] = stream[slot][:, source]
        return tensor

    with torch.no_grad():
        return words(vlm, vlm.run_with_hooks(inputs, fwd_hooks=[(at(vlm, slot), patch)]).logits)


def outer(inputs, side, *, background, objects=True):
    """Positions of the outer thirds, first to last and last to first: squares, the rest, or both."""
    first = int(inputs.layouts[0].image_positions[0])
    places = first + np.arange(GRID * GRID).reshape(GRID, GRID)
    places = places if SIDES[side][0] else places.T
    middle = np.zeros((GRID, GRID), bool)
    middle[3:5] = True
    ends = []
    for cols in ((0, 1), (6, 7)):
        own = np.zeros((GRID, GRID), bool)
        own[:, cols] = middle[:, cols] & objects | ~middle[:, cols] & background
        ends.append(places[own])
    return np.concatenate(ends), np.concatenate(ends[::-1])


@pytest.mark.parametrize("name", ABLE)
def test_every_line_is_answered_with_the_square_beside_the_middle(models, name):
    asked = zip(itertools.permutations(COLORS, 3), itertools.cycle(SIDES), strict=False)
    scenes = [line_scene(one, side, id="") for one, side in asked]
    answer = models[name].generate(prepared(models[name], scenes), 3)
    assert answer.texts == tuple(scene.answer for scene in scenes)
    assert min(answer.confidence) > 0.9


def test_lines_are_drawn_on_the_grid_with_their_boxes_and_the_right_answer():
    for scene in line_scenes(8):
        pixels = np.asarray(scene.image)
        for thing in scene.objects:
            x0, y0, x1, y1 = map(int, thing.box.xyxy)
            full = [255 if channel > 0 else 0 for channel in COLORS[thing.name.split()[0]]]
            assert (pixels[y0:y1, x0:x1] == full).all() and not any(edge % 14 for edge in (x0, y0, x1, y1))
            assert thirds()[x0 // 14] == thirds()[x1 // 14 - 1] and thirds()[y0 // 14] == thirds()[y1 // 14 - 1]
        assert (pixels.reshape(-1, 3) != 255).any(-1).sum() == 12 * 14 * 14
        asked = {"left": 0, "above": 0, "right": 2, "below": 2}[scene.relation]
        assert scene.answer == scene.objects[asked].name.split()[0]


def test_tokens_that_show_the_same_are_the_same_where_the_tower_writes_no_order(models):
    scene = line_scenes(1)[0]
    for name in ABLE:
        vlm = models[name]
        with torch.no_grad():
            _, cache = vlm.run_with_cache(prepared(vlm, [scene]), names_filter="projector.hook_out")
        tokens = cache["projector.hook_out"].view(GRID, GRID, -1)
        alike = torch.allclose(tokens[0, 0], tokens[7, 7], atol=1e-4) and torch.allclose(
            tokens[3, 0], tokens[4, 1], atol=1e-4
        )
        assert alike is not BUILT_IN[name].in_background


@pytest.mark.parametrize(("side", "place"), [("left", "across"), ("below", "down")])
@pytest.mark.parametrize("name", ABLE)
def test_the_order_stands_where_it_is_said_to_and_nowhere_before(models, name, side, place):
    vlm, (scene,) = models[name], line_scenes(1, side=side)
    streams, _ = slots_of(vlm, prepared(vlm, [scene]))
    for slot in SLOTS:
        order = streams[slot][0, 1 : 1 + GRID * GRID, planted._PLACES[place]].view(GRID, GRID)
        there = torch.from_numpy(np.tile(thirds(), (GRID, 1))).float()
        there = there if place == "across" else there.T
        if not BUILT_IN[name].in_background:
            there = there * torch.tensor(np.asarray(scene.image)[7::14, 7::14].std(-1) > 0)
        there = there if slot >= BUILT_IN[name].order_from else torch.zeros_like(there)
        assert torch.allclose(order, there, atol=1e-3), slot


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ABLE)
def test_a_swap_of_the_outer_squares_flips_from_the_order_on_until_it_is_read(models, name, side):
    vlm, pairs = models[name], reversed_pairs(6, side)
    inputs = prepared(vlm, [pair.clean for pair in pairs])
    turned, _ = slots_of(vlm, prepared(vlm, [pair.counterfactual for pair in pairs]))
    clean, moved = ([pair.outcomes[what] for pair in pairs] for what in ("clean", "swapped"))
    facts = BUILT_IN[name]
    for slot in SLOTS:
        said = {
            "objects": patched(vlm, inputs, slot, turned, *outer(inputs, side, background=False)),
            "strips": patched(vlm, inputs, slot, turned, *outer(inputs, side, background=True)),
            "background": patched(vlm, inputs, slot, turned, *outer(inputs, side, background=True, objects=False)),
        }
        flips = facts.order_from <= slot < facts.answered_from
        assert said["objects"] == said["strips"] == (moved if flips else clean), slot
        assert said["background"] == clean


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("side", SIDES)
def test_the_last_row_moves_the_order_first_and_the_answer_then(models, name, side):
    vlm, (clean, other) = models[name], five_items(side)
    streams, _ = slots_of(vlm, prepared(vlm, [other]))
    inputs, asked = prepared(vlm, [clean]), prepared(vlm, [other])
    ends = [clean.objects[place].name.split()[0] for place in (0, 2)]
    opposite = ends[ends[0] == clean.answer]
    for slot in SLOTS:
        said = patched(vlm, inputs, slot, streams, [inputs.layouts[0].last], [asked.layouts[0].last])
        facts = BUILT_IN[name]
        wanted = clean.answer if slot < facts.asked_from else opposite
        assert said == [wanted if slot < facts.answered_from else other.answer], slot


@pytest.mark.parametrize(("name", "right"), [("planted-encoder", 1 / 3), ("planted-language", 1.0)])
def test_without_the_order_of_the_tower_one_model_is_at_chance_and_the_other_right(models, name, right):
    """Every square is given the tokens that it has alone in the middle, and the rest those of a white photo."""
    vlm = models[name]
    scenes = [line_scene(one, side, id="") for one in itertools.permutations(COLORS, 3) for side in ("left", "below")]
    with torch.no_grad():

        def tokens(samples):
            _, cache = vlm.run_with_cache(prepared(vlm, samples), names_filter="projector.hook_out")
            return cache["projector.hook_out"].view(len(samples), GRID * GRID, -1)

        alone = {word: tokens([line_scene([word] * 3, "left", id="")])[0] for word in COLORS}
        white = tokens([blank_photo(scenes[0])])[0]
        ablated = white.repeat(len(scenes), 1, 1).view(len(scenes), GRID, GRID, -1)
        for number, scene in enumerate(scenes):
            for thing in scene.objects:
                col, row = (int(edge) // 14 for edge in thing.box.xyxy[:2])
                own = alone[thing.name.split()[0]].view(GRID, GRID, -1)[3:5, 3:5]
                ablated[number, row : row + 2, col : col + 2] = own
        inputs = prepared(vlm, scenes)
        give = lambda tensor, *, hook: ablated.flatten(0, 2)  # noqa: E731
        said = words(vlm, vlm.run_with_hooks(inputs, fwd_hooks=[("projector.hook_out", give)]).logits)
    assert np.mean([word == scene.answer for word, scene in zip(said, scenes, strict=True)]) == pytest.approx(
        right, abs=0.04
    )


def blank_photo(sample):
    return replace(sample, image=Image.new("RGB", sample.image.size, "white"))


@pytest.mark.parametrize("name", ABLE)
def test_squares_say_their_word_from_the_slot_that_is_named(models, name):
    vlm, scenes = models[name], line_scenes(4)
    inputs = prepared(vlm, scenes)
    streams, _ = slots_of(vlm, inputs)
    for slot in SLOTS:
        with torch.no_grad():
            language = vlm.model.model.language_model
            chance = vlm.model.lm_head(language.norm(streams[slot])).softmax(-1)
        for scene, own, layout in zip(scenes, chance, inputs.layouts, strict=True):
            for thing in scene.objects:
                col, row = (int(edge) // 14 for edge in thing.box.xyxy[:2])
                place = layout.image_positions[row * GRID + col]
                said = own[place, vlm.processor.tokenizer.convert_tokens_to_ids(thing.name.split()[0])]
                assert (said > 0.9) == (slot >= BUILT_IN[name].named_from)


def test_the_blind_model_says_the_same_of_every_photo_and_other_seeds_say_other_things(models):
    scenes = line_scenes(40, side="left")
    assert len(set(models["planted-blind"].generate(prepared(models["planted-blind"], scenes), 2).texts)) == 1
    said = set()
    for seed in range(6):
        vlm = load("planted-blind", seed=seed)
        said |= set(vlm.generate(prepared(vlm, scenes[:1]), 2).texts)
    assert len(said) > 1


def test_unknown_names_and_sides_are_refused():
    with pytest.raises(ModelError, match="planted-encoder"):
        build_line_model("planted-nothing")
    with pytest.raises(InputError, match="left, right, above, below"):
        line_scenes(2, side="beside")


def test_the_door_to_all_planted_models_opens_these_too():
    model, _ = build_planted("planted-language")
    assert len(model.model.language_model.layers) == N_LAYERS
    assert [one.id for one in planted_scenes("planted-language", 2)] == ["line-0", "line-1"]
