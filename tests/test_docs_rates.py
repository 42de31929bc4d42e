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


def test_every_reason_is_of_a_row_of_the_page_and_every_row_that_is_not_kept_has_one(page):
    rows = [row for row in page.PAGE.read_text(encoding="utf-8").splitlines() if page.NOT_KEPT in row]
    names = [row.split("|")[1] for row in rows if row.startswith("|")]
    assert names and all(any(key in name for key in page.WHY) for name in names)
