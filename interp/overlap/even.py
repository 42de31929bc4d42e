"""Even attention: what attention spread evenly over the tokens scores in each measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.numeric import ratio
from interp.overlap.measures import measure_regions

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.overlap.regions import Region


def even_scores(
    regions: Sequence[Region],
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "*#maps token"] | None = None,
    even_mass: float | Float[np.ndarray, "*#maps"] = 1.0,
) -> dict[str, Float[np.ndarray, "region ..."]]:
    """What attention spread evenly over the tokens scores in each measure: exact, by measuring it.

    auroc is 0.5 and lift 1; mass and hit are shares of the tokens, precision a share of their area, and cosine the root
    of a share where tokens lie wholly in or out. Even attention itself has no nss, as it does not vary; 0 is given: the
    mean of any standardised map over the whole photo, and so what a map that knows nothing of the region scores.

    Args:
        regions: the regions, as in `measure_regions`.
        grid: likewise.
        kept: likewise; attention is then spread over the tokens that take part.
        even_mass: what all tokens hold together.
    """
    shape = np.broadcast_shapes(np.shape(even_mass), () if kept is None else np.shape(kept)[:-1])
    playing = np.broadcast_to(True if kept is None else kept, (*shape, len(grid)))
    maps = ratio(playing * np.expand_dims(even_mass, -1), playing.sum(axis=-1, keepdims=True))
    found = measure_regions(maps, regions, grid, kept=playing, even_mass=even_mass)
    return found | {"nss": np.where(np.isnan(found["mass"]), np.nan, 0.0)}
