"""Statements: where nothing differs each is shown no oftener than its rate; what differs is found, at its slots."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from interp.stats import sign_flips
from probes.mechanisms.ablation.measurement import ARMS
from probes.mechanisms.ablation.ordering import OrderingAblation, measure_ablation
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
        for module in ("probes.mechanisms.dual.statements", "probes.mechanisms.interchange.result"):
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
    patched[..., 1] += np.array(effect)
    return Interchange(
        positions=positions, control="random_same_size", hook="resid_pre", slots=tuple(range(SLOTS)),
        outcomes=("clean", "place"), ids=tuple(map(str, range(pairs))), groups=np.repeat(np.arange(groups), EACH),
        directions=np.array(["left"] * pairs, dtype=object),
        p_clean=np.full((pairs, 2), 0.4, np.float32), p_counterfactual=np.full((pairs, 2), 0.4, np.float32),
        p_patched=patched.astype(np.float32), p_control=control.astype(np.float32),
        right_clean=np.full(pairs, right), right_counterfactual=np.full(pairs, right),
        settings={"seed": 0, "draws": 60, "level": 0.95},
    )  # fmt: skip


def ablated(rng, *, removed=1 / 3, kept=None):
    """Answers that are right so often, and alike inside a group; without `kept`, arms differ by nothing but luck."""

    def answers(share):
        leans = np.repeat(rng.beta(2 * share, 2 * (1 - share), size=GROUPS), EACH)
        return rng.random(GROUPS * EACH) < leans

    right = np.stack([answers(removed if kept is None or arm == "ordering removed" else kept) for arm in ARMS])
    groups = np.repeat([f"group {number}" for number in range(GROUPS)], EACH)
    chances = np.full(len(groups), 1 / 3)
    measures, left_out = measure_ablation(right, chances, np.array([""] * len(groups)), groups, n=60)
    told = pd.DataFrame({"id": [str(number) for number in range(len(groups))], "group": groups})
    return OrderingAblation(right, ARMS, measures, left_out, told, {"all": 1 / 3}, {"seed": 0})


def told_of(seed, **effects):
    """All statements of one simulated model."""
    rng = np.random.default_rng(seed)
    sweeps = {name: swept(rng, name, *effects.get(name, ())) for name in ("strip", "object", "last", "backup")}
    return state(sweeps, ablated(rng, **effects.get("ablate", {})), seed=seed)[0].set_index("statement")


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
        "object": ((2 * EFFECT, 2 * EFFECT, 0, 0),),
        "backup": ((0, EFFECT, 2 * EFFECT, 0),),
        "last": ((0, 0, EFFECT, 2 * EFFECT),),
        "ablate": {"removed": 0.8, "kept": 0.97},
    }
    told = told_of(0, **effects)
    carries = told.loc["encoder_carries"]
    assert carries["shown"] and carries["slots"] == "0" and carries["measure"].startswith("P(place), objects swapped")
    assert (
        carries["value"] == pytest.approx(2 * EFFECT, abs=0.1) and carries["low"] < carries["value"] < carries["high"]
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
    told = state(sweeps, None)[0].set_index("statement")
    assert not told["shown"].any() and len(told) == 3
    assert (told["p"] <= LEVEL).all() and not told.loc["language_builds", "slots"]


def test_the_larger_of_two_swaps_pays_for_being_chosen():
    rng = np.random.default_rng(0)
    own = {"object": swept(rng, "object", (EFFECT, 0, 0, 0)), "strip": swept(rng, "strip", (EFFECT / 4, 0, 0, 0))}
    alone, both = (state(sweeps, None)[0].iloc[0] for sweeps in ({"object": own["object"]}, own))
    assert both["p"] == pytest.approx(2 * alone["p"]) and both["measure"] == alone["measure"]


def test_order_that_is_there_at_once_was_not_built():
    told = told_of(0, backup=((EFFECT,) * SLOTS,)).loc["language_builds"]
    assert not told["shown"] and told["slots"] == "1,2,3"


def test_what_can_not_be_told_says_why_and_a_refused_tool_says_its_own():
    rng = np.random.default_rng(0)
    table, out = state({"object": swept(rng, "object", right=False)}, None, {"last": "not with this tower"})
    why = out.set_index("measure")["why"]
    assert not len(table) and set(out["measure"]) == set(ALL)
    assert "both sides right" in why["encoder_carries"] and why["answer_is_read"] == "not with this tower"
    assert why["language_adds"] == "'ablate' was not measured" == why["encoder_is_enough"]
    one = state({"object": swept(rng, "object", groups=1)}, None)[1].set_index("measure")["why"]
    assert "group" in one["encoder_carries"]
    assert "slot 0" in state({}, None)[1].set_index("measure")["why"]["encoder_carries"]
