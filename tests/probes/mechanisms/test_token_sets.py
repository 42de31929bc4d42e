"""Token sets: the recorded positions, in their order; what is drawn is drawn again; what can not be is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from golden import golden
from in_a_row import ACROSS, reversed_pair
from made_up import square_grid
from ragged import photo

from interp.errors import InputError, RefusedError
from interp.image.boxes import Box
from interp.image.grid import ImageGrid
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.prompt.layout import TokenLayout
from probes.mechanisms.scenes.photo_pairs import mirrored_pairs
from probes.mechanisms.tokens.token_sets import NAMES, Side, read_set, sides_of, token_set
from probes.mechanisms.tokens.views import thirds

NAMES_OF_THREE = ("red", "green", "blue")


def prompt(sample, *, n, before=17, after=3, row_ends=False, pads=0):
    """One side of a pair: a square grid, and a prompt with so many tokens around its image, and row ends inside."""
    grid = square_grid(sample.image.size, n)
    if row_ends:
        slots = np.arange(n * n) + np.arange(n * n) // n
        grid = ImageGrid(grid.image_size, grid.boxes, grid.rows, grid.cols, grid.view, grid.seen, slots, n * (n + 1))
    image = ["image" if row_ends is False or place % (n + 1) < n else "image_marker" for place in range(grid.n_slots)]
    kinds = ("pad",) * pads + ("system",) * before + tuple(image) + ("question",) * after
    return Side(sample, TokenLayout(kinds, tuple(map(str, range(len(kinds))))), grid)


def both(pair, **options):
    return prompt(pair.clean, **options), prompt(pair.counterfactual, **options)


@pytest.mark.parametrize("model", ("qwen2vl", "gemma3", "pixtral"))
@pytest.mark.parametrize("direction", ("left", "right", "above", "below"))
def test_objects_and_strips_are_the_recorded_ones_in_their_order_also_behind_row_breaks(model, direction):
    known = json.loads((golden("regions") / "real_grids.json").read_text())[model]
    n = known["N"]
    pair = reversed_pair(NAMES_OF_THREE, direction, n=n, side=known["S"], gap=known["gap"], px=known["px"])
    breaks = model == "pixtral"
    sides = (
        prompt(pair.clean, n=n, row_ends=breaks, before=17),
        prompt(pair.counterfactual, n=n, row_ends=breaks, before=19),
    )
    first, last = ("left", "right") if ACROSS[direction] == "horizontal" else ("top", "bottom")
    swap = known["swap_positions"][{"horizontal": "left", "vertical": "above"}[ACROSS[direction]]]
    found = token_set("object", pair, *sides)
    assert [found.target.tolist(), found.source.tolist()] == swap
    places = known["lm_positions_all_start0"]
    for name in ("object", "strip"):
        found = token_set(name, pair, *sides)
        ends = [[places[token] for token in known[name][end]] for end in (first, last)]
        assert (found.target - 17).tolist() == ends[0] + ends[1]
        assert (found.source - 19).tolist() == ends[1] + ends[0]
    outer, strip = (token_set(name, pair, *sides) for name in ("outer_strip", "strip"))
    assert np.array_equal(outer.target, strip.target) and np.array_equal(outer.source, strip.source)


@pytest.mark.parametrize("case", ("N8_S2_g1", "N6_S1_g1", "N7_S1_g1", "N9_S2_g1", "N24_S4_g3", "N24_S5_g2"))
@pytest.mark.parametrize("direction", ("left", "below"))
def test_objects_of_other_grids_are_the_recorded_ones(case, direction):
    known = json.loads((golden("regions") / "other_grids.json").read_text())[case]
    n, side, gap = (int(part[1:]) for part in case.split("_"))
    found = token_set("object", *with_sides(reversed_pair(NAMES_OF_THREE, direction, n=n, side=side, gap=gap), n=n))
    first, last = ("left", "right") if direction == "left" else ("top", "bottom")
    assert (found.target - 17).tolist() == known[first] + known[last]
    assert (found.source - 17).tolist() == known[last] + known[first]


def with_sides(pair, **options):
    return pair, *both(pair, **options)


def test_strips_are_object_and_background_and_all_sets_keep_their_size():
    pair, *sides = with_sides(reversed_pair(NAMES_OF_THREE, "left"), n=8)
    found = {name: token_set(name, pair, *sides) for name in NAMES if name != "words"}
    assert [len(found[name]) for name in NAMES if name != "words"] == [1, 8, 48, 40, 48, 64, 8]
    assert set(found["object"].target) | set(found["background"].target) == set(found["strip"].target)
    assert not set(found["object"].target) & set(found["background"].target)
    assert set(found["object"].source) | set(found["background"].source) == set(found["strip"].source)
    lines = [sides[0].grid.rows[own - 17] for own in (found["background"].target, found["background"].source)]
    assert np.array_equal(*lines)  # what was in a row comes from this row
    assert np.array_equal(found["all_image"].target, found["all_image"].source)
    assert len(token_set("random_same_size", pair, *sides, same_size_as="strip")) == 48
    assert len(token_set("random_same_size", pair, *sides, same_size_as="last")) == 1  # of the image, as of the text


def test_what_is_drawn_hangs_on_the_seed_and_the_pair_alone():
    pair, *sides = with_sides(reversed_pair(NAMES_OF_THREE, "left"), n=8)
    drawn = [token_set("random_same_size", pair, *sides, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0].target, drawn[1].target) and np.array_equal(drawn[0].source, drawn[1].source)
    assert not np.array_equal(drawn[0].target, drawn[2].target)
    assert not np.array_equal(drawn[0].source, drawn[2].source)
    other, *theirs = with_sides(reversed_pair(NAMES_OF_THREE, "left", name="another"), n=8)
    assert not np.array_equal(token_set("random_same_size", other, *theirs).target, drawn[0].target)
    assert all(len(set(own.source.tolist())) == 8 for own in drawn)
    alike = [with_sides(reversed_pair(NAMES_OF_THREE, "left", name=name), n=8) for name in ("plumless", "buckeroo")]
    first, second = (token_set("random_same_size", own, *theirs) for own, *theirs in alike)  # of one CRC-32
    assert not np.array_equal(first.target, second.target)


def test_padding_and_prompts_of_different_length_move_positions_of_each_side_by_itself():
    pair = reversed_pair(NAMES_OF_THREE, "left")
    plain = token_set("strip", pair, *both(pair, n=8))
    here, there = prompt(pair.clean, n=8, pads=5), prompt(pair.counterfactual, n=8, before=20, after=9)
    moved = token_set("strip", pair, here, there)
    assert np.array_equal(moved.target, plain.target + 5) and np.array_equal(moved.source, plain.source + 3)
    last = token_set("last", pair, here, there)
    assert (last.target.item(), last.source.item()) == (len(here.layout) - 1, len(there.layout) - 1)
    given = token_set(([0, -1], [1, -1]), pair, here, there)
    assert given.target.tolist() == [5, len(here.layout) - 1] and given.source.tolist() == [1, len(there.layout) - 1]
    assert token_set([-1, -2], pair, here, there).target.tolist() == [len(here.layout) - 1, len(here.layout) - 2]
    with pytest.raises(InputError, match="prompts of 84 and 93 tokens"):
        token_set([3], pair, here, there)
    with pytest.raises(InputError, match=r"positions \[99\] lie outside"):
        token_set(([3], [99]), pair, here, there)


def test_thirds_of_an_uneven_count_leave_the_rest_in_the_middle():
    widths = {n: np.bincount(thirds(square_grid((n, n), n), "horizontal")[:n]).tolist() for n in (5, 7, 8, 16)}
    assert widths == {5: [2, 1, 2], 7: [2, 3, 2], 8: [3, 2, 3], 16: [5, 6, 5]}


def test_words_are_the_tokens_that_spell_the_objects_of_the_question():
    pair = reversed_pair(NAMES_OF_THREE, "left")
    for name in ("tiny-llava", "tiny-paligemma", "tiny-pixtral", "tiny-qwen2_5_vl"):
        vlm = HookedVLM.from_pretrained(name, self_check=False)
        asked = "Is the green one near the red square, or evergreen?"
        sample = replace(pair.clean, question=asked)
        inputs = vlm.prepare([photo(0), photo(0)], [asked, asked + " And so on, at length."], prompt="paper")
        side = sides_of(vlm, inputs, [sample, replace(sample, question=inputs.prompts[1])])[0]
        found = token_set("words", replace(pair, clean=sample, counterfactual=sample), side, side)
        assert "".join(side.layout.tokens[place] for place in found.target) == "redgreen"


def test_what_can_not_be_patched_is_refused_by_name():
    pair, *sides = with_sides(reversed_pair(NAMES_OF_THREE, "left"), n=8)
    here, there = sides
    with pytest.raises(InputError, match="'middle' is no token set: use one of last, object"):
        read_set("middle")
    for wrong in ([1.5], [True], 3, [[1], [2], [3]], {"a": 1}):
        with pytest.raises(InputError, match="are not understood"):
            read_set(wrong)
    with pytest.raises(InputError, match="names none"):
        read_set([])
    with pytest.raises(InputError, match="names 2 and 1"):
        read_set(([1, 2], [3]))
    with pytest.raises(InputError, match=r"grids of 8 x 8 \(64 tokens\) and 4 x 4"):
        token_set("strip", pair, here, prompt(pair.counterfactual, n=4))
    bare = tuple(Object(thing.name) for thing in pair.clean.objects)
    without = replace(pair, clean=replace(pair.clean, objects=bare))
    with pytest.raises(InputError, match="no object with a box in both photos"):
        token_set("object", without, here, there)
    assert len(token_set("outer_strip", without, here, there)) == 48
    still = replace(pair, counterfactual=pair.clean)
    with pytest.raises(InputError, match="no object stands elsewhere"):
        token_set("object", still, here, here)
    with pytest.raises(InputError, match="'red' by half or more"):
        token_set("object", with_box(pair, 0, (0, 0, 1, 1)), here, there)
    with pytest.raises(InputError, match="red has 8 tokens in the clean prompt and 4 in .*: use 'outer_strip'"):
        token_set("object", with_box(pair, 0, (0, 12, 16, 20)), here, there)
    with pytest.raises(InputError, match="two objects share tokens"):
        token_set("object", with_box(pair, 1, pair.clean.objects[0].box.xyxy), here, there)


def with_box(pair, number, xyxy):
    """The pair with another box of one object of its clean sample."""
    objects = list(pair.clean.objects)
    objects[number] = Object(objects[number].name, Box("thing", xyxy))
    return replace(pair, clean=replace(pair.clean, objects=tuple(objects)))


def seen_twice(views):
    """A pair whose photos are seen twice, by 8 x 8 tokens each time, as views of these numbers."""
    whole = square_grid((32, 32), 8)
    parts = [np.concatenate([own, own]) for own in (whole.boxes, whole.rows, whole.cols)]
    grid = ImageGrid((32, 32), *parts, views, whole.seen)
    layout = TokenLayout(("image",) * 128 + ("question",), ("i",) * 128 + ("q",))
    pair = reversed_pair(NAMES_OF_THREE, "left")
    return pair, [Side(sample, layout, grid) for sample in (pair.clean, pair.counterfactual)]


@pytest.mark.parametrize("name", ["object", "strip", "background", "outer_strip"])
def test_of_a_photo_seen_whole_and_in_tiles_a_set_is_patched_in_both_each_from_its_like(name):
    pair, sides = seen_twice(np.repeat([0, 1], 64))
    own = token_set(name, pair, *sides)
    whole = own.target < 64
    assert (whole == (own.source < 64)).all() and whole.sum() == len(own) / 2
    there = dict(zip(own.target.tolist(), own.source.tolist(), strict=True))
    assert all(there[token + 64] == source + 64 for token, source in there.items() if token < 64)
    control = token_set("random_same_size", pair, *sides, same_size_as=name)
    assert (control.target < 64).sum() == whole.sum() and len(control) == len(own)
    assert ((control.source < 64) == (control.target < 64)).all() and len(set(control.target)) == len(own)


def test_tiles_alone_have_no_strips_and_are_refused():
    pair, sides = seen_twice(np.repeat([1, 2], 64))
    assert len(token_set("all_image", pair, *sides)) == 128
    assert len(token_set("random_same_size", pair, *sides, same_size_as="all_image")) == 128
    for name in ("strip", "object", "outer_strip"):
        with pytest.raises(RefusedError, match="in tiles alone"):
            token_set(name, pair, *sides)


def test_each_token_of_an_object_in_a_mirrored_photo_comes_from_its_mirror_image():
    things = (Object("dog", Box("dog", (0, 0, 45, 30))), Object("cat", Box("cat", (71, 40, 100, 100))))
    sample = Sample("a", photo(0, size=(100, 100)), "Where?", ("left", "right"), "left", things)
    (pair,), _ = mirrored_pairs([sample])
    found = token_set("object", pair, *both(pair, n=10, before=0))
    moved = [divmod(int(place), 10) for place in found.target], [divmod(int(place), 10) for place in found.source]
    assert moved[1] == [(row, 9 - col) for row, col in moved[0]] and len(moved[0]) == 3 * 5 + 6 * 3
    shifted = replace(pair, counterfactual=replace(pair.counterfactual, objects=pair.clean.objects))
    again = token_set("object", shifted, *both(shifted, n=10, before=0))  # what boxes say there does not matter
    assert np.array_equal(again.source, found.source)


def test_background_is_what_no_object_of_its_own_photo_touches():
    pair = reversed_pair(NAMES_OF_THREE, "left")
    lower = tuple(
        replace(thing, box=replace(thing.box, xyxy=tuple(np.add(thing.box.xyxy, (0, 8, 0, 8)).tolist())))
        for thing in pair.counterfactual.objects
    )
    pair = replace(pair, counterfactual=replace(pair.counterfactual, objects=lower))
    sides = both(pair, n=8, before=0)
    own = token_set("background", pair, *sides)
    for tokens, side in ((own.target, sides[0]), (own.source, sides[1])):
        boxes = [thing.box for thing in side.sample.objects]
        assert side.grid.union_membership(boxes)[tokens].max() == 0 and len(set(tokens.tolist())) == 40


def test_of_a_mirrored_photo_seen_twice_each_view_comes_from_its_like():
    things = (Object("dog", Box("dog", (0, 0, 8, 8))), Object("cat", Box("cat", (20, 20, 32, 32))))
    (pair,), _ = mirrored_pairs([Sample("a", photo(0, size=(32, 32)), "Where?", ("left", "right"), "left", things)])
    _, sides = seen_twice(np.repeat([0, 1], 64))
    own = token_set("object", pair, *(replace(side, sample=pair.clean) for side in sides))
    assert ((own.target < 64) == (own.source < 64)).all() and len(own) == 2 * (4 + 9)
