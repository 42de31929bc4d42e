"""Cross-modality balance: the ratio of each head, step by step, written out by hand."""

import numpy as np
import pytest
from made_up import layout_of, softmax_rows
from matplotlib.figure import Figure

from interp.errors import InputError
from interp.prompt.layout import TokenLayout
from probes.position.balance import cross_modality_balance
from probes.position.mean_balance import mean_balance

LAYOUT = layout_of(9, pads=2)
IMAGE, BOS, SYSTEM, MARKER = (LAYOUT.positions(kind) for kind in ("image", "bos", "system", "image_marker"))
WORDS = LAYOUT.positions("question", "template")


def row_of(**shares):
    """One row [1 1 key] with the given shares, each spread over its group of positions."""
    groups = {"image": IMAGE, "bos": BOS, "system": SYSTEM, "marker": MARKER, "words": WORDS}
    row = np.zeros((1, 1, LAYOUT.length), dtype=np.float32)
    for name, share in shares.items():
        row[..., groups[name]] = share / len(groups[name])
    return row


def test_balance_is_the_mean_over_steps_of_image_over_image_and_words():
    pattern = softmax_rows(LAYOUT, 2, 3, steps=4)
    found = cross_modality_balance(pattern, LAYOUT, sample_id="photo-7")
    for layer in range(2):
        for head in range(3):
            ratios = []
            for step in range(4):
                image = words = 0.0
                for key, kind in enumerate(LAYOUT.kinds):
                    image += float(pattern[layer, head, step, key]) * (kind == "image")
                    words += float(pattern[layer, head, step, key]) * (kind in ("question", "template"))
                ratios.append(image / (image + words))
            assert found.values[layer, head] == pytest.approx(sum(ratios) / 4, abs=1e-6)
            assert found.by_step[layer, head] == pytest.approx(ratios, abs=1e-6)


def test_the_last_prompt_row_alone_is_one_step():
    steps = softmax_rows(LAYOUT, 2, 3, steps=4)
    alone = cross_modality_balance(steps[:, :, 0, : LAYOUT.length], LAYOUT)
    assert np.allclose(alone.values, cross_modality_balance(steps, LAYOUT).by_step[..., 0])


@pytest.mark.parametrize(
    ("shares", "balance"), [({"image": 1}, 1), ({"words": 1}, 0), ({"image": 0.1, "words": 0.3, "bos": 0.6}, 0.25)]
)
def test_planted_shares_are_found(shares, balance):
    assert cross_modality_balance(row_of(**shares), LAYOUT).values.item() == pytest.approx(balance, abs=1e-6)


@pytest.mark.parametrize("sink", ["bos", "system", "marker"])
def test_bos_system_prompt_and_image_markers_are_in_neither_group(sink):
    row = row_of(image=0.02, words=0.03, **{sink: 0.95})
    assert cross_modality_balance(row, LAYOUT).values.item() == pytest.approx(0.4, abs=1e-5)


def test_generated_tokens_are_in_neither_group():
    rows = np.zeros((1, 1, 2, LAYOUT.length + 1), dtype=np.float32)
    rows[..., 0, :-1] = row_of(image=0.4, words=0.6)[0, 0]
    rows[..., 1, :-1] = 0.1 * rows[..., 0, :-1]
    rows[..., 1, -1] = 0.9
    assert cross_modality_balance(rows, LAYOUT).by_step.ravel() == pytest.approx([0.4, 0.4], abs=1e-5)
    named = cross_modality_balance(rows, LAYOUT.extended(["On"]))
    assert named.by_step.ravel() == pytest.approx([0.4, 0.4], abs=1e-5)


def test_even_attention_is_balanced_as_the_tokens_are():
    real = np.array(LAYOUT.kinds) != "pad"
    rows = np.broadcast_to(real / real.sum(), (2, 3, LAYOUT.length))
    assert cross_modality_balance(rows, LAYOUT).values == pytest.approx(9 / 15, abs=1e-6)


def test_a_head_that_looks_at_neither_scores_zero_and_its_masses_say_so():
    found = cross_modality_balance(row_of(bos=1), LAYOUT)
    assert found.values.item() == found.image_mass.item() == found.text_mass.item() == 0


def test_the_denominator_has_a_floor():
    row = row_of(image=1e-9, bos=1 - 1e-9)
    assert cross_modality_balance(row, LAYOUT).values.item() == pytest.approx(1e-9 / 1e-8, rel=1e-3)


def test_the_table_has_a_row_per_layer_and_head():
    found = cross_modality_balance(softmax_rows(LAYOUT, 2, 3), LAYOUT, sample_id="photo-7")
    table = found.to_dataframe()
    assert len(table) == 6 and set(table["sample"]) == {"photo-7"}
    row = table[(table["layer"] == 1) & (table["head"] == 2)].iloc[0]
    assert row["balance"] == found.values[1, 2] and row["text_mass"] == found.text_mass[1, 2]
    assert {str(table[name].dtype) for name in ("balance", "image_mass", "text_mass")} == {"float32"}


def test_the_mean_over_samples_weighs_each_the_same_whatever_its_steps():
    one = cross_modality_balance(softmax_rows(LAYOUT, 2, 3, steps=4), LAYOUT)
    two = cross_modality_balance(softmax_rows(LAYOUT, 2, 3, seed=1), LAYOUT)
    assert mean_balance([one, two]).values == pytest.approx((one.values + two.values) / 2)


def test_a_mean_of_none_or_of_different_models_is_refused():
    one = cross_modality_balance(softmax_rows(LAYOUT, 2, 3), LAYOUT)
    other = cross_modality_balance(softmax_rows(LAYOUT, 3, 3), LAYOUT)
    for wrong in ([], [one, other]):
        with pytest.raises(InputError, match="average"):
            mean_balance(wrong)


@pytest.mark.parametrize("kinds", [("bos", "image", "system"), ("bos", "question", "template")])
def test_a_prompt_without_image_or_without_words_is_refused(kinds):
    layout = TokenLayout(kinds, kinds)
    with pytest.raises(InputError, match="image and"):
        cross_modality_balance(softmax_rows(layout, 1, 1), layout)


def test_rows_that_are_not_attention_are_refused():
    with pytest.raises(InputError, match="sum of one"):
        cross_modality_balance(2 * softmax_rows(LAYOUT, 2, 3), LAYOUT)


def test_the_plot_is_on_a_fixed_scale_with_layers_down():
    found = cross_modality_balance(softmax_rows(LAYOUT, 2, 3), LAYOUT)
    ax = Figure().subplots()
    assert found.plot(ax) is ax
    image = ax.images[0]
    assert image.get_clim() == (0, 1) and image.origin == "upper"
    assert np.array_equal(image.get_array(), found.values)
