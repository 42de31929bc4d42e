"""The page to explore, of what an analysis measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.image.boxes import Boxes
from interp.page.data import BEFORE, Exploration, FurtherMap, Run, with_head_mean
from interp.page.further import RELATIVE, further_map, relative_map
from interp.page.gather import roles_of
from interp.page.page import render_page

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

    from interp.analysis.result import Analysis
    from interp.analysis.token_maps import TokenMaps
    from interp.page.page import ExplorePage
    from interp.prompt.layout import TokenLayout


def draw_page(
    analysis: Analysis, layout: TokenLayout, sinks: Bool[np.ndarray, "layer head token"] | None, sinks_said: str
) -> ExplorePage:
    """The page to explore, of what was measured of the row behind the first answer token.

    Args:
        analysis: what was measured.
        layout: the layout of the prompt alone.
        sinks: image tokens that are sinks; None where it is not known.
        sinks_said: where they are from, or why they are not known.
    """
    found, looked = analysis.found, analysis.trajectory
    boxes = Boxes() if found is None else found.boxes
    run = Run(
        name=BEFORE,
        change="untouched",
        answer=analysis.answer,
        confidence=analysis.confidence,
        weights=with_head_mean(looked.image_attention[:, :, 0]),
        shares=with_head_mean(looked.shares[:, :, 0]),
    )
    shown = Exploration(
        image=analysis.image,
        question=analysis.question,
        layout=layout,
        grid=analysis.grid,
        boxes=boxes,
        roles=() if found is None else roles_of(boxes, found.words),
        missing=() if found is None else found.missing,
        runs=(run,),
        sinks=sinks,
        sinks_said=sinks_said,
        neutral=None,
        neutral_prompt=None,
        settings=analysis.settings,
        further=tuple(_further(maps) for maps in analysis.token_maps.values()),
    )
    return render_page(shown)


def _further(maps: TokenMaps) -> FurtherMap:
    """A map that is not raw attention, as the page has it: of the first token of the answer."""
    if maps.name == RELATIVE:
        return relative_map(maps.maps[:, :, 0], maps.weights[:, 0])
    return further_map(maps.name, maps.maps[:, :, 0], "" if maps.answer is None else maps.answer.text)
