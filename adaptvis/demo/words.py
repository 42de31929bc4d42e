"""The demo's words: some sentences for anyone, the sections of its page, and a few lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adaptvis.demo.change import Change, Choice, WrongAnswers, choice_of
from adaptvis.demo.figures import telling_flip
from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.report.figures import changes_something
from adaptvis.report.lead import LEVEL
from adaptvis.report.tables import CLAIMS, gains_round, readable
from adaptvis.sweep.flips import AMOUNT, EVERYWHERE, FROM_ON, ONLY, SHARPENING, UP_TO, Flips
from interp.answers.comparison import named_test
from interp.answers.metrics import ALL
from interp.numeric import agree, counted, named_level
from interp.plots.style import cut_short, in_short
from interp.report.numbers import NOTHING, p_said, percent, points, ranged, share
from interp.report.page import Section
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, judge
from interp.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adaptvis.demo.scene_attention import SceneAttention


def lead(evaluation: Evaluation, looked: Sequence[SceneAttention], summary: dict[str, Any], change: Change) -> str:
    """Three sentences that ask for no knowledge: what was asked and answered, where it looks, what changes its mind."""
    best = max(summary["overlap_by_layer"], key=lambda line: line["lift"])
    asked = looked[0].sample.question.split("?")[0]
    return (
        f"A small model answered {len(looked)} questions such as “{asked}?” about drawings that it had never seen: "
        f"{_share(change.share('accuracy', 1))} of its answers named the right one of the options"
        f"{_wrong(change.wrong_answers())}. Of its {len(summary['overlap_by_layer'])} layers, layer {best['layer']} "
        f"looks hardest at the two objects before it answers, and gives their area {_times(best, summary)} times what "
        f"an even look would (it is the best layer on these very drawings). {_effect(change, evaluation)}"
    )


def sections(
    evaluation: Evaluation,
    looked: Sequence[SceneAttention],
    summary: dict[str, Any],
    change: Change,
    figures: dict[str, Figure],
) -> list[Section]:
    """The sections of the page, what the intervention does first."""
    best = {name: max(summary["overlap_by_layer"], key=lambda line: line[name]) for name in ("cosine", "lift")}
    return [
        Section(
            "What turning the look at the image up and down does",
            (
                "The last word of the question decides the answer. Alpha multiplies how strongly it matches each part "
                "of the image, in all layers (ScalingVis): above 1 its look is sharper, below 1 flatter, at 0 "
                "even over the whole image; 1 is the untouched model.",
                "Alpha also moves how much attention the image gets. The control does that alone: a constant, "
                "found for each scene, gives the image as much attention as alpha and keeps the picture inside it.",
                *_told(change),
                "A wrong answer names another option than the right one, a spatial error, or none of the options, such "
                "as a synonym: then it is not known what it means. Only a change from one named option to another "
                "counts as changed.",
                f"In tables, brackets hold Wilson's confidence intervals of {named_level(LEVEL)}, of as many scenes as "
                "those of groups are worth, each of one share by itself; so do bands.",
            ),
            figures["dose_response"],
            "Left, how many answers are right; right, how many name another option than the untouched answer, where "
            "both name one; by relation. In the table, “right”, “other option” and “no option” are all answers.",
            dose_table(change),
        ),
        *_flip_sections(evaluation, looked, change, figures),
        _chosen(evaluation),
        Section(
            "How much it looks at the image",
            (
                f"Image tokens are {percent(summary['image_token_share'], digits=0)} % of the positions and get "
                f"{percent(summary['image_share'], digits=0)} % of the last row's attention, mean over layers and "
                "heads.",
            ),
            figures["share_by_layer"],
            "Attention share of the last prompt row by part of the prompt; dashed, the share of positions.",
        ),
        Section(
            "Whether it looks at the objects",
            (
                f"For their area the objects get most attention in layer {best['lift']['layer']}: "
                f"{_times(best['lift'], summary)} times what even attention gives them. This measure does not favour "
                "large boxes; it names the best layer, of all layers, on the scenes that it is reported on.",
                "The paper's measure is the cosine between head-averaged attention and the boxes: highest in layer "
                f"{best['cosine']['layer']} ({best['cosine']['cosine']:.2f}); attention spread evenly would have "
                f"{summary['cosine_even']:.2f}. It punishes attention that picks a few patches of an object.",
                _compared(sum(not one.missing for one in looked), summary["scenes_in_overlap"], len(looked)),
            ),
            figures["overlap_by_layer"],
            "Right and wrong answers apart, with bootstrap bands over scenes. "
            f"{_kinds(change.wrong_answers())}".rstrip(),
        ),
        Section(
            "Some scenes",
            (),
            figures["heatmaps"],
            "The paper's layers and the one with most attention on the objects, as a mean of all scenes; each map has "
            "its own scene's number, how much attention the objects get for their area, and each row its own scale.",
        ),
    ]


def dose_table(change: Change) -> pd.DataFrame:
    """One line per alpha: right answers, both kinds of wrong ones, flips, the image's share, and the control."""
    import pandas as pd

    shares = change.matched.groupby("alpha")[["scaled", "matched"]].mean()
    rows = []
    for alpha in sorted(change.scaled["alpha"].unique()):
        controlled = alpha in shares.index
        cells = [change.share(what, alpha, control=True) for what in ("accuracy", "changed")] if controlled else []
        rows.append(
            {
                "alpha": f"{alpha:g}",
                "right %": _percent(change.share("accuracy", alpha)),
                "other option %": _percent(change.share("named_another", alpha)),
                "no option %": _percent(change.share("named_none", alpha)),
                "changed %": _percent(change.share("changed", alpha)),
                "image's share %": percent(
                    shares["scaled"][alpha] if controlled else change.matched["untouched"].mean()
                ),
                "control: right %": _percent(cells[0]) if cells else NOTHING,
                "control: changed %": _percent(cells[1]) if cells else NOTHING,
            }
        )
    return pd.DataFrame(rows)


