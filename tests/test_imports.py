"""Importing is free, names resolve when used, and the packages depend on each other in one direction."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import types

import pytest
from imported import imported_packages

import interp
from interp._lazy import export_lazily

HEAVY = {
    "torch",
    "torchvision",
    "transformers",
    "transformer_lens",
    "matplotlib",
    "ultralytics",
    "pandas",
    "pyarrow",
    "onnxruntime",
}
FORBIDDEN = {"interp": {"adaptvis", "probes"}, "adaptvis": {"probes"}, "probes": {"adaptvis"}}


def run_fresh(code: str) -> set[str]:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("package", ["interp", "adaptvis", "probes"])
def test_importing_a_package_loads_nothing_heavy(package):
    loaded = run_fresh(f"import {package}, sys; {package}.__all__; dir({package}); print(*sys.modules)")
    assert package in loaded
    assert not loaded & HEAVY


def test_simple_names_load_nothing_heavy():
    loaded = run_fresh(
        "from interp import Box, Sample, InputError, ImageGrid, load_image; import sys; print(*sys.modules)"
    )
    assert "interp.image.grid" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_in_one_direction_only(package, repo):
    sources = [*(repo / package).rglob("*.py"), *(repo / package).rglob("*.pyi")]
    assert sources
    wrong = {str(path.relative_to(repo)): imported_packages(path) & FORBIDDEN[package] for path in sources}
    assert not {path: names for path, names in wrong.items() if names}


def test_relative_imports_can_not_hide_a_dependency(repo):
    sources = [path for package in FORBIDDEN for path in (repo / package).rglob("*.py")]
    relative = [
        str(path.relative_to(repo))
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_exports_are_listed_and_an_unknown_name_is_an_attribute_error():
    assert {"HookedVLM", "analyze", "ImageGrid"} <= set(interp.__all__) <= set(dir(interp))
    with pytest.raises(AttributeError, match="no_such_name"):
        interp.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_export_resolves_to_the_object_of_its_module(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        found = getattr(module, name)
        assert not isinstance(found, types.ModuleType), f"{package}.{name} is a module"


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_export_has_the_name_of_a_module_which_would_cover_it(package):
    module = importlib.import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert modules and not modules & set(module.__all__)


def test_lazy_exports_need_a_stub(tmp_path, monkeypatch):
    empty = types.ModuleType("package_without_stub")
    empty.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "package_without_stub", empty)
    with pytest.raises(FileNotFoundError):
        export_lazily("package_without_stub")
