"""What mkdocs has to be told: equations, pages made of files outside of docs, and the links to these."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from site_math import Equations, fence  # noqa: E402
from site_notebooks import notebook_page  # noqa: E402

ROOT = HERE.parent.parent
CARDS = {
    "embedded/shapes-vlm.md": "interp/zoo/vlm/weights/README.md",
    "embedded/shapes-detector.md": "interp/zoo/yolo/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "citing.md": "CITATION.cff",
}
"""Pages that are a file of the repository, as it is."""

CITING = """# How to cite

Cite this package, and the papers whose methods you use: the file `CITATION.cff` of the repository has both.

```yaml
{text}```
"""

LINK = re.compile(r"\]\((?P<path>[^()#\s:]+)(?P<anchor>#[^()\s]*)?\)")


def on_config(config: Any) -> Any:
    """Let Markdown read equations."""
    config.markdown_extensions.append(Equations())
    block = {"name": "math", "class": "math", "format": fence}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [block]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the notebooks, with their pictures, and the pages that are files of the repository."""
    for uri, source in sources().items():
        path = ROOT / source
        pictures: dict[str, bytes] = {}
        if path.suffix == ".ipynb":
            text, pictures = notebook_page(path)
        else:
            text = path.read_text(encoding="utf-8")
            text = CITING.format(text=text) if path.suffix == ".cff" else text
        files.append(File.generated(config, uri, content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"{os.path.dirname(uri)}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links to files of the repository into links to the pages that are made of them."""
    uri = page.file.src_uri
    origin = sources().get(uri, f"docs/{uri}")
    return LINK.sub(lambda link: site_link(link, origin, uri), markdown)


def sources() -> dict[str, str]:
    """The file of the repository that each page outside of docs is made of, by page."""
    notebooks = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    return {**CARDS, **{f"notebooks/{name.removesuffix('.ipynb')}.md": f"notebooks/{name}" for name in notebooks}}


def site_link(link: re.Match[str], origin: str, uri: str) -> str:
    """A link of the file `origin`, as the page `uri` has to write it; as it is where it needs no change."""
    target = os.path.normpath(os.path.join(os.path.dirname(origin), link["path"]))
    pages = {source: page for page, source in sources().items()}
    wanted = pages.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
    if wanted is None or (origin.startswith("docs/") and target.startswith("docs/")):
        return link[0]
    return f"]({os.path.relpath(wanted, os.path.dirname(uri) or '.')}{link['anchor'] or ''})"


def on_post_build(config: Any) -> None:
    """Write the search index as a script as well, which pages that are opened as files can load."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    if index.is_file():
        script = f"var __index = {index.read_text(encoding='utf-8')}"
        index.with_suffix(".js").write_text(script, encoding="utf-8")
