"""Statements: where nothing differs each is shown no oftener than its rate; what differs is found, at its slots."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from interp.errors import InputError
from interp.stats import sign_flips
from interp.stats.clusters import mean_over_groups
from probes.mechanisms.ablation.measurement import ARMS
from probes.mechanisms.ablation.ordering import OrderingAblation, measure_ablation
from probes.mechanisms.dual.evidence import Evidence
from probes.mechanisms.dual.statements import LEVEL, state
from probes.mechanisms.interchange.result import Interchange

SLOTS, GROUPS, EACH = 4, 10, 2
"""Few groups of few pairs, which are alike inside a group."""

MODELS = 200
ALL = ("encoder_carries", "encoder_is_enough", "language_adds", "language_builds", "answer_is_read")


@pytest.fixture
def fewer_flips():
    """Fewer sign flips, which only coarsens p-values."""
    whole = sign_flips.flip_signs

    def fewer(*given, **options):
        return whole(*given, **{**options, "n": 199})

    with pytest.MonkeyPatch.context() as patch:
        for module in ("probes.mechanisms.dual.evidence", "probes.mechanisms.interchange.result"):
            patch.setattr(f"{module}.flip_signs", fewer)
        yield


def noise(rng, *shape, scale=0.05):
    """Numbers of pairs that lean one way together inside each group, with some far out."""
    size = (GROUPS * EACH, *shape)
    shared = np.repeat(rng.standard_t(3, size=(GROUPS, *shape)), EACH, axis=0)
    return scale * (shared + rng.normal(size=size) / 2)


def swept(rng, positions, effect=(0.0,) * SLOTS, *, groups=GROUPS, right=True, scale=0.05):
    """A sweep in which patch and control differ by noise and a known effect on `place`."""
    own = slice(0, groups * EACH)
    pairs = groups * EACH
    base = noise(rng, SLOTS, 2, scale=scale)[own]  # what any swap of that size does
    control = 0.4 + base + noise(rng, SLOTS, 2, scale=scale)[own]
    patched = 0.4 + base + noise(rng, SLOTS, 2, scale=scale)[own]
    patched[..., 1] += np.array(effect)  # [slot], or [pair slot]
    return Interchange(
        positions=positions, control="random_same_size", hook="resid_pre", slots=tuple(range(SLOTS)),
        outcomes=("clean", "place"), ids=tuple(map(str, range(pairs))), groups=np.repeat(np.arange(groups), EACH),
        directions=np.array(["left"] * pairs, dtype=object),
        p_clean=np.full((pairs, 2), 0.4, np.float32), p_counterfactual=np.full((pairs, 2), 0.4, np.float32),
        p_patched=patched.astype(np.float32), p_control=control.astype(np.float32),
        right_clean=np.full(pairs, right), right_counterfactual=np.full(pairs, right),
        settings={"seed": 0, "draws": 60, "level": 0.95},
    )  # fmt: skip


def ablated(rng, *, removed=1 / 3, kept=None, groups=GROUPS):
    """Answers that are right so often, and alike inside a group; without `kept`, arms differ by nothing but luck."""

    def answers(share):
        leans = np.repeat(rng.beta(2 * share, 2 * (1 - share), size=groups), EACH)
        return rng.random(groups * EACH) < leans

    right = np.stack([answers(removed if kept is None or arm == "ordering removed" else kept) for arm in ARMS])
    return ablation_of(right)


def ablation_of(right, chances=(1 / 3,)):
    """The ablation of these answers [arm sample], of relations that are as often right by chance, one after another."""
    count = right.shape[1]
    groups = np.repeat([f"group {number}" for number in range(count // EACH)], EACH)
    of = np.resize(np.arange(len(chances)), count)
    relations = np.array([f"relation {number}" for number in of], dtype=object)
    each = np.array(chances)[of]
    measures, left_out = measure_ablation(right, each, relations, groups, n=60)
    ids = [str(number) for number in range(count)]
    told = pd.DataFrame({"id": ids, "group": groups, "relation": relations})
    chance = {"all": float(each.mean())} | {f"relation {number}": value for number, value in enumerate(chances)}
    return OrderingAblation(right, ARMS, measures, left_out, told, chance, {"seed": 0, "draws": 60, "level": 0.95})


def stated(sweeps, ablation=None, refused=None, *, axes=("horizontal",), seed=0):
    """Statements, and what is left out; pairs lie along these axes in turn, so that each group has some of each."""
    of = {str(number): axes[number % len(axes)] for number in range(GROUPS * EACH)}
    return state(Evidence(sweeps, ablation, refused or {}, of, seed))


def told_of(seed, axes=("horizontal",), **effects):
    """All statements of one simulated model, by name; of two axes, by name and axis."""
    rng = np.random.default_rng(seed)
    sweeps = {name: swept(rng, name, *effects.get(name, ())) for name in ("strip", "object", "last", "backup")}
    table, _ = stated(sweeps, ablated(rng, **effects.get("ablate", {})), axes=axes, seed=seed)
    return table.set_index(["statement", "axis"] if len(axes) > 1 else "statement")


def test_where_nothing_differs_no_statement_is_shown_oftener_than_its_rate(fewer_flips):
    shown = np.array([told_of(seed).loc[list(ALL), "shown"] for seed in range(MODELS)], dtype=bool)
    most = binom.ppf(0.999, MODELS, LEVEL)
    assert (shown.sum(axis=0) <= most).all(), dict(zip(ALL, shown.sum(axis=0), strict=True))
    both = shown[:, ALL.index("language_adds")] & shown[:, ALL.index("language_builds")]
    assert (shown[:, 0] | both).sum() <= most, "so that a verdict is wrong no oftener either"


def test_the_largest_of_all_slots_is_not_taken_for_one_that_was_named_before(fewer_flips):
    """By the p-value of each slot alone, far more null models would be told to build the order somewhere."""
    alone = 0
    for seed in range(60):
        own = swept(np.random.default_rng(seed), "backup").differences()
        own = own[(own["outcome"] == "place") & (own["slot"] > 0)]
        alone += bool((own["p"] <= LEVEL).any())
    assert alone > binom.ppf(0.99, 60, LEVEL)


EFFECT = 0.5


def test_what_differs_is_found_at_its_slots():
    effects = {
        "strip": ((EFFECT, EFFECT, 0, 0),),
        "object": ((1.6 * EFFECT, 1.6 * EFFECT, 0, 0),),
        "backup": ((0, EFFECT, 2 * EFFECT, 0),),
        "last": ((0, 0, EFFECT, 2 * EFFECT),),
        "ablate": {"removed": 0.8, "kept": 0.97},
    }
    told = told_of(0, **effects)
    carries = told.loc["encoder_carries"]
    assert carries["shown"] and carries["slots"] == "0" and carries["measure"].startswith("P(place), objects swapped")
    assert (
        carries["value"] == pytest.approx(1.6 * EFFECT, abs=0.1) and carries["low"] < carries["value"] < carries["high"]
    )
    builds = told.loc["language_builds"]
    assert builds["shown"] and builds["slots"] == "1,2" and builds["value"] == pytest.approx(2 * EFFECT, abs=0.1)
    read = told.loc["answer_is_read"]
    assert read["shown"] and read["slots"] == "2,3" and read["value"] == pytest.approx(EFFECT, abs=0.1)
    assert told.loc["language_adds", "shown"] and told.loc["language_adds", "value"] > 0.3
    enough = told_of(1, ablate={"removed": 0.3, "kept": 0.95}).loc["encoder_is_enough"]
    assert enough["shown"] and enough["value"] > 0.4 and 0 < enough["low"] < enough["value"] < enough["high"]


def test_a_swap_that_lowers_is_never_shown_however_sure():
    lower = ((-EFFECT,) * SLOTS,)
    told = told_of(0, strip=lower, object=lower, backup=lower, last=lower, ablate={"removed": 0.05, "kept": 0.02})
    assert not told["shown"].any() and (told.loc["language_builds", "value"] < 0)
    assert (told.loc[["encoder_carries", "answer_is_read"], "p"] <= LEVEL).all()


def test_a_change_too_small_to_matter_is_taken_for_none():
    rng = np.random.default_rng(0)
    sweeps = {name: swept(rng, name, (0.005,) * SLOTS, scale=1e-4) for name in ("object", "last", "backup")}
    told = stated(sweeps)[0].set_index("statement")
    assert not told["shown"].any() and len(told) == 3
    assert (told["p"] <= LEVEL).all() and not told.loc["language_builds", "slots"]


def test_the_larger_of_two_swaps_pays_for_being_chosen():
    rng = np.random.default_rng(0)
    own = {"object": swept(rng, "object", (EFFECT, 0, 0, 0)), "strip": swept(rng, "strip", (EFFECT / 4, 0, 0, 0))}
    alone, both = (stated(sweeps)[0].iloc[0] for sweeps in ({"object": own["object"]}, own))
    assert both["p"] == pytest.approx(2 * alone["p"]) and both["measure"] == alone["measure"]


def test_order_that_is_there_at_once_was_not_built():
    told = told_of(0, backup=((EFFECT,) * SLOTS,)).loc["language_builds"]
    assert not told["shown"] and told["slots"] == "1,2,3"


def test_what_can_not_be_told_says_why_and_a_refused_tool_says_its_own():
    rng = np.random.default_rng(0)
    table, out = stated({"object": swept(rng, "object", right=False)}, refused={"last": "not with this tower."})
    why = out.set_index("measure")["why"]
    assert not len(table) and set(out["measure"]) == set(ALL) and set(out["axis"]) == {"all"}
    assert why["encoder_carries"] == "there is no pair of which the model gets both sides right"
    assert why["answer_is_read"] == "this model can not be measured by 'last': not with this tower"
    assert why["language_adds"] == "'ablate' was not measured" == why["encoder_is_enough"]
    one = stated({"object": swept(rng, "object", groups=1)})[1].set_index("measure")["why"]
    assert "lie in one group" in one["encoder_carries"]
    assert "slot 0" in stated({})[1].set_index("measure")["why"]["encoder_carries"]
    without = stated({"backup": swept(rng, "backup", right=False)})[1].set_index("measure")["why"]
    assert without["language_builds"].endswith("gets both sides right with order removed")


def test_a_tool_is_known_by_its_name_and_not_by_what_a_message_says():
    """Reasons that name other tools, also refused ones, change nothing."""
    refused = {
        "strip": "neither 'last' nor 'backup' goes",
        "object": "no",
        "last": "as 'strip' says",
        "ablate": "'last'",
    }
    why = stated({}, refused=refused)[1].set_index("measure")["why"]
    said = {name: f"this model can not be measured by {name!r}: {text}" for name, text in refused.items()}
    assert why["encoder_carries"] == f"{said['strip']}; {said['object']}"
    assert why["answer_is_read"] == said["last"] and why["language_adds"] == said["ablate"]
    assert why["language_builds"] == "'backup' was not measured"


# axes ---------------------------------------------------------------------------------------------------------------

BOTH = ("horizontal", "vertical")


def along(axis, effect):
    """An effect at each slot, [pair slot], in pairs along one axis alone."""
    own = np.array([BOTH[number % 2] == axis for number in range(GROUPS * EACH)])
    return own[:, None] * np.array(effect)


def test_rows_that_turn_and_columns_that_do_not_are_told_apart():
    turns = along("horizontal", (0, 2 * EFFECT, 0, 0))
    first = along("horizontal", (2 * EFFECT, 0, 0, 0))
    told = told_of(0, BOTH, object=(first,), backup=(turns,), last=(turns,))
    for name in ("encoder_carries", "language_builds", "answer_is_read"):
        rows, columns, every = (told.loc[name, axis] for axis in (*BOTH, "all"))
        assert rows["shown"] and rows["value"] == pytest.approx(2 * EFFECT, abs=0.1) and rows["pairs"] == GROUPS
        assert not columns["shown"] and abs(columns["value"]) < 0.1
        assert every["value"] == pytest.approx(EFFECT, abs=0.1) and every["pairs"] == 2 * GROUPS
    assert told.loc[("language_builds", "horizontal"), "slots"] == "1"
    assert not told.loc[("language_builds", "vertical"), "slots"]


def test_accuracies_are_of_each_axis_alone():
    count = GROUPS * EACH
    rows = np.arange(count) % 2 == 0
    right = np.zeros((len(ARMS), count), dtype=bool)
    right[ARMS.index("ordering kept")] = True
    right[ARMS.index("ordering removed")] = rows
    told = stated({}, ablation_of(right), axes=BOTH)[0].set_index(["statement", "axis"])
    values = {axis: told.loc[("encoder_is_enough", axis), "value"] for axis in ("all", *BOTH)}
    assert values == {"all": pytest.approx(0.5), "horizontal": 0, "vertical": 1}
    over = {axis: told.loc[("language_adds", axis), "value"] for axis in ("all", *BOTH)}
    assert over == {axis: pytest.approx(share - 1 / 3) for axis, share in zip(over, (0.5, 1, 0), strict=True)}
    assert told.loc[("encoder_is_enough", "vertical"), "shown"] and told.loc[("language_adds", "horizontal"), "shown"]
    assert not told.loc[("encoder_is_enough", "horizontal"), "shown"]
    assert told.loc[("encoder_is_enough", "horizontal"), "p"] == 1 > 0.01 > told.loc[("encoder_is_enough", "all"), "p"]
    assert (told["pairs"] == [count, GROUPS, GROUPS] * 2).all()


def test_tests_of_accuracies_on_one_axis_are_corrected_for_both():
    """By flips of each group, one column after another, of which the farthest is taken."""
    right = np.random.default_rng(2).random((len(ARMS), GROUPS * EACH)) < 0.7
    table = stated({}, ablation_of(right, chances=(0.5,)), axes=BOTH)[0].set_index(["statement", "axis"])
    told = table["p"]
    groups = np.repeat(np.arange(GROUPS), EACH)
    signs = np.random.default_rng(0).integers(0, 2, size=(sign_flips.FLIPS, GROUPS)) * 2 - 1
    removed, kept = (right[ARMS.index(f"ordering {arm}")] * 1.0 for arm in ("removed", "kept"))
    for statement, values, most in (("language_adds", removed - 0.5, 0.5), ("encoder_is_enough", kept - removed, 1)):
        far = []
        for place in range(2):
            own = np.where(np.arange(len(values)) % 2 == place, values, 0)
            sums = np.array([own[groups == group].sum() for group in range(GROUPS)])
            far.append(np.abs([sums.sum(), *(signs @ sums)]) / np.sqrt(np.square(sums).sum()))
            how = {"seed": 0, "n": 60, "bounds": (-most, most)}
            ends = mean_over_groups(values[place::2, None], groups[place::2].astype(str), **how)
            row = table.loc[(statement, BOTH[place])]
            assert [row["low"], row["high"]] == pytest.approx([ends.low[0], ends.high[0]], abs=1e-6)
        largest = np.max(far, axis=0)
        corrected = [(largest >= one[0] - 1e-9).mean() for one in far]
        alone = [(one >= one[0] - 1e-9).mean() for one in far]
        assert [told[statement, axis] for axis in BOTH] == pytest.approx(corrected)
        assert max(np.subtract(corrected, alone)) > 0.001, "which is not that of each axis alone"


@pytest.mark.slow
def test_where_nothing_differs_no_axis_is_shown_oftener_than_the_rate_of_both(fewer_flips):
    shown = np.zeros((MODELS, len(ALL)), dtype=bool)
    for seed in range(MODELS):
        told = told_of(seed, BOTH)["shown"].astype(bool)
        shown[seed] = [told.loc[name].drop("all").any() for name in ALL]
    assert (shown.sum(axis=0) <= binom.ppf(0.999, MODELS, LEVEL)).all(), dict(zip(ALL, shown.sum(axis=0), strict=True))


def test_an_axis_of_which_nothing_can_be_told_is_left_out_by_its_name():
    rng = np.random.default_rng(0)
    found = swept(rng, "last", (EFFECT,) * SLOTS)
    found.right_clean[1::2] = False
    table, out = stated({"last": found}, axes=BOTH)
    assert table["axis"].tolist() == ["all", "horizontal"]
    own = out[out["measure"] == "answer_is_read"]
    assert own[["axis", "why"]].values.tolist() == [
        ["vertical", "there is no pair of which the model gets both sides right"]
    ]


def naive(found, labels, part, slots):
    """p of one part at each slot, corrected for all slots of all parts, by flips one after another."""
    at = found.outcomes.index("place")
    apart = (found.p_patched - found.p_control)[..., at].astype(float)
    groups = list(dict.fromkeys(found.groups.tolist()))
    cells = {
        (name, slot): [apart[(found.groups == group) & (labels == name), slot].sum() for group in groups]
        for name in dict.fromkeys(labels.tolist())
        for slot in slots
    }
    signs = np.random.default_rng(0).integers(0, 2, size=(sign_flips.FLIPS, len(groups))) * 2 - 1
    far = {
        cell: np.abs([sum(sums), *(signs @ np.array(sums))]) / np.sqrt(np.square(sums).sum())
        for cell, sums in cells.items()
    }
    largest = np.max(list(far.values()), axis=0)
    return [(largest >= far[part, slot][0] - 1e-9).mean() for slot in slots]


def test_tests_of_parts_are_corrected_for_all_slots_of_all_parts():
    found = swept(np.random.default_rng(3), "last", along("vertical", (0, 0.03, 0.06, 0)))
    labels = np.array([BOTH[number % 2] for number in range(GROUPS * EACH)], dtype=object)
    told = found.differences_by(labels).query("outcome == 'place'").set_index(["part", "slot"])
    for part in BOTH:
        assert told.loc[part, "p_any"].tolist() == pytest.approx(naive(found, labels, part, range(SLOTS)), abs=1e-6)
        own = found.kept & (labels == part)
        apart = (found.p_patched - found.p_control)[own][..., 1].mean(axis=0)
        assert told.loc[part, "value"].tolist() == pytest.approx(apart.tolist(), abs=1e-6)
    one = found.differences_by(np.full(len(labels), "all", dtype=object)).rename(columns={"part": "direction"})
    pd.testing.assert_frame_equal(one, found.differences())
    with pytest.raises(InputError, match="give one for each"):
        found.differences_by(labels[:3])


def test_few_groups_show_nothing_however_large_it_is():
    """Four groups have 16 flips, of which two are as far out as any."""
    rng = np.random.default_rng(0)
    sweeps = {name: swept(rng, name, (0, EFFECT, EFFECT, 0), groups=4) for name in ("object", "last", "backup")}
    sweeps["object"] = swept(rng, "object", (EFFECT,) * SLOTS, groups=4)
    right = np.ones((len(ARMS), 4 * EACH), dtype=bool)
    right[ARMS.index("ordering removed")] = False
    table = pd.concat([stated(sweeps, ablation_of(own))[0] for own in (right, ~right)]).set_index("statement")
    sure = table[table["low"] > 0.1]
    alike = {"language_adds", "encoder_is_enough"}  # accuracies of 0 and 1: of four groups they say little
    assert set(sure.index) == set(ALL) - alike and not table["shown"].any() and (sure["p"] > 0.1).all()


def test_accuracy_is_held_against_chance_question_by_question():
    rng = np.random.default_rng(0)
    right = rng.random((len(ARMS), GROUPS * EACH)) < 0.55
    found = ablation_of(right, chances=(0.5, 0.25))
    told = stated({}, found)[0].set_index("statement").loc["language_adds"]
    over = right[ARMS.index("ordering removed")] - np.resize([0.5, 0.25], GROUPS * EACH)
    groups = np.repeat(np.arange(GROUPS), EACH)
    assert told["value"] == pytest.approx(over.mean(), abs=1e-6)
    assert told["p"] == pytest.approx(sign_flips.flip_signs(over[:, None], groups, seed=0).p[0])
    level = ablation_of(np.resize([True, False], (len(ARMS), GROUPS * EACH)), chances=(0.5,))
    told = stated({}, level)[0].set_index("statement").loc["language_adds"]
    assert told["value"] == 0 and told["p"] == 1, "right as often as chance is nothing"
    enough = stated({}, found)[0].set_index("statement").loc["encoder_is_enough"]
    lost = right[ARMS.index("ordering kept")] * 1.0 - right[ARMS.index("ordering removed")]
    assert enough["p"] == pytest.approx(sign_flips.flip_signs(lost[:, None], groups, seed=0).p[0])
