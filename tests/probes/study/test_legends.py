"""Legends of the probes' figures: of a table that tells nothing of one curve, that curve is not named."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from said_rows import places

from interp.stats.intervals import Interval
from probes.heads.evaluation.figure import plot_doses, plot_sets
from probes.heads.sha.figure import plot_arms as plot_boxes
from probes.mechanisms.ablation.figure import plot_arms
from probes.mechanisms.amplify.figure import plot_amplified
from probes.mechanisms.dual.figure import plot_sweeps
from probes.mechanisms.ids.figure import plot_ids, plot_shifts, plot_steering
from probes.mechanisms.interchange.figure import plot_beyond_control, plot_outcomes
from probes.mechanisms.knockout.figure import plot_windows
from probes.mechanisms.lens.figure import plot_lens, plot_word_curves
from probes.mechanisms.probe.figure import plot_sites
from probes.mechanisms.probe.sites import Site
from probes.position.figures.balance import plot_balance_by_layer
from probes.position.figures.dose import plot_dose
from probes.position.figures.order import plot_accuracy_in_order, plot_compression, plot_psi
from probes.position.figures.residual_norms import plot_residual_norms
from probes.position.figures.rope import plot_rope_axes, plot_rope_curve

KNOWN = {"value": 0.4, "low": 0.3, "high": 0.5}
NUMBERS = [*KNOWN]


def table(gone, **axes):
    """A row for each place, whose numbers are NaN where it has all that `gone` has."""
    rows = [
        {**place, **(dict.fromkeys(NUMBERS, np.nan) if gone and gone.items() <= place.items() else KNOWN)}
        for place in places(**axes)
    ]
    return pd.DataFrame(rows)


SLOTS, RELATIONS, ALPHAS = (0, 1, 2), ("all", "left"), (0.5, 2.0)


def of_probe(gone):
    sites = [Site("projector", "projector", 0), *(Site(f"layer {n}", "language", n) for n in range(3))]
    own = table(gone, measure=("accuracy", "position", "control"), site=[site.name for site in sites])
    return plot_sites(own.dropna(), sites, "accuracy", 0.5)


def of_outcomes(gone):
    own = table(gone, set=("patched",), outcome=("clean", "place"), slot=SLOTS)
    return plot_outcomes(own.assign(std=0.1), band="interval")


def of_control(gone):
    return plot_beyond_control(table({}, slot=SLOTS, outcome=("place",)).assign(p_any=gone["p_any"]))


def of_amplified(gone):
    own = table(gone, source=("probe", "random"), alpha=ALPHAS, measure=("net",)).assign(axis="all")
    return plot_amplified(own)


def of_sweeps(gone):
    return plot_sweeps(
        {name: table(gone, name=(name,), slot=SLOTS).assign(p_any=1.0) for name in ("strip", "last")}, ""
    )


def of_windows(gone):
    own = table(gone, arm=("image->last", "untouched", "image->text"), window=("early", "late"), measure=("accuracy",))
    return plot_windows(own[(own["arm"] != "untouched") | (own["window"] == "early")], ("early", "late"),
                        measure="accuracy")  # fmt: skip


def of_ids(gone):
    return plot_ids(table(gone, slot=SLOTS).assign(null=np.nan, null_high=0.3), "r2", 3)


def of_shifts(gone):
    return plot_shifts(table(gone, tokens=("text", "image", "words", "other_words"), slot=SLOTS), 3)


def of_steering(gone):
    return plot_steering(table(gone, arm=("ids", "random"), measure=("flipped",), slot=SLOTS), 3)


def of_lens(gone):
    own = table(gone, where=("object", "other", "outside"), slot=SLOTS).assign(measure="share")
    return plot_lens(own, "share", 5)


def of_words(gone):
    return plot_word_curves(("cat", "dog"), np.float32([[[np.nan, 0.2]]] * 3))


def of_dose(gone):
    own = table(gone, kind=("scale",), dose=(0.5, 1.0, 2.0), measure=("psi", "psi_corrected"))
    return plot_dose(own, "scale", measures=("psi", "psi_corrected"))


def of_order(gone):
    return plot_accuracy_in_order(table(gone, measure=("accuracy", "permuted"), relation=RELATIONS))


def of_psi(gone):
    own = table(gone, measure=("psi", "psi_corrected"), relation=RELATIONS)
    reference = table({}, measure=("psi",), relation=RELATIONS).assign(reference="position alone", value=np.nan)
    return plot_psi(own, references=reference.assign(low=np.nan, high=np.nan))


def of_compression(gone):
    own = table(gone, relation=RELATIONS, image_tokens=(4, 16)).rename(columns={"value": "accuracy"})
    return plot_compression(own.assign(samples=9))


def of_balance(gone):
    own = table(gone, arm=("kept", "stripped"), layer=SLOTS).rename(columns={"value": "balance"})
    return plot_balance_by_layer(own, {"kept": 0.5})


def of_arms(gone):
    return plot_arms(table(gone, measure=("accuracy",), arm=("untouched", "removed"), relation=RELATIONS))


def curve(known, ends):
    one, side = (np.full(3, 0.5 if own else np.nan) for own in (known, ends))
    return Interval(one, side - 0.1, side + 0.1)


def of_rope(gone):
    return plot_rope_curve(curve(True, False), measure="delta_alpha_v", n_samples=4)


def of_rope_axes(gone):
    return plot_rope_axes({"delta_alpha_v": {"all": curve(True, True), "time": curve(False, False)}})[0]


def of_norms(gone):
    one = np.ones(3)
    return plot_residual_norms(one, one, one, after={"text": np.nan, "image": 1.0, "image_over_text": 1.0})[0]


CASES = [
    (of_probe, {"measure": "accuracy"}, "probe", "photo of nothing"),
    (of_probe, {"measure": "position"}, "photo of nothing", "probe"),
    (of_outcomes, {"outcome": "clean"}, "clean", "place"),
    (of_control, {"p_any": 1.0}, "differs by more than 0.01, p ≤ 0.05 over all together", "not shown to differ"),
    (of_control, {"p_any": 0.01}, "not shown to differ", "differs by more than 0.01, p ≤ 0.05 over all together"),
    (of_amplified, {"source": "probe"}, "the probe's directions", "random ones, mean over seeds"),
    (of_amplified, {"source": "random"}, "random ones, mean over seeds", "the probe's directions"),
    (of_sweeps, {"name": "strip"}, "strips swapped", "last position patched"),
    (of_windows, {"arm": "image->last"}, "image->last", "image->text"),
    (of_windows, {"arm": "untouched"}, "nothing cut", "image->text"),
    (of_ids, {}, "each object's cells shuffled: mean", "words of objects"),
    (of_shifts, {"tokens": "image"}, "all image tokens", "names of the objects"),
    (of_steering, {"arm": "ids"}, "told the other side by IDs", "control: random directions of the same length"),
    (of_lens, {"where": "other"}, "control: another object's tokens", "the object's tokens"),
    (of_words, {}, "cat", "dog"),
    (of_dose, {"measure": "psi"}, "PSI (paper)", "index against chance"),
    (of_order, {"measure": "accuracy"}, "in order", "permuted, mean over seeds"),
    (of_psi, {"measure": "psi_corrected"}, "against chance:\ndrop / (accuracy - chance)", "PSI (paper)"),
    (of_psi, {}, "position alone", None),
    (of_compression, {"relation": "left"}, "left (n = 9)", "all (n = 9)"),
    (of_balance, {"arm": "stripped"}, "system part stripped", "system part kept"),
    (of_arms, {"arm": "removed"}, "removed", "untouched"),
    (of_rope, {}, "95 % interval over groups", "n = 4"),
    (of_rope_axes, {}, "time", "all"),
    (of_norms, {}, "after the final norm", "stream"),
]


@pytest.mark.parametrize(("draw", "gone", "hidden", "named"), CASES)
def test_a_legend_names_no_curve_that_is_not_drawn(draw, gone, hidden, named):
    said = [text.get_text() for text in draw(gone).get_legend().get_texts()]
    assert hidden not in said and (named is None or named in said), said


def without(own, names=("low", "high")):
    """The same table, none of whose numbers has an interval."""
    return own.assign(**dict.fromkeys(names, np.nan))


def of_sets(own, level, untouched=False):
    role = ["tested", "untouched"]
    own = own[:2].copy()
    own.loc[0 if untouched else 1, ["low", "high"]] = np.nan
    arms = own.rename(columns={"value": "accuracy", "low": "accuracy_low", "high": "accuracy_high"})
    return plot_sets(arms.assign(role=role, dose="", of="a", arm="a", verdict="x", chance=0.5), level=level)


def of_cuts(own, level):
    own = own[:2].assign(arm=["image->last", "untouched"], window=["0", "none"], measure="accuracy")
    own.loc[0, ["low", "high"]] = np.nan
    return plot_windows(own, ("0",), measure="accuracy", level=level)


def of_doses(own, level):
    names = {"value": "accuracy", "low": "accuracy_low", "high": "accuracy_high"}
    doses = own.rename(columns=names).assign(dose="count", at=own["slot"], of="a", sets=0)
    return plot_doses(doses.assign(random=0.3, random_least=0.2, random_most=0.4), level=level)


OF_GROUPS, OF_BOTH = "interval over groups", "interval over groups\nand permutations"
DRAWN = {
    "balance": (lambda own, level: plot_balance_by_layer(
        own.assign(arm="kept", layer=own["slot"], balance=own["value"]), {"kept": 0.5}, level=level), OF_GROUPS),
    "accuracy in order": (lambda own, level: plot_accuracy_in_order(
        own.assign(measure="accuracy", relation=own["slot"].map(str)), level=level), OF_BOTH),
    "psi": (lambda own, level: plot_psi(
        own.assign(measure="psi", relation=own["slot"].map(str)), level=level), OF_BOTH),
    "compression": (lambda own, level: plot_compression(
        own.assign(relation="all", image_tokens=own["slot"] + 1, accuracy=own["value"], samples=9), level=level),
        OF_GROUPS),
    "dose": (lambda own, level: plot_dose(
        own.assign(kind="scale", dose=own["slot"] + 1.0, measure="psi"), "scale", measures=("psi",), level=level),
        "interval"),
    "norms": (lambda own, level: plot_residual_norms(
        *[own["value"].to_numpy()] * 3, band=(own["low"].to_numpy(), own["high"].to_numpy()), level=level)[2],
        OF_GROUPS),
    "rope": (lambda own, level: plot_rope_curve(
        Interval(own["value"], own["low"], own["high"], level), measure="delta_alpha_v", n_samples=4), OF_GROUPS),
    "rope by axis": (lambda own, level: plot_rope_axes(
        {"delta_alpha_v": {"all": Interval(own["value"], own["low"], own["high"], level)}})[0], OF_GROUPS),
    "arms": (lambda own, level: plot_arms(
        own.assign(measure="accuracy", arm="removed", relation=own["slot"].map(str)), level=level), OF_GROUPS),
    "amplified": (lambda own, level: plot_amplified(
        own.assign(axis="all", source="probe", alpha=own["slot"], measure="net"), level=level), "interval"),
    "sweeps": (lambda own, level: plot_sweeps({"strip": own.assign(p_any=1.0)}, "", level=level), OF_GROUPS),
    "ids": (lambda own, level: plot_ids(own.assign(null=0.1, null_high=0.3), "r2", 3, level=level),
            "interval over objects"),
    "shifts": (lambda own, level: plot_shifts(own.assign(tokens="text"), 3, level=level), OF_GROUPS),
    "steering": (lambda own, level: plot_steering(own.assign(arm="ids", measure="flipped"), 3, level=level), OF_GROUPS),
    "outcomes": (lambda own, level: plot_outcomes(
        own.assign(set="patched", outcome="place", std=0.1), band="interval", level=level), OF_GROUPS),
    "beyond control": (lambda own, level: plot_beyond_control(
        own.assign(outcome="place", p_any=1.0), level=level), OF_GROUPS),
    "windows": (lambda own, level: plot_windows(
        own.assign(arm="image->last", window=own["slot"].map(str), measure="effect"), ("0", "1", "2"), level=level),
        OF_GROUPS),
    "lens": (lambda own, level: plot_lens(own.assign(measure="share", where="object"), "share", 5, level=level),
             OF_GROUPS),
    "sites": (lambda own, level: plot_sites(
        own.assign(measure="accuracy", site=[f"layer {n}" for n in SLOTS]),
        [Site(f"layer {n}", "language", n) for n in SLOTS], "accuracy", 0.5, level=level), OF_GROUPS),
    "sets": (of_sets, OF_GROUPS),
    "doses": (of_doses, OF_GROUPS),
    "boxes": (lambda own, level: plot_boxes(own.assign(arm="original", function=own["slot"].map(str)), level=level),
              OF_GROUPS),
}  # fmt: skip
"""By figure, who draws it from numbers at `SLOTS` and their level, and what its legend calls the intervals."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_names_its_intervals_and_their_level_where_a_number_has_one(name):
    draw, called = DRAWN[name]
    own = table({}, slot=SLOTS)
    for given, wanted in ((own, [f"90 % {called}"]), (without(own), [])):
        ax = draw(given, 0.9)
        told = [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
        assert [line for line in told if "interval" in line] == wanted, told
        beside = " ".join([ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()]).lower()
        assert ax.get_title(loc="left") and "interval" not in beside and "over groups" not in beside, beside


@pytest.mark.parametrize(("draw", "name"), [(of_cuts, "nothing cut"), (partial(of_sets, untouched=True), "untouched")])
def test_a_shade_has_a_name_where_no_bar_is_drawn(draw, name):
    own = table({}, slot=SLOTS)
    for given, wanted in ((own, [f"{name}, 90 % interval"]), (without(own), [])):
        told = [text.get_text() for text in draw(given, 0.9).get_legend().get_texts()]
        assert [line for line in told if "interval" in line] == wanted and name in told, told
