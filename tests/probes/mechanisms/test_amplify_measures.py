"""Amplification measured: against loops, under a null, where it helps, and as the paper counts."""

import numpy as np
import pytest

from interp.errors import InputError
from interp.stats.draws import halves
from probes.mechanisms.amplify.measures import (
    Judged,
    as_the_paper_counts,
    gain_of,
    held_out_measures,
    measure_amplification,
)

ALPHAS = tuple(map(float, range(1, 16)))


def made_up(rng, items=60, *, seeds=3, before=0.5, correct=0.0, shaky=0.35, alphas=ALPHAS, spread=0.0):
    """Items, some of them shaky: those answer anew at each alpha, whatever the direction, and right as often as before.

    `correct` of the items that fail are right along the probe's directions, from the middle alpha on; `spread` lets
    every direction, the probe's among them, help or harm by luck.
    """
    own = rng.random(items) < before
    moves = rng.random(items) < shaky
    untouched = np.stack([own, own | (rng.random(items) < 0.3)], axis=1)
    strength = np.linspace(0.2, 1, len(alphas))

    def along():
        luck = spread * rng.normal()
        again = rng.random((items, len(alphas))) < np.clip(before + luck * strength, 0, 1)
        right = np.where(moves[:, None] & (rng.random((items, len(alphas))) < strength), again, own[:, None])
        other = np.where(right, True, untouched[:, 1:] & (rng.random((items, len(alphas))) < 0.9))
        return np.stack([right, other], axis=-1)

    probe = along()
    if correct:
        helped = ~own & (rng.random(items) < correct)
        probe[helped, len(alphas) // 2 :] = True
    axes = np.where(np.arange(items) % 3, "horizontal", "vertical").astype(object)
    groups = np.array([f"photo {place // 2}" for place in range(items)], dtype=object)
    random = np.stack([along() for _ in range(seeds)], axis=1)
    return Judged(untouched, probe, random, alphas, tuple(range(seeds)), axes, groups)


def line(table, source, measure="net"):
    return table.query("source == @source and measure == @measure").iloc[0]


def test_every_count_is_that_of_a_loop():
    judged = made_up(np.random.default_rng(1), 30, alphas=(1.0, 2.0, 5.0), correct=0.3)
    found = measure_amplification(judged, n=50)
    for axis in ("all", "horizontal", "vertical"):
        own = [place for place in range(30) if axis in ("all", judged.axes[place])]
        table = found.measures[(found.measures["axis"] == axis) & (found.measures["source"] == "probe")]
        for place, strength in enumerate(judged.alphas):
            corrected = broken = right = 0
            for item in own:
                before = bool(judged.untouched[item, 0] and judged.untouched[item, 1])
                after = bool(judged.probe[item, place, 0] and judged.probe[item, place, 1])
                corrected, broken, right = corrected + (after > before), broken + (before > after), right + after
            told = table[table["alpha"] == strength].set_index("measure")
            wanted = {"accuracy": right, "corrected": corrected, "broken": broken, "net": corrected - broken}
            for measure, count in wanted.items():
                assert told.loc[measure, "value"] == pytest.approx(count / len(own))
                assert told.loc[measure, "low"] <= told.loc[measure, "high"]
    table = found.measures.query("axis == 'all' and alpha == 2 and measure == 'net'").set_index("source")["value"]
    after = judged.random[:, :, 1].all(-1).mean() - judged.untouched.all(-1).mean()
    assert table["random"] == pytest.approx(after)
    assert table["probe - random"] == pytest.approx(table["probe"] - table["random"])
    assert not found.measures.isna().any().any() and not found.held_out.isna().any().any()


def test_the_papers_count_is_that_of_a_loop_and_never_asks_what_was_right_again():
    judged = made_up(np.random.default_rng(2), 40, alphas=(1.0, 2.0, 5.0))
    found = measure_amplification(judged, n=50).paper.set_index(["source", "rule"])
    mended = np.zeros((40, 3), dtype=bool)
    for item, place in np.ndindex(mended.shape):
        failed = [order for order in (0, 1) if not judged.untouched[item, order]]
        mended[item, place] = bool(failed) and all(judged.probe[item, place, order] for order in failed)
    failures = int((~judged.untouched.all(-1)).sum())
    best = max(range(3), key=lambda place: (mended[:, place].sum(), -place))
    for rule, own, alpha in (
        ("probe", mended[:, best], f"{judged.alphas[best]:g}"),
        ("probe_any", mended.any(1), "any"),
    ):
        told = found.loc[("probe", rule)]
        assert (told["failures"], told["corrected"], told["alpha"]) == (failures, own.sum(), alpha)
        assert told["corrected_rate"] == pytest.approx(own.sum() / failures)
        assert told["accuracy_after"] == pytest.approx((40 - failures + own.sum()) / 40)
    broken = Judged(judged.untouched, judged.probe & False, judged.random, *list(vars(judged).values())[3:])
    assert measure_amplification(broken, n=50).paper["gain"].min() >= 0  # whatever breaks


def test_of_ties_for_the_best_alpha_the_smallest_is_taken():
    judged = made_up(np.random.default_rng(3), 40, alphas=(1.0, 2.0, 5.0), shaky=0)
    found = measure_amplification(judged, n=20)
    assert set(found.chosen["alpha"]) == {1.0} and set(found.paper["alpha"]) == {"1", "any"}


def test_alpha_is_chosen_on_one_half_and_reported_on_the_other():
    judged = made_up(np.random.default_rng(4), 60, correct=0.5)
    part = halves(judged.groups, judged.axes, seed=0)
    found = measure_amplification(judged, n=50)
    net = judged.probe.all(-1).astype(int) - judged.untouched.all(-1)[:, None]
    told = []
    for here in (0, 1):
        place = int(np.argmax(net[part == here].mean(0)))
        own = found.chosen.query("source == 'probe' and chosen_on == @here + 1").iloc[0]
        assert own["alpha"] == judged.alphas[place] and own["reported_on"] == 2 - here
        assert own["net_chosen_on"] == pytest.approx(net[part == here, place].mean())
        assert own["samples"] == (part != here).sum()
        told += net[part != here, place].tolist()
    assert line(found.held_out, "probe")["value"] == pytest.approx(np.mean(told))


def claims(count, **how):
    """How often made-up tables have a gain: over untouched, beyond random ones, and as the paper counts, two ways."""
    found = np.zeros(4)
    for number in range(count):
        judged = made_up(np.random.default_rng([number, 7]), **{"items": 50, "alphas": ALPHAS[1::2], **how})
        draws = {"seed": number, "n": 100, "level": 0.95}
        rows, _, p = held_out_measures(judged, [], wanted=("net",), **draws)
        gain = gain_of(rows, p, 0.95)
        low = {row["rule"]: row["low"] for row in as_the_paper_counts(judged, [], **draws)}
        found += [gain["over_untouched"], gain["beyond_random"], low["probe"] > 0, low["probe_any"] > 0]
    return found / count


def test_under_the_null_no_gain_is_claimed_more_often_than_stated_and_the_papers_counting_nearly_always_claims_one():
    over, beyond, paper, any_alpha = claims(100)
    assert over <= 0.05 and beyond <= 0.05  # as stated, choice of alpha included
    assert paper > 0.8 and any_alpha > 0.95


def test_directions_that_help_or_harm_by_luck_are_not_beyond_random_ones():
    over, beyond, _, _ = claims(100, spread=0.4, shaky=0.6)
    assert over > 0.15 and beyond <= 0.05  # some do gain, by luck, and no more than others


def test_where_amplification_helps_it_is_found():
    over, beyond, _, _ = claims(20, correct=0.6, items=120, seeds=5)
    assert over > 0.9 and beyond > 0.9


def test_one_seed_has_no_difference_one_group_no_interval_three_no_halves_and_no_failure_no_paper():
    judged = made_up(np.random.default_rng(5), 20, seeds=1)
    found = measure_amplification(judged, n=20)
    assert "probe - random" not in set(found.measures["source"]) | set(found.held_out["source"])
    assert "one seed says nothing" in found.left_out["why"].iloc[0]
    few = judged.only(np.arange(20) < 6)
    found = measure_amplification(few, n=20)
    assert found.held_out.empty and not found.gain["over_untouched"] and "parted" in " ".join(found.left_out["why"])
    alone = measure_amplification(judged.only(np.arange(20) < 2), n=20)
    assert alone.measures.empty and "fewer than three groups" in " ".join(alone.left_out["why"])
    right = Judged(judged.untouched | True, *list(vars(judged).values())[1:])
    found = measure_amplification(right, n=20)
    assert found.paper.empty and "nothing to correct" in " ".join(found.left_out["why"])
    with pytest.raises(InputError, match="no item to measure"):
        measure_amplification(judged.only(np.zeros(20, dtype=bool)))


def test_a_gain_needs_the_sign_test_too_and_both_differences_to_random_directions():
    def rows(probe, difference, same):
        lows = {"probe": probe, "probe - random": difference, "probe - random, same alphas": same}
        return [{"source": source, "measure": "net", "low": low} for source, low in lows.items()]

    for lows, p, over, beyond in (
        ((0.1, 0.1, 0.1), 0.01, True, True),
        ((0.1, 0.1, 0.1), 0.06, False, True),
        ((0.0, 0.1, 0.1), 0.01, False, True),
        ((0.1, 0.1, 0.0), 0.01, True, False),
        ((0.1, -0.1, 0.1), 0.01, True, False),
    ):
        assert gain_of(rows(*lows), p, 0.95) == {"over_untouched": over, "beyond_random": beyond, "p": p}


def test_random_directions_at_the_probe_s_alphas_are_told_beside_those_at_their_own():
    judged = made_up(np.random.default_rng(6), 60, correct=0.5)
    held = measure_amplification(judged, n=20)
    part, net = (
        halves(judged.groups, judged.axes, seed=0),
        judged.random.all(-1) - judged.untouched.all(-1)[:, None, None] * 1,
    )
    place = {alpha: at for at, alpha in enumerate(judged.alphas)}
    chosen = held.chosen.query("source == 'probe'").set_index("reported_on")["alpha"]
    same = np.concatenate([net[part == half - 1, :, place[chosen[half]]] for half in (1, 2)]).mean()
    assert line(held.held_out, "random, same alphas")["value"] == pytest.approx(same)
    beyond = line(held.held_out, "probe")["value"] - same
    assert line(held.held_out, "probe - random, same alphas")["value"] == pytest.approx(beyond)
    assert line(held.held_out, "random")["value"] != pytest.approx(same)
