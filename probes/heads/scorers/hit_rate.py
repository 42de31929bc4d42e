"""Hit rate: how often a head looks at the thing that is asked about, as retrieval heads are found in texts.

A retrieval head's strongest key is the token that is said next (Wu et al., arXiv 2404.15574); here it is the image
token of the object that is asked for. A large object is easily hit, so that a hit counts by how unlikely it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.numeric import mean_of_known, ratio

if TYPE_CHECKING:
    from probes.heads.scorers.looks import HeadLook, OnBoxes
    from probes.heads.scorers.measured import MeasuredHeads
    from probes.heads.scores import HeadScores

HITS = ("top", "half")
"""What counts as a hit: the image token with most weight lies on the object, or more than half of the weight on the
image does."""


@dataclass(frozen=True)
class HitRate:
    """The mean of hit / share over samples: 1 of a head that points at random, and the more the smaller what it finds.

    The share is that of the image tokens that count as a hit; for `half`, that of the area of the box in the photo. By
    chance: the box at random places, its size kept.

    Attributes:
        by: one of `HITS`.

    Raises:
        InputError: another one.
    """

    by: str = "top"

    names = ("hit_rate",)
    needs = "asked box"

    def __post_init__(self) -> None:
        """Refuse what is no hit."""
        if self.by not in HITS:
            raise InputError(f"by={self.by!r} is not known: use one of {', '.join(HITS)}")

    def recorded(self) -> dict[str, Any]:
        """Its options."""
        return {"by": self.by}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`hit_rate` of this sample, its mean over drawn boxes, and that of the first draw."""
        drawn = np.stack([self._hits(look, f"asked {draw}") for draw in range(look.draws)])
        own = self._hits(look, "asked")
        return {"hit_rate": own, "hit_rate_moved": mean_of_known(drawn), "hit_rate_drawn": drawn[0]}

    def _hits(self, look: HeadLook, name: str) -> OnBoxes:
        if not look.regions[name].objects_seen:
            return look.nothing
        if self.by == "top":
            return ratio(look.on("hit", name), look.target_share(name))
        mass = ratio(look.on("mass", name), look.kept_share)
        return ratio(np.where(np.isnan(mass), np.nan, mass > 0.5), look.area_share(name))

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean over samples whose object the model saw."""
        own = found.columns
        given: dict[str, Any] = {"null": own["hit_rate_moved"], "drawn": own["hit_rate_drawn"], **self.recorded()}
        return {"hit_rate": found.scores("hit_rate", own["hit_rate"], **given)}
