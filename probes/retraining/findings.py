"""Findings: a comparison's table and sentences, every number and every judgement computed from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import agree, counted
from interp.report.numbers import decimal, percent, points, ranged
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED
from interp.stats.intervals import Interval
from probes.retraining.comparison import SEEDS, ArmComparison, paired_t
from probes.retraining.figure import PLACES

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5
"""An accuracy that is clearly above a blind guess, and clearly below what is reached in the end."""

EARLY = (0, 1)
"""Layers that are told of one by one: the paper sees the rise in the first of its layers."""

ONE_RUN = "one run"
"""The verdict on arms of one run each; see `verdict`."""


@dataclass(frozen=True)
class Line:
    """One measure that is told of, and how: its part, its words, and how its numbers are written."""

    measure: str
    part: str
    words: str
    digits: int = 3
    share: bool = False

    def write(self, interval: Interval, *, difference: bool = False) -> str:
        """A value, or a difference of two, with its interval where it has one."""
        ends = (interval.estimate, interval.low, interval.high)
        if self.share:
            return points(*ends) if difference else percent(*ends)
        return decimal(*ends, digits=self.digits, signed=difference)


def _share(measure: str, part: str, words: str) -> Line:
    return Line(measure, part, words, share=True)


def lines_of(found: ArmComparison) -> list[Line]:
    """What is told of a comparison, where it is there."""
    depth = max((int(part.split()[1]) for part in _parts(found, "ratio")), default=0)
    wanted = [_share("accuracy", kind, f"accuracy, {kind} (%)") for kind in ("relation", "photo", "color", "shape")]
    for kind in PLACES:
        wanted += [_share("psi", kind, f"PSI, {kind} (%)")]
        wanted += [_share("psi_corrected", kind, f"PSI against chance, {kind} (%)")]
    wanted += [
        Line("abs_delta_g_v", "all layers", "RoPE sensitivity, mean abs delta g_V", 4),
        *(
            Line("abs_delta_g_v", f"layer {layer}", f"RoPE sensitivity in layer {layer}, abs delta g_V", 4)
            for layer in EARLY
        ),
        Line("delta_alpha_v", "all layers", "RoPE sensitivity, mean delta alpha_V", 5),
    ]
    wanted += [
        Line("ratio", f"depth {at}", f"image over words, depth {at} of {depth}", 2)
        for at in sorted({0, depth // 2, depth})
    ]
    return [line for line in wanted if line.part in _parts(found, line.measure)]


def table_text(found: ArmComparison) -> str:
    """A Markdown table: each arm with its interval, and each difference with both; the heading says what they are."""
    pairs = _pairs(found)
    student = f"; t: {SEEDS.removeprefix('t ')}, Student's" if found.seeds > 1 else ""
    brackets = f"[{100 * found.settings['level']:g} % CI, {found.drawn}{student}]"
    heads = [f"measure {brackets}", *found.arms, *(f"{arm} - {against}" for arm, against in pairs)]
    rows = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for line in lines_of(found):
        own = [line.write(found.value(arm, line.measure, line.part)) for arm in found.arms]
        for arm, against in pairs:
            cell = line.write(_difference(found, line, arm, against, found.drawn), difference=True)
            if found.seeds > 1:
                _, _, ends = line.write(_difference(found, line, arm, against, SEEDS), difference=True).partition(" ")
                cell += f"; t {ends}" if ends else ""
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
    told = (_training, _when, _learned, _told_apart, _how_many, _left_out)
    return [sentence for part in told for sentence in part(found)]


def verdict(found: ArmComparison, line: Line, arm: str, against: str) -> str:
    """Whether two arms are told apart: `higher`, `lower`, `unsure`, `alike`, `untold` or `one run`.

    `higher` and `lower`: both intervals lie on one side of zero. `unsure`: only one of them, or the only one that there
    is. `alike`: none, which says that no difference was shown, and not that there is none. `untold`: there is no
    interval. `one run`: each arm has one, and what tells two models apart may be their seed.
    """
    if found.seeds == 1:
        return ONE_RUN
    both = [_difference(found, line, arm, against, interval) for interval in (found.drawn, SEEDS)]
    if not any(np.isfinite([one.low, one.high]).all() for one in both):
        return "untold"
    sides = {_side(one) for one in both}
    if sides == {1}:
        return "higher"
    if sides == {-1}:
        return "lower"
    return "alike" if sides == {0} else "unsure"


def final_losses(found: ArmComparison, measure: str = "answer") -> pd.DataFrame:
    """The mean of one loss over the last steps of training that were written down: a row per arm and seed."""
    own = found.training[found.training["measure"] == measure]
    return own[own["step"] == own["step"].max()]


def gap_of_losses(one: np.ndarray, other: np.ndarray, level: float) -> Interval:
    """The mean of one arm's losses [seed] less another's, with Student's interval; none of gaps alike in float32."""
    rounding = 4 * np.finfo(np.float32).eps * max(np.abs(one).max(), np.abs(other).max())
    return paired_t(one - other, level, rounding)


