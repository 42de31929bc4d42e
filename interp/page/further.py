"""Further maps of the page to explore, made of the values of maps over the image tokens that are not raw attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.maps.gradients import ALONE, GRADCAM, GRADIENT
from interp.overlap.study.token_maps import LENS
from interp.page.data import LABELS, FurtherMap, with_head_mean

if TYPE_CHECKING:
    from jaxtyping import Float

RELATIVE = "relative"

VALUES_ARE = {
    GRADIENT: "attention times what {of}\nwould gain from more of it",
    ALONE: "what {of} would gain\nfrom attention here",
    GRADCAM: "attention times one gain\nof {of} for each head",
    LENS: "probability of {of}\nat the image token",
}
"""What the values of each map are, of a token of the answer; in figures two lines of it."""


def further_map(name: str, maps: Float[np.ndarray, "layer head token"], of: str) -> FurtherMap:
    """A map of one token of the answer, from its values: by gradients, or by the lens.

    Args:
        name: one of `VALUES_ARE`.
        maps: none negative; of `lens` with one head.
        of: what that token says.
    """
    label = "share of the whole map: " + VALUES_ARE[name].format(of=repr(of)).replace("\n", " ")
    return FurtherMap(name, label, maps.astype(np.float32) if name == LENS else with_head_mean(maps))


def relative_map(maps: Float[np.ndarray, "layer head token"], mean: Float[np.ndarray, "layer token"]) -> FurtherMap:
    """Attention over that under a neutral prompt, NaN where there is nothing; the head mean divides the means."""
    both = np.concatenate([maps, mean[:, None]], axis=1)
    return FurtherMap(RELATIVE, LABELS[RELATIVE], np.nan_to_num(both).astype(np.float32))
