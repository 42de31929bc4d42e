"""Trajectory: shares, maps and entropies of captured rows, against sums written out by hand."""

import math

import numpy as np
import pytest
from made_up import layout_of, softmax_rows, square_grid

from interp.errors import InputError
from interp.layers import PAPER_LAYERS, paper_layers
from interp.maps.trajectory import PARTS, trajectory

GRID = square_grid((60, 60), 3)
LAYOUT = layout_of(9, pads=2)


def measure(pattern, layout=LAYOUT, **more):
    return trajectory(pattern, layout, GRID, **more)


def even_rows(layout, *shape):
    real = np.array(layout.kinds) != "pad"
    return np.broadcast_to((real / real.sum()).astype(np.float32), (*shape, layout.length))


@pytest.mark.parametrize(
    ("depth", "layers"), [(12, (6,)), (28, (15, 16)), (32, (17, 18)), (40, (21, 22, 23)), (1, (0,)), (2, (1,))]
)
def test_paper_layers_lie_as_deep_as_in_the_paper(depth, layers):
    assert paper_layers(depth) == layers


def test_every_depth_has_paper_layers_and_they_are_neighbours():
    assert paper_layers(32) == PAPER_LAYERS
    for depth in range(1, 130):
        layers = paper_layers(depth)
        assert layers and layers == tuple(range(layers[0], layers[-1] + 1)) and layers[-1] < depth


def test_a_model_without_layers_has_no_paper_layers():
    with pytest.raises(InputError, match="0 layers"):
        paper_layers(0)


def test_shares_are_sums_over_the_positions_of_each_part():
    pattern = softmax_rows(LAYOUT, 2, 3)
    found = measure(pattern)
    for part in PARTS:
        for layer in range(2):
            for head in range(3):
                by_hand = sum(float(pattern[layer, head, key]) for key, kind in enumerate(LAYOUT.kinds) if kind == part)
                assert found.share(part)[layer, head] == pytest.approx(by_hand, abs=1e-6)
    assert found.shares.sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_even_attention_has_the_shares_of_the_tokens():
    found = measure(even_rows(LAYOUT, 2, 3))
    for part in PARTS:
        assert found.share(part) == pytest.approx(float(found.token_share(part)), abs=1e-6)


def test_token_shares_leave_padding_out():
    assert measure(even_rows(LAYOUT, 1, 1)).token_share("image") == pytest.approx(9 / 21)
    assert measure(even_rows(LAYOUT, 1, 1)).visible_keys.tolist() == [21]


def test_left_padding_changes_no_measure():
    plain = layout_of(9)
    pattern = softmax_rows(plain, 2, 3)
    alone, padded = measure(pattern, plain), measure(np.pad(pattern, ((0, 0), (0, 0), (2, 0))))
    for name in ("shares", "token_shares", "image_attention", "entropy", "image_entropy"):
        assert np.allclose(getattr(alone, name), getattr(padded, name), atol=1e-6)


def test_generated_steps_see_one_more_answer_token_each():
    found = measure(softmax_rows(LAYOUT, 2, 3, steps=4))
    assert found.share("image").shape == (2, 3, 4)
    assert found.share_by_layer("image").shape == (2, 4)
    assert found.token_share("answer") == pytest.approx([0, 1 / 22, 2 / 23, 3 / 24])
    assert (found.share("answer")[..., 0] == 0).all() and (found.share("answer")[..., 1:] > 0).all()


def test_the_first_generated_step_is_the_last_prompt_row():
    steps = softmax_rows(LAYOUT, 2, 3, steps=4)
    first = measure(steps[:, :, 0, : LAYOUT.length])
    assert np.allclose(measure(steps).share("question")[..., 0], first.share("question"))
    assert np.allclose(measure(steps).entropy[..., :1], first.entropy)


def test_keys_not_yet_written_may_be_nan_or_zero_or_named_in_the_layout():
    steps = softmax_rows(LAYOUT, 2, 3, steps=4)
    as_nan, as_zero = measure(steps), measure(np.nan_to_num(steps))
    named = measure(steps, LAYOUT.extended(["a", "b", "c"]))
    assert np.array_equal(as_nan.shares, as_zero.shares) and np.array_equal(as_nan.shares, named.shares)


def test_image_maps_sum_to_one_or_to_the_image_share():
    found = measure(softmax_rows(LAYOUT, 2, 3))
    assert found.image_map(layer=1, head=2).sum() == pytest.approx(1, abs=1e-6)
    raw = found.image_map(layer=1, head=2, normalisation="keys")
    assert raw.sum() == pytest.approx(float(found.share("image")[1, 2]), abs=1e-6)
    assert raw / raw.sum() == pytest.approx(found.image_map(layer=1, head=2))


def test_the_head_mean_weighs_heads_by_what_they_spend_on_the_image():
    pattern = np.zeros((1, 2, LAYOUT.length), dtype=np.float32)
    first, second = LAYOUT.image_positions[:2]
    bos = LAYOUT.positions("bos")[0]
    pattern[0, 0, [first, bos]] = 0.8, 0.2
    pattern[0, 1, [second, bos]] = 0.2, 0.8
    assert measure(pattern).image_map(layer=0)[:2] == pytest.approx([0.8, 0.2])
    assert measure(pattern).image_map(layer=0, normalisation="keys")[:2] == pytest.approx([0.4, 0.1])