def tell(evaluation: Evaluation, change: Change) -> str:
    """What the terminal says."""
    choice, table = choice_of(evaluation), dose_table(change)
    lines = [table.to_string(index=False), "", _kinds(change.wrong_answers()), *_told(change)]
    if change.flips is not None:
        lines.append(_carried(change.flips))
    lines += [_choice(choice)] if choice is not None else []
    return "\n".join(lines)


def _effect(change: Change, evaluation: Evaluation) -> str:
    """The last sentence."""
    if (flips := change.flips) is None:
        return (
            "Multiplying how strongly it matches each part of the image by the factors that we tried turned none of "
            "its answers to another option."
        )
    kept = _share(change.share("changed", flips.alpha, control=True))
    turned = _share(change.most_changed(), _at_once(change.tried, "factors"))
    text = (
        "Multiplying how strongly it matches each part of the image by a factor turned up to "
        f"{turned} of the answers to another option, and giving the image as much attention with the picture inside it "
        f"kept turned {kept}"
    )
    if (choice := choice_of(evaluation)) is None:
        return f"{text}."
    if choice.alpha == 1:
        return f"{text}; on {choice.n} other drawings no factor gave more right answers than leaving it alone."
    lines = evaluation.summary[evaluation.summary["relation"] == ALL].set_index("policy")
    own = lines.loc[str(evaluation.policies["scaling"])]
    told = {"above": "more than without", "below": "fewer than without", "unclaimed": "of which nothing is claimed"}
    found = judge(own.difference_low, own.difference_high, own.p_holm).word
    said = NO_INTERVAL if math.isnan(own.difference_low) else told.get(found, NOT_DETECTED)
    right = _share(change.share("accuracy", choice.alpha))
    return f"{text}; with the factor chosen on {choice.n} other drawings, {choice.alpha:g}, {right} were right: {said}."


def _wrong(wrong: WrongAnswers) -> str:
    """The wrong answers for anyone, as the end of a sentence; nothing where none is wrong."""
    if not wrong.wrong:
        return ""
    another, none = (_share(wrong.share(kind)) for kind in ("named_another", "named_none"))
    return f", {another} another one, and {none} none of them{_commonest(wrong)}"


