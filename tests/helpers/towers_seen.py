"""How often the vision tower runs."""

from contextlib import contextmanager

from interp.hooks.towers import submodule, vision_tower
from interp.zoo.tiny import TINY

SEEING = [name for name in TINY if name != "tiny-qwen3_vl"]
"""Families that give their language model all of the photo at the projector (the other one has DeepStack)."""


@contextmanager
def tower_runs(vlm):
    """One entry for each pass through the first block of the vision tower meanwhile."""
    calls = []
    block = submodule(vlm.model, vision_tower(vlm.model, vlm.family).blocks)[0]
    note = block.register_forward_pre_hook(lambda *of_no_interest: calls.append(1))
    try:
        yield calls
    finally:
        note.remove()
