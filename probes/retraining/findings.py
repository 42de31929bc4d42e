"""Findings: a comparison's table and sentences, every number and every judgement computed from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.stats.intervals import Interval, students_t
from probes.retraining.comparison import BOTH, SEEDS, ArmComparison
from probes.retraining.figure import PLACES

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5
"""An accuracy that is clearly above chance, 25 %, and clearly below what is reached in the end."""

EARLY = (0, 1)
"""Layers that are told of one by one: the paper sees the rise in the first of its layers."""


@dataclass(frozen=True)
class Line:
    """One measure that is told of, and how: its part, its words, and how its numbers are written."""

    measure: str
    part: str
    words: str
    form: str = "{:.3f}"
    signed: str = "{:+.3f}"
    percent: bool = False

    def write(self, value: float, *, difference: bool = False) -> str:
        """A value, or a difference of two."""
        shown = 100 * value if self.percent else value
        return (self.signed if difference else self.form).format(shown)


def _share(measure: str, part: str, words: str) -> Line:
    return Line(measure, part, words, "{:.1f}", "{:+.1f}", percent=True)


def lines_of(found: ArmComparison) -> list[Line]:
    """What is told of a comparison, where it is there."""
    depth = max((int(part.split()[1]) for part in _parts(found, "ratio")), default=0)
    wanted = [_share("accuracy", kind, f"accuracy, {kind} (%)") for kind in ("relation", "photo", "color", "shape")]
    for kind in PLACES:
        wanted += [_share("psi", kind, f"PSI, {kind} (%)")]
        wanted += [_share("psi_corrected", kind, f"PSI against chance, {kind} (%)")]
    wanted += [
        Line("abs_delta_g_v", "all layers", "RoPE sensitivity, mean abs delta g_V", "{:.4f}", "{:+.4f}"),
        *(
            Line(
                "abs_delta_g_v",
                f"layer {layer}",
                f"RoPE sensitivity in layer {layer}, abs delta g_V",
                "{:.4f}",
                "{:+.4f}",
            )
            for layer in EARLY
        ),
        Line("delta_alpha_v", "all layers", "RoPE sensitivity, mean delta alpha_V", "{:.5f}", "{:+.5f}"),
    ]
    wanted += [
        Line("ratio", f"depth {at}", f"image over words, depth {at} of {depth}", "{:.2f}", "{:+.2f}")
        for at in sorted({0, depth // 2, depth})
    ]
    return [line for line in wanted if line.part in _parts(found, line.measure)]


def table_text(found: ArmComparison) -> str:
    """A Markdown table: each arm with its interval, and each difference with both."""
    pairs = [(arm, against) for place, arm in enumerate(found.arms) for against in found.arms[:place]]
    heads = ["measure", *found.arms, *(f"{arm} - {against}" for arm, against in pairs)]
    rows = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for line in lines_of(found):
        own = [_with_ends(line, found.value(arm, line.measure, line.part)) for arm in found.arms]
        for arm, against in pairs:
            cell = _with_ends(line, _difference(found, line, arm, against, BOTH), difference=True)
            if found.seeds > 1:
                student = _difference(found, line, arm, against, SEEDS)
                low, high = (line.write(end, difference=True) for end in (student.low, student.high))
                cell += f"; t {low} to {high}"
            own.append(cell)
        rows.append(f"| {' | '.join([line.words, *own])} |")
    return "\n".join(rows)


def summary_of(found: ArmComparison) -> dict[str, Any]:
    """What `summary.json` says: the sentences, and the differences that the table tells of."""
    own = found.measures
    told = {(line.measure, line.part) for line in lines_of(found)}
    kept = np.array([place in told for place in zip(own["measure"], own["part"], strict=True)])
    rows = own[kept & (own["what"] != "model").to_numpy()].drop(columns=["what", "seed"])
    left_out = found.left_out.to_dict("records")
    return {"findings": sentences(found), "numbers": rows.to_dict("records"), "left_out": left_out}


def sentences(found: ArmComparison) -> list[str]:
    """What the comparison says, and what it leaves open."""
    return [*_training(found), *_when(found), *_learned(found), *_told_apart(found), *_left_out(found)]


def verdict(found: ArmComparison, line: Line, arm: str, against: str) -> str:
    """Whether two arms are told apart: `higher`, `lower`, `unsure` or `alike`.

    `higher` and `lower`: both intervals lie on one side of zero. `unsure`: only one of them. `alike`: none, which says
    that no difference was shown, and not that there is none.
    """
    sides = {_side(_difference(found, line, arm, against, interval)) for interval in _intervals(found)}
    if sides == {1}:
        return "higher"
    if sides == {-1}:
        return "lower"
    return "alike" if sides == {0} else "unsure"


def final_losses(found: ArmComparison, measure: str = "answer") -> pd.DataFrame:
    """The mean of one loss over the last steps of training that were written down: a row per arm and seed."""
    own = found.training[found.training["measure"] == measure]
    return own[own["step"] == own["step"].max()]


def _training(found: ArmComparison) -> Iterator[str]:
    """Whether the arms ended training alike, and whether they were still learning."""
    last = final_losses(found)
    if last.empty:
        return
    by_arm = {arm: last[last["arm"] == arm].sort_values("seed")["value"].to_numpy(float) for arm in found.arms}
    told = ", ".join(f"{arm} {_range(values)}" for arm, values in by_arm.items())
    sentence = f"Loss of the answers at the end of training (nats, mean and range over seeds): {told}."
    first = found.arms[0]
    for arm in found.arms[1:]:
        if found.seeds > 1:
            apart = students_t(by_arm[arm] - by_arm[first])
            ends = f"{apart.estimate:+.3f} (t {apart.low:+.3f} to {apart.high:+.3f})"
            alike = "no difference shown" if _side(apart) == 0 else "not the same"
            sentence += f" {arm.capitalize()} - {first}: {ends}: {alike}."
    yield sentence
    steps = sorted(found.training["step"].unique())
    if len(steps) > 1 and "right_relation" in set(found.training["measure"]):
        watched = found.training[found.training["measure"] == "right_relation"]
        parts = []
        for arm in found.arms:
            before, after = (
                watched[(watched["arm"] == arm) & (watched["step"] == step)]["value"].mean() for step in steps[-2:]
            )
            parts.append(f"{arm} {100 * before:.0f} to {100 * after:.0f} %")
        yield (
            f"On validation scenes, relation questions went from step {steps[-2]} to step {steps[-1]}, the last, as "
            f"follows: {', '.join(parts)}; the rates fall to zero at the end, so that standing still there is no proof "
            "of having learned all that more steps would give."
        )


def _when(found: ArmComparison) -> Iterator[str]:
    """When each run first answered half of the relation questions of validation scenes."""
    watched = found.training[found.training["measure"] == "right_relation"]
    if watched.empty:
        return
    parts = []
    for arm in found.arms:
        runs = [run for _, run in watched[watched["arm"] == arm].groupby("seed")]
        steps = [
            str(run[run["value"] >= HALF]["step"].min()) if (run["value"] >= HALF).any() else "never" for run in runs
        ]
        parts.append(f"{arm} {', '.join(steps)}")
    yield (
        f"Step at which a run was first seen to answer {HALF:.0%} of the relation questions of validation scenes, by "
        f"seed: {'; '.join(parts)}."
    )


def _learned(found: ArmComparison) -> Iterator[str]:
    """Whether relation questions were learned at all, by arm."""
    if "relation" not in _parts(found, "accuracy"):
        return
    own = found.measures.query("what == 'model' and measure == 'accuracy' and part == 'relation'")
    failed = [f"{row.arm} of seed {row.seed}" for row in own.itertuples() if row.low <= 0.25]
    yield (
        f"{len(own) - len(failed)} of {len(own)} models answer relation questions above chance (25 %)"
        + (f"; not {', '.join(failed)}." if failed else ".")
    )


def _told_apart(found: ArmComparison) -> Iterator[str]:
    """What is told apart of each pair of arms."""
    for place, arm in enumerate(found.arms):
        for against in found.arms[:place]:
            said: dict[str, list[str]] = {}
            for line in lines_of(found):
                said.setdefault(verdict(found, line, arm, against), []).append(line.words.replace(" (%)", ""))
            parts = [f"{word} in {'; '.join(said[word])}" for word in ("higher", "lower") if word in said]
            sentence = f"{arm.capitalize()} beside {against}: {' and '.join(parts) or 'nothing is clearly apart'}."
            if "unsure" in said:
                sentence += f" Only one of both intervals leaves out zero in {'; '.join(said['unsure'])}."
            if "alike" in said:
                sentence += f" No difference is shown in {'; '.join(said['alike'])}."
            yield sentence
            first = lines_of(found)[0]
            if first.measure == "accuracy" and verdict(found, first, arm, against) != "alike":
                yield (
                    f"{arm.capitalize()} and {against} have hardly learned {first.part} questions alike in this "
                    "budget: their indices of order, RoPE sensitivity and lengths compare models of unequal skill, and "
                    "not projectors alone."
                )


def _left_out(found: ArmComparison) -> Iterator[str]:
    for row in found.left_out.itertuples():
        yield f"There is no {row.measure} of {row.part}: {row.why}."


def _intervals(found: ArmComparison) -> tuple[str, ...]:
    return (BOTH, SEEDS) if found.seeds > 1 else (BOTH,)


def _difference(found: ArmComparison, line: Line, arm: str, against: str, interval: str) -> Interval:
    return found.value(arm, line.measure, line.part, against=against, interval=interval)


def _side(interval: Interval) -> int:
    """On which side of zero an interval lies; 0 where it holds zero."""
    return int(interval.low > 0) - int(interval.high < 0)


def _with_ends(line: Line, interval: Interval, *, difference: bool = False) -> str:
    value, low, high = (line.write(x, difference=difference) for x in (interval.estimate, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _range(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def _parts(found: ArmComparison, measure: str) -> set[Any]:
    return set(found.measures[found.measures["measure"] == measure]["part"])
