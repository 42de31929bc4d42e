"""Strips: whether a probe of objects says, over background, which column or row it is in; and what chance would say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import einsum
from jaxtyping import Float, Int

from interp.errors import InputError
from interp.stats.shuffles import p_of_draws
from probes.mechanisms.tokens.object_tokens import ObjectTokens

DEALS = 999
"""How often the lines of the background are dealt anew."""


def strip_chance(
    probabilities: Float[np.ndarray, "sample site token class"],
    tokens: Sequence[ObjectTokens],
    *,
    deals: int = DEALS,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " site"], Float[np.ndarray, " site"], Float[np.ndarray, " site"]]:
    """The mean strip score of each site, and how often it would be as large if lines were dealt anew.

    A score can be far from 0 in every photo and mean nothing: where a tower adds to each place something of its own,
    the same in all photos, the probe is right about the places that it was trained on, and says whatever it says of the
    others. So whole columns (or rows) of background are dealt anew among the places of columns, the same in all photos,
    while the strips stay; p-values count the deals with a score at least as large, see `p_of_draws`. Where neighbouring
    columns are alike, dealing them is not all that chance could do: the p-value is then too small.

    Args:
        probabilities: of each class, over the background and the objects.
        tokens: the geometry of each sample; those whose strips can not be told have no weight.
        deals: how often.
        seed: the seed of the deals.

    Returns:
        Scores, p-values, and p-values corrected for all sites, [site] each.
    """
    lines = max(int(own.lines.max()) + 1 for own in tokens)
    sums, counts, strips = _by_line(probabilities, tokens, lines)
    rng = np.random.default_rng(seed)
    orders = np.stack([np.arange(lines), *(rng.permutation(lines) for _ in range(deals))])
    scores = np.stack([_scores(sums[:, site], counts, strips, orders) for site in range(sums.shape[1])], axis=1)
    return scores[0], *p_of_draws(scores)


def _by_line(
    probabilities: Float[np.ndarray, "sample site token k"], tokens: Sequence[ObjectTokens], lines: int
) -> tuple[
    Float[np.ndarray, "sample site line k"], Float[np.ndarray, "sample line"], Float[np.ndarray, "sample k line"]
]:
    """Sums of probabilities over the background of each line, how many tokens that is, and the strips."""
    if len(probabilities) != len(tokens):
        raise InputError(f"{len(probabilities)} maps for {len(tokens)} samples: give one for each")
    members = np.stack([(own.lines[:, None] == np.arange(lines)) & own.background[:, None] for own in tokens])
    members, strips = members.astype(np.float64), np.stack([own.strips for own in tokens]).astype(np.float64)
    sums = einsum(
        probabilities.astype(np.float64),
        members,
        "sample site token k, sample token line -> sample site line k",
    )
    return sums, members.sum(axis=1), strips


def _scores(
    sums: Float[np.ndarray, "sample line k"],
    counts: Float[np.ndarray, "sample line"],
    strips: Float[np.ndarray, "sample k line"],
    orders: Int[np.ndarray, "deal line"],
) -> Float[np.ndarray, " deal"]:
    """Mean strip score in each order of the lines; a class without background on both sides of its edge has no part."""
    dealt, there = sums[:, orders], counts[:, orders]
    sides = []
    for own in (strips, 1 - strips):
        above = einsum(dealt, own, "sample deal line k, sample k line -> deal sample k")
        below = einsum(there, own, "sample deal line, sample k line -> deal sample k")
        sides.append(np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0))
    each = sides[0] - sides[1]
    known = np.isfinite(each)
    return np.where(known, each, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
