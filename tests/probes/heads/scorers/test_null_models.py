"""Null models: of 200 in which no head is special, no more have one selected than the level says, by each kind of null.

Scores whose null is a number beside each number, such as moved boxes, are all held by flips of signs: see
`test_sampled_scores`. Here are nulls that are made otherwise, or that such flips are only fair to by how they are made.
"""

import numpy as np
import pandas as pd
import pytest

from probes.heads.scorers.image_mass import SpatialEntropy
from probes.heads.scorers.measured import MeasuredHeads
from probes.heads.scorers.placed_words import PlacedWords, place_scores
from probes.heads.scorers.sampled import Drawing, Labels, sampled_scores
from probes.heads.selection.selectors import select_heads

MOST = 20
"""Of 200: 10 are expected at 0.05, and more than 20 come once in a thousand times."""

GROUPS = np.repeat([f"g{place}" for place in range(16)], 2).astype(object)
LABELS = Labels(("math",), np.ones((len(GROUPS), 1), dtype=bool), GROUPS)


def grouped(rng, *axes):
    """Numbers that are alike in part within a group."""
    return rng.normal(size=(16, *axes)).repeat(2, axis=0) + rng.normal(size=(32, *axes))


def written_places(seed):
    """Heads that write along the axes, each at its own size, whatever lies where."""
    rng = np.random.default_rng(seed)
    written = grouped(rng, 2, 6) * np.exp(rng.normal(size=6))
    words = PlacedWords(
        np.arange(32), np.full(32, "mug", dtype=object), written, grouped(rng, 2), (written**2).mean((0, 1)), GROUPS
    )
    return place_scores(words, LABELS, (2, 3), Drawing(seed, draws=1), 29, {})


def lowest_of_alike(seed):
    """Heads that are concentrated now and then, none more often than others."""
    rng = np.random.default_rng(seed)
    columns = {name: np.exp(grouped(rng, 3, 4)) for name in ("entropy", "entropy_shuffled")}
    columns |= {"entropy_mass": np.full((32, 3, 4), 0.5), "entropy_flagged": np.zeros((32, 3, 4))}
    drawing = Drawing(seed, draws=1, flips=99)
    found = MeasuredHeads([], LABELS, columns, pd.DataFrame(), drawing, {})
    return SpatialEntropy(lowest=3).scores(found)["selection_frequency"]


def losses_of_noise(seed):
    """Heads without which the answer gains as often as it loses."""
    drop = grouped(np.random.default_rng(seed), 3, 4)
    loss, gain = drop.clip(min=0), (-drop).clip(min=0)
    return sampled_scores("made", loss, LABELS, null=gain, drawing=Drawing(seed, draws=1, flips=99))


@pytest.mark.parametrize("made", [written_places, lowest_of_alike, losses_of_noise])
def test_of_200_null_models_no_more_have_a_head_selected_than_the_level_says(made):
    wrong = {"fdr": 0, "max_t": 0}
    for seed in range(200):
        scores = made(seed)
        for rule in wrong:
            wrong[rule] += len(select_heads(scores, rule=rule)) > 0
    assert max(wrong.values()) <= MOST, wrong
