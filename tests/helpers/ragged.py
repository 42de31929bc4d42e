"""Tiny models of every layout of pixels, and a ragged batch about photos of several shapes."""

from tiny import photo

from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY

LAYOUTS = ("llava", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl", "gemma3", "paligemma2", "pixtral", "llava_next")
"""Tiny models of every layout of pixels."""

QUESTIONS = ("Where is the mug?", "Where is the red mug in relation to the table?", "Is it on the left?")
SIZES = ((80, 60), (60, 150), (200, 60))


def loaded(name, samples=3):
    """A tiny model and a ragged batch about photos of several shapes."""
    vlm = HookedVLM.from_pretrained(name if name in TINY else f"tiny-{name}", self_check=False)
    return vlm, ragged(vlm, range(samples))


def ragged(vlm, places):
    return vlm.prepare(
        [photo(place, SIZES[place]) for place in places], [QUESTIONS[place] for place in places], prompt="paper"
    )


def frames(vlm):
    return getattr(vlm.model.config.vision_config, "temporal_patch_size", 1)
