"""Pairs that the tiny models of every family can be asked, about photos that each of them takes."""

from dataclasses import replace

import numpy as np
from in_a_row import reversed_pair
from PIL import Image

from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from probes.mechanisms.scenes.pairs import Pair

WORDS = ("l", "r", "a")
"""Words that a byte-level tokenizer has a token for."""


def noisy_pair(number=0, *, size=(96, 96), axis="horizontal", asked="Where is it?"):
    """Two photos of noise whose two objects change places; outcomes of one letter."""
    rng = np.random.default_rng(number)
    photos = [Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)) for _ in range(2)]
    width, height = size
    if axis == "horizontal":
        ends = [(0, 0, width / 3, height), (2 * width / 3, 0, width, height)]
    else:
        ends = [(0, 0, width, height / 3), (0, 2 * height / 3, width, height)]
    things = [
        tuple(Object(name, Box(name, end)) for name, end in zip(("mug", "dog"), own, strict=True))
        for own in (ends, ends[::-1])
    ]
    samples = [
        Sample(f"pair {number}", photo, asked, WORDS, WORDS[place], own, f"side {number % 2}", f"group {number}")
        for place, (photo, own) in enumerate(zip(photos, things, strict=True))
    ]
    return Pair(samples[0], samples[1], {"clean": "l", "place": "r", "other": "a"}, axis)


def longer(pair, asked):
    """The pair with another question on its clean side."""
    return replace(pair, clean=replace(pair.clean, question=asked))


__all__ = ["WORDS", "longer", "noisy_pair", "reversed_pair"]
