"""The page of error rates: how often intervals hold the truth, and tests find what is not there, in made-up data.

`python docs/scripts/statistics_rates.py` measures them all and writes docs/rates.md, in some minutes; a number after it
is that of made-up data sets for each rate. `make docs` leaves the page as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from site_pages import render

from interp.numeric import counted
from interp.stats.association import association

REPEATS = 400
PAGE = Path(__file__).resolve().parents[1] / "rates.md"
PARTS = {
    "rates_association": "Does a score tell right answers from wrong ones?",
    "rates_answers": "Answers and their differences",
    "rates_picked": "What is picked, what noise moves, and runs",
    "rates_layers": "Layers, other things equal, and splits",
}
"""The modules that measure, each by a function `rates(repeats)`, and the headings of their tables."""

SURE = 3.0
"""Monte-Carlo errors, within which a rate is what is promised."""

NOT_KEPT = "**not kept**"
WHY = {
    "spread twice as far": "Few wrong answers whose scores spread twice as far as those of right ones. The interval "
    "takes both to spread alike, as so few do not say how far they do; the more wrong answers there are, the less it "
    "matters.",
    "of that layer alone": "The interval of one layer by itself, of the layer that was picked from many as the "
    "farthest: the winner's curse. Reports give a picked layer the interval for all of them.",
    "of that one alone": "The interval of one mean or share by itself, of the one that was picked from several as the "
    "largest. Reports give a picked one the interval for all of them.",
    "not moved back": "Percentiles of draws of a measure that noise moves to one side: a draw is moved once more. "
    "Reports move the draws back to the estimate.",
    "not spread": "Percentiles of draws of few training runs that lie far apart. Reports spread their ends as so few "
    "runs need.",
    "without it": "The relation is not among what is held fixed, and what it drives passes for an effect. Reports hold "
    "it fixed.",
    "as it is": "Confidence or area is held fixed as a straight line, where right answers follow its log odds or its "
    "logarithm. Reports take these.",
    "split: official": "Samples of one set lie on both sides of the official split, so that what was luck of a set "
    "when a setting was chosen is luck once more when it is reported. The split by pairs is the default.",
}
"""By a part of its name, why a rate is not kept."""


def write_rates(path: Path = PAGE, repeats: int = REPEATS) -> Path:
    """Measure all rates and write the page."""
    return write_found({title: import_module(name).rates(repeats) for name, title in PARTS.items()}, path)


def write_found(found: Mapping[str, Sequence[Any]], path: Path = PAGE) -> Path:
    """Write the page of rates that were measured, by the headings of their tables."""
    parts = {title: rates_table(rates) for title, rates in found.items()}
    why = reasons([rate for rates in found.values() for rate in rates])
    path.write_text(render("rates.md.jinja", parts=parts, sure=SURE, why=why, **association_time()), encoding="utf-8")
    return path


def reasons(found: Iterable[Any]) -> list[str]:
    """Why rates are not kept, those of one reason together; of a rate that has none, that none is known."""
    told: dict[str, list[Any]] = {}
    for one in found:
        if reading(one.nominal, one.measured, one.error) == NOT_KEPT:
            told.setdefault(next((key for key in WHY if key in one.name), one.name), []).append(one)
    farthest = {key: max(own, key=lambda one: abs(one.measured - one.nominal)) for key, own in told.items()}
    return [
        f"{WHY.get(key, f'{key}: no reason is known.')} {counted(len(own), 'row')}, the farthest of them "
        f"{farthest[key].measured:.3f} where {farthest[key].nominal:g} is promised."
        for key, own in told.items()
    ]


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
    return "conservative" if beyond > 0 else NOT_KEPT


def association_time(samples: int = 412, layers: int = 32, heads: int = 33) -> dict[str, str]:
    """How long one `association` takes, with as many shuffles as it makes of cells in the tail."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(samples, layers, heads)).astype(np.float32)
    right, relation = rng.random(samples) < 0.6, rng.integers(4, size=samples)
    seconds = min(_seconds(lambda: association(scores, right, strata=relation, seed=0)) for _ in range(3))
    return {"shape": f"{samples} samples of {layers} layers and {heads} heads", "seconds": f"{seconds:.1f}"}


def _seconds(act: Callable[[], object]) -> float:
    start = perf_counter()
    act()
    return perf_counter() - start


if __name__ == "__main__":
    print(write_rates(repeats=int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS))
