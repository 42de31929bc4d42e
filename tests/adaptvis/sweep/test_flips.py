"""Flips: shares know of the groups that samples share, and the largest of several of having been picked."""

import numpy as np
import pandas as pd
import pytest
from interval_coverage import LEVEL

from adaptvis.demo.change import Change
from adaptvis.sweep.flips import EVERYWHERE, ONLY, Flips, dose_response, share_of
from interp.errors import InputError
from interp.stats.clusters import clustered_share
from interp.stats.intervals import wilson

LAYERS = 12


def flips_of(same, groups=None):
    """Flips whose answers where alpha acts in one layer alone are the same as of the whole change, [sample layer]."""
    rows = [
        {"id": f"s{sample}", "group": "" if groups is None else groups[sample], "kind": kind, "layer": layer,
         "same": bool(own)}
        for sample, row in enumerate(same)
        for kind, layer, own in [*((ONLY, layer, one) for layer, one in enumerate(row)), (EVERYWHERE, -1, True)]
    ]  # fmt: skip
    answers = pd.DataFrame({"id": [f"s{sample}" for sample in range(len(same))], "before": "left", "after": "right"})
    return Flips(0.5, answers, pd.DataFrame(rows))


def test_windows_have_the_interval_of_groups_and_of_one_window_by_itself():
    same = np.random.default_rng(0).random((30, 3)) < 0.5
    groups = [f"photo {sample // 3}" for sample in range(30)]
    for shared in (None, groups):
        found = flips_of(same, shared)
        for line in found.carried().query("kind == @ONLY").itertuples():
            wanted = clustered_share(same[:, line.layer], shared)
            assert (line.share, line.low, line.high) == (wanted.estimate, wanted.low, wanted.high)
    assert flips_of(same).of(EVERYWHERE).low == wilson(30, 30).low
    assert flips_of(same, groups).of(EVERYWHERE).low < wilson(30, 30).low, "ten photos are no thirty samples"


def test_two_photos_have_no_interval():
    alone = flips_of(np.eye(4, 3, dtype=bool), ["a", "a", "b", "b"]).strongest_layer()[1]
    assert alone.estimate == 0.25 and np.isnan(alone.low) and np.isnan(alone.high)


def test_the_strongest_layer_is_the_first_of_the_largest_and_has_an_interval_of_all_layers():
    same = np.zeros((20, LAYERS), dtype=bool)
    same[:8, 4] = same[5:13, 7] = True
    layer, found = flips_of(same).strongest_layer()
    wanted = wilson(8, 20, 1 - 0.05 / LAYERS)
    assert (layer, found.estimate, found.low, found.high) == (4, 0.4, wanted.low, wanted.high)
    assert found.level == 0.95 and found.high - found.low > wilson(8, 20).high - wilson(8, 20).low


@pytest.mark.parametrize("each", [1, 3])
def test_the_interval_of_the_largest_of_twelve_shares_holds_its_truth_as_often_as_it_says(each):
    """Of the largest, the interval of one share by itself misses far too often; also where samples share groups."""
    rng, runs, truth = np.random.default_rng(each), 600, 0.3
    groups = None if each == 1 else [f"g{place // each}" for place in range(20 * each)]
    held = {1: 0, LAYERS: 0}
    for _ in range(runs):
        luck = np.repeat(rng.random((20, LAYERS)), each, axis=0)
        own = np.where(rng.random(luck.shape) < 0.7, luck, rng.random(luck.shape)) < truth
        best = own[:, own.mean(axis=0).argmax()]
        rows = pd.DataFrame({"same": best} if groups is None else {"same": best, "group": groups})
        for among in held:
            found = share_of(rows, "same", among=among)
            held[among] += found.low <= truth <= found.high
    error = np.sqrt(LEVEL * (1 - LEVEL) / runs)
    assert held[LAYERS] / runs > LEVEL - 3 * error, held
    assert held[1] / runs < LEVEL - 3 * error, held


def test_the_largest_share_of_changed_answers_is_of_all_alphas_that_were_asked():
    rows = pd.DataFrame(
        [
            {"id": f"s{place}", "alpha": alpha, "relation": "left", "correct": True, "named_another": False,
             "named_none": False, "changed": alpha != 1 and place < 6 * alpha, "reworded": False}
            for alpha in (0.0, 0.5, 1.0, 2.0)
            for place in range(20)
        ]
    )  # fmt: skip
    dose = dose_response(rows)
    still = Change(rows, rows, dose, dose, None)
    with pytest.raises(InputError, match="look at flips"):
        still.most_changed()
    found = Change(rows, rows, dose, dose, Flips(2.0, rows, rows)).most_changed()
    wanted = wilson(12, 20, 1 - 0.05 / 3)
    assert still.tried == 3 and (found.estimate, found.low, found.high) == (0.6, wanted.low, wanted.high)
