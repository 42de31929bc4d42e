"""Gaze: how much of a head's attention lies on the tokens of the object that is asked about.

Gandikota and Bau (arXiv 2606.14703): the mean of the raw mass from the last prompt row, which is not normalised on
purpose: a head that hardly looks at the image has little to say about it, wherever it looks there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import mean_of_known

if TYPE_CHECKING:
    from probes.heads.scorers.looks import HeadLook, OnBoxes
    from probes.heads.scorers.measured import MeasuredHeads
    from probes.heads.scores import HeadScores


@dataclass(frozen=True)
class Gaze:
    """The weight of the softmax over all keys that lies on the tokens of the first object, token by its share inside.

    Control: the weight on the objects of the same photo that are not asked about. A sample that knows of none, or whose
    others the model did not see, is held against the asked box at random places; `settings` count both kinds.
    """

    names = ("gaze",)
    needs = "asked box"

    def recorded(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`gaze`, what the control has, one draw of it, and 1 where that is another object."""
        own, seen = look.on("mass", "asked"), look.regions["other"].objects_seen
        if seen:
            other = look.on("mass", "other") / seen
            chance, one = other, other
        else:
            drawn = look.drawn("mass", "asked")
            chance, one = mean_of_known(drawn), drawn[0]
        kind = np.full(own.shape, float(seen > 0))
        return {"gaze": own, "gaze_other": chance, "gaze_drawn": one, "gaze_of_object": kind}

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean over samples whose object the model saw."""
        own = found.columns
        there = np.isfinite(own["gaze"]).any(axis=(1, 2))
        objects = int((own["gaze_of_object"][there, 0, 0] > 0).sum())
        told = {"another object": objects, "moved box": int(there.sum()) - objects}
        given: dict[str, Any] = {"null": own["gaze_other"], "drawn": own["gaze_drawn"]}
        return {"gaze": found.scores("gaze", own["gaze"], **given, control=told)}
