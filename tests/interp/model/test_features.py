"""Image features: the language model alone says what the whole model says, to the bit, and the tower runs once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ragged import loaded, ragged
from towers_seen import tower_runs

from interp.errors import HookError, InputError, RefusedError
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.image_pooling import PoolImageTokens
from interp.intervene.image_tokens import permute_image_tokens
from interp.model.features import ImageFeatures
from interp.model.prefix import Prefix
from interp.zoo.tiny import TINY

POOLING = [f"tiny-{name}" for name in ("llava", "idefics3", "smolvlm", "internvl", "gemma3", "paligemma", "paligemma2")]
ROW = "blocks.1.attn.hook_pattern"


@pytest.mark.parametrize("name", TINY)
def test_logits_answers_and_attention_are_those_of_the_whole_model_to_the_bit(name):
    vlm, inputs = loaded(name, 3)
    edit = permute_image_tokens(inputs.grids, 1)
    with torch.no_grad():
        plain, cache = vlm.run_with_cache(inputs, names_filter=ROW)
        permuted = vlm.run_with_hooks(inputs, intervention=edit).logits
        answer = vlm.generate(inputs, 4)
        own, features = ImageFeatures.with_answers(vlm, inputs, 4)
        output, kept = features.run_with_cache(names_filter=ROW)
        assert torch.equal(own.tokens, answer.tokens) and torch.equal(features.generate(4).tokens, answer.tokens)
        assert torch.equal(output.logits, plain.logits) and torch.equal(kept[ROW], cache[ROW])
        assert torch.equal(features.forward(intervention=edit).logits, permuted)
        assert not torch.equal(permuted, plain.logits)
        assert torch.equal(vlm(inputs).logits, plain.logits)


@pytest.mark.parametrize("name", TINY)
def test_the_tower_runs_once_for_a_photo_however_often_it_is_asked(name):
    vlm, inputs = loaded(name, 2)
    with tower_runs(vlm) as calls:
        vlm.generate(inputs, 3)
        one = len(calls)
        _, features = ImageFeatures.with_answers(vlm, inputs, 3)
        assert one and len(calls) == 2 * one
        for seed in range(3):
            features.generate(3, intervention=permute_image_tokens(inputs.grids, seed))
        features.run_with_cache(names_filter=ROW, intervention=ScaleImageLogits(0.5))
    assert len(calls) == 2 * one


def test_whatever_runs_the_batch_that_is_handed_out_sees_the_photos_and_the_edit():
    vlm, inputs = loaded("tiny-llava", 3)
    edit = permute_image_tokens(inputs.grids, 1)
    features = ImageFeatures.capture(vlm, inputs)
    with torch.no_grad(), tower_runs(vlm) as calls:
        with features.under() as blind:
            plain = vlm(blind).logits
        with features.under(edit) as blind:
            permuted = vlm(blind).logits
        with features.under(PoolImageTokens(2)) as shorter:
            pooled = vlm(shorter).logits
        assert not calls
    assert torch.equal(plain, vlm(inputs).logits)
    assert torch.equal(permuted, vlm.run_with_hooks(inputs, intervention=edit).logits)
    assert torch.equal(pooled, features.pooled(2).forward().logits)
    with pytest.raises(ZeroDivisionError), features.under(edit):
        raise ZeroDivisionError
    assert torch.equal(plain, vlm(inputs).logits)


def test_beams_get_the_features_of_their_own_photo():
    vlm, inputs = loaded("tiny-llava", 3)
    settings = {"num_beams": 3, "max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    wanted = vlm.model.generate(**inputs.tensors, **settings)
    features = ImageFeatures.capture(vlm, inputs)
    blind = {name: value for name, value in inputs.tensors.items() if name != "pixel_values"}
    with features.given():
        assert torch.equal(vlm.model.generate(**blind, **settings), wanted)


def test_other_prompts_are_refused_and_the_model_is_left_as_it_was():
    vlm, inputs = loaded("tiny-llava", 2)
    other = ragged(vlm, [2])
    features = ImageFeatures.capture(vlm, inputs)
    plain = vlm(other).logits
    with pytest.raises(HookError, match="made for prompts of"), features.given():
        vlm(other)
    with pytest.raises(ZeroDivisionError), features.given():
        raise ZeroDivisionError
    assert torch.equal(vlm(other).logits, plain) and not vlm.hook_dict["projector.hook_out"].has_hooks()


def cells_by_hand(grid, side):
    """The tokens of each cell, by loops over rows and columns of each view."""
    for view in dict.fromkeys(grid.view.tolist()):
        own = [place for place in range(len(grid)) if grid.view[place] == view]
        rows, cols = (int(max(line[own])) + 1 for line in (grid.rows, grid.cols))
        for row in range(side):
            for col in range(side):
                yield [
                    place
                    for place in own
                    if int(np.floor(row * rows / side)) <= grid.rows[place] < int(np.ceil((row + 1) * rows / side))
                    and int(np.floor(col * cols / side)) <= grid.cols[place] < int(np.ceil((col + 1) * cols / side))
                ]


def pooled_by_hand(tokens, grid, side):
    """Each cell's mean."""
    return torch.stack([sum(tokens[place] for place in own) / len(own) for own in cells_by_hand(grid, side)])


