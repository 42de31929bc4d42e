"""Overlap and pointing: how well a head's look at the image agrees with the boxes of what is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import mean_of_known, ratio
from interp.overlap.nulls import NULL_MEASURES

if TYPE_CHECKING:
    from probes.heads.scorers.looks import HeadLook, OnBoxes
    from probes.heads.scorers.measured import MeasuredHeads
    from probes.heads.scores import HeadScores


@dataclass(frozen=True)
class BoxOverlap:
    """A measure of each head's map on the boxes of all objects of the sample together.

    By chance: the same boxes at random places of the part that the model saw, their sizes kept.

    Attributes:
        measure_by: `mass`, the share of the attention on the image that lies in the boxes; `cosine`; or `auroc`. See
            `interp.overlap.measures.measure_regions`.

    Raises:
        InputError: another measure.
    """

    measure_by: str = "auroc"

    names = ("overlap",)
    needs = "boxes"

    def __post_init__(self) -> None:
        """Refuse what is no measure."""
        if self.measure_by not in NULL_MEASURES:
            raise InputError(f"measure_by={self.measure_by!r} is not known: use one of {', '.join(NULL_MEASURES)}")

    def recorded(self) -> dict[str, Any]:
        """Its options."""
        return {"measure_by": self.measure_by}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`overlap`, its mean over drawn boxes, and that of the first draw."""
        own, drawn = look.on(self.measure_by, "every"), look.drawn(self.measure_by, "every")
        if self.measure_by == "mass":
            own, drawn = ratio(own, look.kept_share), ratio(drawn, look.kept_share)
        return {"overlap": own, "overlap_moved": mean_of_known(drawn), "overlap_drawn": drawn[0]}

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean over samples whose boxes the model saw."""
        return {"overlap": _against_moved(found, "overlap", **self.recorded())}


@dataclass(frozen=True)
class BoxPointing:
    """How often the image token with most of a head's weight lies on a box of any object of the sample.

    By chance: the same boxes at random places, as of `BoxOverlap`.
    """

    names = ("pointing",)
    needs = "boxes"

    def recorded(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`pointing`, its mean over drawn boxes, and that of the first draw."""
        drawn = look.drawn("hit", "every")
        own = look.on("hit", "every")
        return {"pointing": own, "pointing_moved": mean_of_known(drawn), "pointing_drawn": drawn[0]}

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean over samples whose boxes the model saw."""
        return {"pointing": _against_moved(found, "pointing")}


def _against_moved(found: MeasuredHeads, name: str, **settings: Any) -> HeadScores:
    own = found.columns
    return found.scores(name, own[name], null=own[f"{name}_moved"], drawn=own[f"{name}_drawn"], **settings)
