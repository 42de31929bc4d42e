"""The entry points of pyproject.toml, which an installation that was made earlier may not have yet."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

from interp.commands.spatial_lens import GROUP

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def declared():
    """Those by which `spatial-lens` finds its commands."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [EntryPoint(name, value, GROUP) for name, value in project["entry-points"][GROUP].items()]
