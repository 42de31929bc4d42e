"""Names of functions: what files of three vocabularies call them, and what they are called here.

Names of "Cognitive Mirrors" (text) and of "CogVision" that are none of the eight stay functions of their own. One name
means two things: "Semantic Understanding" is a class of its own in the first and another name of `information` in the
second, so the vocabulary has to be known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from interp.errors import InputError
from probes.heads.functions import FUNCTIONS, OWN_TITLES, TITLES

VOCABULARIES = ("cogvsr", "cogqa", "cogvision")
"""Whose names a file uses: "Attention in Space", "Cognitive Mirrors" (text), "CogVision"."""

_LEFT_AS_THEY_ARE = {"semantic": "semantic"}
"""What would be read back as another function by its title."""

_COGQA_TITLES = {"math": "Math Calculation", "recall": "Knowledge Recall", "decision": "Decision-making"}

_SHORT: Mapping[str, tuple[str, ...]] = {
    "spatial": ("spatial",),
    "relational": ("relational", "relation reasoning"),
    "low_level": ("low level", "low level perception", "low level visual"),
    "high_level": ("high level", "high level perception", "high level visual"),
    "information": ("info", "information", "information extraction", "information extraction and understanding"),
    "recall": ("recall",),
    "math": ("math", "mathematical reasoning", "math calculation"),
    "decision": ("decision", "decision making"),
}
_COGQA: Mapping[str, tuple[str, ...]] = {
    "retrieval": ("retrieval",),
    "semantic": ("semantic", "semantic understanding"),
    "syntactic": ("syntactic", "syntactic understanding"),
    "inference": ("inference",),
    "logical": ("logical", "logical reasoning"),
}
_COGVISION: Mapping[str, tuple[str, ...]] = {
    "information": (
        "semantic understanding",
        "language information extraction and understanding",
        "language information extraction understanding",
        "language information extraction",
    ),
    "inference": ("inference",),
    "vision_recall": ("vision recall", "vision knowledge recall", "visual knowledge recall"),
    "language_recall": ("lang recall", "language recall", "language knowledge recall"),
}


def function_of(label: str, vocabulary: str = "cogvsr") -> str | None:
    """What a label of a file is called here; None where it is not known.

    Capitals, hyphens, underscores and `&` do not matter.

    Args:
        label: as the file has it.
        vocabulary: whose names they are, see `VOCABULARIES`.

    Raises:
        InputError: there is no such vocabulary.

    Example:
        >>> function_of("Low-level Visual Perception"), function_of("Math Calculation"), function_of("Induction")
        ('low_level', 'math', None)
        >>> function_of("Semantic Understanding", "cogqa"), function_of("Semantic Understanding", "cogvision")
        ('semantic', 'information')
    """
    if vocabulary not in VOCABULARIES:
        raise InputError(f"there is no vocabulary {vocabulary!r} of functions: use one of {', '.join(VOCABULARIES)}")
    return _KNOWN[vocabulary].get(_plain(label))


def title_of(function: str, vocabulary: str = "cogvsr") -> str:
    """What a file calls a function; one that is not known keeps its name."""
    own = _COGQA_TITLES if vocabulary == "cogqa" else _LEFT_AS_THEY_ARE
    return own.get(function) or TITLES.get(function, function)


def own_name(label: str) -> str:
    """A function's name made of a label that is not known, such as `task_comprehension`."""
    return re.sub(r"\W+", "_", label.strip().lower()).strip("_")


def _plain(label: str) -> str:
    """A label without what does not matter in it."""
    return re.sub(r"[\s_\-]+", " ", label.replace("&", " and ").lower()).strip()


def _table(*parts: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {label: name for part in parts for name, labels in part.items() for label in labels}


_EIGHT = {**{_plain(TITLES[name]): name for name in FUNCTIONS}, **_table(_SHORT)}
_OTHERS = {_plain(title): name for name, title in OWN_TITLES.items() if name != "semantic"}
_KNOWN = {
    "cogqa": {**_EIGHT, **_OTHERS, **_table(_COGQA)},
    "cogvision": {**_EIGHT, **_OTHERS, **_table(_COGVISION)},
    "cogvsr": {**_EIGHT, **_OTHERS, **_table({**_COGQA, "semantic": ("semantic",)}, _COGVISION)},
}
