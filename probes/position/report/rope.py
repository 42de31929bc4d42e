"""What a study of RoPE sensitivity says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import bounded
from interp.plots.style import figure_of
from interp.report.numbers import decimal, significant
from interp.stats.intervals import APART, Interval
from interp.stats.picked import for_all
from probes.position.rope_summary import CURVES
from probes.study.extremes import shared
from probes.study.findings import OF_EXTREMES, Drawn, Findings
from probes.study.picked import together

if TYPE_CHECKING:
    import pandas as pd

    from probes.position.rope_study import RopeStudy
    from probes.position.rope_summary import RopeSummary

CAUTIONS = (
    "|delta g_V| is a mean of absolute values, which is above 0 in every model with RoPE: read it beside other layers, "
    "other models, or the same model edited, and not against 0.",
    "All of the image is moved as one, so this asks how attention depends on how far away the image stands, and not on "
    "where things are within it.",
    "Keys are moved in each layer by itself. What earlier layers would have written with the image elsewhere is not in "
    "these numbers.",
    "Where a head gives the image nearly all or nearly nothing, its attention can hardly change whatever its logits "
    "do: delta alpha_V near 0 is then saturation, and not blindness to positions.",
    "A mean over layers can hide a rise in a few of them: look at the curve.",
)
TITLES = {"abs_delta_g_v": "|delta g_V| per position", "delta_alpha_v": "delta alpha_V"}


def rope_findings(found: RopeStudy) -> Findings:
    """What a study of RoPE sensitivity says."""
    curves = [found.of(found.axes[0]).curve(name) for name in CURVES]
    bands = " Bands draw whole groups." if bounded(*(curve.low for curve in curves)) else ""
    figures = {
        "rope": Drawn(
            "By layer and by head",
            figure_of(found.plot()[0]),
            f"Image keys moved by {found.delta:g}{_along(found.axes[0])}; means over samples.{bands}",
        )
    }
    if len(found.axes) > 1:
        figures["axes"] = Drawn(
            "One axis at a time",
            figure_of(found.plot_axes()[0]),
            "Means over heads when all streams of positions are moved, and when each of them is.",
        )
    return Findings(
        title="Does attention depend on where the image stands?",
        sentences=(rope_sentence(found), *_more(found)),
        cautions=(*CAUTIONS, OF_EXTREMES),
        tables={"rope": found.to_dataframe(), "layers": found.by_layer(), "axes": found.over_all()},
        shown={"Over all layers and heads": _axes_table(found), "By layer": _layers_table(found.of(found.axes[0]))},
        figures=figures,
        summary={
            "n": found.n,
            "groups": len(set(found.sample_groups)),
            "axes": {name: _numbers(found.of(name)) for name in found.axes},
            "largest_residual": dict(found.largest_residual),
            "sentence": rope_sentence(found),
        },
        settings=dict(found.settings),
        groups=(len(set(found.sample_groups)),),
    )


def rope_sentence(found: RopeStudy) -> str:
    """What moving the image does, in one sentence with intervals."""
    own = found.of(found.axes[0])
    moved = f"by {found.delta:g} position{'' if abs(found.delta) == 1 else 's'}"
    return (
        f"Moving the image {moved}{_along(own.axis)} changes the logits of its tokens by "
        f"{_said(own.abs_delta_g_v_over_all)} per position (|delta g_V|, mean over layers and heads of "
        f"{found.n} samples), and the attention on it, {decimal(float(own.alpha_v.mean()), digits=3)}, by "
        f"{_said(own.delta_alpha_v_over_all, signed=True)}."
    )


def _more(found: RopeStudy) -> list[str]:
    own = found.of(found.axes[0])
    curve = own.abs_delta_g_v_by_layer
    signed, count = own.delta_alpha_v_by_layer, len(curve.estimate)
    most, least, moved = (int(np.argmax(by)) for by in (curve.estimate, -curve.estimate, np.abs(signed.estimate)))
    units, picked = len(set(found.sample_groups)), together(count, float(curve.low[most]), before="each ")
    largest, smallest = (
        _said(for_all(_at(curve, place), count, units=units, bounds=(0.0, np.inf))) for place in (most, least)
    )
    change = _said(for_all(_at(signed, moved), count, units=units, bounds=APART), signed=True)
    same = [shared(curve.estimate, curve.estimate[place]) for place in (most, least)]
    same.append(shared(signed.estimate, signed.estimate[moved], sizes=True))
    told = [
        f"|delta g_V| is largest in layer {most} of 0 to {count - 1}, {largest}{same[0]}, and smallest in layer "
        f"{least}, {smallest}{same[1]}; attention on the image changes most in layer {moved}, by {change}{same[2]} "
        f"({picked})."
        if picked
        else f"In the only layer |delta g_V| is {largest}, and attention on the image changes by {change}.",
        "The first-order form, alpha_V (1 - alpha_V) delta g_V delta, misses the change of attention by up to "
        f"{significant(found.largest_residual[found.axes[0]], digits=2)}, in the sample, layer and head where it is "
        "worst; with a smaller delta it misses less.",
    ]
    if len(found.axes) > 1:
        each = ", ".join(f"{_said(found.of(name).abs_delta_g_v_over_all)} along {name}" for name in found.axes[1:])
        told.append(f"One axis at a time, |delta g_V| is {each}.")
    return told


def _at(curve: Interval, layer: int) -> Interval:
    value, low, high = (float(end[layer]) for end in (curve.estimate, curve.low, curve.high))
    return Interval(value, low, high, curve.level, curve.draws)


def _told(own: Interval, *, signed: bool = False) -> str:
    """A number with its interval, as text."""
    return significant(own.estimate, own.low, own.high, signed=signed)


def _said(own: Interval, *, signed: bool = False) -> str:
    """The same in a sentence, with the level of the interval."""
    return significant(own.estimate, own.low, own.high, signed=signed, level=own.level)


def _along(axis: str) -> str:
    """Along which axis, where it is one of several."""
    return "" if axis == "all" else f" along {axis}"


def _numbers(own: RopeSummary) -> dict[str, Any]:
    """The numbers over all layers and heads, as plain data."""
    found: dict[str, Any] = {"alpha_v": float(own.alpha_v.mean())}
    for name in CURVES:
        interval: Interval = getattr(own, f"{name}_over_all")
        found[name] = {"value": interval.estimate, "low": interval.low, "high": interval.high}
        found[f"{name}_by_layer"] = own.curve(name).estimate
    return found


def _axes_table(found: RopeStudy) -> pd.DataFrame:
    """One row per axis, as text."""
    import pandas as pd

    rows = []
    for name in found.axes:
        own = found.of(name)
        told = {
            TITLES[measure]: _told(getattr(own, f"{measure}_over_all"), signed=measure == "delta_alpha_v")
            for measure in CURVES
        }
        rows.append({"moved along": name, "alpha_V": decimal(float(own.alpha_v.mean()), digits=3), **told})
    return pd.DataFrame(rows)


def _layers_table(own: RopeSummary) -> pd.DataFrame:
    """One row per layer, means over heads, as text."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "layer": layer,
                "alpha_V": decimal(float(mass), digits=3),
                **{TITLES[name]: _told(_at(own.curve(name), layer), signed=name == "delta_alpha_v") for name in CURVES},
            }
            for layer, mass in enumerate(own.alpha_v.mean(axis=1))
        ]
    )
