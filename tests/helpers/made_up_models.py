"""What a made-up trained model gave, scene by scene, and a comparison of such models."""

from __future__ import annotations

import numpy as np

from probes.retraining.comparison import ArmComparison, compare_arms
from probes.retraining.measure import ModelMeasures

SCENES_OF_A_KIND, PROBED, LAYERS, DRAWS = 40, 12, 3, 300
GROUPS = np.array([f"pair {i // 2}" for i in range(SCENES_OF_A_KIND)])


def made_up_measures(seed: int, *, right: float = 0.8, permuted: float = 0.4, reach: float = 1.0) -> ModelMeasures:
    """Measures of relation and colour questions, drawn at random.

    Args:
        seed: the seed of the draws.
        right: share of right answers in order.
        permuted: share of right answers under permutations.
        reach: the largest RoPE sensitivity.
    """
    rng, kinds = np.random.default_rng(seed), ("relation", "color")
    n = SCENES_OF_A_KIND * len(kinds)
    return ModelMeasures(
        kinds=np.repeat(kinds, SCENES_OF_A_KIND),
        groups=np.tile(GROUPS, len(kinds)),
        chance=np.repeat([0.25, 1 / 6], SCENES_OF_A_KIND),
        original=rng.random(n) < right,
        permuted=rng.random((n, 5)) < permuted,
        probe_groups=GROUPS[:PROBED],
        abs_delta_g_v=(reach * rng.random((PROBED, LAYERS))).astype(np.float32),
        delta_alpha_v=rng.normal(size=(PROBED, LAYERS)).astype(np.float32),
        ratio=(1 + rng.random((PROBED, LAYERS + 1))).astype(np.float32),
    )


def made_up_runs(seeds: int = 3) -> dict[tuple[str, int], ModelMeasures]:
    """Three arms: the second knows more and reaches further, the third loses less when permuted."""
    settings: dict[str, dict[str, float]] = {
        "plain": {},
        "normalised": {"right": 0.95, "reach": 3.0},
        "scaled": {"permuted": 0.6},
    }
    return {
        (arm, seed): made_up_measures(10 * place + seed, **own)
        for place, (arm, own) in enumerate(settings.items())
        for seed in range(seeds)
    }


def made_up_comparison(models: dict[tuple[str, int], ModelMeasures] | None = None) -> ArmComparison:
    """A comparison of these runs, with a log of training in which the third arm ends worse."""
    models = models or made_up_runs()
    logs = {
        (arm, seed): [
            {"step": 2.0, "answer": 0.9, "right_relation": 0.3, "seconds": 1.0},
            {"step": 4.0, "answer": 0.5 + 0.01 * seed + 0.2 * (arm == "scaled"), "right_relation": 0.6, "seconds": 2.0},
        ]
        for arm, seed in models
    }
    length = {"image_length": 3.0, "word_length": 0.7, "longest_word": 0.9}
    runs = [{"arm": arm, "seed": seed, "seconds": 60.0, "start": length, "end": length} for arm, seed in models]
    return compare_arms(models, logs, settings={"runs": runs}, n=DRAWS)
