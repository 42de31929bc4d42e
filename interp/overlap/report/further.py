"""What an overlap study's report says of further maps: through the vision tower, by gradients, and by the lens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.maps.gradients import ALONE, GRADCAM, GRADIENT
from interp.overlap.report.sentences import association_says, by_interval, ended, nulls_say
from interp.overlap.study.token_maps import LENS
from interp.overlap.study.vision import TWO_STAGE, VISION
from interp.report.numbers import p_value
from interp.report.page import Section

if TYPE_CHECKING:
    import pandas as pd

    from interp.overlap.study.examine import OverlapAnalysis
    from interp.overlap.study.result import OverlapStudy

_NULLS_BY_LAYER = 2  # beside each layer, as a page has room for no more; above_nulls.csv has them all

_FURTHER = {
    TWO_STAGE: (
        "The rows seen through the vision tower",
        "The same rows, over the patches of the photo that fed each image token, by attention roll-out through "
        "{through} blocks of the vision tower. Roll-out follows attention alone and knows nothing of values and MLPs: "
        "a map through it is a hypothesis. Layers are the language model's.",
    ),
    VISION: (
        "Where the vision tower looks",
        "The attention of the patches that image tokens are made of, in the {blocks} blocks of the tower before what "
        "the language model receives. It is the same whatever is asked, so it can go with right answers only by what "
        "the photos are like. Layers are the vision tower's, of {n_layers}; the paper names none of them.",
    ),
    GRADIENT: (
        "Attention times its gradient",
        "The rows, each weight times what the log-probability of the model's first token would gain from more of it; "
        "weights that would lower it count as none. Where attention lies on an object and this map does not, the "
        "object is looked at and not used for that token.",
    ),
    ALONE: (
        "The gradient alone",
        "What the log-probability of the model's first token would gain from attention, whether there is any or not.",
    ),
    GRADCAM: (
        "Attention of the heads that gain",
        "The rows, each head times one number: the mean over the image of what the log-probability of the model's "
        "first token would gain. A head that gains on one side as much as it loses on the other counts as none.",
    ),
    LENS: (
        "What image tokens decode to",
        "How probable the model's first token is at each image token, by the model's own unembedding. It says what is "
        "written there and not whether it is read.",
    ),
}
"""What the sections of further maps are called, and what their maps are."""


def sections_of_further_maps(study: OverlapStudy, analysis: OverlapAnalysis) -> list[Section]:
    """What other maps say, each by its own layers."""
    found = []
    for maps, own in analysis.further.items():
        title, text = _FURTHER[maps]
        seen = study.of(maps)
        sentences = (
            text.format(through=seen.settings.get("through"), blocks=len(seen.layers), n_layers=seen.n_layers),
            f"Measured is the {own.measure} with the region '{own.region}', in the normalisation "
            f"'{own.normalisation}', and against nulls the {own.above_measure}{by_interval(own.above)}",
            *nulls_say(seen, own, ()),
            association_says(own.pooled, "over all pairs", own.measure),
            association_says(own.within, "inside relations", own.measure),
        )
        found.append(Section(title, sentences, table=_by_layer(own, seen.layers)))
    return found


def _by_layer(analysis: OverlapAnalysis, layers: Sequence[int]) -> pd.DataFrame:
    """The head mean by layer: how far above the first nulls, and whether it goes with right answers."""
    import pandas as pd

    within, rows = analysis.within, []
    for layer in layers:
        gains = {
            f"{analysis.above_measure} above {null}": (gain.estimate[layer], gain.low[layer], gain.high[layer])
            for null, gain in list(analysis.above.items())[:_NULLS_BY_LAYER]
        }
        rows.append(
            {"layer": str(layer)}
            | {name: ended(*ends, signed=True) for name, ends in gains.items()}
            | {
                "AUROC inside relations": ended(
                    *(getattr(within, name)[layer, -1] for name in ("auroc", "low_all", "high_all"))
                )
            }
            | {"corrected p": p_value(within.p_max[layer, -1])}
        )
    return pd.DataFrame(rows)
