"""Scoring: which option an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence


def first_option(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer names first, as a whole word in any case; None where it names none.

    Example:
        >>> first_option("It is to the Left, not right.", ("left", "right"))
        'left'
    """
    found = [
        (match.start(), -len(option), option)
        for option in options
        if (match := re.search(rf"\b{re.escape(option)}\b", text, re.IGNORECASE))
    ]
    return min(found)[2] if found else None
