"""Numbers stand in every report in the same words, and what is not known stands as nothing."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from interp.report.numbers import (
    NOTHING,
    decimal,
    p_said,
    p_value,
    percent,
    points,
    probability,
    ranged,
    share,
    significant,
)

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


def test_that_a_p_beside_the_level_or_beside_one_does_not_read_as_it():
    said = {p: p_value(p) for p in (0.0496, 0.0504, 0.04998, 0.05, 0.996, 0.9996, 1.0)}
    assert all((float(text) < 0.05, float(text) < 1) == (p < 0.05, p < 1) for p, text in said.items()), said
    assert all(float(text) == pytest.approx(p, rel=0.01) and len(text) <= 7 for p, text in said.items()), said


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
    assert write(-1e-17, -2e-17, 1e-17) == f"{wanted} [{wanted}, {wanted}]"
    assert write(-1e-5) == wanted
    assert decimal(-1e-5, signed=True, digits=3) == "+0.000"
    assert decimal(-0.01, digits=2) == "-0.01"


def test_that_a_share_of_less_than_all_is_never_a_hundred_percent():
    assert percent(0.9997, 0.99, 0.99999) == ">99.9 [99.0, 100.0]" and percent(0.0003) == "<0.1"
    assert share(0.9997, 0.99, 1.0) == ">99.9 % [99.0, 100.0]" and share(1.0, 0.9, 1.0) == "100.0 % [90.0, 100.0]"
    assert share(0.9997, 0.9, 1.1, signed=True).startswith("+100.0 %"), "a relative change is no share"
    assert percent(0.997, digits=0) == ">99" and percent(0.0, digits=0) == "0" and percent(1.0, digits=0) == "100"


WRITERS = {
    "percent": percent,
    "share": share,
    "relative": lambda *ends: share(*ends, signed=True),
    "points": points,
    "decimal": decimal,
    "signed": lambda *ends: decimal(*ends, digits=3, signed=True),
    "probability": probability,
    "whole": lambda *ends: decimal(*ends, digits=0),
    "significant": significant,
    "a null": ranged,
}


NUMBER = r"[-+<>]*\d+(?:\.\d+)?(?:e[-+]\d+)?"


def read(text):
    """The number and both ends as they stand."""
    number, *ends = re.findall(NUMBER, text)
    return float(number.strip("<>")), *map(float, ends)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("around", [0.0, 3e-9, 2e-5, 0.004, 0.25, 0.5, 0.99996, 1.0])
@pytest.mark.parametrize("width", [1e-11, 4e-9, 3e-6, 4e-4, 0.003, 0.2])
def test_that_an_interval_of_some_width_is_never_told_as_of_none_nor_moved(name, around, width):
    factor = 100 if name in ("percent", "share", "relative", "points") else 1
    low, high = around - width / 3, around + 2 * width / 3
    text = WRITERS[name](around, low, high)
    value, first, last = read(text)
    assert first < last and first <= value <= last, text
    for told, own in zip(re.findall(NUMBER, text), (around, low, high), strict=True):
        last_place = 10.0 ** Decimal(told.strip("<>")).as_tuple().exponent
        nearest = 1.01 if told[0] in "<>" else 0.501  # of what is told as beyond a last digit
        assert float(told.strip("<>")) == pytest.approx(factor * own, abs=nearest * last_place), text
    for end in (low, high):
        narrow = WRITERS[name](end, end, end)
        assert read(narrow)[1] == read(narrow)[2], f"no width is made up: {narrow}"


@pytest.mark.parametrize(("write", "factor"), [(points, 100), (lambda *ends: decimal(*ends, signed=True), 1)])
@pytest.mark.parametrize("end", [0.0, 4e-4, -4e-4, 3e-5, -3e-5])
def test_that_an_end_beside_nothing_shows_on_which_side_of_it_it_lies(write, factor, end):
    for value, low, high in ((0.2, end, 0.4), (-0.2, -0.4, end)):
        told = read(write(value, low, high))[1 if value > 0 else 2]
        assert (told > 0, told < 0) == (end > 0, end < 0)


def test_that_a_probability_beside_one_does_not_read_as_certain():
    assert [probability(p) for p in (1.0, 0.9997, 0.4, 0.0004, 0.0)] == ["1.00", ">0.99", "0.40", "<0.01", "0.00"]
    assert probability(0.9997, 0.98, 1.0, level=0.95) == ">0.99 [95 % CI 0.98, 1.00]"
    assert probability(0.99996, 0.99993, 0.99998) == "0.99996 [0.99993, 0.99998]"


def test_that_digits_are_added_only_where_they_are_needed():
    assert decimal(0.61, 0.524, 0.698) == "0.61 [0.52, 0.70]" and points(0.003, -0.0041, 0.0102) == "+0.3 [-0.4, +1.0]"
    assert points(0.0131, 0.0003, 0.032) == "+1.31 [+0.03, +3.20]"
    assert decimal(0.9996, 0.9991, 0.99971) == "0.9996 [0.9991, 0.9997]"
    assert decimal(2.9e-9, 1.2e-9, 5.1e-9) == "2.9e-09 [1.2e-09, 5.1e-09]"
    assert percent(0.9997, 0.9996, 0.9998) == "99.97 [99.96, 99.98]"
    assert ranged(0.5, 0.4992, 0.5008) == "0.500 (0.499 to 0.501)"
