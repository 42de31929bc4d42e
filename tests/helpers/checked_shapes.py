"""While the tests run, every annotated shape of ours is held against the arrays that really come and go.

jaxtyping and beartype do the checking. jaxtyping's own import hook does not serve: it passes over, in silence, every
name that a module imports for its type checker only, and it objects to an argument before our own refusal is heard.

Not checked: what a test runs in another process; arguments left at their defaults; those given by `*` or `**`; of a
dict or a list more than one item (a tuple of named length is checked whole); what a generator yields; async
functions; fields of a NamedTuple; shapes behind a type alias.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import os
import re
import sys
from dataclasses import is_dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from beartype.door import is_bearable
from jaxtyping import jaxtyped

OURS = ("interp", "adaptvis", "probes")
SWITCH = "UNCHECKED_SHAPES"
"""Set to 1 in the environment, it turns the checks off, to time the code alone."""

_SHAPE = re.compile(r"\b(?:Shaped|Bool|Num|Real|Inexact|Float|Complex|Integer|UInt|Int)\d*\[")
_NAME = "_checked_shapes"


class WrongShape(AssertionError):
    """An array is not what the annotation says: one of the two is wrong."""


def install() -> None:
    """Check every module of ours that is imported from now on; refuses if one has been imported already."""
    if os.environ.get(SWITCH) == "1" or is_on():
        return
    early = sorted(name for name in sys.modules if name.partition(".")[0] in OURS)
    if early:
        raise RuntimeError(f"{early} was imported before its shapes could be checked: install the checks first")
    sys.meta_path.insert(0, _Finder())


def is_on() -> bool:
    """Whether modules of ours are checked as they are imported."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


class Shapes:
    """The shapes that one function or dataclass names: types from the first call on, when all of ours is imported."""

    every: dict[str, Shapes] = {}

    def __init__(self, owner: FunctionType | type, annotations: dict[str, Any]) -> None:
        self.module, self.name = owner.__module__, f"{owner.__module__}.{owner.__qualname__}"
        texts = {key: value if isinstance(value, str) else repr(value) for key, value in annotations.items()}
        self.texts = {key: text for key, text in texts.items() if _SHAPE.search(text)}
        self._annotations = annotations
        if self.texts:
            self.every[self.name] = self

    @functools.cached_property
    def types(self) -> dict[str, Any]:
        """The annotations as types; each has to be in reach of its module, if only for the type checker."""
        names = _names_in(self.module)
        found = {key: self._annotations[key] for key in self.texts}
        return {key: eval(value, names) if isinstance(value, str) else value for key, value in found.items()}

    def wrong(self, values: dict[str, Any]) -> str:
        """What is wrong with these values, within the sizes that the open context has seen; empty if nothing is."""
        for key, hint in self.types.items():
            if key in values and not _fits(values[key], hint):
                return f"{self.name}: {key} is annotated as {self.texts[key]}, but is {_show(values[key])}"
        return ""


def checked(thing: Any) -> Any:
    """The function or dataclass with its shapes checked; anything that names no shape as it is."""
    if isinstance(thing, FunctionType):
        shapes = Shapes(thing, thing.__annotations__)
        return _checked_call(thing, shapes) if shapes.texts else thing
    if is_dataclass(thing) and (shapes := Shapes(thing, vars(thing).get("__annotations__", {}))).texts:
        thing.__init__ = _checked_init(thing.__init__, shapes)
    return thing


def _checked_call(function: FunctionType, shapes: Shapes) -> Any:
    """The arguments are checked before the call, but what the function refuses itself, it may be given."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jaxtyped("context"):
            wrong = shapes.wrong({**dict(zip(names, args, strict=False)), **kwargs})
            result = function(*args, **kwargs)
            wrong = wrong or shapes.wrong({"return": result})
        if wrong:
            raise WrongShape(wrong)
        return result

    return call


def _checked_init(init: Any, shapes: Shapes) -> Any:
    """The fields are checked when the object is made, after it has turned them into what it keeps."""

    @functools.wraps(init)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        with jaxtyped("context"):
            wrong = shapes.wrong({name: getattr(self, name) for name in shapes.texts})
        if wrong:
            raise WrongShape(wrong)

    return call


class _Finder:
    """Finds our modules as Python does, and gives them to the loader below."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in OURS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Runs a module with `checked` around all its functions and classes; the compiled code is not kept on the disk."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        tree = _Decorated().visit(ast.parse(self.get_data(self.path)))
        vars(module)[_NAME] = checked
        exec(compile(tree, self.path, "exec", dont_inherit=True), vars(module))


class _Decorated(ast.NodeTransformer):
    """Around a function `checked` goes below all other decorators, around a class above them."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(self._decorator(node))
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, self._decorator(node))
        return self.generic_visit(node)

    def _decorator(self, node: ast.stmt) -> ast.expr:
        return ast.copy_location(ast.Name(_NAME, ast.Load()), node)


def _names_in(module: str) -> dict[str, Any]:
    """What a module's annotations may name: its own names, and those that it imports under TYPE_CHECKING."""
    names: dict[str, Any] = {}
    path = str(sys.modules[module].__file__)
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), path, "exec"), names)
    return names | vars(sys.modules[module])


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value is what the hint says; a number of numpy's, as its reductions give, has no axes."""
    return is_bearable(value, hint) or (isinstance(value, np.generic) and is_bearable(np.asarray(value), hint))


def _show(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return repr(value)[:80] if shape is None else f"{type(value).__name__} {value.dtype} {tuple(shape)}"
