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
    said = page.write_rates(tmp_path / "rates.md", 7).read_text()
    assert "| an interval | 0.95 | 0.900 | 0.010 | 7 | **not kept** |" in said
    assert "| a test | 0.05 | 0.040 | 0.010 | 7 | kept |" in said and "takes 3 seconds" in said
