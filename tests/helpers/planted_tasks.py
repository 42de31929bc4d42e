"""Planted models with two tasks: where a square lies, and what colour it has, by a head of its own."""

from dataclasses import replace
from functools import cache

import torch

from interp.model.hooked_vlm import HookedVLM
from interp.planted.llava import _PLACES, FETCH_HEAD, OBJECT_HEAD, build_planted, planted_scenes
from interp.planted.parts import D_HEAD, N_HEADS, SCALE, STRENGTH, Part, look_at_bos, set_head

SPATIAL = (OBJECT_HEAD, FETCH_HEAD)
"""The heads that answer where a square lies, the one that looks at it first."""

COLOUR_HEAD = (3, 1)
"""The last row looks at the word "color", and answers "red", whatever is asked."""


JUNK = "Describe"
"""What the fragile model says once any head is gone."""

_OWN = {**_PLACES, "color_asked": len(_PLACES), "alive": len(_PLACES) + 1}
"""The places of the residual stream, with two that no planted part uses."""


@cache
def two_tasks(name="planted-object"):
    """A planted model, which says "red" as well where it is asked for a color. Its answers have one token."""
    return HookedVLM.wrap(*_built(name), self_check=False)


@cache
def fragile():
    """The same model, in which every head says that it is there; where one does not, all answers are `JUNK`."""
    model, processor = _built("planted-object")
    layers, junk = model.model.language_model.layers, processor.tokenizer.convert_tokens_to_ids(JUNK)
    with torch.no_grad():
        for layer in layers:
            for head in range(N_HEADS):
                row = (head + 1) * D_HEAD - 1
                layer.self_attn.v_proj.weight[row, _OWN["one"]] = 1 / SCALE
                layer.self_attn.o_proj.weight[_OWN["alive"], row] = 1.0
        unembed = model.get_output_embeddings().weight
        unembed[junk] = 0.0
        unembed[junk, _OWN["one"]] = 100.0 * (N_HEADS * len(layers) - 0.5) / SCALE
        unembed[junk, _OWN["alive"]] = -100.0
    return HookedVLM.wrap(model, processor, self_check=False)


def _built(name):
    model, processor = build_planted(name)
    words = processor.tokenizer
    embed, unembed = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    asked, red = (words.convert_tokens_to_ids(word) for word in ("color", "red"))
    with torch.no_grad():
        embed[asked, _OWN["color_asked"]] = 1.0
        unembed[red] = 0.0
        unembed[red, _OWN["one"]] = -5.0 / SCALE
        unembed[red, _OWN["hash"]] = 10.0
        looks = (("last", "color_asked", STRENGTH), *look_at_bos(0.5))
        set_head(model, Part(COLOUR_HEAD, looks, (("color_asked", "hash", 1.0),)), _OWN)
    return model, processor


def where(count, *, seed=0, name="where"):
    """As many scenes of each answer, asked where the square lies."""
    drawn = planted_scenes("planted-object", 8 * count, seed=seed)
    sides = {side: [one for one in drawn if one.answer == side][: count // 2] for side in ("left", "right")}
    both = [one for pair in zip(sides["left"], sides["right"], strict=True) for one in pair]
    return [replace(one, id=f"{name}-{place}") for place, one in enumerate(both)]


def colours(count, *, seed=5):
    """Scenes that are asked for a colour, which is always red."""
    question = "What color is the square? Answer with red or green."
    return [
        replace(one, id=f"colour-{place}", question=question, options=("red", "green"), answer="red", relation="red")
        for place, one in enumerate(planted_scenes("planted-object", count, seed=seed))
    ]


def apart(train, samples):
    """Those training samples that ask something of their photos that no sample asks of the same one."""
    tested = {(one.question, one.image.tobytes()) for one in samples}
    return [one for one in train if (one.question, one.image.tobytes()) not in tested]
