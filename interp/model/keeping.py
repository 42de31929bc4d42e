"""Keeping: of which hook points a run keeps what they show, by which functions, and what the cache is then of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from interp.errors import HookError
from interp.hooks.cache import Capture, Keep
from interp.hooks.rows import ROW_POINTS, QueryRows, RowHook, check_fits, fits, rows_in_pass
from interp.model.stopping import last_point, reached

if TYPE_CHECKING:
    from interp.hooks.wired import WiredModel
    from interp.intervene.base import Intervention
    from interp.prompt.inputs import VLMInputs


def names_to_keep(
    vlm: WiredModel, wanted: Sequence[str] | None, rows: QueryRows, stop_at_layer: int | None
) -> list[str]:
    """The hook points that a run is to keep, none of which is behind its end.

    Args:
        vlm: the model.
        wanted: their names; None for everything that is kept without being named.
        rows: the rows of attention to keep.
        stop_at_layer: where the run ends, if it does not go on to its end.

    Raises:
        HookError: a name that the run does not reach, or vision rows that are not named.
    """
    known = list(vlm.hook_dict)
    there = known if stop_at_layer is None else reached(known, last_point(vlm, stop_at_layer))
    if wanted is None:
        return [name for name in there if fits(rows, name) and not name.endswith("hook_result")]
    for name in wanted:
        check_fits(rows, name)
    if behind := [name for name in wanted if name not in there]:
        raise HookError(f"{behind[0]} is not reached with stop_at_layer={stop_at_layer}: name points before it")
    return list(wanted)


def keeper(name: str, keep: Keep, rows: QueryRows, *, reads_only: bool = False) -> Callable[..., Any]:
    """The function that keeps what a hook point shows, of attention the rows that are asked for."""
    return RowHook(keep, rows, reads_only=reads_only) if name.endswith(ROW_POINTS) else keep


def capture_of(
    vlm: WiredModel, kept: Iterable[str], inputs: VLMInputs, *, rows: QueryRows, intervention: Intervention | None
) -> Capture:
    """What a cache of these names is of, captured in the pass that has just ended."""
    of_rows = [name for name in kept if name.endswith(ROW_POINTS) and not name.startswith("vision.")]
    points: list[Any] = [vlm.hook_dict[name] for name in of_rows[:1]]
    positions = [point.now.offset + row for point in points for row in rows_in_pass(rows, point.now)]
    settings = {"family": vlm.family.name, "intervention": None if intervention is None else str(intervention)}
    return Capture(rows, tuple(positions), inputs.layouts, {**vlm.loaded_by, **vlm.arithmetic, **settings})
