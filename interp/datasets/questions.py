"""The question templates and option lists of the AdaptVis protocol, and the prompts around them."""

from __future__ import annotations

from collections.abc import Sequence

OPTIONS_IN_PHOTO = ("left", "right", "top", "bottom")
OPTIONS_IN_RELATION = ("left", "right", "above", "below")


def list_options(options: Sequence[str]) -> str:
    """Join options as the protocol does: `left, right, above or below`."""
    return ", ".join(options[:-1]) + " or " + options[-1] if len(options) > 1 else "".join(options)


def where_in_photo(name: str, options: Sequence[str] = OPTIONS_IN_PHOTO) -> str:
    """Ask where one object lies in the photo.

    Example:
        >>> where_in_photo("mug")
        'Where is the mug in the photo? Answer with left, right, top or bottom.'
    """
    return f"Where is the {name} in the photo? Answer with {list_options(options)}."


def where_in_relation(name: str, reference: str, options: Sequence[str] = OPTIONS_IN_RELATION) -> str:
    """Ask where one object lies in relation to another.

    Example:
        >>> where_in_relation("mug", "table")
        'Where is the mug in relation to the table? Answer with left, right, above or below.'
    """
    return f"Where is the {name} in relation to the {reference}? Answer with {list_options(options)}."


def paper_prompt(question: str) -> str:
    """Wrap a question as the AdaptVis evaluation does: no system prompt, one image, then the question."""
    return f"<image>\nUSER: {question}\nASSISTANT:"
