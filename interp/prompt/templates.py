"""The question templates and option lists of the AdaptVis protocol, and the prompts around them."""

from __future__ import annotations

from collections.abc import Sequence

OPTIONS_IN_PHOTO = ("left", "right", "top", "bottom")
OPTIONS_IN_RELATION = ("left", "right", "above", "below")
OPTIONS_CONTROLLED_A = ("left", "right", "on", "under")
OPTIONS_CONTROLLED_B = ("left", "right", "front", "behind")
SIX_OPTIONS_IN_PHOTO = ("left", "right", "front", "behind", "top", "bottom")
SIX_OPTIONS_IN_RELATION = ("left", "right", "front", "behind", "above", "below")
OPTIONS_OF_STATEMENT = ("yes", "no")

_PLURALS = ("children", "men", "people", "women")


def list_options(options: Sequence[str]) -> str:
    """Join options as the protocol does: `left, right, above or below`."""
    return ", ".join(options[:-1]) + " or " + options[-1] if len(options) > 1 else "".join(options)


def where_in_photo(name: str, options: Sequence[str] = OPTIONS_IN_PHOTO) -> str:
    """Ask where one object lies in the photo.

    Example:
        >>> where_in_photo("mug")
        'Where is the mug in the photo? Answer with left, right, top or bottom.'
    """
    return f"Where {is_or_are(name)} the {name} in the photo? Answer with {list_options(options)}."


def where_in_relation(name: str, reference: str, options: Sequence[str] = OPTIONS_IN_RELATION) -> str:
    """Ask where one object lies in relation to another.

    Example:
        >>> where_in_relation("mug", "table")
        'Where is the mug in relation to the table? Answer with left, right, above or below.'
    """
    verb = is_or_are(name)
    return f"Where {verb} the {name} in relation to the {reference}? Answer with {list_options(options)}."


def where_in_own_words(name: str, reference: str) -> str:
    """Ask where one object lies in relation to another, without options to choose from.

    Example:
        >>> where_in_own_words("car", "suitcase")
        'Where is the car in relation to suitcase? Answer with one word or phrase.'
    """
    return f"Where is the {name} in relation to {reference}? Answer with one word or phrase."


def is_it_true(statement: str) -> str:
    """Ask whether a sentence is true of the photo, in the words of the AdaptVis evaluation of VSR.

    Example:
        >>> is_it_true("The car is behind the suitcase.").partition("not. ")[2]
        'Answer with yes or no: The car is behind the suitcase.'
    """
    ask = "Determine whether the description about the spatial relationship is correct or not."
    return f"{ask} Answer with {list_options(OPTIONS_OF_STATEMENT)}: {statement}"


def paper_prompt(question: str) -> str:
    """Wrap a question as the AdaptVis evaluation does: no system prompt, one image, then the question."""
    return f"<image>\nUSER: {question}\nASSISTANT:"


def paper_statement_prompt(statement: str) -> str:
    """Wrap a true-or-false question in the layout that the AdaptVis evaluation has for VSR alone.

    The role words are in lower case, the image comes after the first of them, a space begins the line behind it, and
    the second follows on the same line.
    """
    return f"User: <image>\n {is_it_true(statement)} Assistant:"


def is_or_are(name: str) -> str:
    """The verb that goes with the name of an object: `are` for plurals such as `scissors` and `black trees`.

    Example:
        >>> is_or_are("glasses"), is_or_are("glass"), is_or_are("bottle of pickles")
        ('are', 'is', 'is')
    """
    words = name.partition(" of ")[0].split()
    head = words[-1].lower() if words else ""
    return "are" if head in _PLURALS or (head.endswith("s") and not head.endswith(("ss", "us"))) else "is"
