"""Pages with measured blocks: their blocks, and the script that writes them."""

import importlib
import re
import sys
from contextlib import contextmanager

import pytest


def block(page, name):
    """What stands between the marks of a block."""
    (found,) = re.findall(rf"<!-- measured: {name} -->\n(.*?)<!-- end: {name} -->", page, re.DOTALL)
    return found.strip()


@contextmanager
def script(repo, name):
    """A script of the docs as a module, with its neighbours at hand meanwhile."""
    pytest.importorskip("jinja2")
    sys.path.insert(0, str(repo / "docs" / "scripts"))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(repo / "docs" / "scripts"))


def check_marks(page):
    """Every mark has its end, and something between."""
    names = re.findall(r"<!-- measured: (.+) -->", page)
    assert len(names) == len(set(names)) > 10 and names == re.findall(r"<!-- end: (.+) -->", page)
    assert not [name for name in names if not block(page, name)]
