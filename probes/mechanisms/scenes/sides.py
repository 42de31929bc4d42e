"""Sides: the four words for where something lies beside something else, by the axis that they are about."""

from __future__ import annotations

SIDES = {"horizontal": ("left", "right"), "vertical": ("above", "below")}
"""The two sides of each axis, in the order of the classes of a probe."""

DIRECTIONS = tuple(side for sides in SIDES.values() for side in sides)
AXIS_OF = {side: axis for axis, sides in SIDES.items() for side in sides}
OPPOSITE = {side: other for first, last in SIDES.values() for side, other in ((first, last), (last, first))}
