"""Judged answers: what was read from each, and whether it is right, by the strict rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp.answers.scoring import score

if TYPE_CHECKING:
    from interp.objects.sample import Sample


def judged(samples: Sequence[Sample], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Of each answer the option that it names (`predicted`, or None), whether it is right, and whether it can be read.

    An answer to an open question can be read where it says anything.

    Args:
        samples: what was asked.
        texts: what was answered, one for each.

    Example:
        >>> judged(samples, ["on the left"])
        [{'predicted': 'left', 'correct': True, 'parsed': True}]
    """
    import pandas as pd

    table = pd.DataFrame(
        {
            "text": list(texts),
            "gold": [sample.answer for sample in samples],
            "options": [tuple(sample.options) for sample in samples],
        }
    )
    return [
        {
            "predicted": None if pd.isna(row.predicted) else str(row.predicted),
            "correct": bool(row.correct),
            "parsed": bool(row.parsed) if sample.options else bool(row.text.strip()),
        }
        for sample, row in zip(samples, score(table).itertuples(), strict=True)
    ]
