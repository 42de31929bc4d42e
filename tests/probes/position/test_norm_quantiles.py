"""Norm quantiles: shares of tokens kept within half a part, pooled quartiles of all tokens, intervals over groups."""

import numpy as np
import pytest

from interp.errors import InputError
from interp.stats.intervals import spread_ends
from probes.position.norm_quantiles import DRAWN, PARTS, parts_of, pool_norms

DRAWS = {"seed": 0, "n": 300, "level": 0.95}


def samples(count, *, seed=0, sizes=(5, 700), spread=0.0):
    """Norms of so many samples with different numbers of tokens; with `spread`, samples are apart."""
    rng = np.random.default_rng(seed)
    return [
        np.exp(rng.normal(rng.normal() * spread, 0.6, size=rng.integers(*sizes))).astype(np.float32)
        for _ in range(count)
    ]


def pooled(norms, groups=None, **changes):
    named = np.arange(len(norms)) if groups is None else np.array(groups, dtype=object)
    tokens = np.array([len(own) for own in norms])
    parts = {"image": np.stack([parts_of(own) for own in norms])}
    return pool_norms(parts, {"image": tokens}, {"image": named}, "received", **{**DRAWS, **changes})


@pytest.mark.parametrize("size", [1, 2, 7, 100, 101, 102, 5000])
def test_parts_are_norms_of_tokens_and_keep_every_share_within_half_a_part(size):
    norms = samples(1, seed=size, sizes=(size, size + 1))[0]
    kept = parts_of(norms)
    assert kept.shape == (PARTS,) and kept.dtype == np.float32 and set(kept) <= set(norms)
    for at in np.concatenate([norms, norms * 0.999, norms * 1.001]):
        assert abs((kept <= at).mean() - (norms <= at).mean()) <= 0.5 / PARTS + 1e-12


def test_quartiles_are_those_of_all_tokens_within_half_a_part():
    norms = samples(40, spread=0.5)
    every = np.sort(np.concatenate(norms))
    found = pooled(norms)
    assert found.tokens.tolist() == [len(every)] and found.samples.tolist() == [40]
    for level, value in zip((0.25, 0.5, 0.75), found.quartiles[0], strict=True):
        assert (every < value).mean() - 0.5 / PARTS <= level <= (every <= value).mean() + 0.5 / PARTS
    assert found.drawn.shape == (1, DRAWN) and (np.diff(found.drawn[0]) >= 0).all()
    assert abs(np.median(found.drawn[0]) / np.median(every) - 1) < 0.02


def test_a_sample_with_more_tokens_weighs_more():
    found = pooled([np.full(10, 1.0, np.float32), np.full(1000, 9.0, np.float32)])
    assert found.quartiles[0].tolist() == [9, 9, 9]


def test_intervals_are_those_of_a_loop_that_draws_whole_groups():
    norms = samples(12, sizes=(50, 51), spread=0.5)
    groups = [f"photo {place // 3}" for place in range(12)]
    found = pooled(norms, groups)
    parts = np.stack([parts_of(own) for own in norms])
    counts = np.random.default_rng(0).multinomial(4, np.full(4, 0.25), size=300)
    medians = [
        np.quantile(np.concatenate([np.tile(parts[3 * at : 3 * at + 3].ravel(), own[at]) for at in range(4)]), 0.5)
        for own in counts
    ]
    low, high = spread_ends(found.quartiles[0, 1], np.array(medians), 0.95, units=4)
    assert found.low[0, 1] == pytest.approx(low, rel=0.02) and found.high[0, 1] == pytest.approx(high, rel=0.02)
    assert found.median("image") == (found.quartiles[0, 1], found.low[0, 1], found.high[0, 1])


def test_copies_inside_a_group_say_nothing_new_and_one_group_has_no_interval():
    norms = samples(10, spread=0.5)
    alone, together = pooled(norms), pooled(norms * 4, [f"{place}" for place in range(10)] * 4)
    assert np.allclose(together.low, alone.low) and np.allclose(together.high, alone.high)
    apart = pooled(norms * 4)
    assert (alone.high - alone.low > 1.3 * (apart.high - apart.low))[0, 1]
    one = pooled(norms, ["a"] * 10)
    assert np.isnan(one.low).all() and "low" not in one.to_dataframe()
    assert not one.to_dataframe().isna().any(axis=None)


def test_samples_that_are_alike_say_nothing_of_how_far_others_lie():
    found = pooled([np.arange(1, 31, dtype=np.float32)] * 5)
    assert np.isfinite(found.quartiles).all() and np.isnan(found.low).all() and np.isnan(found.high).all()


def test_a_quartile_that_no_draw_moves_stays_in_the_table_beside_those_that_have_an_interval():
    """Such as that of the first token, which is the same in every prompt."""
    alike = [np.arange(1, 31, dtype=np.float32)] * 5
    parts = {name: np.stack([parts_of(own) for own in norms]) for name, norms in
             (("bos", alike), ("image", samples(5, spread=0.5)))}  # fmt: skip
    every = dict.fromkeys(parts, np.full(5, 30)), dict.fromkeys(parts, np.arange(5))
    table = pool_norms(parts, *every, "received", **DRAWS).to_dataframe().set_index("group")
    assert len(table) == 6 and not table["norm"].isna().any()
    assert table.loc["bos", ["low", "high"]].isna().all(axis=None)
    assert table.loc["image", ["low", "high"]].notna().all(axis=None)


def test_the_interval_covers_the_median_of_the_population_as_often_as_it_says():
    hits = 0
    for seed in range(150):
        found = pooled(samples(25, seed=seed, sizes=(20, 60), spread=0.4), n=200, seed=seed)
        hits += found.low[0, 1] <= 1.0 <= found.high[0, 1]
    assert 0.87 <= hits / 150 <= 0.99


def test_no_samples_are_refused():
    with pytest.raises(InputError, match="at least one sample"):
        pool_norms({}, {}, {}, "received", **DRAWS)