def _kinds(wrong: WrongAnswers) -> str:
    """The same with brackets."""
    if not wrong.wrong:
        return "Untouched, no answer is wrong."
    another, none = (_said(wrong.share(kind, of_wrong=True)) for kind in ("named_another", "named_none"))
    return (
        f"Of the {counted(wrong.wrong, 'wrong answer')} untouched, {wrong.named_another} ({another}) "
        f"{agree(wrong.named_another, 'names', 'name')} another option, a spatial error, and {wrong.named_none} "
        f"({none}) {agree(wrong.named_none, 'names', 'name')} none of the options{_commonest(wrong)}."
    )


def _commonest(wrong: WrongAnswers) -> str:
    """The two words that are said most where no option is named."""
    said = [f"“{cut_short(word, 20)}” ({n})" for word, n in list(wrong.words.items())[:2]]
    return f", most often {' and '.join(said)}" if said else ""


def _told(change: Change) -> list[str]:
    """Which alpha changes most answers, beside the control; or that none changes any."""
    if (flips := change.flips) is None:
        most = max(change.count("reworded", alpha) for alpha in change.scaled["alpha"].unique())
        return [
            "No alpha that was asked changes any answer from one option to another, so there is no scene to show "
            f"before and after; of the changes to or from an answer that names no option there "
            f"{agree(most, 'is', 'are')} {most} at most."
        ]
    alpha = flips.alpha
    changed, right = change.most_changed(), change.share("accuracy", alpha)
    more = change.count("reworded", alpha)
    control, picked = change.share("changed", alpha, control=True), _picked(change.tried, "alphas")
    return [
        f"Largest change in answers: alpha {alpha:g}, with {_said(changed)}{picked} changed, "
        f"{counted(len(flips.answers), 'answer')} from one option to another; {more} more "
        f"{agree(more, 'differs that names', 'differ that name')} no option before or after, and "
        f"{agree(more, 'does', 'do')} not count. It is named for that, not as an improvement: "
        f"{_said(right)} are right, and {_said(change.share('accuracy', 1))} untouched. "
        "Under the control, with as much attention on the image and the same picture inside it, "
        f"{_said(control)} change."
    ]


def _flip_sections(
    evaluation: Evaluation, looked: Sequence[SceneAttention], change: Change, figures: dict[str, Figure]
) -> list[Section]:
    """A scene that flips and the layers that carry it; nothing where nothing flips."""
    if (flips := change.flips) is None:
        return []
    one = telling_flip(flips, evaluation, looked)
    answers = flips.answers.set_index("id").loc[one.sample.id]
    return [
        Section(
            "A scene whose answer changes",
            (
                f"{in_short(one.sample.question, 200)} Untouched it says {answers['before']!r}, at alpha "
                f"{flips.alpha:g} {answers['after']!r}; right is {one.sample.answer!r}.",
                f"Of the {counted(len(flips.answers), 'scene')} that {agree(len(flips.answers), 'changes', 'change')} "
                "it is the one answered most surely before, of those with both objects found, where there are such.",
            ),
            figures["before_after"],
            "Attention inside the image, before and after on one scale, and the difference; above each map, the share "
            "of the layer's attention that the image gets. The second map is the changed run's own.",
        ),
        Section(
            "Which layers carry the change",
            (
                f"The {counted(len(flips.answers), 'scene')} whose answer turns to another option at alpha "
                f"{flips.alpha:g}, asked again with it in some layers only: how often do they give the same changed "
                "answer? In all layers "
                f"{flips.count_of(EVERYWHERE)} do, as they were chosen by that.",
                _carried(flips),
            ),
            figures["flip_by_layers"],
            "Level lines are the two halves of what alpha does in all layers: as much attention on the image without "
            "sharpening, and the sharpening with the image's attention kept.",
        ),
    ]


def _carried(flips: Flips) -> str:
    """Which layers do it, alone and together, beside both controls."""
    layer, alone = flips.strongest_layer()
    rows = flips.carried()
    picked = _picked(int((rows["kind"] == ONLY).sum()), "layers")
    half, last = rows[rows["share"] >= 0.5], int(rows["layer"].max())
    first, late = (half[half["kind"] == kind]["layer"] for kind in (UP_TO, FROM_ON))
    enough = [f"0 to {layer}" for layer in sorted(first)[:1] if layer < last]
    enough += [f"{layer} to {last}" for layer in sorted(late)[-1:] if layer > 0]
    together = f"layers {' or '.join(enough)} are enough for half" if enough else "half of it takes all layers"
    return (
        f"Layers that carry it, over {counted(len(flips.answers), 'scene')}: no layer alone does more than layer "
        f"{layer}, with {_said(alone)}{picked}; {together}. In all layers, the amount of attention alone (the control) "
        f"does {_said(flips.of(AMOUNT))}, its sharpness alone {_said(flips.of(SHARPENING))}."
    )


