"""Which packages a file imports, read from its text."""

import ast
from pathlib import Path


def imported_packages(path: Path) -> set[str]:
    """The first names of all imports, in functions too; of relative ones, none."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | origins}
