"""Head scores made up for the tests of what is done with them."""

import numpy as np

from probes.heads.scores import HeadScores


def made_scores(values, functions=None, scorer="made_up", **more):
    """Scores of [function layer head], or of one function where there are two axes."""
    own = np.asarray(values, dtype=np.float32)
    own = own[None] if own.ndim == 2 else own
    names = functions or tuple(f"f{place}" for place in range(len(own)))
    tables = {
        name: np.asarray(table, dtype=np.float32).reshape(own.shape)
        for name, table in more.items()
        if name in ("low", "high", "null", "p", "p_any")
    }
    rest = {name: value for name, value in more.items() if name not in tables}
    return HeadScores(scorer, tuple(names), own, (20,) * len(own), (5,) * len(own), **tables, **rest)
