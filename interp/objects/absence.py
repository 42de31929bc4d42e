"""Absence: whether a question asks if something is there, and its right answer says that it is not."""

from __future__ import annotations

import re

from interp.objects.sample import Sample

_PICTURE = r"(?:the|this|that) (?:photo|photograph|image|picture|scene)"
_IS_THERE = re.compile(r"\b(?:is|are|was|were|isn't|aren't) there\b|\bthere(?:'s| is| are)\b")
_DO_YOU_SEE = re.compile(r"\b(?:do|can|could) (?:you|we|i) (?:see|find|spot|notice|detect)\b")
_DOES_IT_SHOW = re.compile(rf"\b(?:does|do) {_PICTURE} (?:contain|show|include|depict|feature|have|display)\b")
_IS_VISIBLE = re.compile(
    r"^(?:is|are) (?:(?!\w+ing\b|"
    r"(?:on|in|at|of|to|under|above|below|behind|near|beside|next|left|right)\b)[\w'-]+ ){1,5}"
    rf"(?:(?:visible|present|shown|depicted|pictured)(?: in {_PICTURE})?|in {_PICTURE})\s*\?*$"
)
_HOW_MANY = re.compile(r"\bhow many\b|\bwhat (?:is|was) the (?:number|count) of\b")
_DENIED = re.compile(r"\bthere (?:is |are )?no\b")
_COMPARED = re.compile(
    r"\b(?:more|fewer|less|other|others|another|else|enough|only|exactly|both|than|most|same|at least|at most|\d+|two|"
    r"three|four|five|six|seven|eight|nine|ten|several|many|much)\b"
)
_ASIDE = re.compile(r"\b(?:please )?answer\b.*|\b(?:true or false|yes or no)\b.*", re.DOTALL)


def is_absent(sample: Sample) -> bool:
    """Whether a sample's right answer says that what it asks after is not there; not where it brings a box of it."""
    return not any(item.box is not None for item in sample.objects) and says_absent(sample.question, sample.answer)


def says_absent(question: str, answer: str) -> bool:
    """Whether a question asks if something is there, or how many there are, and the right answer is no, or none.

    A question that compares or counts (`are there two`, `is there another`) is none of these: its `no` leaves open
    whether one is there. English alone is read.

    Args:
        question: the question, with or without its list of options.
        answer: the right answer.

    Example:
        >>> says_absent("Is there a dog in the image?", "no"), says_absent("How many dogs are there?", "0")
        (True, True)
        >>> says_absent("Is the dog on the sofa?", "no"), says_absent("Are there two dogs?", "no")
        (False, False)
    """
    asked = _ASIDE.sub("", question.replace("’", "'").lower()).strip(" \n\t\"'")
    said = next(iter(re.findall(r"\w+", answer.lower())), "")
    if _HOW_MANY.search(asked):
        return said in ("0", "zero", "none", "no")
    if _COMPARED.search(asked):
        return False
    if _DENIED.search(asked):
        return said in ("yes", "true", "y")
    asks = (_IS_THERE, _DO_YOU_SEE, _DOES_IT_SHOW, _IS_VISIBLE)
    return said in ("no", "false", "n", "none") and any(one.search(asked) for one in asks)
