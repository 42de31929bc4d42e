"""Pages that a template and the code write together: the data sets, and what an attention map does not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from adaptvis_page import markdown_table

from interp.datasets import BENCHMARKS

HERE = Path(__file__).resolve().parent


def render(template: str, **values: Any) -> str:
    """Fill in one of the templates in `pages`; a name that it misses is an error."""
    strict: dict[str, Any] = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    loader = jinja2.FileSystemLoader(HERE / "pages")
    environment = jinja2.Environment(loader=loader, keep_trailing_newline=True, **strict)
    environment.globals["table"] = markdown_table
    return environment.get_template(template).render(**values)


def write_datasets(path: Path) -> Path:
    """Write the page of the data sets; what its code prints is added by `page_code`."""
    path.write_text(render_datasets(), encoding="utf-8")
    return path


def render_datasets() -> str:
    """The page of the data sets, from the catalogue."""
    every = list(BENCHMARKS.values())
    overview = [
        {
            "name": f"`{one.name}`",
            "what": one.title,
            "samples": "any number" if one.synthetic else one.n or "not known",
            "answers": ", ".join(one.options) or ("each row's own" if one.kind == "choices" else "by kind of question"),
            "photos": one.photos,
        }
        for one in every
    ]
    files = [
        {
            "name": f"`{one.name}`",
            "annotations": f"`{one.annotations[0]}`",
            "photos": f"`{one.images}/`" if one.images else "in the file",
            "licence": one.licence,
        }
        for one in every
        if not one.synthetic
    ]
    return render(
        "datasets.md.jinja",
        overview=pd.DataFrame(overview),
        files=pd.DataFrame(files),
        synthetic=[one for one in every if one.synthetic],
        defective=[one for one in every if one.defects],
    )