def _training(found: ArmComparison) -> Iterator[str]:
    """Whether the arms ended training alike, and whether they were still learning."""
    last = final_losses(found)
    if last.empty:
        return
    by_arm = {arm: last[last["arm"] == arm].sort_values("seed")["value"].to_numpy(float) for arm in found.arms}
    told = ", ".join(f"{arm} {_range(values)}" for arm, values in by_arm.items())
    of = "mean and range over seeds" if found.seeds > 1 else "one run of each arm"
    sentence = f"Loss of the answers at the end of training (nats, {of}): {told}."
    first = found.arms[0]
    for arm in found.arms[1:]:
        if found.seeds > 1:
            apart = gap_of_losses(by_arm[arm], by_arm[first], found.settings["level"])
            ends = decimal(apart.estimate, apart.low, apart.high, digits=3, signed=True, level=apart.level)
            alike = NOT_DETECTED if _side(apart) == 0 else "not the same"
            said = f"Student's of the seeds: {alike}" if np.isfinite(apart.low) else NO_INTERVAL
            sentence += f" {arm.capitalize()} - {first}: {ends}, {said}."
    yield sentence
    steps = sorted(found.training["step"].unique())
    if len(steps) > 1 and "right_relation" in set(found.training["measure"]):
        watched = found.training[found.training["measure"] == "right_relation"]
        parts = []
        for arm in found.arms:
            before, after = (
                watched[(watched["arm"] == arm) & (watched["step"] == step)]["value"].mean() for step in steps[-2:]
            )
            parts.append(f"{arm} {percent(before)} to {percent(after)} %")
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
        f"Step at which a run was first seen to answer {100 * HALF:g} % of the relation questions of validation "
        f"scenes, by seed: {'; '.join(parts)}."
    )


def _learned(found: ArmComparison) -> Iterator[str]:
    """Whether relation questions were learned at all, by arm."""
    if "relation" not in _parts(found, "accuracy"):
        return
    own = found.measures.query("what == 'model' and measure == 'accuracy' and part == 'relation'")
    chance = found.settings["chance"]["relation"]
    failed = [f"{row.arm} of seed {row.seed}" for row in own.itertuples() if not row.low > chance]
    good = len(own) - len(failed)
    yield (
        f"Of {counted(len(own), 'model')}, {good or 'none'} {agree(max(good, 1), 'answers', 'answer')} relation "
        f"questions above chance ({percent(chance)} %) by the whole of a {100 * found.settings['level']:g} % interval "
        "over scenes" + (f"; not {', '.join(failed)}." if failed and good else ".")
    )


def _told_apart(found: ArmComparison) -> Iterator[str]:
    """What is told apart of each pair of arms."""
    for arm, against in _pairs(found):
        if found.seeds == 1:
            yield (
                f"{arm.capitalize()} beside {against}: one run of each says nothing of the arms, as another seed may "
                "tell two models apart as well; their intervals are over scenes alone."
            )
            continue
        said: dict[str, list[str]] = {}
        for line in lines_of(found):
            said.setdefault(verdict(found, line, arm, against), []).append(line.words.replace(" (%)", ""))
        parts = [f"{word} in {'; '.join(said[word])}" for word in ("higher", "lower") if word in said]
        told = " and ".join(parts) or "told apart in no measure by both intervals"
        sentence = f"{arm.capitalize()} beside {against}: {told}."
        if "unsure" in said:
            sentence += (
                " One interval leaves out zero, and the other does not or is not there, so that nothing is claimed, in "
                f"{'; '.join(said['unsure'])}."
            )
        if "untold" in said:
            sentence += f" There is no interval in {'; '.join(said['untold'])}."
        if "alike" in said:
            sentence += f" No difference was detected in {'; '.join(said['alike'])}."
        yield sentence
        yield from _skill(found, arm, against)


def _skill(found: ArmComparison, arm: str, against: str) -> Iterator[str]:
    """Whether two arms learned the first kind of question equally well, as the other numbers lean on it."""
    first = next(iter(lines_of(found)), None)
    if first is None or first.measure != "accuracy":
        return
    judged = verdict(found, first, arm, against)
    if judged in ("higher", "lower"):
        yield (
            f"{arm.capitalize()} and {against} did not learn {first.part} questions equally well, so PSI and RoPE "
            "sensitivity compare models of unequal skill."
        )
    elif judged == "unsure":
        yield (
            f"Whether {arm} and {against} learned {first.part} questions equally well is open; read the other numbers "
            "with that in mind."
        )


def _how_many(found: ArmComparison) -> Iterator[str]:
    """How many differences are told of, as some of many leave out zero by chance."""
    count = len(lines_of(found)) * len(_pairs(found))
    if count:
        yield (
            f"{count} differences are told of, each with its own intervals at {100 * found.settings['level']:g} %, and "
            "nothing corrects for their number: some may leave out zero by chance."
        )


def _left_out(found: ArmComparison) -> Iterator[str]:
    for row in found.left_out.itertuples():
        yield f"There is no {row.measure} of {row.part}: {row.why}."


def _pairs(found: ArmComparison) -> list[tuple[str, str]]:
    """Each arm with each that comes before it, which is subtracted."""
    return [(arm, against) for place, arm in enumerate(found.arms) for against in found.arms[:place]]


def _difference(found: ArmComparison, line: Line, arm: str, against: str, interval: str) -> Interval:
    return found.value(arm, line.measure, line.part, against=against, interval=interval)


def _side(interval: Interval) -> int:
    """On which side of zero an interval lies; 0 where it holds zero."""
    return int(interval.low > 0) - int(interval.high < 0)


def _range(values: np.ndarray) -> str:
    if len(values) == 1:
        return decimal(values[0], digits=3)
    return ranged(values.mean(), values.min(), values.max(), digits=3)


def _parts(found: ArmComparison, measure: str) -> set[Any]:
    return set(found.measures[found.measures["measure"] == measure]["part"])
