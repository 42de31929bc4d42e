"""The page of error rates says of each rate whether it is kept."""

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def page():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(Path(__file__).parents[1] / "docs" / "scripts")
        import statistics_rates

        yield statistics_rates


@pytest.mark.parametrize(
    ("nominal", "measured", "said"),
    [(0.95, 0.93, "kept"), (0.95, 0.99, "conservative"), (0.95, 0.91, "not kept"),
     (0.05, 0.07, "kept"), (0.05, 0.01, "conservative"), (0.05, 0.09, "not kept")],
)  # fmt: skip
def test_a_rate_is_read_by_its_monte_carlo_error(page, nominal, measured, said):
    assert page.reading(nominal, measured, 0.01).strip("*") == said


def test_the_page_has_a_row_for_each_rate_and_the_time(page, tmp_path, monkeypatch):
    class Part:
        @staticmethod
        def rates(repeats):
            rows = [("an interval", 0.95, 0.9, 0.01), ("a test", 0.05, 0.04, 0.01)]
            names = ("name", "nominal", "measured", "error")
            return [SimpleNamespace(**dict(zip(names, row, strict=True)), repeats=repeats) for row in rows]

    monkeypatch.setattr(page, "import_module", lambda name: Part)
    monkeypatch.setattr(page, "association_time", lambda: {"shape": "9 samples", "seconds": "3"})
    monkeypatch.setattr(page, "PARTS", {"a_part": "Rates"})
    said = page.write_rates(tmp_path / "rates.md", 7).read_text()
    assert "| an interval | 0.95 | 0.900 | 0.010 | 7 | **not kept** |" in said
    assert "| a test | 0.05 | 0.040 | 0.010 | 7 | kept |" in said and "takes 3 seconds" in said
    assert "- an interval: no reason is known. 1 row, the farthest of them 0.900 where 0.95 is promised.\n" in said


def test_rates_that_are_not_kept_say_why_those_of_one_reason_together(page):
    names = ("3 wrong, spread twice as far: AUROC 0.5", "5 wrong, spread twice as far: AUROC 0.7", "another")
    rates = [SimpleNamespace(name=name, nominal=0.95, error=0.01) for name in names]
    for rate, measured in zip(rates, (0.85, 0.8, 0.95), strict=True):
        rate.measured = measured
    (why,) = page.reasons(rates)
    assert why.startswith("Few wrong answers") and why.endswith(
        "2 rows, the farthest of them 0.800 where 0.95 is promised."
    )


def rows_of(page):
    """The rows of the page's tables: what, promised, measured, and how it reads."""
    cells = [row.split(" | ") for row in page.PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    return [(own[0][2:], own[1], own[2], own[5]) for own in cells if own[1] not in ("promised", "---")]


def test_every_reason_is_of_rows_of_the_page_and_every_row_that_is_not_kept_has_one(page):
    text, told = page.PAGE.read_text(encoding="utf-8"), {}
    for name, promised, measured, reads in rows_of(page):
        if page.NOT_KEPT in reads:
            told.setdefault(next(key for key in page.WHY if key in name), []).append((promised, measured))
    assert told and text.count("the farthest of them") == len(told)
    for key, own in told.items():
        promised, measured = max(own, key=lambda one: abs(float(one[1]) - float(one[0])))
        rows = f"{len(own)} row{'s' if len(own) > 1 else ''}"
        said = f"- {page.WHY[key]} {rows}, the farthest of them {measured} where {promised} is promised."
        assert said in text.splitlines(), said


def test_what_reports_do_in_place_of_what_is_not_kept_is_kept(page):
    """Each reason that says what reports do has rows of that, which are kept."""
    done = {
        "of that layer alone": [("Farthest", "interval for all")],
        "of that one alone": [("largest", "interval for all")],
        "not moved back": [("ends moved back",)],
        "not spread": [("interval over runs and scenes",)],
        "without it": [("beside relation", "with the relation")],
        "as it is": [("beside confidence", "logit"), ("beside area", "log")],
        "split: official": [("split: by-pair",)],
    }
    assert set(done) == {key for key, why in page.WHY.items() if "Report" in why or "default" in why}
    for words in (words for each in done.values() for words in each):
        own = [reads for name, *_, reads in rows_of(page) if all(word in name for word in words)]
        assert own and not any(page.NOT_KEPT in reads for reads in own), words


def test_few_wrong_answers_that_spread_farther_matter_less_the_more_there_are(page):
    rows = [row for row in rows_of(page) if "spread twice as far" in row[0]]
    worst = [min(float(row[2]) for row in rows if f", {wrong} wrong" in row[0]) for wrong in (3, 5, 10, 60)]
    assert worst == sorted(worst), worst


SHORT = {
    **dict.fromkeys(["largest mean 8, 0.8", "largest mean 40, 0", "largest share 1", "largest share 3"], 200),
    "Gini index of 48 sizes, of which 7 are no noise": 200,
    **dict.fromkeys(["correlation of two noisy maps that are alike", "runs 3, 0", "runs 3, 1", "runs 5, 1"], 200),
}
"""How many made-up data sets scenarios are held to here; the page has the rates of more."""


@pytest.mark.parametrize("name", SHORT)
def test_what_is_picked_or_moved_by_noise_or_of_few_runs_has_an_interval_that_holds(page, name):
    import rates_answers
    import rates_picked

    nominal, scenario = rates_picked.SCENARIOS[name]
    told, plain = rates_answers.measure(scenario, nominal, SHORT[name], seed=3)
    assert told.measured >= nominal - 3 * told.error, told
    assert plain.measured < nominal - 3 * plain.error or name == "runs 3, 0", plain