def words_of(layout):
    """The tokens beside image and padding."""
    return [token for kind, token in zip(layout.kinds, layout.tokens, strict=True) if kind not in ("pad", "image")]


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("name", POOLING)
def test_pooled_tokens_and_boxes_are_those_of_loops_and_prompts_are_as_much_shorter(name, side):
    vlm, inputs = loaded(name, 3)
    if side > min(int(grid.rows.max()) + 1 for grid in inputs.grids):
        with pytest.raises(InputError, match="give at most the less"):
            ImageFeatures.capture(vlm, inputs).pooled(side)
        return
    features = ImageFeatures.capture(vlm, inputs)
    pooled = features.pooled(side)
    counts = [len(grid) for grid in inputs.grids]
    wanted = [
        pooled_by_hand(own, grid, side) for own, grid in zip(features.values.split(counts), inputs.grids, strict=True)
    ]
    torch.testing.assert_close(pooled.values, torch.cat(wanted))
    image = vlm.model.config.image_token_id
    for place, (old, new) in enumerate(zip(inputs.layouts, pooled.inputs.layouts, strict=True)):
        views = len(set(inputs.grids[place].view.tolist()))
        ids = pooled.inputs.input_ids[place]
        assert (
            int((ids == image).sum()) == len(new.image_positions) == len(pooled.inputs.grids[place]) == views * side**2
        )
        words = [token for kind, token in zip(old.kinds, old.tokens, strict=True) if kind not in ("pad", "image")]
        assert words == [
            token for kind, token in zip(new.kinds, new.tokens, strict=True) if kind not in ("pad", "image")
        ]
        assert int(pooled.inputs.attention_mask[place].sum()) == len(new) - new.kinds.count("pad")
        boxes, cells = inputs.grids[place].boxes, cells_by_hand(inputs.grids[place], side)
        around = [[*boxes[own, :2].min(0), *boxes[own, 2:].max(0)] for own in cells]
        assert pooled.inputs.grids[place].boxes.tolist() == np.array(around).tolist()


def test_a_pooled_pass_is_the_language_model_on_the_shorter_prompt():
    vlm, inputs = loaded("tiny-llava", 2)
    features = ImageFeatures.capture(vlm, inputs)
    with torch.no_grad():
        for side in (1, 2, 3):
            logits = features.pooled(side).forward().logits
            for place in range(2):
                (start, *_, end), ids = inputs.layouts[place].image_positions, inputs.input_ids[place]
                words = vlm.model.get_input_embeddings()(ids)
                tokens = features.values.split([len(grid) for grid in inputs.grids])[place]
                photo = pooled_by_hand(tokens, inputs.grids[place], side)
                before = words[inputs.layouts[place].kinds.count("pad") : start]
                whole = torch.cat([before, photo, words[end + 1 :]])[None]
                hidden = vlm.model.model.language_model(inputs_embeds=whole).last_hidden_state
                torch.testing.assert_close(logits[place, -1], vlm.model.lm_head(hidden)[0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", POOLING)
def test_pooling_to_the_grid_itself_changes_no_bit_and_batches_are_their_single_runs(name):
    vlm, inputs = loaded(name, 3)
    features = ImageFeatures.capture(vlm, inputs)
    with torch.no_grad():
        sides = {int(grid.rows.max()) + 1 for grid in inputs.grids} | {
            int(grid.cols.max()) + 1 for grid in inputs.grids
        }
        if len(sides) == 1:
            assert torch.equal(features.pooled(*sides).forward().logits, vlm(inputs).logits)
        together = features.forward(intervention=PoolImageTokens(2)).logits[:, -1]
        for place in range(3):
            alone = ImageFeatures.capture(vlm, ragged(vlm, [place])).pooled(2).forward().logits[0, -1]
            torch.testing.assert_close(together[place], alone, rtol=1e-3, atol=1e-3)
        assert features.generate(3, intervention=PoolImageTokens(1)).texts == features.pooled(1).generate(3).texts


@pytest.mark.parametrize("name", sorted(set(TINY) - set(POOLING)))
def test_families_whose_shorter_prompt_would_not_be_their_own_are_refused_by_name(name):
    vlm, inputs = loaded(name, 1)
    features = ImageFeatures.capture(vlm, inputs)
    with pytest.raises(RefusedError, match=f"{vlm.family.name} family"):
        features.pooled(1)


def test_what_is_added_behind_the_projector_is_pooled_as_the_tokens_are():
    vlm, inputs = loaded("tiny-llava", 2)
    features = ImageFeatures.capture(vlm, inputs)
    added = replace(features, deepstack=(features.values * 2, -features.values)).pooled(2).deepstack
    pooled = features.pooled(2).values
    assert torch.equal(added[0], pooled * 2) and torch.equal(added[1], -pooled)


def test_hooks_alone_do_not_pool_and_sides_that_mean_nothing_are_refused():
    vlm, inputs = loaded("tiny-llava", 1)
    with pytest.raises(HookError, match="fewer image tokens than the prompt has places"):
        vlm.generate(inputs, intervention=PoolImageTokens(2))
    features = ImageFeatures.capture(vlm, inputs)
    for side in (0, -1, 2.0, True, 99):
        with pytest.raises(InputError, match="side="):
            features.pooled(side)
    with pytest.raises(ValueError, match="tokens"):  # pixels of more tokens than the shorter prompt has places
        vlm(features.pooled(2).inputs)


def test_a_shared_prefill_that_is_given_the_photos_runs_no_tower_and_says_the_same_to_the_bit():
    edits = [ScaleImageLogits(0.5), ScaleImageLogits(1.5)]
    for name in ("tiny-llava", "tiny-qwen2_vl", "tiny-pixtral", "tiny-gemma3"):
        vlm, inputs = loaded(name, 3)
        features = ImageFeatures.capture(vlm, inputs)
        wanted = Prefix(vlm, inputs).step(edits).logits
        with tower_runs(vlm) as calls:
            assert torch.equal(Prefix(vlm, inputs, features=features).step(edits).logits, wanted)
        assert not calls
