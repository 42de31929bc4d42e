"""The report counts the reported samples whose object pair or photo helped to choose the settings."""

import dataclasses

import pandas as pd
import pytest
from made_up_evaluation import made_up_evaluation

from adaptvis.report.measures import measure_evaluation
from adaptvis.report.setup import RunFacts, _shared_groups, chosen_section
from adaptvis.report.write import write_evaluation
from interp.store.folder import OutputFolder


def part(groups, start=0):
    """A sweep of two settings over samples of these groups."""
    ids = [f"s{start + place}" for place in range(len(groups))]
    return pd.DataFrame({"id": 2 * ids, "group": 2 * list(groups), "setting": ["a"] * len(ids) + ["b"] * len(ids)})


@pytest.mark.parametrize(
    ("validation", "test", "says"),
    [
        ("aabb", "aacc", "2 of 4 reported samples share their group"),
        ("ab", "abbbc", "4 of 5 reported samples share their group"),
        ("aa", "bc", "No reported sample shares its group"),
        (["a", ""], "bc", "is not known"),
        (["a", None], "bc", "is not known"),
        ("ab", ["c", ""], "is not known"),
    ],
)
def test_samples_that_share_a_group_with_the_validation_part_are_counted(validation, test, says):
    said = _shared_groups(part(validation), part(test, 9))
    assert says in said and ("tend to be too high" in said) == ("share their" in said)
    assert "is not known" in _shared_groups(part(validation).drop(columns="group"), part(test, 9))


def test_the_page_says_it_with_what_was_chosen_and_claims_nowhere_that_choosing_costs_nothing(tmp_path):
    evaluation = made_up_evaluation(n=40, options=("left", "right", "on", "under"), sets=True)
    whole = evaluation.test.drop_duplicates("id")
    known = set(evaluation.validation["group"])
    text = " ".join(chosen_section(evaluation, measure_evaluation(evaluation), RunFacts("", "", {})).text)
    assert f"{int(whole['group'].isin(known).sum())} of {len(whole)} reported samples share" in text
    apart = evaluation.validation.assign(group="other " + evaluation.validation["group"])
    apart = dataclasses.replace(evaluation, validation=apart)
    write_evaluation(OutputFolder(tmp_path), None, apart, (), {"model": "made-up"})
    page = (tmp_path / "report.html").read_text()
    assert "No reported sample shares its group" in page and "free of this" not in page


@pytest.mark.parametrize("n", (2, 5, 12))
def test_few_samples_that_share_no_group_are_said_to_be_few_on_page_and_screen(tmp_path, capsys, n):
    write_evaluation(OutputFolder(tmp_path), None, made_up_evaluation(("baseline", "scaling"), n=n), (), {"model": "x"})
    for told in ((tmp_path / "report.html").read_text(), capsys.readouterr().out):
        assert (f"There are only {n} samples: " in told) == (n < 12)


@pytest.mark.parametrize("groups", (1, 2))
def test_a_page_of_fewer_than_three_groups_says_so_and_has_no_gaps_where_numbers_should_be(tmp_path, groups):
    evaluation = made_up_evaluation(("baseline", "scaling"), n=4 * groups, sets=True, seed=5)
    write_evaluation(OutputFolder(tmp_path), None, evaluation, (), {"model": "made-up"})
    page = (tmp_path / "report.html").read_text()
    each = "each of the 2 groups" if groups == 2 else "what the one group (object pair, photo) gains"
    assert each in page and "1 groups" not in page
    assert (
        f"Samples lie in {groups} group{'s' * (groups > 1)}: what is drawn by group has no interval of fewer than 3."
        in page
    )
    assert "would show \N{EN DASH}" not in page and "expected calibration error is" in page