def test_entropy_is_log_n_when_even_and_zero_on_one_key():
    found = measure(even_rows(LAYOUT, 1, 1))
    assert found.entropy.item() == pytest.approx(math.log(21), abs=1e-6)
    assert found.image_entropy.item() == pytest.approx(math.log(9), abs=1e-6)
    assert found.image_entropy_normalised.item() == pytest.approx(1, abs=1e-6)
    pattern = np.zeros((1, 1, LAYOUT.length), dtype=np.float32)
    pattern[..., LAYOUT.image_positions[4]] = 1
    assert measure(pattern).entropy.item() == 0 == measure(pattern).image_entropy.item()


def test_entropy_equals_the_sum_written_out():
    pattern = softmax_rows(LAYOUT, 1, 2)
    by_hand = -sum(float(p) * math.log(float(p)) for p in pattern[0, 1] if p > 0)
    assert measure(pattern).entropy[0, 1, 0] == pytest.approx(by_hand, abs=1e-5)
    inside = [float(p) for p in pattern[0, 1, LAYOUT.image_positions]]
    by_hand = -sum(p / sum(inside) * math.log(p / sum(inside)) for p in inside)
    assert measure(pattern).image_entropy[0, 1, 0] == pytest.approx(by_hand, abs=1e-5)


def test_a_row_that_does_not_look_at_the_image_has_no_image_entropy_and_no_map():
    pattern = np.zeros((1, 1, LAYOUT.length), dtype=np.float32)
    pattern[..., LAYOUT.positions("bos")] = 1
    found = measure(pattern)
    assert found.share("image").item() == 0
    assert np.isnan(found.image_entropy).all() and np.isnan(found.image_entropy_normalised).all()
    assert np.isnan(found.image_map(layer=0)).all()
    assert (found.image_map(layer=0, normalisation="keys") == 0).all()


def test_means_are_over_heads_then_layers():
    found = measure(softmax_rows(LAYOUT, 2, 3))
    assert found.share_by_layer("image") == pytest.approx(found.share("image").mean(axis=1))
    assert found.share_overall("image") == pytest.approx(found.share("image").mean(), abs=1e-6)


def test_the_table_has_a_row_per_layer_head_and_step_and_float32_measures():
    found = measure(softmax_rows(LAYOUT, 2, 3, steps=2), sample_id="photo-7", tokens=["On", "."])
    table = found.to_dataframe()
    assert len(table) == 2 * 3 * 2
    assert set(table["sample"]) == {"photo-7"}
    row = table[(table["layer"] == 1) & (table["head"] == 2) & (table["step"] == 1)].iloc[0]
    assert row["token"] == "."
    assert row["share_image"] == found.share("image")[1, 2, 1]
    assert row["token_share_image"] == found.token_share("image")[1]
    assert row["entropy"] == found.entropy[1, 2, 1]
    measures = [name for name in table if name.startswith(("share_", "token_share_")) or "entropy" in name]
    assert len(measures) == 2 * len(PARTS) + 3
    assert {str(table[name].dtype) for name in measures} == {"float32"}


def broken(**change):
    pattern = softmax_rows(LAYOUT, 2, 3).copy()
    for place, value in change.items():
        pattern[1, 2, {"pad": 0, "bos": 2}[place]] = value
    return pattern


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (softmax_rows(LAYOUT, 2, 3) * 1.01, "sum of one"),
        (broken(bos=np.nan), "negative weights, infinities or NaN"),
        (broken(bos=-0.5), "negative weights"),
        (broken(pad=0.3), "position 0, which is padding"),
        (softmax_rows(LAYOUT, 2), r"shape \(2, 23\)"),
        (softmax_rows(LAYOUT, 2, 3)[..., :-1], "22 keys"),
        (np.zeros((0, 3, 23)), "none of them 0"),
    ],
)
def test_rows_that_are_not_attention_are_refused(pattern, message):
    with pytest.raises(InputError, match=message):
        measure(pattern)


def test_steps_that_see_the_future_are_refused():
    steps = np.nan_to_num(softmax_rows(LAYOUT, 2, 3, steps=3))
    with pytest.raises(InputError, match="step 0 has weight on position"):
        measure(steps[:, :, 1:])


def test_a_grid_of_another_image_is_refused():
    with pytest.raises(InputError, match="9 image tokens and the grid has 16"):
        trajectory(softmax_rows(LAYOUT, 2, 3), LAYOUT, square_grid((60, 60), 4))


def test_tokens_must_match_the_steps():
    with pytest.raises(InputError, match="2 tokens were given for 1 steps"):
        measure(softmax_rows(LAYOUT, 2, 3), tokens=["On", "."])


@pytest.mark.parametrize(
    "asked", [{"layer": 2}, {"layer": -1}, {"layer": 0, "head": 3}, {"layer": 0, "head": -1}, {"layer": 0, "step": 1}]
)
def test_a_map_that_does_not_exist_is_refused(asked):
    with pytest.raises(InputError, match="does not exist"):
        measure(softmax_rows(LAYOUT, 2, 3)).image_map(**asked)


def test_unknown_parts_and_normalisations_are_refused_by_name():
    found = measure(softmax_rows(LAYOUT, 2, 3))
    with pytest.raises(InputError, match="'picture'.*image"):
        found.share("picture")
    with pytest.raises(InputError, match="'minmax'"):
        found.image_map(layer=0, normalisation="minmax")
