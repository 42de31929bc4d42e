"""Published: the paper's numbers and settings, an independent re-run of its code, and how a result compares with them.

Sources: the authors' project page and `run.sh` (arXiv 2503.01773), and EricYou2/AdaptVis, who ran the released code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptvis.paper.splits import OFFICIAL_SIZES, official_split
from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.intervals import Interval, wilson

if TYPE_CHECKING:
    import pandas as pd

    from adaptvis.policy.policies import Policy

SCALING_ALPHAS = (0.0, 0.5, 0.8, 1.2, 1.5, 2.0)
"""The authors' grid for ScalingVis."""


@dataclass(frozen=True)
class Preset:
    """The authors' settings for LLaVA-1.5-7B on one data set.

    Attributes:
        alpha: the strength of ScalingVis.
        alpha_unsure, alpha_sure, threshold: the settings of AdaptVis.
    """

    alpha: float
    alpha_unsure: float
    alpha_sure: float
    threshold: float

    def policies(self) -> dict[str, Policy]:
        """The three policies by method: `baseline`, `scaling`, `adaptvis`."""
        from adaptvis.policy.policies import AdaptVis, Baseline, ScalingVis

        adaptvis = AdaptVis(self.alpha_unsure, self.alpha_sure, self.threshold)
        return {"baseline": Baseline(), "scaling": ScalingVis(self.alpha), "adaptvis": adaptvis}


PRESETS = {
    "controlled-a": Preset(0.8, 0.5, 1.5, 0.40),
    "controlled-b": Preset(0.8, 0.5, 1.5, 0.35),
    "coco-one": Preset(1.2, 0.5, 1.2, 0.30),
    "coco-two": Preset(1.2, 0.5, 1.2, 0.30),
    "vg-one": Preset(2.0, 0.5, 2.0, 0.20),
    "vg-two": Preset(2.0, 0.5, 2.0, 0.20),
    "vsr": Preset(0.5, 0.5, 1.2, 0.64),
}
"""The settings of the authors' `run.sh`, which labels the line of VSR as a second Controlled B."""

METHODS = ("baseline", "vcd", "dola", "scaling", "adaptvis")

_ACCURACIES = tuple((name, "accuracy") for name in OFFICIAL_SIZES)
_PAPER_COLUMNS = (*_ACCURACIES, ("vsr", "paper_f1"))
_PAPER = {
    ("llava-1.5", "baseline"): (60.3, 73.1, 53.0, 58.2, 35.9, 40.8, 62.4, 51.3),
    ("llava-1.5", "vcd"): (61.5, 73.4, 53.3, 58.2, 35.8, 42.5, 62.4, 50.6),
    ("llava-1.5", "dola"): (61.2, 73.4, 53.7, 57.5, 36.2, 42.1, 62.8, 53.2),
    ("llava-1.5", "scaling"): (64.5, 75.2, 53.6, 59.4, 42.7, 48.1, 64.9, 62.5),
    ("llava-1.5", "adaptvis"): (84.9, 83.8, 53.6, 59.9, 42.7, 48.1, 65.0, 62.5),
    ("llava-1.6", "baseline"): (48.2, 63.0, 59.7, 41.8, 31.6, 7.3, 58.8, 29.4),
    ("llava-1.6", "vcd"): (61.8, 65.4, 60.6, 44.9, 33.8, 11.6, 58.8, 29.4),
    ("llava-1.6", "dola"): (48.2, 62.7, 59.7, 41.5, 31.5, 7.3, 59.3, 31.2),
    ("llava-1.6", "scaling"): (97.0, 73.4, 63.1, 47.7, 38.2, 14.6, 59.1, 30.6),
    ("llava-1.6", "adaptvis"): (98.2, 73.4, 63.1, 47.7, 35.2, 17.2, 62.7, 39.3),
}
_CONTROLLED = tuple(
    (name, measure) for name in ("controlled-a", "controlled-b") for measure in ("accuracy", "pair", "set")
)
_RERUN_COLUMNS = (*_CONTROLLED, *_ACCURACIES[2:], ("vsr", "paper_f1"))
_RERUN = {
    ("llava-1.5", "baseline"): (60.00, 40.61, 0.00, 73.09, 41.59, 2.45, 52.89, 58.24, 35.67, 41.20, 62.58, 52.08),
    ("llava-1.5", "scaling"): (64.55, 40.61, 0.00, 75.84, 44.65, 11.01, 53.34, 59.09, 42.35, 46.78, 64.83, 62.62),
    ("llava-1.5", "adaptvis"): (84.85, 61.21, 31.52, 84.40, 56.88, 19.57, 53.39, 59.94, 42.35, 46.78, 62.27, 49.85),
}
_INDEPENDENT = "the interval takes our answers as independent"
_PER_ITEM = {"accuracy": 1, "pair": 2, "set": 4}


@fits_a_cell("reason rows", table="rows")
@dataclass(frozen=True, eq=False)
class PublishedComparison:
    """A result beside the published ones.

    Attributes:
        rows: one row per source (`paper`, `re-run`) and measure; the columns source, model, method, dataset, measure,
            published (fraction), ours, low, high, inside (whether the published value lies in our interval;
            missing where there is none), difference (ours minus published), items (the same in right answers, pairs or
            sets), n, n_published, note.
        reason: why there are no rows; empty where there are some.
    """

    rows: pd.DataFrame
    reason: str = ""


