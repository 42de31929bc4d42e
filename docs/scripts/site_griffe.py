"""Docstrings as the API pages need them: `Example:` holds examples, and names that share a line get one each."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +\S.*)*)", re.MULTILINE)


class PlainDocstrings(griffe.Extension):
    """Rewrites each docstring when it is read; the sources stay as they are."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """A docstring with the plural heading that the parser knows, and one entry for each name of `layers, heads:`."""
    text = re.sub(r"^( *)Example:[ \t]*$", r"\1Examples:", text, flags=re.MULTILINE)
    text = text.replace("][", "]\\[")  # axes, and no link of Markdown's
    return _SHARED.sub(_one_each, text)


def _one_each(match: re.Match[str]) -> str:
    indent, names, said = match.groups()
    return "\n".join(f"{indent}{name}: {said}" for name in names.split(", "))
