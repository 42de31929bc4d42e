"""Head sets: (layer, head) pairs read and checked, all others, and random ones beside them as a control."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.indices import spell
from interp.numeric import plain, read_flag, whole_numbers

Head = tuple[int, int]
"""Layer and query head, both 0-based; where several heads share keys and values, each is one of its own."""

Heads = tuple[Head, ...]

SPELLED = 12
"""Sets of more heads than these are told apart by their number and a digest."""


def read_heads(given: Any) -> Heads:
    """Heads as pairs of whole numbers, in the order given.

    Raises:
        InputError: they are no pairs, there is none, or one is named twice.
    """
    how = "give (layer, head) pairs, such as [(3, 0), (5, 2)]; of a mask [layer head], numpy.argwhere(mask)"
    try:
        read = [] if isinstance(given, str) else [whole_numbers(one) for one in plain(given)]
    except TypeError:
        raise InputError(f"heads={given!r:.80} are not understood: {how}") from None
    if wrong := [one for one in read if len(one) != 2 or min(one) < 0]:
        raise InputError(f"heads={given!r:.80}: {wrong[0]} is no layer and head: {how}")
    if not read:
        raise InputError(f"heads={given!r:.80} names no head, so nothing would be edited: {how}")
    heads = tuple((layer, head) for layer, head in read)
    if twice := sorted({one for one in heads if heads.count(one) > 1}) if len(set(heads)) < len(heads) else []:
        raise InputError(f"heads name {twice[0]} twice: name each head once")
    return heads


def check_heads(heads: Sequence[Head], shape: ModelShape) -> None:
    """Refuse heads that the model does not have.

    Raises:
        HookError: there is one.
    """
    if outside := [one for one in heads if one[0] >= shape.n_layers or one[1] >= shape.n_heads]:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise HookError(
            f"head {outside[0]}{more} does not exist: this model has {shape.n_layers} layers of {shape.n_heads} query "
            "heads, both counted from 0"
        )


def by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    """For each layer, first to last, where its heads stand in the list.

    Example:
        >>> by_layer([(5, 2), (3, 1), (5, 0)])
        {3: [1], 5: [0, 2]}
    """
    order = sorted(range(len(heads)), key=lambda place: heads[place][0])
    return {layer: list(places) for layer, places in groupby(order, key=lambda place: heads[place][0])}


def all_heads(shape: ModelShape) -> Heads:
    """Every query head of a model, layer by layer.

    Args:
        shape: the model's, `vlm.cfg`.

    Example:
        >>> len(all_heads(vlm.cfg))
        1024
    """
    return tuple((layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads))


def other_heads(heads: Iterable[Head], shape: ModelShape) -> Heads:
    """Every head that is not in a set: to keep the set alone, edit these.

    Args:
        heads: (layer, head) pairs.
        shape: the model's, `vlm.cfg`.

    Example:
        >>> keep_only = ScaleHeads(other_heads(spatial, vlm.cfg), 0)

    Raises:
        HookError: a head that the model does not have.
        InputError: heads that are not understood, or all of the model's.
    """
    own = read_heads(heads)
    check_heads(own, shape)
    inside = set(own)
    if not (rest := tuple(one for one in all_heads(shape) if one not in inside)):
        raise InputError(f"the {len(own)} heads are all that this model has, so there is no other one")
    return rest


def random_heads(
    like: Iterable[Head], shape: ModelShape, seed: int | Sequence[int], *, same_layers: bool = False
) -> Heads:
    """As many heads as in a set, drawn from all others without a repeat: the control beside heads that were found.

    Args:
        like: the set that they stand beside.
        shape: the model's, `vlm.cfg`.
        seed: a seed of `numpy.random.default_rng`: a whole number from 0 on, or several.
        same_layers: whether each layer gives as many as it has in the set, so that depth is the same.

    Example:
        >>> controls = [ScaleHeads(random_heads(spatial, vlm.cfg, seed), 1e-3) for seed in range(5)]

    Raises:
        HookError: a head that the model does not have.
        InputError: heads that are not understood, fewer others than heads, or a seed that draws nothing.
    """
    own = read_heads(like)
    others = other_heads(own, shape)
    same = read_flag(same_layers, "same_layers")
    draw = _generator(plain(seed))
    groups = by_layer(own) if same else {None: range(len(own))}
    chosen: list[Head] = []
    for layer, places in groups.items():
        pool = [one for one in others if layer is None or one[0] == layer]
        if len(pool) < len(places):
            where = "" if layer is None else f" of layer {layer}"
            raise InputError(
                f"{len(places)} heads{where} are in the set, and {len(pool)} others{where} to draw from: give fewer"
                + ("" if layer is None else ", or leave out same_layers")
            )
        chosen += [pool[place] for place in draw.choice(len(pool), len(places), replace=False)]
    return tuple(sorted(chosen))


def _generator(seed: Any) -> np.random.Generator:
    """A generator that draws the same again."""
    try:
        numbers = whole_numbers(seed if isinstance(seed, list | tuple) else [seed])
        return np.random.default_rng(numbers or [-1])
    except (TypeError, ValueError):
        raise InputError(f"seed={seed!r:.60} draws nothing: give a whole number from 0 on, or several") from None


def spell_heads(heads: Sequence[Head]) -> str:
    """Heads as text; many by their number and a digest that tells sets apart.

    Example:
        >>> spell_heads([(5, 2), (3, 1), (5, 3)])
        'L3H1 L5H2-3'
    """
    ordered = sorted(heads)
    if len(ordered) > SPELLED:
        return f"{len(ordered)} heads {hashlib.sha256(repr(ordered).encode()).hexdigest()[:8]}"
    layers = groupby(ordered, key=lambda one: one[0])
    return " ".join(f"L{layer}H{spell([head for _, head in own])}" for layer, own in layers)
