"""Notebooks as pages of the site: their text, their code, and what is stored of what they drew and printed.

The site's own fonts, colours and search apply to them, and nothing of a notebook viewer is loaded.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by the names that the page gives them.

    Raises:
        ValueError: a cell ended in an error.
    """
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            parts.append(f"```python\n{cell.source}\n```")
            parts += [_shown(out, path.stem, pictures) for out in cell.outputs]
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _shown(out: Any, stem: str, pictures: dict[str, bytes]) -> str:
    """One output: a picture, a table, or text."""
    if out.output_type == "error":
        raise ValueError(f"a cell of {stem} ended in {out.ename}: run the notebook again")
    if out.output_type == "stream":
        return _text(out.text) if out.name == "stdout" else ""
    data = out.data
    if "image/png" in data:
        name = f"{stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![Figure {len(pictures)} of the notebook]({name})"
    return _table(data["text/html"]) if "text/html" in data else _text(data.get("text/plain", ""))


def _text(said: str) -> str:
    return f"```text\n{said.rstrip()}\n```" if said.strip() else ""


def _table(html: str) -> str:
    """A pandas table without a style of its own; a block of HTML must not hold empty lines."""
    bare = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    bare = re.sub(r'<table border="1" class="dataframe">', "<table>", bare)
    return f'<div class="output">{" ".join(line.strip() for line in bare.splitlines())}</div>'
