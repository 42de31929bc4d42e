"""Reader of the Parquet file of 2DS: scenes with their pictures in them, and free questions about each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.datasets.benchmarks.files import bad_row
from interp.datasets.benchmarks.tables import parquet_rows, picture_in
from interp.errors import InputError
from interp.objects.refusals import each_row
from interp.objects.sample import Sample
from interp.store.progress import patient_bar

COLUMNS = ("entry_id", "test_category", "image_filename", "objects", "qa_pairs")
PAIR = ("question", "answer", "qa_category")


def read_two_ds(path: Path, dataset: str = "2ds", *, n: int | None = None, progress: bool = True) -> list[Sample]:
    """Read the Parquet file of 2DS.

    Its columns are those that the evaluator of "Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language
    Models" reads: `entry_id`, `test_category`, `image_filename` (the picture itself), `objects`, and `qa_pairs` with
    `question`, `answer` and `qa_category`.

    Args:
        path: the file.
        dataset: name for ids.
        n: only the first so many samples; all by default.
        progress: show a progress bar where reading takes more than a moment.

    Returns:
        Samples without options, as the questions are free; `relation` is the `qa_category`, `group` the entry. `meta`
        holds `dataset`, `row` (the entry's row in the file), `pair` (which question of it), `entry_id`,
        `test_category`, `qa_category` (two fields of the file, which need not agree) and `scene_objects` (as the file
        has them; how it writes boxes is not known, so none is read).

    Raises:
        InputError: it is no Parquet file, lacks a column, or has rows that are not as described.
    """
    if n is not None and n < 1:
        raise InputError(f"n={n} samples of {dataset} were asked for: give 1 or more")
    samples: list[Sample] = []
    rows = patient_bar(enumerate(parquet_rows(path, COLUMNS, "2DS")), "reading rows", "row", show=progress)
    for one in each_row(rows, lambda numbered: _entry(path, dataset, *numbered)):
        samples += one
        if n is not None and len(samples) >= n:
            return samples[:n]
    if not samples:
        raise InputError(f"{str(path)!r} holds no question: fetch the file again")
    return samples


def _entry(path: Path, dataset: str, row: int, item: Mapping[str, Any]) -> list[Sample]:
    """The samples of one row, which share its picture."""
    name, category = item["entry_id"], item["test_category"]
    if isinstance(name, bool) or not isinstance(name, (int, str)) or not str(name).strip():
        raise bad_row(path, row, f"has entry_id {name!r}, no number or text")
    if not isinstance(category, str) or not category.strip():
        raise bad_row(path, row, f"has test_category {category!r}, no text")
    image, pairs = picture_in(path, row, item, "image_filename"), _pairs(path, row, item["qa_pairs"])
    return [
        Sample(
            id=f"{dataset}-{row:05d}-{place}",
            image=image,
            question=pair["question"],
            options=(),
            answer=pair["answer"],
            relation=pair["qa_category"],
            group=f"{dataset}-{row:05d}",
            meta={
                "dataset": dataset,
                "row": row,
                "pair": place,
                "entry_id": name,
                "test_category": category,
                "qa_category": pair["qa_category"],
                "scene_objects": item["objects"],
            },
        )
        for place, pair in enumerate(pairs)
    ]


def _pairs(path: Path, row: int, cell: Any) -> list[dict[str, str]]:
    """The questions of a row: a list of fields, or fields of lists."""
    if isinstance(cell, Mapping) and all(isinstance(cell.get(name), list) for name in PAIR):
        lengths = {len(cell[name]) for name in PAIR}
        cell = [dict(zip(PAIR, each, strict=False)) for each in zip(*map(cell.get, PAIR), strict=False)]
        if len(lengths) > 1:
            raise bad_row(path, row, f"has lists of {sorted(lengths)} in qa_pairs")
    if not isinstance(cell, list) or not cell:
        raise bad_row(path, row, "has no list of questions in qa_pairs")
    for place, pair in enumerate(cell):
        if not isinstance(pair, Mapping):
            raise bad_row(path, row, f"has {pair!r:.60} as question {place}, not {', '.join(PAIR)}")
        for name in PAIR:
            if not isinstance(pair.get(name), str) or not pair[name].strip():
                raise bad_row(path, row, f"has {name} {pair.get(name)!r:.60} in question {place}, no text")
    return [{name: pair[name].strip() for name in PAIR} for pair in cell]
