"""What a study of amplification says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.numeric import agree, bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import p_said, percent, points, share
from interp.report.verdicts import UNCLAIMED, judge
from interp.stats.intervals import APART
from probes.mechanisms.amplify.figure import TITLES
from probes.mechanisms.amplify.measures import DIFFERENCE, MEASURES, RANDOM
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.amplify.study import Amplified

CAUTIONS = (
    "Net is corrected less broken, all items asked again. The paper does not ask right items again and takes the best "
    "alpha on the items that it reports, so that it can only gain: with no effect it gains, too. Its numbers stand "
    "beside.",
    "At each alpha there is an interval, and of many alphas one is soon off by chance. A gain is claimed at "
    "alphas chosen on other items alone.",
    "Random directions are as long as the probe's, but image tokens hold less of them, so that as a rule they move "
    "tokens less: `moved` in answers.csv says how far. The control is of direction and length, not of distance.",
    "A gain would say that directions of a probe matter to the answer. That there is none does not say that the model "
    "knows no places, nor that it reads none from the image tokens.",
    "With options in both orders two blind guesses are right in a quarter of the cases, and a model that always says "
    "the same side in half of them.",
)


SIGNS = "sign test over groups"
"""The test of a net gain."""

NO_FAILURE = "No item fails untouched, so that the paper's counting has nothing to count."


def amplify_findings(found: Amplified) -> Findings:
    """What a study of amplification says."""
    bands = bounded(found.measures["low"])
    caption = "Bands are intervals over groups, of random directions over seeds, too; dots" if bands else "Dots"
    return Findings(
        title="Does amplifying a probe's directions help?",
        sentences=tuple(_sentences(found)),
        cautions=CAUTIONS,
        tables={
            "amplify": found.measures,
            "held_out": found.held_out,
            "chosen": found.chosen,
            "paper": found.paper,
            "answers": found.answers,
            "left_out": found.left_out,
        },
        shown=_shown(found),
        figures={
            name: Drawn(
                TITLES[name],
                figure_of(found.plot(measure=name)),
                f"{caption}, the untouched model.",
            )
            for name in MEASURES
            if len(found.measures)
        },
        summary={
            "n": len(found.ids),
            "dropped": len(found.dropped),
            "moved": _moved(found),
            "gain": dict(found.gain),
            "held_out": found.held_out.to_dict("records"),
            "chosen": found.chosen.to_dict("records"),
            "paper": found.paper.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": next(iter(_sentences(found))),
        },
        settings=dict(found.settings),
    )


def _sentences(found: Amplified) -> list[str]:
    told = _of_gain(found) if len(found.held_out) else [_of_no_choice(found)]
    if len(found.measures):
        told.append(_of_best(found))
    told.append(_of_paper(found.paper) if len(found.paper) else NO_FAILURE)
    if found.dropped:
        gone = len(found.dropped)
        told.append(
            f"{gone} of {counted(gone + len(found.ids), 'item')} {agree(gone, 'was', 'were')} dropped, as a reply of "
            "the untouched model was on no side of the axis."
        )
    return told


def _of_gain(found: Amplified) -> list[str]:
    """What is gained at alphas chosen on other items, and beyond random directions."""
    level = level_of(found.settings)
    by = found.held_out.set_index(["source", "measure"])
    net, accuracy, random = by.loc[("probe", "net")], by.loc[("probe", "accuracy")], by.loc[(RANDOM, "net")]
    chosen = found.chosen.query("source == 'probe'")["alpha"]
    alphas = " and ".join(f"{alpha:g}" for alpha in chosen)
    claimed = "Amplification helps" if found.gain["over_untouched"] else "No gain by amplification was detected"
    if judge(net["low"], net["high"], found.gain["p"], alpha=1 - level).word == "unclaimed":
        claimed = f"Of a gain by amplification {UNCLAIMED}"
    corrected, broken = by.loc[("probe", "corrected")], by.loc[("probe", "broken")]
    first = (
        f"{claimed}: with alpha chosen on one half of the items ({alphas}) and reported on the other, "
        f"{_points(net, level)} net ({p_said(found.gain['p'], test=SIGNS)}), {_share(corrected, level)} of "
        f"{counted(len(found.ids), 'item')} corrected and {_share(broken, level)} broken; {_share(accuracy, level)} "
        f"are right in both orders then, and {_share(_untouched(found), level)} untouched."
    )
    second = f"Random directions of the same length, {counted(len(found.seeds), 'seed')}, gain {_points(random, level)}"
    if (DIFFERENCE, "net") in by.index:
        more = by.loc[(DIFFERENCE, "net")]
        verdict = "the probe's do more" if found.gain["beyond_random"] else "that the probe's do more was not detected"
        return [first, f"{second}; {verdict}: {_points(more, level)} over one more random direction."]
    return [first, f"{second}."]


def _of_no_choice(found: Amplified) -> str:
    """Why no gain can be claimed or denied."""
    why = found.left_out.query("table == 'held_out'")["why"].iloc[0]
    return (
        f"Whether amplification helps can not be told from {counted(len(found.ids), 'item')}: for alphas chosen on one "
        f"half and reported on the other, {why}."
    )


def _of_best(found: Amplified) -> str:
    """The best and the worst of the alphas, as they come out on the items that they are chosen on."""
    own = found.measures.query("axis == 'all' and source == 'probe' and measure == 'net'")
    level = level_of(found.settings)
    best, worst = (own.loc[place] for place in (own["value"].idxmax(), own["value"].idxmin()))
    if len(own) == 1:
        return f"At alpha {best['alpha']:g}, the only one, it is {_points(best, level)} net."
    most, least = (points(*picked_ends(row, len(own), level, bounds=APART), level=level) for row in (best, worst))
    told = (
        f"The best of {len(own)} alphas is {best['alpha']:g} with {most} net{shared(own['value'], best['value'])}"
        f"{together(len(own), best['low'])}. Chosen as the best of many on these very items, it is better than it "
        "would be on others"
    )
    if worst["value"] < best["value"]:
        told += f". The worst is {worst['alpha']:g} with {least}{shared(own['value'], worst['value'])}, likewise"
    return f"{told}."


def _of_paper(paper: pd.DataFrame) -> str:
    by = paper.set_index(["source", "rule"])
    probe, oracle = by.loc[("probe", "probe")], by.loc[("probe", "probe_any")]
    random = paper[paper["rule"] == RANDOM]["corrected_rate"]
    return (
        f"Counted as in the paper, {percent(probe['corrected_rate'])} % of "
        f"{counted(int(probe['failures']), 'failure')} {agree(int(probe['failures']), 'is', 'are')} corrected "
        f"at the best alpha ({probe['alpha']}) and {percent(oracle['corrected_rate'])} % at any; along "
        f"random directions {percent(random.mean())} % at the best of each: right items were not asked again."
    )


def _moved(found: Amplified) -> dict[str, float]:
    """By what part of their length image tokens move at the largest alpha, by source."""
    own = found.answers[found.answers["alpha"] == found.answers["alpha"].max()]
    return {str(name): float(value) for name, value in own.groupby("source")["moved"].mean().items()}


def _untouched(found: Amplified) -> pd.Series:
    return found.measures.query("axis == 'all' and source == 'untouched'").iloc[0]


def _points(row: pd.Series, level: float | None = None) -> str:
    return points(row["value"], row["low"], row["high"], level=level)


def _share(row: pd.Series, level: float) -> str:
    return share(row["value"], row["low"], row["high"], level=level)


def _shown(found: Amplified) -> dict[str, pd.DataFrame]:
    """The tables of the page, their numbers as text."""
    import pandas as pd

    shown = {}
    if len(found.held_out):
        rows = []
        for source, own in found.held_out.groupby("source", sort=False):
            by = own.set_index("measure")
            forms = {"accuracy": percent, "corrected": percent, "broken": percent, "net": points}
            if source.startswith(DIFFERENCE):
                forms = dict.fromkeys(MEASURES, points)
            cells = {
                TITLES[name]: form(*(float(by.loc[name, end]) for end in ("value", "low", "high")))
                if name in by.index
                else "–"
                for name, form in forms.items()
            }
            rows.append({"directions": source, **cells})
        shown["At alphas chosen on other items, %"] = pd.DataFrame(rows)
    if len(found.paper):
        shown["As the paper counts: right items not asked again"] = found.paper.assign(
            **{
                name: found.paper[name].map(percent) for name in ("corrected_rate", "accuracy_before", "accuracy_after")
            },
            gain=[_points(row.rename({"gain": "value"})) for _, row in found.paper.iterrows()],
        ).drop(columns=["low", "high", "samples"])
    return shown
