"""Both right: the embedded model's own scenes, and what is said of directions of which few are left."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.stats.clusters import clustered_share
from interp.stats.intervals import wilson
from probes.mechanisms.scenes.both_right import BothRight, keep_both_right, says_first
from probes.mechanisms.scenes.geometry import geometry_of
from probes.mechanisms.scenes.line_pairs import line_pairs, setting_of


@cache
def shapes_vlm():
    return HookedVLM.from_pretrained("shapes-vlm", self_check=False)


def known(n=5, **more):
    return line_pairs(setting_of("known"), geometry_of(shapes_vlm()), form="relation", n=n, **more)


def test_the_embedded_model_answers_lines_of_what_it_was_trained_on():
    found = keep_both_right(shapes_vlm(), known(4), progress=False)
    assert len(found.pairs) >= 15
    table = found.to_dataframe()
    assert table.direction.tolist() == ["left", "right", "above", "below", "all"] and table.pairs.iloc[-1] == 16


def test_an_answer_is_right_if_generating_says_so_for_both():
    vlm, pairs = shapes_vlm(), known(1)
    wrong = [pair for pair in pairs if pair.clean.relation == "left"]
    for pair in wrong:
        object.__setattr__(pair.clean, "answer", "right")
    found = keep_both_right(vlm, pairs, batch=3, progress=False)
    for pair, clean, other in zip(pairs, found.clean, found.counterfactual, strict=True):
        for sample, right in ((pair.clean, clean), (pair.counterfactual, other)):
            said = vlm.generate(vlm.prepare(sample.image, sample.question), 4).texts[0]
            assert right == (said.strip() == sample.answer)
    assert not {pair.id for pair in wrong} & {pair.id for pair in found.pairs}


def test_kept_pairs_are_told_by_direction_and_few_are_named():
    pairs = tuple(known(12, directions=["left", "below"]))
    clean = np.ones(24, dtype=bool)
    other = np.arange(24) < 15
    found = BothRight(pairs, clean, other)
    assert len(found.pairs) == 15
    assert found.describe() == (
        "both answers are right in 15 of 24 pairs (12 of 12 left, 3 of 12 below); fewer than 10 are left of below: "
        "these say little"
    )
    row = found.to_dataframe().iloc[1]
    assert (row.clean_right, row.counterfactual_right, row.both_right) == (12, 3, 3)
    assert row.both_right_share == 0.25 and row.low < 0.25 < row.high
    ten = BothRight(pairs, clean, np.arange(24) % 12 < 10)
    assert "fewer" not in ten.describe() and "10 of 12 below" in ten.describe()


def test_pairs_of_one_group_count_for_less_than_as_many_alone_and_two_groups_have_no_interval():
    pairs, every = known(12, directions=["left", "below"]), np.ones(24, dtype=bool)
    for groups, share in ((6, clustered_share), (2, None), (0, lambda both, _: wilson(int(both.sum()), len(both)))):
        names = [f"photo {place % groups}" if groups else "" for place in range(24)]
        asked = tuple(
            replace(pair, clean=replace(pair.clean, group=name)) for pair, name in zip(pairs, names, strict=True)
        )
        both = np.isin(np.arange(24) % 6, (0, 1, 3, 4))
        for row, own in zip(
            BothRight(asked, every, both).to_dataframe().itertuples(), (slice(12), slice(12, None), slice(None)),
            strict=True,
        ):  # fmt: skip
            ends = [np.nan] * 2
            if share:
                told = share(both[own], np.array(names)[own])
                ends = [told.low, told.high]
            assert [row.low, row.high] == pytest.approx(ends, nan_ok=True)
    alone, together = wilson(16, 24), clustered_share(both, np.arange(24) % 6)
    assert together.low < alone.low and together.high > alone.high, "all pairs of a photo are right, or none"


def test_a_token_is_an_answer_but_for_capitals_and_signs():
    assert says_first(" Red", "red") and says_first("▁red", "Red") and not says_first("", "red")
    assert not says_first("Re", "red") and not says_first(".", "...")


def test_what_can_not_be_asked_is_refused():
    with pytest.raises(InputError, match="no pairs"):
        keep_both_right(shapes_vlm(), [])
    with pytest.raises(InputError, match="batch 0 can not"):
        keep_both_right(shapes_vlm(), known(1), batch=0)
    with pytest.raises(InputError, match="two samples have the id"):
        keep_both_right(shapes_vlm(), known(1) * 2, progress=False)
