"""What a study of norms says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.numeric import bounded
from interp.plots.style import figure_of
from interp.report.numbers import significant
from interp.stats.intervals import Interval
from interp.stats.picked import for_all
from probes.position.token_norms import DEFINITIONS
from probes.study.extremes import shared
from probes.study.findings import OF_EXTREMES, Drawn, Findings, level_of
from probes.study.picked import together

if TYPE_CHECKING:
    import pandas as pd

    from probes.position.mean_residual_norms import MeanResidualNorms
    from probes.position.norms_study import NormsStudy

CAUTIONS = (
    "Nothing is changed here, so this can not say what lengths do to the answers. A ratio far from 1 does not show "
    "that places are lost, nor a ratio near 1 that they are used.",
    "Attention and MLP read the stream behind a norm, so that the length of a token does not reach the first block's "
    "logits at all. What a long token can drown is what blocks add to it.",
    "Tokens of one photo are alike, so intervals draw groups of samples and not tokens. They say nothing about other "
    "ways to ask.",
    "The words are those of these prompts, role words included and BOS left out. The paper's figure of input norms has "
    "words of captions with BOS among them.",
    "The paper's last depth is after the final norm, which gives every token nearly one length, so that curves bend "
    "there whatever the model does.",
)


def norms_findings(found: NormsStudy) -> Findings:
    """What a study of norms says."""
    with_it = ", with its interval" if bounded(found.residual.ratio.low) else ""
    return Findings(
        title="Are image tokens longer than words?",
        sentences=(norms_sentence(found), *_more(found)),
        cautions=(*CAUTIONS, OF_EXTREMES),
        tables={
            "norm_ratios": found.to_dataframe(),
            "residual_norms": found.norms_to_dataframe(),
            "norm_quartiles": found.quartiles(),
        },
        shown={
            "By depth": _by_depth(found.residual),
            "Tokens, as the model receives them and by the paper's definition": _tokens(found),
        },
        figures={
            "residual_norms": Drawn(
                "Norms by depth",
                figure_of(found.plot()[0]),
                f"Means over samples; the ratio is the mean of the samples' ratios{with_it}. Depth 0 is what enters "
                "the first block; rings are after the final norm.",
            ),
            "residual_norms_paper": Drawn(
                "Norms by depth, by the paper's convention",
                figure_of(found.plot(convention="paper")[0]),
                "The same, but the last depth is after the final norm, as in the paper.",
            ),
            "token_norms": Drawn(
                "Norms of image tokens and of words",
                figure_of(found.plot_tokens()[0]),
                "Tokens of all samples together. Left: what the first block receives. Right: the paper's definition, "
                "which takes words before the model scales them. Dashed: quartiles.",
            ),
        },
        summary={
            "n": found.n,
            "groups": len(set(found.sample_groups)),
            "ratio_by_depth": found.residual.ratio.estimate,
            "ratio_by_depth_paper": found.residual_paper.ratio.estimate,
            "after_final_norm": found.residual.after_final_norm,
            "median_norms": {
                name: dict(zip(own.groups, own.quartiles[:, 1], strict=True))
                for name in DEFINITIONS
                for own in [found.tokens(name)]
            },
            "sentence": norms_sentence(found),
        },
        settings=dict(found.settings),
        groups=(len(set(found.sample_groups)),),
    )


def norms_sentence(found: NormsStudy) -> str:
    """How long image tokens are beside words, in one sentence with intervals."""
    first, last = (_said(found.residual, depth) for depth in (0, -1))
    return (
        f"Image tokens are {first} times as long as words where they enter the model, and {last} times where they "
        f"leave its last block (mean of the ratios of {found.n} samples)."
    )


def _more(found: NormsStudy) -> list[str]:
    ratio = found.residual.ratio.estimate
    if not np.isfinite(ratio).any():
        return [_median(found, name) for name in DEFINITIONS]
    places = (int(np.nanargmax(ratio)), int(np.nanargmin(ratio)))
    (most, largest), (least, smallest) = ((depth, _picked(found, depth)) for depth in places)
    final, low = found.residual.normalized_ratio, float(found.residual.ratio.low[most])
    picked = together(len(ratio), low, before="each ")
    return [
        f"The ratio is largest at depth {most}, {largest}{shared(ratio, ratio[most])}, and smallest at depth {least}, "
        f"{smallest}{shared(ratio, ratio[least])} ({picked}). After the final norm, the paper's last depth, it is "
        f"{significant(final.estimate, final.low, final.high, level=final.level)}.",
        *(_median(found, name) for name in DEFINITIONS),
    ]


def _median(found: NormsStudy, definition: str) -> str:
    """The medians of one definition, in a sentence."""
    own = found.tokens(definition)
    image, text = (significant(*own.median(group), level=level_of(found.settings)) for group in ("image", "text"))
    of = {
        "received": "As the first block receives them",
        "paper": "By the paper's definition (projector's output, and rows of the embedding table)",
    }[definition]
    n_image, n_text = (int(own.tokens[own.groups.index(group)]) for group in ("image", "text"))
    return (
        f"{of}, half of the {n_image} image tokens are longer than {image}, and half of the {n_text} tokens of words "
        f"longer than {text}."
    )


def _at(residual: MeanResidualNorms, depth: int, *, level: float | None = None) -> str:
    """The ratio at one depth with its interval."""
    ratio = residual.ratio
    return significant(*(float(end[depth]) for end in (ratio.estimate, ratio.low, ratio.high)), level=level)


def _said(residual: MeanResidualNorms, depth: int) -> str:
    """The same in a sentence, with the level of the interval."""
    return _at(residual, depth, level=residual.ratio.level)


def _picked(found: NormsStudy, depth: int) -> str:
    """The same of a depth that stands out, its interval that of all depths together."""
    ratio = found.residual.ratio
    count, units = len(ratio.estimate), len(set(found.sample_groups))
    value, low, high = (float(end[depth]) for end in (ratio.estimate, ratio.low, ratio.high))
    ends = for_all(Interval(value, low, high, ratio.level), count, units=units, bounds=(0.0, np.inf))
    return significant(ends.estimate, ends.low, ends.high, level=ratio.level)


def _by_depth(residual: MeanResidualNorms) -> pd.DataFrame:
    """One row per depth: the norms and their ratio, as text."""
    import pandas as pd

    depths = range(len(residual.norms))
    rows = [
        {
            "depth": str(depth),
            "words": significant(float(residual.of("text")[depth])),
            "image": significant(float(residual.of("image")[depth])),
            "image over words": _at(residual, depth),
        }
        for depth in depths
    ]
    after, final = residual.after_final_norm, residual.normalized_ratio
    last = {"depth": "after the final norm", "words": significant(after["text"]), "image": significant(after["image"])}
    ended = significant(final.estimate, final.low, final.high)
    return pd.DataFrame([*rows, {**last, "image over words": ended}])


def _tokens(found: NormsStudy) -> pd.DataFrame:
    """One row per definition and group of positions: its quartiles, as text."""
    import pandas as pd

    rows = []
    for name in DEFINITIONS:
        own = found.tokens(name)
        for place, group in enumerate(own.groups):
            ends = zip(own.quartiles[place], own.low[place], own.high[place], strict=True)
            told = [significant(*map(float, end)) for end in ends]
            titles = ("first quartile", "median", "third quartile")
            counts = {"definition": name, "group": group, "tokens": int(own.tokens[place])}
            rows.append({**counts, **dict(zip(titles, told, strict=True))})
    return pd.DataFrame(rows)
