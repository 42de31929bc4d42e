"""Null models: of 200 in which no head is special, no more have one selected than the level says, by every scorer.

The numbers are made up and go through each scorer's own code: numbers of the model and of chance are alike, within a
group too, and heads differ in how large theirs are. `docs/scripts/heads_null.py` asks models with random weights.
"""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import tiny

from interp.objects.sample import Sample
from probes.heads.found.by_model import BY_MODEL, ID_WRITE, STUDIES
from probes.heads.scorers import ablation, divergence, gradient
from probes.heads.scorers.attention import SCORERS
from probes.heads.scorers.image_mass import SpatialEntropy
from probes.heads.scorers.measured import MeasuredHeads
from probes.heads.scorers.placed_words import PlacedWords, place_scores
from probes.heads.scorers.sampled import Drawing, Labels, sampled_scores
from probes.heads.selection.selectors import select_heads

MOST = 20
"""Of 200: 10 are expected at 0.05, and more than 20 come once in a thousand times."""

HEADS = (3, 4)
FAST = {"draws": 1, "flips": 99}
SAMPLES = [
    Sample(f"s{place}", tiny.photo(0), "Where?", (), "left" if place % 4 < 2 else "right", group=f"g{place // 2}")
    for place in range(32)
]
LABELS = Labels.of(SAMPLES)


def grouped(rng, *axes):
    """Numbers that are alike in part within a group."""
    return rng.normal(size=(16, *axes)).repeat(2, axis=0) + rng.normal(size=(32, *axes))


def alike(rng, *names):
    """Columns of positive numbers, of heads of different sizes."""
    size = np.exp(rng.normal(size=HEADS))
    return {name: size * np.exp(grouped(rng, *HEADS) / 2) for name in names}


def measured(columns, table=None, seed=0):
    return MeasuredHeads(SAMPLES, LABELS, columns, pd.DataFrame(table), Drawing(seed, **FAST), {})


def boxes(seed):
    """Boxes are as good as those that were moved, and attention on the image is even on average."""
    rng, found = np.random.default_rng(seed), {}
    for name in ("overlap", "pointing", "hit_rate", "gaze"):
        own, *drawn = alike(rng, *range(9)).values()
        moved = f"{name}_other" if name == "gaze" else f"{name}_moved"
        columns = {name: own, moved: np.mean(drawn, axis=0), f"{name}_drawn": drawn[0]}
        columns |= {"gaze_of_object": np.zeros((32, *HEADS))}
        found |= SCORERS[name]().scores(measured(columns, seed=seed))
    mass = alike(rng, "image_mass", "image_mass_even")
    return found | SCORERS["image_mass"]().scores(measured(mass, seed=seed))


def entropies(seed):
    """Maps are as concentrated as those of weights that were dealt, and no head's more often than others'."""
    rng = np.random.default_rng(seed)
    columns = {name: np.exp(grouped(rng, *HEADS)) for name in ("entropy", "entropy_shuffled")}
    columns |= {"entropy_mass": np.full((32, *HEADS), 0.5), "entropy_flagged": np.zeros((32, *HEADS))}
    return SpatialEntropy(lowest=3).scores(measured(columns, seed=seed))


def gradients(seed):
    """Heads and the answer prefer the same places, the more the nearer to each other, whatever is shown there."""
    rng = np.random.default_rng(seed)
    places = np.exp(rng.normal(size=(*HEADS, 9)))
    looked, slope = (places * np.exp(grouped(rng, *HEADS, 9) / 2) for _ in range(2))

    def crossed(samples, work, study, **how):
        other = slope[work.partners.places]
        return measured(
            {"gradient": (looked * slope).sum(-1), "gradient_elsewhere": (looked * other).sum(-1)}, seed=seed
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient, "measure_heads", crossed)
        found = gradient.gradient_scores(model(), SAMPLES, seed=seed)
    dealt = (rng.permuted(looked, axis=-1) * slope).sum(-1)
    whole = sampled_scores("dealt", (looked * slope).sum(-1), LABELS, null=dealt, drawing=Drawing(seed, **FAST))
    return {"gradient": found, "dealt": whole}


def ablations(seed):
    """Without a head the answer gains as often as it loses."""
    rng = np.random.default_rng(seed)
    drop = np.exp(rng.normal(size=HEADS)) * grouped(rng, *HEADS)
    return _given(ablation, ablation.ablation_scores, {"drop": drop}, {"right": np.arange(32) % 4 < 2}, seed)


def divergences(seed):
    """The photo moves a head as far as a colour."""
    names = [name for kind in divergence.DISTANCES for name in (kind, f"{kind}_blank")]
    own = alike(np.random.default_rng(seed), *names)
    return _given(divergence, divergence.divergence_scores, own, None, seed)


def _given(module, score, columns, table, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_heads", lambda *given, **how: measured(columns, table, seed))
        return score(model(), SAMPLES)


@cache
def model():
    return tiny.vlm(self_check=False)


def written_places(seed):
    """Heads that write along the axes, each at its own size, whatever lies where."""
    rng = np.random.default_rng(seed)
    written = grouped(rng, 2, 12) * np.exp(rng.normal(size=12))
    words = PlacedWords(
        np.arange(32),
        np.full(32, "mug", dtype=object),
        written,
        grouped(rng, 2),
        (written**2).mean((0, 1)),
        LABELS.groups,
    )
    return {ID_WRITE: place_scores(words, LABELS, HEADS, Drawing(seed, draws=1), 29, {})}


MADE = {
    "entropies": entropies,
    "boxes": boxes,
    "gradient": gradients,
    "ablation": ablations,
    "divergence": divergences,
    ID_WRITE: written_places,
}


@cache
def selected(study):
    """Of 200 null models, how many have a head selected, by scorer and rule."""
    wrong = {}
    for seed in range(200):
        for name, scores in MADE[study](seed).items():
            for rule in ("fdr", "max_t"):
                wrong[name, rule] = wrong.get((name, rule), 0) + (len(select_heads(scores, rule=rule)) > 0)
    return wrong


ENTROPIES = ("spatial_entropy", "selection_frequency")
PAIRED = [name for own in ("looks", "divergence") for name in STUDIES[own] if name not in ENTROPIES]
"""Scorers whose null is a number beside each number, which `test_sampled_scores` holds too."""


@pytest.mark.parametrize(
    "scorer", [pytest.param(name, marks=pytest.mark.slow if name in PAIRED else ()) for name in BY_MODEL]
)
def test_of_200_null_models_no_more_have_a_head_selected_than_the_level_says(scorer):
    (study,) = (study for study, own in STUDIES.items() if scorer in own)
    made = {"looks": "entropies" if scorer in ENTROPIES else "boxes"}.get(study, study)
    counts = {rule: selected(made)[scorer, rule] for rule in ("fdr", "max_t")}
    assert max(counts.values()) <= MOST, counts


def test_weights_dealt_over_the_photo_would_take_shared_places_for_what_is_shown():
    assert selected("gradient")["dealt", "fdr"] > 5 * MOST
