"""Capture: what a cache says of the run that it was captured in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from interp.hooks.cache import Capture
from interp.hooks.rows import ROW_POINTS, QueryRows, rows_in_pass
from interp.model.record import arithmetic, loaded_by

if TYPE_CHECKING:
    from interp.intervene.base import Intervention
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs


def capture_of(
    vlm: HookedModel, kept: Iterable[str], inputs: VLMInputs, rows: QueryRows, intervention: Intervention | None
) -> Capture:
    """What a cache is of that holds these names, captured in the pass that has just ended."""
    points: list[Any] = [
        vlm.hook_dict[name] for name in kept if name.endswith(ROW_POINTS) and not name.startswith("vision.")
    ]
    positions = [point.now.offset + row for point in points[:1] for row in rows_in_pass(rows, point.now)]
    edit = {"intervention": None if intervention is None else str(intervention)}
    settings = {**loaded_by(vlm), "family": vlm.family.name, **arithmetic(vlm), **edit}
    return Capture(rows, tuple(positions), inputs.layouts, settings)
