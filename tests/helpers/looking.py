"""Planted scenes as scorers of heads take them: in groups of two, with functions, and hooked planted models."""

from dataclasses import replace
from functools import cache

from interp.model.hooked_vlm import HookedVLM
from interp.planted.llava import build_planted, planted_scenes

FAST = {"prompt": "paper", "draws": 50, "progress": False}
"""Options of every scorer in a test."""


@cache
def planted_vlm(name="planted-object"):
    """A hooked planted model."""
    return HookedVLM.wrap(*build_planted(name), self_check=False)


@cache
def scenes(name="planted-object", count=24, functions=("spatial",)):
    """Scenes in groups of two, each of these functions."""
    own = planted_scenes(name, count)
    return [
        replace(scene, group=f"g{place // 2}", meta={**scene.meta, "functions": list(functions)})
        for place, scene in enumerate(own)
    ]


def ranked(values):
    """Heads from the highest score down; those without one are left out."""
    known = [
        (float(values[layer, head]), (layer, head)) for layer in range(len(values)) for head in range(len(values[0]))
    ]
    return [head for value, head in sorted(known, key=lambda one: -one[0]) if value == value]
