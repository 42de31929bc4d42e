"""What the demo picks as the best of several has intervals and tests that know of the picking."""

import numpy as np
import pandas as pd

from adaptvis.demo.change import choice_of
from adaptvis.demo.demo import means_at_once
from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.evaluation.selection import choose_scaling
from adaptvis.policy.policies import Baseline
from adaptvis.sweep.plan import UNTOUCHED
from interp.intervene.image_logits import ScaleImageLogits

RUNS = 100
ALPHAS = (0.0, 0.5, 0.8, 1.2, 1.5, 2.0)


def chosen_in_vain(rng, n=60):
    """What a validation part of so many samples chooses where no alpha does anything but turn answers by chance."""
    settings = {UNTOUCHED: ("", float("nan"), "", "")}
    settings |= {str(ScaleImageLogits(alpha)): ("mul", alpha, "all", "all") for alpha in ALPHAS}
    rows = [
        {"id": f"s{place}", "setting": name, "mode": mode, "alpha": alpha, "layers": layers, "heads": heads,
         "correct": bool(rng.random() < 0.5)}
        for name, (mode, alpha, layers, heads) in settings.items()
        for place in range(n)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    policies = {"baseline": Baseline(), "scaling": choose_scaling(table)}
    return choice_of(Evaluation(policies, table, table, table, table, table))


def test_the_gain_of_the_best_alpha_is_none_where_there_is_none_as_often_as_it_says():
    rng = np.random.default_rng(3)
    found = [chosen_in_vain(rng) for _ in range(RUNS)]
    most, told = RUNS * 0.05 + 3 * np.sqrt(RUNS * 0.05 * 0.95), sum(one.p < 0.05 for one in found)
    assert told <= most
    assert sum(not one.gain.low <= 0 <= one.gain.high for one in found) <= most
    assert {one.tried for one in found} == {len(ALPHAS)} and {one.gain.level for one in found} == {0.95}
    assert sum(one.p / one.tried < 0.05 for one in found) > told, "the test of one alpha by itself does not know of it"


def test_the_interval_of_the_best_of_twelve_layers_holds_its_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(RUNS):
        lift = rng.normal(2.0, 1.0, (40, 12))
        found = means_at_once(lift)
        best = int(found.estimate.argmax())
        held += found.low[best] <= 2.0 <= found.high[best]
    assert held >= RUNS * 0.95 - 3 * np.sqrt(RUNS * 0.05 * 0.95)
