"""Word match: whether a free answer says the right thing, by words alone, and what guessing would reach by category.

For open questions such as those of 2DS, whose authors let a language model judge. This rule needs none, gives the same
verdict every time, and is another one: its scores go by the name `correct_words`, and compare with no published number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.answers.metrics import ALL, require
from interp.answers.scoring import read_options, text_of
from interp.answers.wording import says
from interp.errors import InputError
from interp.stats.clusters import clustered_share, shared_groups

if TYPE_CHECKING:
    import pandas as pd


def score_words(table: pd.DataFrame, by: str = "relation") -> pd.DataFrame:
    """Judge every answer of a table by `says`.

    Args:
        table: a table with the columns `text` (what was said), `gold`, the category `by`, and perhaps `options`.
        by: the column that holds the category: the gold answers and options of its rows are what could be right.

    Returns:
        The table with the column `correct_words`.

    Example:
        >>> score_words(pd.DataFrame({"text": ["On top"], "gold": ["above"], "relation": "x"})).correct_words.item()
        True

    Raises:
        InputError: a column is missing, or a gold answer holds no word.
    """
    missing = [name for name in ("text", "gold", by) if name not in table.columns]
    if missing:
        raise InputError(f"the table has no column {missing}, only {list(table.columns)}: give text, gold and {by}")
    possible = {name: _possible(rows) for name, rows in table.groupby(by, sort=False, dropna=False)}
    verdicts = [
        says(text_of(text), text_of(gold), possible[name])
        for text, gold, name in zip(table["text"], table["gold"], table[by], strict=True)
    ]
    return table.assign(correct_words=np.array(verdicts, dtype=bool))


def word_scores(table: pd.DataFrame, by: str = "relation", *, level: float = 0.95) -> pd.DataFrame:
    """The share of answers that are right by `says`, in each category and in all, with what guessing would reach.

    Args:
        table: one row per sample, with the columns that `score_words` takes, and `id`; the column `group`, where it is
            there, says what belongs together.
        by: the column that holds the category.
        level: nominal coverage of the intervals of `clustered_share`.

    Returns:
        One row per category, and one for all: category, n, accuracy_words, low, high, and the columns of
        `chance_levels`. In the last row, chance levels are means over samples of those of their categories.

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    import pandas as pd

    require(table, "text", "gold", by)
    judged, chance = score_words(table, by), chance_levels(table, by)
    parts = [*(rows for _, rows in judged.groupby(by)), judged]
    shares = [clustered_share(own["correct_words"], shared_groups(own), level=level) for own in parts]
    found = [one.cells("accuracy_words") for one in shares]
    whole = {"category": ALL, "n": len(table), "answers": table["gold"].nunique()}
    means = {name: float(np.average(chance[name], weights=chance["n"])) for name in ("even", "blind", "majority")}
    rows = pd.concat([chance, pd.DataFrame([{**whole, **means}])], ignore_index=True)
    return pd.concat([rows[["category", "n"]], pd.DataFrame(found), rows.drop(columns=["category", "n"])], axis=1)


def chance_levels(table: pd.DataFrame, by: str = "relation") -> pd.DataFrame:
    """What needs no picture, by category.

    Args:
        table: a table with the columns `gold`, the category `by`, and perhaps `options`.
        by: the column that holds the category.

    Returns:
        One row per category: category, n, answers (how many could be right: all options and gold answers), and the
        share that is right by choosing among them evenly (`even`), as often as each is right (`blind`: the sum of
        squared shares), and always the most frequent one (`majority`).

    Example:
        >>> table = pd.DataFrame({"gold": ["left", "left", "left", "right"], "relation": "position"})
        >>> chance_levels(table)[["even", "blind", "majority"]].values.tolist()
        [[0.5, 0.625, 0.75]]

    Raises:
        InputError: a column is missing, or the table is empty.
    """
    import pandas as pd

    missing = [name for name in ("gold", by) if name not in table.columns]
    if missing or not len(table):
        raise InputError(f"a table of {len(table)} rows lacks the columns {missing}: give gold answers and {by}")
    rows = []
    for name, own in table.groupby(by):
        shares = own["gold"].value_counts(normalize=True).to_numpy()
        answers = len(_possible(own))
        rows.append({"category": name, "n": len(own), "answers": answers, "even": 1 / answers})
        rows[-1] |= {"blind": float((shares**2).sum()), "majority": float(shares.max())}
    return pd.DataFrame(rows)


def _possible(rows: pd.DataFrame) -> list[str]:
    """The gold answers and options of some rows, each once."""
    listed = [option for cell in rows["options"] for option in read_options(cell)] if "options" in rows else []
    return list(dict.fromkeys([*map(text_of, rows["gold"]), *listed]))
