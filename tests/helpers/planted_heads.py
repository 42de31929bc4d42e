"""Made-up features of heads: noise that items of one main question share in part, and heads that carry a function."""

import numpy as np

FUNCTIONS = ("spatial", "relational", "math")


def planted(
    carriers=(), *, questions=40, steps=4, layers=2, heads=3, width=5, strength=2.0, functions=FUNCTIONS, seed=0
):
    """Features [item layer head d_head], labels [item function], and the main question of each item.

    `carriers` names (function, layer, head): there the function moves the feature along one direction.
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(questions), steps)
    labels = np.eye(len(functions), dtype=bool)[rng.integers(len(functions), size=len(groups))]
    shared = rng.normal(size=(questions, layers, heads, width))[groups]
    features = 0.5 * shared + rng.normal(size=shared.shape)
    for name, layer, head in carriers:
        way = rng.normal(size=width)
        way /= np.linalg.norm(way)
        features[:, layer, head] += strength * np.outer(labels[:, functions.index(name)], way)
    return features.astype(np.float32), labels, np.array([f"q{own}" for own in groups], dtype=object)
