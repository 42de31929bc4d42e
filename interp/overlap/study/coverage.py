"""Coverage of an overlap study: of how many questions the objects have boxes, and what each number is a part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import InputError
from interp.numeric import agree, counted
from interp.objects.absence import says_absent
from interp.objects.words import KINDS
from interp.report.numbers import share
from interp.stats.clusters import clustered_share, shared_groups
from interp.stats.intervals import Interval, wilson

if TYPE_CHECKING:
    import pandas as pd

BY_OBJECTS = {1: "one", 2: "two"}
"""Questions by how many objects they ask about: what a row of the table calls them."""

LOOKED_FOR = ("all", "some", "none")
"""The kinds of question whose objects could be read and are there: a detector's finds and misses."""


def coverage_of(samples: pd.DataFrame) -> pd.DataFrame:
    """In how many samples the objects were found: over all, by the number of objects, and by relation.

    Args:
        samples: the table of a study, with `found`, `objects` and `relation`, and perhaps `n_first`, `n_second` and
            `no_class`.

    Returns:
        One row for all samples; where questions about one and two objects are mixed, one for each (`objects` is `one`
        or `two`); and one for each relation. Columns: `relation`, `objects`, `n`; of these `absent` (the question
        rightly says that something is not there), `absent_with_box` of those, `unread` (no object could be read off the
        question), and `looked_for`, the others; of these `all`, `some`, `none` (of how many objects there are boxes)
        and `no_class` (the detector has no class for an object); `share` is `all` of `looked_for`, with its 95 %
        interval, see `clustered_share`.

    Raises:
        InputError: a column is missing, or `found` holds another word.
    """
    import pandas as pd

    check_found(samples)
    counts = count_objects(samples)
    parts = [("all", "any", np.ones(len(samples), dtype=bool))]
    mixed = [number for number in BY_OBJECTS if (counts == number).any()]
    parts += [("all", BY_OBJECTS[number], counts == number) for number in mixed if len(mixed) > 1]
    relation = samples["relation"].astype(str).to_numpy(dtype=object)
    parts += [(name, "any", relation == name) for name in dict.fromkeys(relation)]
    return pd.DataFrame([{"relation": name, "objects": of, **_counts(samples[own])} for name, of, own in parts])


def count_objects(samples: pd.DataFrame) -> Int[np.ndarray, " sample"]:
    """How many objects each question asks about, at most two are looked for; 0 where none could be read."""
    objects = samples["objects"].astype(str)
    return np.where(objects == "", 0, objects.str.count(r"\|") + 1)


def check_found(samples: pd.DataFrame) -> None:
    """Refuse a table that does not say of each sample what was found.

    Raises:
        InputError: it lacks `found` or `objects`, or holds a word that is none of the kinds.
    """
    missing = {"found", "objects"} - set(samples)
    if missing or not samples["found"].isin(KINDS).all():
        raise InputError(
            f"{len(samples)} samples without a found of {', '.join(KINDS)} and objects: give one row per sample"
        )


def covered(samples: pd.DataFrame) -> tuple[int, int, Interval]:
    """Of how many questions all objects have boxes, of how many whose objects were looked for, and that share."""
    row = _counts(samples)
    return row["all"], row["looked_for"], Interval(row["share"], row["low"], row["high"])


