"""The annotated shapes of the code are checked while its tests run, all of them, and a lie is found."""

import importlib.util
import os
import pkgutil
import sys

import numpy as np
import pytest
from checked_shapes import SWITCH, Loader, Shapes, WrongShape

import adaptvis
import interp
import probes

PLANTED = """
from __future__ import annotations
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
import numpy as np
if TYPE_CHECKING:
    from jaxtyping import Float

def honest(x: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "col row"]:
    return x.T

def lying(x: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "row col"]:
    return x.T

def refusing(x: Float[np.ndarray, " row"]) -> float:
    raise ValueError("one row")

def lying_within(x: np.ndarray) -> np.ndarray:
    def turned(x: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "row col"]:
        return x.T
    return turned(x)

@dataclass(frozen=True)
class Pair:
    one: Float[np.ndarray, " row"]
    other: Float[np.ndarray, " row"]

    def flat(self) -> Float[np.ndarray, "one row"]:
        return self.one

    @property
    def own(self) -> Float[np.ndarray, "one row"]:
        return self.one

    @cached_property
    def kept(self) -> Float[np.ndarray, "one row"]:
        return self.one

    @classmethod
    def width(cls, x: Float[np.ndarray, " row"]) -> int:
        return len(x)

    @staticmethod
    def half(x: Float[np.ndarray, "row 2"]) -> Float[np.ndarray, " row"]:
        return x
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    path = tmp_path / "planted_shapes.py"
    path.write_text(PLANTED)
    monkeypatch.setattr(Shapes, "every", {})
    spec = importlib.util.spec_from_loader(path.stem, Loader(path.stem, str(path)))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def all_modules():
    for package in (interp, adaptvis, probes):
        yield package
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            yield importlib.import_module(found.name)


def test_a_lying_annotation_fails_and_an_honest_one_passes(planted):
    assert planted.honest(np.zeros((2, 3))).shape == (3, 2)
    with pytest.raises(WrongShape, match="lying: return is annotated as .* but is ndarray float64 .3, 2."):
        planted.lying(np.zeros((2, 3)))
    with pytest.raises(WrongShape, match="honest: x is annotated as"):
        planted.honest(x=np.zeros(2))
    with pytest.raises(WrongShape, match="turned: return is annotated as"):
        planted.lying_within(np.zeros((2, 3)))


def test_fields_methods_and_properties_are_checked(planted):
    with pytest.raises(WrongShape, match="Pair: other is annotated as"):
        planted.Pair(np.zeros(2), np.zeros(3))
    with pytest.raises(WrongShape, match=r"Pair\.width: x is annotated as"):
        planted.Pair.width(np.zeros((2, 2)))
    with pytest.raises(WrongShape, match=r"Pair\.half: return is annotated as"):
        planted.Pair.half(np.zeros((2, 2)))
    pair = planted.Pair(np.zeros(2), np.zeros(2))
    for lie in (lambda: pair.flat(), lambda: pair.own, lambda: pair.kept):
        with pytest.raises(WrongShape, match="return is annotated as"):
            lie()


def test_what_a_function_refuses_itself_it_may_be_given(planted):
    with pytest.raises(ValueError, match="one row"):
        planted.refusing(np.zeros((2, 2)))


@pytest.mark.skipif(os.environ.get(SWITCH) == "1", reason=f"{SWITCH}=1 turns the checks off")
def test_every_module_is_checked_and_every_annotation_is_in_reach():
    assert [module.__name__ for module in all_modules() if not isinstance(module.__loader__, Loader)] == []
    assert len(Shapes.every) > 200
    for shapes in Shapes.every.values():
        assert shapes.types
