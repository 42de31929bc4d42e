"""The page of error rates: how often intervals hold the truth, and tests find what is not there, in made-up data.

`python docs/scripts/statistics_rates.py` measures them all and writes docs/rates.md, in some minutes; a number after it
is that of made-up data sets for each rate. `make docs` leaves the page as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from site_pages import render

from interp.stats.association import association

REPEATS = 400
PAGE = Path(__file__).resolve().parents[1] / "rates.md"
PARTS = {
    "rates_association": "Does a score tell right answers from wrong ones?",
    "rates_answers": "Answers and their differences",
    "rates_layers": "Layers, other things equal, and splits",
}
"""The modules that measure, each by a function `rates(repeats)`, and the headings of their tables."""

SURE = 3.0
"""Monte-Carlo errors, within which a rate is what is promised."""


def write_rates(path: Path = PAGE, repeats: int = REPEATS) -> Path:
    """Measure all rates and write the page."""
    parts = [
        (title, rates_table(import_module(name).rates(repeats))) for name, title in PARTS.items() if find_spec(name)
    ]
    path.write_text(render("rates.md.jinja", parts=parts, sure=SURE, **association_time()), encoding="utf-8")
    return path


def rates_table(found: Iterable[Any]) -> pd.DataFrame:
    """A row for each rate: what was asked, promised and measured, and what that says."""
    rows = [
        {
            "what": one.name,
            "promised": f"{one.nominal:g}",
            "measured": f"{one.measured:.3f}",
            "Monte-Carlo error": f"{one.error:.3f}",
            "data sets": str(one.repeats),
            "": reading(one.nominal, one.measured, one.error),
        }
        for one in found
    ]
    return pd.DataFrame(rows)


def reading(nominal: float, measured: float, error: float) -> str:
    """Whether a rate is what is promised, on the safe side of it, or not kept.

    Example:
        >>> reading(0.95, 0.94, 0.01), reading(0.95, 0.99, 0.01), reading(0.05, 0.2, 0.01)
        ('kept', 'conservative', '**not kept**')
    """
    beyond = (measured - nominal) * (1 if nominal > 0.5 else -1)
    if abs(beyond) <= SURE * error:
        return "kept"
    return "conservative" if beyond > 0 else "**not kept**"


def association_time(samples: int = 412, layers: int = 32, heads: int = 33) -> dict[str, str]:
    """How long one `association` takes, with as many shuffles as it makes of cells in the tail."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(samples, layers, heads)).astype(np.float32)
    right, relation = rng.random(samples) < 0.6, rng.integers(4, size=samples)
    seconds = min(_seconds(lambda: association(scores, right, strata=relation, seed=0)) for _ in range(3))
    return {"shape": f"{samples} samples of {layers} layers and {heads} heads", "seconds": f"{seconds:.0f}"}


def _seconds(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return perf_counter() - start


if __name__ == "__main__":
    print(write_rates(repeats=int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS))
