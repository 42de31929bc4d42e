"""What position probes say: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.numeric import bounded
from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_said, percent, points, share
from interp.report.verdicts import UNCLAIMED
from interp.stats.intervals import SHARE
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.probe.result import PositionProbe

CAUTIONS = (
    "That a probe can read a place does not say that the model uses it: what happens to answers when these tokens are "
    "exchanged does.",
    "Where objects always stand in the same places of the photo, their order and where they stand are one thing. The "
    "probe of a photo of nothing says how much of it is read without any object; where that is as accurate, accuracy "
    "and strips say nothing of objects.",
    "Intervals draw the held-out groups. That other training photos would give another probe is not in them.",
    "The p-value of a strip deals whole lines of background anew. Neighbouring lines that are alike make it too small.",
    "Where the strip score is low, the place may still be there: what the probe found in the lines of objects does not "
    "carry over to other lines, and a probe trained on those might find it.",
    "Later blocks of a language model mix image tokens with those before them: a strip there may come from tokens "
    "elsewhere in the photo.",
)
SHOWN = ("accuracy", "position", "control", "selectivity", "strip", "strip_position", "strip_beyond_position")
TITLES = {
    "accuracy": "right, %",
    "position": "photo of nothing, %",
    "control": "shuffled labels, %",
    "selectivity": "selectivity, points",
    "strip": "strip score",
    "strip_position": "of a photo of nothing",
    "strip_beyond_position": "difference",
}
FORMS = {"accuracy": percent, "position": percent, "control": percent, "selectivity": points}
MANY, FEW = 6, 4
"""Up to so many sites a sentence names them all, and of more so many."""

LEVEL = 0.05

DEALT = "lines of background dealt anew"
"""The test of a strip score."""


def position_probe_findings(found: PositionProbe) -> Findings:
    """What position probes say."""
    site = main_site(found)
    figures = {
        "accuracy": Drawn(
            "Accuracy by site",
            figure_of(found.plot()),
            f"Share of the object tokens of {found.n_test} held-out photos whose place the probe finds likeliest"
            + ("; bands are intervals that draw whole groups." if bounded(found.measures["low"]) else "."),
        )
    }
    if len(found.strips()):
        figures["strip_scores"] = Drawn(
            "Strip score by site",
            figure_of(found.plot(measure="strip")),
            "How much likelier the probe finds a place over background in the lines of the object in that place than "
            "over background elsewhere.",
        )
    figures["strips"] = Drawn(
        f"What the probe says of every patch, at {site}",
        figure_of(found.plot_strips(site)[0]),
        "Trained on tokens inside boxes alone. The photo is one of those held out; colours are means over all of them.",
    )
    return Findings(
        title="Is an object's place written into image tokens, and into the background?",
        sentences=(accuracy_sentence(found), *_more(found)),
        cautions=CAUTIONS,
        tables={"probe": found.to_dataframe(), "strips": found.strips(), "probe_left_out": found.left_out},
        shown={"By site": _shown(found.measures)},
        figures=figures,
        summary={
            "axis": found.axis,
            "n_train": found.n_train,
            "n_test": found.n_test,
            "chance": found.chance,
            "site": site,
            "measures": found.measures.query("site == @site").set_index("measure")["value"].to_dict(),
            "left_out": found.left_out.to_dict("records"),
            "sentence": accuracy_sentence(found),
        },
        settings=dict(found.settings),
    )


def main_site(found: PositionProbe) -> str:
    """The site that sentences speak of: the projector, or the first that was probed."""
    return "projector" if "projector" in found.names else found.names[0]


def accuracy_sentence(found: PositionProbe) -> str:
    """What the probe reads at its main site, beside both controls, in one sentence with intervals."""
    site = main_site(found)
    told = {name: _told(found, name, site) for name in ("accuracy", "position", "control")}
    return (
        f"At {_named(site)} a linear probe of the {found.axis} place, trained on {found.n_train} photos, is right on "
        f"{told['accuracy']} of the object tokens of {found.n_test} others (chance {percent(found.chance)} %); one of "
        f"a photo of nothing, at the same places, on {told['position']}, and probes of shuffled labels on "
        f"{told['control']}."
    )


def _named(site: str) -> str:
    """A site in a sentence."""
    return "the projector" if site == "projector" else site


def _told(found: PositionProbe, measure: str, site: str) -> str:
    rows = found.measures.query("measure == @measure and site == @site")
    if not len(rows):
        return "a share that can not be told"
    ends = (float(rows.iloc[0][end]) for end in ("value", "low", "high"))
    return share(*ends, level=level_of(found.settings))


def _more(found: PositionProbe) -> list[str]:
    told, strips, site = [], found.strips(), main_site(found)
    if site in strips["site"].tolist():
        told.append(_strip_sentence(found, strips, site))
    if len(strips) > 1:
        rows = found.measures.query("measure == 'strip'").set_index("site").loc[strips["site"]]
        small, above = (strips["p_corrected"] <= LEVEL).to_numpy(), (rows["low"] > 0).to_numpy()
        holds, split = strips[small & above], int((small & ~above).sum())
        named = holds["site"].tolist() if len(holds) <= MANY else holds["site"].head(FEW).tolist()
        some = ", among them " if len(holds) > len(named) else ", " if len(holds) else ""
        told.append(
            f"Corrected for all of them ({DEALT}, maxT), and by an interval above 0, the strip score is beyond what "
            f"lines dealt anew give at {len(holds)} of {len(strips)} sites{some}{', '.join(named)}."
            f"{f' At {split} of them {UNCLAIMED}.' if split else ''}"
        )
    own = found.measures.query("measure == 'accuracy'")
    level = level_of(found.settings)
    if len(own) > 1:
        best = own.loc[own["value"].idxmax()]
        most = share(*picked_ends(best, len(own), level, bounds=SHARE), level=level)
        told.append(
            f"Of {len(own)} sites the probe is right most often at {_named(best.site)}, "
            f"{most}{shared(own['value'], best.value)}{together(len(own), best.low, ': ')}."
        )
    return told


def _strip_sentence(found: PositionProbe, strips: pd.DataFrame, site: str) -> str:
    """What the background says at a site, and whether that is more than places alone say."""
    names = ("strip", "strip_position", "strip_beyond_position")
    rows = found.measures.query("site == @site and measure in @names").set_index("measure")
    level = level_of(found.settings)
    ends = {one.Index: decimal(one.value, one.low, one.high, level=level) for one in rows.itertuples()}
    own = float(strips.set_index("site").loc[site, "p_value"])
    told = (
        f"Over background its strip score there is {ends['strip']} ({p_said(own, test=DEALT)}; "
        f"{rows.loc['strip', 'samples']} photos; 0 says nothing, 1 is a perfect strip)"
    )
    if len(ends) < len(names):
        return f"{told}; what a place says by itself can not be told."
    more = rows.loc["strip_beyond_position"]
    beyond = "more than" if more.low > 0 else "less than" if more.high < 0 else "not told from"
    return (
        f"{told}, and that of a photo of nothing {ends['strip_position']}: {beyond} what a place says by itself, the "
        f"difference is {ends['strip_beyond_position']}."
    )


def _shown(measures: pd.DataFrame) -> pd.DataFrame:
    """One row per site, a column per measure."""
    import pandas as pd

    rows = []
    for site, own in measures.groupby("site", sort=False):
        by = own.set_index("measure")
        cells = {
            TITLES[name]: FORMS.get(name, decimal)(*(float(by.loc[name, end]) for end in ("value", "low", "high")))
            if name in by.index
            else "–"
            for name in SHOWN
        }
        rows.append({"site": site, **cells})
    return pd.DataFrame(rows)