def compare_with_published(
    accuracy: float,
    n: int,
    dataset: str,
    model: str,
    method: str,
    *,
    others: Mapping[str, Interval] | None = None,
    level: float = 0.95,
) -> PublishedComparison:
    """Put a result beside the paper's number and that of the independent re-run.

    Args:
        accuracy: the accuracy by the paper's rule, a fraction of `n`.
        n: samples; the published numbers are of the official test split.
        dataset: such as `controlled-a`.
        model: a name or path that says the version, such as `llava-hf/llava-1.5-7b-hf`.
        method: one of `METHODS`.
        others: further measures with their intervals: `pair` and `set` (the paper's denominators), `paper_f1`; and
            `accuracy`, where samples share groups, in the place of Wilson's interval, which takes them as independent.
        level: nominal coverage of Wilson's interval of the accuracy.

    Returns:
        The rows, or none and the reason: nothing was published for such a model, data set or method. Where the
        interval is that of `n` alone, the note says that answers are taken as independent, as those about one photo or
        object pair are not.

    Example:
        >>> compare_with_published(198 / 330, 330, "controlled-a", "llava-1.5-7b", "baseline").rows["items"].tolist()
        [-1, 0]

    Raises:
        InputError: the accuracy is no whole number of `n` answers (a percentage, for one).
    """
    right = round(accuracy * n) if 0 <= accuracy <= 1 and n > 0 else -1
    if right < 0 or abs(accuracy * n - right) > 0.01:
        raise InputError(f"accuracy {accuracy} is no number of right answers of {n}: give right answers divided by n")
    known = published_numbers()
    here = (known["dataset"] == dataset) & (known["model"] == model_version(model)) & (known["method"] == method)
    measured = {"accuracy": wilson(right, n, level), **(others or {})}
    found = known[here & known["measure"].isin(list(measured))]
    if "accuracy" not in (others or {}):
        taken = (found["measure"] == "accuracy").map({True: _INDEPENDENT, False: ""})
        found = found.assign(note=(found["note"] + "; " + taken).str.strip("; "))
    return PublishedComparison(_rows(found, measured, n), _reason(dataset, model, method) if found.empty else "")


def published_numbers() -> pd.DataFrame:
    """All published numbers, as fractions of the official test split.

    Returns:
        The columns source (`paper`, `re-run`), model, method, dataset, measure (`accuracy`, `pair`, `set`, `paper_f1`:
        see `YesNo`), published, n_published (test samples), note.
    """
    import pandas as pd

    rows = [
        {
            "source": source,
            "model": model,
            "method": method,
            "dataset": dataset,
            "measure": measure,
            "published": round(value / 100, 6),
            "n_published": len(official_split(OFFICIAL_SIZES[dataset])[1]),
            "note": _note(source, model, method, dataset),
        }
        for source, columns, numbers in (("paper", _PAPER_COLUMNS, _PAPER), ("re-run", _RERUN_COLUMNS, _RERUN))
        for (model, method), values in numbers.items()
        for (dataset, measure), value in zip(columns, values, strict=True)
    ]
    return pd.DataFrame(rows)


def model_version(model: str) -> str | None:
    """The published model that a name or path ends with; None for any other, and for what was made of one.

    Example:
        >>> model_version("llava-hf/llava-1.5-7b-hf"), model_version("llava-hf/llava-1.5-13b-hf")
        ('llava-1.5', None)
    """
    name = model.lower().rstrip("/").rsplit("/", 1)[-1]
    version = re.fullmatch(r"llava[-_ ]?v?(1\.[56])(?:-(?:vicuna|mistral))?(?:-7b)?(?:-hf)?", name)
    return None if version is None else f"llava-{version[1]}"


def _rows(found: pd.DataFrame, measured: Mapping[str, Interval], n: int) -> pd.DataFrame:
    """The published numbers with ours beside them."""
    own = [measured[name] for name in found["measure"]]
    rows = found.assign(n=n)
    for column, attribute in (("ours", "estimate"), ("low", "low"), ("high", "high")):
        rows[column] = [float(getattr(one, attribute)) for one in own]
    inside = (rows["low"] <= rows["published"]) & (rows["published"] <= rows["high"])
    rows["inside"] = inside.astype("boolean").where(rows[["low", "high"]].notna().all(axis=1))
    rows["difference"] = rows["ours"] - rows["published"]
    per = rows["measure"].map(_PER_ITEM).astype(float)
    rows["items"] = (rows["difference"] * n / per).round().astype("Int64")
    order = ["source", "model", "method", "dataset", "measure", "published", "ours", "low", "high", "inside"]
    return rows[[*order, "difference", "items", "n", "n_published", "note"]].reset_index(drop=True)


def _reason(dataset: str, model: str, method: str) -> str:
    """Why nothing was found."""
    models = sorted({version for version, _ in _PAPER})
    if dataset not in OFFICIAL_SIZES:
        return f"nothing is published for data set {dataset!r}, only for {', '.join(OFFICIAL_SIZES)}"
    if model_version(model) is None:
        return f"nothing is published for model {model!r}, only for {' and '.join(models)} with 7B parameters"
    return f"nothing is published for method {method!r}, only for {', '.join(METHODS)}"


def _note(source: str, model: str, method: str, dataset: str) -> str:
    """What a reader has to know of a number."""
    if model == "llava-1.6":
        return "no code and no settings were released for this model"
    if (dataset, method) == ("vsr", "adaptvis"):
        what = "this number is not what it gives" if source == "paper" else "this is ScalingVis with alpha 1.2"
        return f"the released code compares a raw logit with the threshold and sharpens every sample; {what}"
    return ""
