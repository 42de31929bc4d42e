"""Numbers stand in every report in the same words, and what is not known stands as nothing."""

import re
from pathlib import Path

import pytest

from interp.report.numbers import NOTHING, decimal, p_said, p_value, percent, points, share

ROOT = Path(__file__).parents[3]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "write, wanted",
    [
        (percent, "25.0 [12.5, 50.0]"),
        (share, "25.0 % [12.5, 50.0]"),
        (points, "+25.0 [+12.5, +50.0]"),
        (decimal, "0.25 [0.12, 0.50]"),
    ],
)
def test_that_a_number_has_its_interval_where_both_ends_are_known(write, wanted):
    number, _, _ = wanted.rpartition(" [")
    assert write(0.25, 0.125, 0.5) == wanted
    assert write(0.25, NAN, 0.5) == write(0.25, 0.125, INF) == number
    assert write(NAN, 0.125, 0.5) == write(INF, 0.125, 0.5) == NOTHING


@pytest.mark.parametrize("write, unit", [(percent, ""), (share, " %")])
def test_that_less_than_all_is_not_called_all_nor_more_than_none_none(write, unit):
    told = {0.0: "0.0", 0.0004: "<0.1", 0.0006: "0.1", 0.9994: "99.9", 0.9996: ">99.9", 1.0: "100.0", 1.0004: "100.0"}
    assert {value: write(value, NAN, NAN) for value in told} == {value: f"{text}{unit}" for value, text in told.items()}
    assert write(1999 / 2000, 0.9972, 0.9999) == f">99.9{unit} [99.7, 100.0]"


def test_that_decimals_have_the_digits_and_the_sign_that_are_asked_for():
    assert decimal(0.25, 0.125, 0.5, digits=3) == "0.250 [0.125, 0.500]"
    assert decimal(0.25, -0.125, 0.5, signed=True) == "+0.25 [-0.12, +0.50]"


def test_that_a_p_value_has_as_many_digits_as_mean_something():
    assert [p_value(p) for p in (0.00001, 0.0312, 1.0, NAN)] == ["<0.0001", "0.031", "1", NOTHING]


def test_that_a_sentence_says_that_a_small_p_is_below_and_never_that_it_equals_below():
    assert [p_said(p) for p in (0.00001, 0.0, 0.0001, 0.0312, 1.0, NAN)] == [
        "p < 0.0001",
        "p < 0.0001",
        "p = 0.0001",
        "p = 0.031",
        "p = 1",
        f"p {NOTHING}",
    ]
    assert [p_said(p, "≤") for p in (0.00001, 0.0312)] == ["p < 0.0001", "p ≤ 0.031"]


def test_that_no_test_is_named_where_there_is_no_p():
    assert p_said(NAN, test="Student's t") == f"p {NOTHING}" and p_said(0.2, test="Student's t").endswith("Student's t")


@pytest.mark.parametrize("room", ["interp", "adaptvis", "probes", "docs/scripts"])
def test_that_no_sentence_puts_a_sign_of_its_own_before_a_p_value(room):
    own = re.compile(r"\bp ?[=≤<]* ?\{p_value\(|\bp \{\w+\.p(_\w+)?:")
    sources = (ROOT / room).rglob("*.py")
    assert not [f"{path}: {found[0]}" for path in sources for found in own.finditer(path.read_text("utf-8"))]


@pytest.mark.parametrize("write, wanted", [(percent, "0.0"), (points, "+0.0"), (decimal, "0.00")])
def test_that_what_rounds_to_nothing_has_no_minus_sign(write, wanted):
    assert write(-1e-5, -2e-5, 1e-5) == f"{wanted} [{wanted}, {wanted}]"
    assert decimal(-1e-5, signed=True, digits=3) == "+0.000"
    assert decimal(-0.01, digits=2) == "-0.01"


def test_that_a_share_of_less_than_all_is_never_a_hundred_percent():
    assert percent(0.9997, 0.99, 0.99999) == ">99.9 [99.0, 100.0]" and percent(0.0003) == "<0.1"
    assert share(0.9997, 0.99, 1.0) == ">99.9 % [99.0, 100.0]" and share(1.0, 0.9, 1.0) == "100.0 % [90.0, 100.0]"
    assert share(0.9997, 0.9, 1.1, signed=True).startswith("+100.0 %"), "a relative change is no share"
    assert percent(0.997, digits=0) == ">99" and percent(0.0, digits=0) == "0" and percent(1.0, digits=0) == "100"