def coverage_says(samples: pd.DataFrame) -> str:
    """The coverage of a study in sentences, each number with what it is a part of.

    Example:
        >>> coverage_says(study.samples)
        'All objects have boxes in 180 of 200 questions, 90.0 % [95 % CI 85.1, 93.4]; some in 12, none in 8.'
    """
    table = coverage_of(samples)
    row, apart = table.iloc[0], table[(table["relation"] == "all") & (table["objects"] != "any")]
    lines = []
    if row["absent"]:
        boxes = "the detector gives no box in these"
        if row["absent_with_box"]:
            boxes = f"in {row['absent_with_box']} of these the detector gives a box nevertheless, which does not count"
        says = agree(row["absent"], "says", "say")
        asked = f"{row['absent']} of {counted(row['n'], 'question')}"
        lines.append(f"{asked} rightly {says} that something is not there; {boxes}.")
    if row["unread"]:
        lines.append(
            f"No object could be read off {row['unread']} of {counted(row['n'], 'question')}: name the objects, in the "
            "column `objects` of a table."
        )
    others = " whose objects were looked for" if lines else ""
    if row["looked_for"]:
        found = share(row["share"], row["low"], row["high"], level=0.95)
        line = f"All objects have boxes in {row['all']} of {counted(row['looked_for'], 'question')}{others}"
        lines.append(f"{line}, {found}; some in {row['some']}, none in {row['none']}.")
    else:
        lines.append("There is no question whose objects could be looked for.")
    for each in apart[apart["looked_for"] > 0].itertuples():
        asked = f"Of these, {each.looked_for} {agree(each.looked_for, 'is', 'are')} about"
        if each.objects == "two":
            lines.append(f"{asked} two objects: both found in {each.all}, one in {each.some}, none in {each.none}.")
        else:
            lines.append(f"{asked} one object: found in {each.all}, not found in {each.none}.")
    if row["no_class"]:
        lines.append(
            f"In {row['no_class']} of these {row['looked_for']} the detector has no class for an object, and could not "
            "find it."
        )
    return " ".join(lines)


def kinds_as_now(samples: pd.DataFrame, *, has_boxes: bool = False) -> tuple[pd.DataFrame, Bool[np.ndarray, " sample"]]:
    """The samples of a study with the kinds of today, and which rows of an earlier version are of absent objects.

    Earlier versions say `both`, `one` or `none`, of any question.

    Args:
        samples: the table of a study as it was kept.
        has_boxes: whether the boxes are the data set's own, so that what has one is there.
    """
    if "found" not in samples or ("no_class" in samples and samples["no_class"].notna().all()):
        return samples, np.zeros(len(samples), dtype=bool)
    before = samples["no_class"].isna() if "no_class" in samples else np.ones(len(samples), dtype=bool)
    rows = samples.to_dict("records")
    absent = np.array(
        [
            bool(old) and not has_boxes and row.get("true_boxes", "{}") in ("", "{}")
            and says_absent(str(row.get("question", "")), str(row.get("gold", "")))
            for old, row in zip(before, rows, strict=True)
        ],
        dtype=bool,
    )  # fmt: skip
    words = {"both": "all", "one": "some"}
    kinds = [
        "absent" if gone else row["found"] if not old else "unread" if row["objects"] == ""
        else "all" if row.get("complete") else words.get(row["found"], row["found"])
        for old, row, gone in zip(before, rows, absent, strict=True)
    ]  # fmt: skip
    unknown = samples["no_class"].fillna("") if "no_class" in samples else ""
    now = samples.assign(found=kinds, complete=[kind == "all" for kind in kinds], no_class=unknown)
    if "boxes" in now:
        now["boxes"] = now["boxes"].where(~absent, "{}")
    return now, absent


def _counts(samples: pd.DataFrame) -> dict[str, Any]:
    kinds = {kind: int((samples["found"] == kind).sum()) for kind in KINDS}
    looked_for = sum(kinds[kind] for kind in LOOKED_FOR)
    absent = samples[samples["found"] == "absent"]
    with_box = int((absent[["n_first", "n_second"]].sum(axis=1) > 0).sum()) if "n_first" in samples else 0
    own = samples[samples["found"].isin(LOOKED_FOR)]
    no_class = int((own["no_class"].astype(str) != "").sum()) if "no_class" in samples else 0
    return {
        "n": len(samples),
        "absent": kinds["absent"],
        "absent_with_box": with_box,
        "unread": kinds["unread"],
        "looked_for": looked_for,
        **{kind: kinds[kind] for kind in LOOKED_FOR},
        "no_class": no_class,
        **_share_of(own).cells("share"),
    }


def _share_of(looked_for: pd.DataFrame) -> Interval:
    """The share of these questions with boxes of all objects."""
    complete = (looked_for["found"] == "all").to_numpy()
    return clustered_share(complete, shared_groups(looked_for)) if len(complete) else wilson(0, 0)
