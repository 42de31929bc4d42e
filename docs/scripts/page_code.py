"""Run the code that stands on the pages of the docs and write what it prints below it: no output is typed by hand."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import chdir, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DOCS = Path(__file__).resolve().parent.parent
OWN_SCRIPT = ("adaptvis.md",)
"""Pages whose script writes all of them, and whose code is tested with it."""

TITLE = "It prints"
_BLOCK = re.compile(
    rf'^```python\n(?P<code>.*?)^```\n(?:\n```text title="{TITLE}"\n.*?^```\n)?', re.MULTILINE | re.DOTALL
)


def pages_with_code() -> list[Path]:
    """The pages whose code is run."""
    pages = [path for path in sorted(DOCS.glob("**/*.md")) if path.name not in OWN_SCRIPT]
    return [path for path in pages if _BLOCK.search(path.read_text(encoding="utf-8"))]


def run_page(path: Path, folder: Path) -> str:
    """Run a page from top to bottom, its blocks in one namespace, in a folder that keeps the files that they write.

    Returns:
        The page, with what each block printed below it.

    Raises:
        FileNotFoundError: the page shows a picture that its code did not draw.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0

    def again(block: re.Match[str]) -> str:
        nonlocal count
        count += 1
        said = _run(block["code"], names, f"{path.name}, block {count}")
        return f"```python\n{block['code']}```\n" + (f'\n```text title="{TITLE}"\n{said}```\n' if said else "")

    with chdir(folder):
        text = _BLOCK.sub(again, path.read_text(encoding="utf-8"))
    missing = [name for name in pictures(path, text) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{path.name} shows {', '.join(missing)}, which its code did not draw")
    return text


def bare(text: str) -> str:
    """A page without its outputs: what was written by hand."""
    return _BLOCK.sub(lambda block: f"```python\n{block['code']}```\n", text)


def pictures(path: Path, text: str) -> list[str]:
    """Names of the pictures, and pages, that a page shows of its own code: those in `images/NAME OF THE PAGE/`."""
    return re.findall(rf"\(images/{re.escape(path.stem)}/([\w-]+\.(?:png|html))\)", text)


def write_page(path: Path) -> Path:
    """Run a page, and keep its outputs in it and its pictures beside the others."""
    with TemporaryDirectory(prefix="page-") as place:
        text = run_page(path, Path(place))
        own = DOCS / "images" / path.stem
        for name in pictures(path, text):
            own.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(place) / name, own / name)
    path.write_text(text, encoding="utf-8")
    return path


def _run(code: str, names: dict[str, Any], where: str) -> str:
    """Run one block; what it printed, every line without spaces at its end."""
    heard = io.StringIO()
    with redirect_stdout(heard):
        exec(compile(code, where, "exec"), names)
    lines = [line.rstrip() for line in heard.getvalue().strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)
