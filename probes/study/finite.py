"""Finite: numbers that are infinite or NaN are refused by the name of their sample, before they reach a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import ModelError

if TYPE_CHECKING:
    from interp.model.generation import Generation

OVERFLOW = "as happens where a model overflows its number type: load it with dtype='bfloat16' or 'float32'"
"""What numbers that are not finite come of, and what to do."""


def refuse_overflow(values: Float[np.ndarray, "*axes"], sample_id: str, what: str = "norms") -> None:
    """Refuse numbers that are not finite.

    Raises:
        ModelError: some are not.
    """
    if not np.isfinite(values).all():
        raise ModelError(
            f"sample {sample_id!r}: {int((~np.isfinite(values)).sum())} of {values.size} {what} are infinite or NaN, "
            f"{OVERFLOW}"
        )


def refuse_unsaid(answer: Generation, names: Sequence[str] = ()) -> None:
    """Refuse answers of a batch whose confidence is not finite: the model said nothing.

    Args:
        answer: what the batch was answered.
        names: a name for each sample; their places by default.

    Raises:
        ModelError: one is not.
    """
    for place, sure in enumerate(answer.confidence):
        refuse_overflow(np.array([sure]), names[place] if len(names) else str(place), "confidences")