def _chosen(evaluation: Evaluation) -> Section:
    """What was chosen on other scenes and what it does here; policies that change nothing get no rows."""
    names = [name for name in evaluation.policies if name == "baseline" or changes_something(evaluation, name)]
    idle = [str(policy) for name, policy in evaluation.policies.items() if name not in names]
    kept = [str(evaluation.policies[name]) for name in names]
    choice = choice_of(evaluation)
    lines = evaluation.summary[evaluation.summary["policy"].isin(kept)]
    first = lines.iloc[0]
    gains = (
        f"{named_test(first['test'], first['groups'])}. Beside it stands Holm's correction: over all scenes for the "
        "number of policies, by relation for all policies and relations together.",
        CLAIMS,
        *filter(None, [gains_round(lines)]),
    )
    return Section(
        "What was chosen beforehand",
        (
            *([_choice(choice)] if choice is not None else ()),
            *([f"Chosen, and so the untouched model itself: {' and '.join(idle)}."] if idle else ()),
            "AdaptVis takes one alpha where the untouched first token is unsure and another where it is sure.",
            f"Brackets hold confidence intervals of {named_level(LEVEL)}: Wilson's for accuracies, of as many samples "
            "as those of groups are worth, and a bootstrap for gains, of whole groups where samples share them.",
            *(gains if len(names) > 1 else ()),
        ),
        table=readable(evaluation, lines),
    )


def _choice(choice: Choice) -> str:
    """What the validation scenes say of the chosen alpha, or of the best one beside it."""
    gain = points(choice.gain.estimate, choice.gain.low, choice.gain.high, level=choice.gain.level)
    by = (
        choice.test
        if choice.tried == 1
        else f"{choice.test}; both for all {choice.tried} alphas, as the best is picked"
    )
    if choice.alpha == 1:
        told = f"gained {gain} ({p_said(choice.p, test=by)})"
        did = told if choice.moved else "made no answer right or wrong"
        return (
            f"Chosen on {choice.n} other scenes: alpha 1, the untouched model. The best other one there, "
            f"{choice.other:g}, {did}."
        )
    return (
        f"Chosen on {choice.n} other scenes: alpha {choice.alpha:g}, which gained {gain} there "
        f"({p_said(choice.p, test=by)})."
    )


def _compared(found: int, left: int, n: int) -> str:
    """In how many of so many scenes the objects were found, and how many are left to compare."""
    others = "all of these are compared" if left == found else f"{left} are compared, where overlap is defined"
    return f"The detector found both objects in {found} of {counted(n, 'scene')}; {others}."


def _percent(found: Interval) -> str:
    return percent(found.estimate, found.low, found.high)


def _said(found: Interval) -> str:
    """A share with its interval, in a sentence."""
    return share(found.estimate, found.low, found.high, level=found.level)


def _share(found: Interval, of: str = "") -> str:
    """A share for readers who know no brackets, and what its interval is of."""
    named = f"{named_level(found.level)} interval{of}"
    ends = (found.estimate, found.low, found.high)
    return ranged(*ends, digits=0, factor=100, of=named, unit=" %", whole=True)


def _at_once(count: int, what: str) -> str:
    """What the interval of the largest of several holds for; nothing where there is one."""
    return f" for all {count} {what} at once" if count > 1 else ""


def _picked(count: int, what: str) -> str:
    """The same behind an interval."""
    return f" (an interval{_at_once(count, what)}, as the largest is picked)" if count > 1 else ""


def _times(line: dict[str, Any], summary: dict[str, Any]) -> str:
    of = _at_once(len(summary["overlap_by_layer"]), "layers")
    ends = (line[name] for name in ("lift", "lift_low", "lift_high"))
    return ranged(*ends, digits=1, of=f"{named_level(LEVEL)} interval{of}")
