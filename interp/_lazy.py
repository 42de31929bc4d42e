"""Lazy exports: a package's public names come from its `__init__.pyi` and are imported when first used."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def export_lazily(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make the `__getattr__`, `__dir__` and `__all__` (PEP 562) of a package from its stub.

    The stub is the only list: type checkers read it as it stands, and this function reads which module each name
    comes from. Nothing is imported until a name is asked for. No exported name may be that of a module of the package:
    Python binds a module on its package when it is loaded, and would cover the export.

    Args:
        package: the package's `__name__`; its `__init__.pyi` holds `from package.module import name as name` lines.

    Returns:
        `__getattr__`, `__dir__`, `__all__`, in this order.

    Example:
        >>> __getattr__, __dir__, __all__ = export_lazily("interp")
        >>> "HookedVLM" in __all__
        True
    """
    module = sys.modules[package]
    homes = _read_stub(Path(str(module.__file__)).with_suffix(".pyi"))

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(module), *homes})

    return __getattr__, __dir__, sorted(homes)


def _read_stub(path: Path) -> dict[str, str]:
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    imports = [statement for statement in statements if isinstance(statement, ast.ImportFrom)]
    return {alias.name: str(statement.module) for statement in imports for alias in statement.names}
