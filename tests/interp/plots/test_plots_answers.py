"""Figures of answers: lines, bars and marks stand where counting by hand puts them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from interp import plots
from interp.errors import InputError
from interp.stats.clusters import clustered_share
from interp.stats.intervals import wilson

CONFIDENCES = (0.1, 0.3, 0.3, 0.6, 0.9)
LOW = (True, True, False, False, False)
HIGH = (False, False, True, True, True)
SWEEP = pd.DataFrame(
    [
        {"id": f"s{place}", "alpha": alpha, "correct": right[place], "confidence": CONFIDENCES[place]}
        for alpha, right in ((0.5, LOW), (1.5, HIGH))
        for place in range(5)
    ]
)
ANSWERS = pd.DataFrame(
    {
        "alpha": [0.5] * 4 + [1.0] * 4,
        "gold": ["left", "left", "right", "on"] * 2,
        "predicted": ["left", "left", "left", None, "right", "right", "right", "right"],
    }
)
CONFIDENCE = pd.DataFrame(
    [
        ("all", "accuracy", 5, 0.4, 0.1, 0.8), ("all", "confidence", 5, 0.5, 0.3, 0.7),
        ("all", "confidence where right", 2, 0.8, 0.7, 0.9),
        ("left", "accuracy", 3, 0.6, 0.2, 0.9), ("left", "confidence", 3, 0.7, 0.4, 0.9),
        ("left", "confidence where right", 2, 0.8, 0.7, 0.9),
        ("on", "accuracy", 2, 0.0, 0.0, 0.7), ("on", "confidence", 2, 0.25, 0.2, 0.3),
        ("on", "confidence where right", 0, np.nan, np.nan, np.nan),
    ],
    columns=["relation", "measure", "n", "value", "low", "high"],
)  # fmt: skip
GAINS = pd.DataFrame(
    {
        "setting": ["one", "two", "one", "two"],
        "relation": ["left", "left", "on", "on"],
        "difference": [0.1, -0.2, 0.0, 0.3],
        "low": [0.0, -0.3, -0.1, 0.1],
        "high": [0.3, 0.0, 0.1, 0.4],
    }
)
BINS = pd.DataFrame({"confidence": [0.3, 0.8], "accuracy": [0.5, 0.7], "low": [0.3, 0.5], "high": [0.7, 0.8], "n": 5})
MATRIX = pd.DataFrame([[3, 1, 0], [0, 0, 2]], index=["left", "on"], columns=["left", "on", "none"])
STRENGTHS = pd.DataFrame({"alpha": [-1.0, 0.0, 1.0] * 4, "correct": [True, False, True] * 4})


def ax():
    """Axes of a figure that pyplot does not know."""
    return Figure(figsize=(7, 5)).subplots()


DRAWINGS = {
    "threshold": lambda own: plots.plot_accuracy_by_threshold(SWEEP, 0.5, 1.5, own, threshold=0.4),
    "answers": lambda own: plots.plot_answers_by_alpha(ANSWERS, own),
    "confidence": lambda own: plots.plot_confidence_by_relation(CONFIDENCE, own),
    "gains": lambda own: plots.plot_gains(GAINS, own, group="relation"),
    "reliability": lambda own: plots.plot_reliability(BINS, own),
    "confusion": lambda own: plots.plot_confusion(MATRIX, own, title="baseline"),
    "shifts": lambda own: plots.plot_accuracy_by_alpha(STRENGTHS, own, mode="add"),
}


def marks(drawn):
    """The middle, low and high of every mark with an interval, by label."""
    return {
        bars.get_label(): (bars.lines[0].get_xydata(), [path.vertices for path in bars.lines[2][0].get_paths()])
        for bars in drawn.containers
    }


def legend_texts(drawn):
    return [text.get_text() for text in drawn.get_legend().get_texts()]


@pytest.mark.parametrize("name", DRAWINGS)
def test_plots_draw_where_they_are_told_and_make_axes_that_can_be_saved(name, tmp_path):
    import matplotlib.pyplot as plt

    own = ax()
    assert DRAWINGS[name](own) is own and plt.get_fignums() == []
    DRAWINGS[name](None).figure.savefig(tmp_path / "figure.png", dpi=30)
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_every_threshold_gives_what_the_policy_would_reach():
    drawn = plots.plot_accuracy_by_threshold(SWEEP, 0.5, 1.5, ax())
    accuracy, [unsure] = drawn.lines[0], drawn.figure.axes[1].lines
    edges = accuracy.get_xdata()
    for threshold in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 0.95, 1.0):
        below = np.array(CONFIDENCES) < threshold
        place = max(
            np.searchsorted(edges, threshold, side="left") - 1, 0
        )  # a step holds behind its edge, up to the next
        assert unsure.get_ydata()[place] == pytest.approx(below.mean())
        assert accuracy.get_ydata()[place] == pytest.approx(np.where(below, LOW, HIGH).mean())


def sweep_of(confidences):
    """Two alphas, of which the lower one is right in one sample more of each ten."""
    rows = [
        {"id": place, "alpha": alpha, "correct": place % 10 > (1 if alpha == 0.5 else 2), "confidence": sure}
        for place, sure in enumerate(confidences)
        for alpha in (0.5, 1.5)
    ]
    return pd.DataFrame(rows)


CROWDED = {
    "near one": 1 - 10.0 ** np.linspace(-5, -2, 60),
    "half near one": np.concatenate([np.linspace(0.3, 0.9, 30), 1 - 10.0 ** np.linspace(-5, -2, 30)]),
    "near nothing": 10.0 ** np.linspace(-5, -2, 60),
    "logits": np.linspace(20, 21, 60),
    "all alike": np.full(60, 0.7),
    "all certain": np.ones(60),
}


@pytest.mark.parametrize("name", CROWDED)
def test_where_many_samples_lie_the_axis_of_thresholds_is_wide_and_its_ticks_differ(name):
    drawn = plots.plot_accuracy_by_threshold(sweep_of(CROWDED[name]), 0.5, 1.5, ax(), threshold=0.4)
    drawn.figure.draw_without_rendering()
    edges = drawn.lines[0].get_xdata()
    width = drawn.get_window_extent().width
    steps = np.diff(drawn.transData.transform(np.column_stack([edges, np.full(len(edges), 0.5)]))[:, 0])
    assert (steps >= -1e-6).all()
    if len(np.unique(CROWDED[name])) > 1:
        assert np.sum(steps[1:-1]) > 0.45 * width
    labels = [text.get_text() for text in drawn.get_xticklabels()]
    assert len(set(labels)) == len(labels) >= 3
    assert [float(label) for label in labels] == pytest.approx(drawn.get_xticks().tolist(), rel=1e-4)


def test_an_effect_of_a_few_points_can_be_seen_and_the_share_of_unsure_has_an_axis_of_its_own():
    drawn = plots.plot_accuracy_by_threshold(
        sweep_of(CROWDED["near one"]), 0.5, 1.5, ax(), references={"untouched": 0.72}
    )
    low, high = drawn.get_ylim()
    accuracy = drawn.lines[0].get_ydata()
    assert np.ptp(accuracy) > 0.25 * (high - low) and low < 0.72 < high
    vertices = drawn.collections[0].get_paths()[0].vertices[:, 1]
    assert low < vertices.min() and vertices.max() < high
    _, beside = drawn.figure.axes
    assert beside.get_ylim() == (0, 1.02) and "unsure" in beside.get_ylabel() and "accuracy" in drawn.get_ylabel()
    assert {"taken as unsure", "untouched: 72.0%"} <= {text.get_text() for text in drawn.get_legend().get_texts()}


def test_the_threshold_band_is_wilsons():
    drawn = plots.plot_accuracy_by_threshold(SWEEP, 0.5, 1.5, ax())
    best = wilson(4, 5)  # between 0.1 and 0.3
    heights = drawn.collections[0].get_paths()[0].vertices[:, 1]
    assert best.low in heights.round(12) or np.isclose(heights, best.low).any()
    assert np.isclose(heights, best.high).any()


@pytest.mark.parametrize(
    "table, alphas",
    [
        (SWEEP, (0.5, 2.0)),
        (SWEEP.drop(columns="confidence"), (0.5, 1.5)),
        (SWEEP.head(9), (0.5, 1.5)),
        (pd.concat([SWEEP, SWEEP]), (0.5, 1.5)),
    ],
)
def test_samples_that_lack_an_alpha_or_have_it_twice_are_refused(table, alphas):
    with pytest.raises(InputError, match="each sample once"):
        plots.plot_accuracy_by_threshold(table, *alphas, ax())


@pytest.mark.parametrize("mode, neutral, word", [("mul", 1, "factor"), ("add", 0, "constant"), ("temper", 1, "factor")])
def test_the_line_of_no_change_lies_where_the_mode_changes_nothing(mode, neutral, word):
    drawn = plots.plot_accuracy_by_alpha(STRENGTHS, ax(), mode=mode)
    [upright] = [line for line in drawn.lines if line.get_linestyle() == ":"]
    assert list(upright.get_xdata()) == [neutral, neutral] and word in drawn.get_xlabel()


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="mode 'plus' is not known"):
        plots.plot_accuracy_by_alpha(STRENGTHS, ax(), mode="plus")


def test_a_single_relation_is_not_drawn_beside_all():
    drawn = plots.plot_accuracy_by_alpha(STRENGTHS.assign(relation="left"), ax())
    assert legend_texts(drawn) == ["all (n = 4)"]


def test_stacked_answers_are_counted_and_gold_stands_beside_them():
    drawn = plots.plot_answers_by_alpha(ANSWERS, ax())
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in drawn.containers}
    assert heights == {
        "left": [0.5, 0.75, 0.0],
        "right": [0.25, 0.0, 1.0],
        "on": [0.25, 0.0, 0.0],
        "none": [0.0, 0.25, 0.0],
    }
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["gold", "0.5", "1"]


def test_rare_answers_share_a_colour_and_nothing_is_lost():
    names = [f"word {place}" for place in range(15)]
    table = pd.DataFrame({"alpha": 1.0, "gold": names, "predicted": names})
    drawn = plots.plot_answers_by_alpha(table, ax())
    assert "other" in legend_texts(drawn)
    assert sum(bars[0].get_height() for bars in drawn.containers) == pytest.approx(1)


def test_confidence_marks_stand_at_their_values_and_intervals():
    found = marks(plots.plot_confidence_by_relation(CONFIDENCE, ax()))
    value = {name: middle[:, 1] for name, (middle, _) in found.items()}
    assert value["accuracy"] == pytest.approx([0.4, 0.6, 0])
    assert value["confidence"] == pytest.approx([0.5, 0.7, 0.25])
    assert value["confidence where right"] == pytest.approx([0.8, 0.8, np.nan], nan_ok=True)
    assert found["accuracy"][1][1][:, 1] == pytest.approx((0.2, 0.9))


def test_measures_that_are_undefined_everywhere_are_left_out():
    table = CONFIDENCE.assign(value=CONFIDENCE["value"].where(CONFIDENCE["measure"] != "confidence where right"))
    assert legend_texts(plots.plot_confidence_by_relation(table, ax())) == ["accuracy", "confidence"]


def test_a_single_relation_is_drawn_as_all():
    drawn = plots.plot_confidence_by_relation(CONFIDENCE[CONFIDENCE["relation"] != "on"], ax())
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["all\nn = 5"]


def test_gains_are_in_points_with_their_own_intervals_top_to_bottom():
    drawn = plots.plot_gains(GAINS, ax(), group="relation")
    found = marks(drawn)
    assert found["left"][0][:, 0] == pytest.approx([10, -20]) and found["on"][0][:, 0] == pytest.approx([0, 30])
    assert found["left"][1][1][:, 0] == pytest.approx([-30, 0])
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["one", "two"]
    assert drawn.get_ylim()[0] > drawn.get_ylim()[1]


def test_reliability_marks_stand_at_confidence_and_accuracy():
    drawn = plots.plot_reliability(BINS, ax())
    middle, bars = marks(drawn)["2 bins of 5 samples"]
    assert middle == pytest.approx(np.array([[0.3, 0.5], [0.8, 0.7]]))
    assert bars[1][:, 1] == pytest.approx([0.5, 0.8])


def test_a_confusion_matrix_shows_its_counts_and_colours_shares_of_rows():
    drawn = plots.plot_confusion(MATRIX, ax())
    assert [text.get_text() for text in drawn.texts] == ["3", "1", "0", "0", "0", "2"]
    assert np.asarray(drawn.images[0].get_array()) == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 1]]))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.plot_answers_by_alpha(ANSWERS.drop(columns="gold"), ax()),
        lambda: plots.plot_confidence_by_relation(CONFIDENCE.head(0), ax()),
        lambda: plots.plot_gains(GAINS, ax(), label="layers"),
        lambda: plots.plot_reliability(BINS.drop(columns="n"), ax()),
        lambda: plots.plot_confusion(MATRIX.head(0), ax()),
        lambda: plots.plot_confusion(-MATRIX, ax()),
    ],
)
def test_tables_that_can_not_be_drawn_are_refused(draw):
    with pytest.raises(InputError, match="give"):
        draw()


def test_relations_that_are_not_drawn_still_count_in_all():
    drawn = plots.plot_confidence_by_relation(CONFIDENCE, ax(), relations=["on"])
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["all\nn = 5", "on\nn = 2"]


def test_bands_of_samples_that_share_groups_are_as_wide_as_the_groups_ask_for():
    table = pd.DataFrame({"alpha": 0.5, "correct": np.arange(40) // 4 % 2 == 0, "group": np.arange(40) // 4})
    for rows, expected in (
        (table, clustered_share(table["correct"], table["group"])),
        (table.drop(columns="group"), wilson(20, 40)),
    ):
        [band] = plots.plot_accuracy_by_alpha(rows, ax()).collections
        ends = band.get_paths()[0].vertices[:, 1]
        assert (ends.min(), ends.max()) == pytest.approx((expected.low, expected.high))
    sweep = pd.concat([table.assign(alpha=alpha, id=range(40), confidence=0.5) for alpha in (0.5, 1.5)])
    [band] = plots.plot_accuracy_by_threshold(sweep, 0.5, 1.5, ax()).collections
    wide = clustered_share(table["correct"], table["group"])
    ends = band.get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((wide.low, wide.high)) and wide.low < wilson(20, 40).low
    few = sweep.assign(group=np.arange(80) % 2)
    assert np.isfinite(plots.plot_accuracy_by_threshold(few, 0.5, 1.5, ax()).get_ylim()).all()
