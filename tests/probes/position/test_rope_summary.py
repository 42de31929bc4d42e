"""RoPE sensitivity over samples: absolute values before means, intervals over samples, and figures that draw them."""

import numpy as np
import pytest
from interval_coverage import RUNS, check_coverage

from interp.errors import InputError
from interp.stats.intervals import spread_ends
from probes.position.figures.rope import plot_rope_heads
from probes.position.rope import RopeSensitivity
from probes.position.rope_summary import CURVES, mean_rope_sensitivity


def made_up(n, *, layers=3, heads=4, **asked):
    """Results of random numbers."""
    rng = np.random.default_rng(0)
    for place in range(n):
        parts = rng.uniform(-1, 1, size=(5, layers, heads)).astype(np.float32)
        asked = {"delta": 1.0, "axis": "all", "query_row": "last"} | asked
        yield RopeSensitivity(str(place), *asked.values(), *parts, np.full(layers, 16))


def test_absolute_values_are_taken_before_the_mean_and_signs_are_kept_elsewhere():
    every = list(made_up(5))
    found = mean_rope_sensitivity(every)
    for layer, head in np.ndindex(3, 4):
        size = sum(abs(float(one.delta_g_v[layer, head])) for one in every) / 5
        signed = sum(float(one.delta_alpha_v[layer, head]) for one in every) / 5
        assert found.abs_delta_g_v[layer, head] == pytest.approx(size, abs=1e-6)
        assert found.delta_alpha_v[layer, head] == pytest.approx(signed, abs=1e-6)
    table = found.to_dataframe()
    assert len(table) == 12 and table["abs_delta_g_v"].iloc[7] == found.abs_delta_g_v[1, 3]


def by_hand(values, seed, level, bounds):
    """Mean and interval, from draws of [sample ...] in a loop."""
    count = len(values)
    counts = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=2000)
    draws = np.stack([np.tensordot(own, values, 1) / count for own in counts])
    return values.mean(0), *spread_ends(values.mean(0), draws, level, units=count, bounds=bounds)


def test_intervals_by_head_by_layer_and_over_all_draw_samples_with_all_of_their_heads():
    every = list(made_up(6))
    found = mean_rope_sensitivity(every, seed=3, level=0.9)
    for name, values, bounds in (
        ("abs_delta_g_v", np.stack([np.abs(one.delta_g_v.astype(float)) for one in every]), (0, np.inf)),
        ("delta_alpha_v", np.stack([one.delta_alpha_v.astype(float) for one in every]), (-1, 1)),
    ):
        for over, own in (("head", values), ("layer", values.mean(2))):
            interval = getattr(found, f"{name}_by_{over}")
            for end, wanted in zip(("estimate", "low", "high"), by_hand(own, 3, 0.9, bounds), strict=True):
                assert np.allclose(getattr(interval, end), wanted)
        whole = getattr(found, f"{name}_over_all")
        assert (whole.estimate, whole.low, whole.high) == pytest.approx(by_hand(values.mean((1, 2)), 3, 0.9, bounds))
    assert np.allclose(found.alpha_v, np.mean([one.alpha_v for one in every], axis=0), atol=1e-6)
    table = found.to_dataframe()
    assert table["delta_alpha_v_low"].to_numpy() == pytest.approx(found.delta_alpha_v_by_head.low.ravel(), abs=1e-6)
    layers = found.by_layer()["abs_delta_g_v_high"].to_numpy()
    assert layers == pytest.approx(found.abs_delta_g_v_by_layer.high, abs=1e-6) and len(layers) == 3
    assert found.over_all()["delta_alpha_v"].item() == pytest.approx(found.delta_alpha_v.mean(), abs=1e-6)


def test_a_change_that_is_none_in_every_sample_has_an_interval_as_wide_as_so_few_ask_for():
    every = list(made_up(8))
    for one in every:
        one.delta_alpha_v[:, 0] = 0
    low, high = (getattr(mean_rope_sensitivity(every).delta_alpha_v_by_head, end) for end in ("low", "high"))
    reach = 1 - 0.025 ** (1 / 8)
    assert low[:, 0] == pytest.approx(-reach) and high[:, 0] == pytest.approx(reach)
    for one in (still := list(made_up(8, delta=0.0))):
        one.delta_alpha_v[:], one.delta_g_v[:] = 0, 0
    found = mean_rope_sensitivity(still)
    for name in CURVES:
        assert not found.curve(name).low.any() and not found.curve(name).high.any(), "nothing was moved"


def test_intervals_draw_whole_groups():
    every = list(made_up(8))
    alone, copies = mean_rope_sensitivity(every), mean_rope_sensitivity(every * 4)
    together = mean_rope_sensitivity(every * 4, groups=[f"photo {place}" for place in range(8)] * 4)
    for name in CURVES:
        assert np.allclose(together.curve(name).low, alone.curve(name).low)
        wide, narrow = (own.curve(name).high - own.curve(name).low for own in (together, copies))
        assert (wide > 1.5 * narrow).all()
    one = mean_rope_sensitivity(every, groups=["photo"] * 8)
    assert not [name for name in one.by_layer() if name.endswith("low")] and np.isnan(one.delta_alpha_v_over_all.low)
    assert len(one.plot().collections) == 0
    with pytest.raises(InputError, match="for 8 samples"):
        mean_rope_sensitivity(every, groups=["photo"])


def test_intervals_of_curves_hold_the_truth_as_often_as_they_say():
    """200 layers of one head are 200 tables, of 80 samples each, whose true means are known."""
    rng = np.random.default_rng(2)
    change, moved = rng.normal(size=(2, 80, RUNS, 1)).astype(np.float32)
    nothing, keys = np.zeros((RUNS, 1), dtype=np.float32), np.full(RUNS, 16)
    every = [
        RopeSensitivity(str(place), 1.0, "all", "last", nothing, nothing, one, other, nothing, keys)
        for place, (one, other) in enumerate(zip(change, moved, strict=True))
    ]
    found = mean_rope_sensitivity(every)
    for name, truth in (("delta_alpha_v", 0.0), ("abs_delta_g_v", np.sqrt(2 / np.pi))):
        curve = found.curve(name)
        check_coverage((curve.low <= truth) & (truth <= curve.high))


def test_a_single_sample_has_no_interval_and_no_gaps_in_its_table():
    table = mean_rope_sensitivity(made_up(1)).by_layer()
    assert list(table) == ["layer", "alpha_v", *CURVES] and not table.isna().any(axis=None)


def test_a_mean_of_none_or_of_results_asked_otherwise_is_refused():
    two = [*made_up(1), *made_up(1, delta=2.0)]
    other = [*made_up(1), *made_up(1, heads=2)]
    for wrong in ([], two, other, [*made_up(1), *made_up(1, query_row=7)]):
        with pytest.raises(InputError, match="can not average"):
            mean_rope_sensitivity(wrong)


def test_figures_draw_the_curves_and_the_heads():
    found = mean_rope_sensitivity(made_up(5))
    axes = found.draw()
    for place, name in enumerate(CURVES):
        assert axes[place].lines[0].get_ydata() == pytest.approx(found.curve(name).estimate)
        assert len(axes[place].collections) == 1
        assert np.array_equal(axes[2 + place].images[0].get_array(), getattr(found, name))
    low, high = axes[3].images[0].get_clim()
    assert low == -high and axes[2].images[0].get_clim()[0] == 0
    with pytest.raises(InputError, match="can not be drawn"):
        plot_rope_heads(np.zeros(3), measure="delta_g_v")
