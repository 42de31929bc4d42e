"""Equations of the docs, written as GitHub reads them, turned into MathML when the site is built.

Browsers draw MathML by themselves, so that a page needs no script for it and nothing from the network.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

INLINE = r"\$`([^`]+)`\$"
BEFORE_CODE = 195  # inline code has 190, and would take the backticks


class Equations(Extension):
    """Reads ``$`a + b`$`` in a line; `fence` reads a block between three backticks and the word math."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Add the inline pattern."""
        md.inlinePatterns.register(_Inline(INLINE, md), "equation", BEFORE_CODE)


class _Inline(InlineProcessor):
    def handleMatch(self, m: Any, data: str) -> tuple[Element | str, int, int]:  # type: ignore[override]  # noqa: N802
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


def fence(source: str, language: str, class_name: str, options: Any, md: Markdown, **kwargs: Any) -> str:
    """A block of mathematics, for the superfences extension."""
    return f'<div class="math">{convert(" ".join(source.split()), display="block")}</div>'
