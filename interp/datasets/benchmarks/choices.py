"""Readers of SpatialEval, 3DSRBench and Spatial457: one question a row, with options or an answer of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from interp.datasets.benchmarks.entry import Benchmark
from interp.datasets.benchmarks.files import Draft, bad_row
from interp.datasets.benchmarks.tables import parquet_rows, picture_in, tsv_rows
from interp.errors import InputError
from interp.objects.refusals import each_row
from interp.objects.sample import Sample
from interp.prompt.templates import OPTIONS_OF_STATEMENT, list_options
from interp.store.parsing import parse_json

SPATIALEVAL = ("id", "text", "oracle_answer", "oracle_option")
THREE_DSR = ("index", "question", "A", "B", "C", "D", "answer", "category", "image_url")
SPATIAL457 = ("image_filename", "question", "answer")

_LETTERS = "ABCD"
_OPTION = re.compile(r"^\s*([A-D])[.)]\s+(.+?)\.?\s*$", re.M)
_ANOTHER = re.compile(r"\d{1,9}")
"""A cell of a TSV file that names the row whose picture it has, by its index."""


def read_choices(path: Path, one: Benchmark) -> Iterator[Draft]:
    """Read the rows of a file with the reader of its columns.

    Raises:
        InputError: it can not be read, or a row is not as described.
    """
    return _READERS[one.subset](path, one)


def read_spatialeval(path: Path, one: Benchmark) -> Iterator[Draft]:
    """Read a Parquet file of SpatialEval, whose pictures are in it.

    The question is the `text` as it stands, which lists the options; `options` are read off it where they agree with
    `oracle_option` and `oracle_answer`, and are empty where they do not. `relation` is the task, `group` the picture's
    scene.

    Raises:
        InputError: it is no such file, is that of text alone (tqa) or of the other modality, or has a bad row.
    """
    modality = one.hub_part.partition("/")[0]
    pictures: dict[bytes, Any] = {}

    def draft(numbered: tuple[int, Mapping[str, Any]]) -> Draft:
        row, item = numbered
        name, text, answer, letter = (_text(path, row, item, column) for column in SPATIALEVAL)
        task, _, rest = name.partition(".")
        told, _, scene = rest.partition(".")
        if told != modality:
            raise bad_row(path, row, f"has the id {name!r}, which is of {told or 'nothing'!r} and not of {modality}")
        found = dict(_OPTION.findall(text))
        fits = len(set(found.values())) == len(found) and _same(found.get(letter, ""), answer)
        sample = _sample(
            one,
            row,
            question=text,
            options=tuple(found.values()) if fits else (),
            answer=found[letter] if fits else answer,
            relation=task,
            group=f"{task}.{scene.rpartition('.')[0] or scene}",
            meta={"id": name, "letter": letter},
        )
        return _with_picture(path, row, item, sample, pictures)

    yield from each_row(enumerate(parquet_rows(path, (*SPATIALEVAL, "image"), "SpatialEval (vqa, vtqa)")), draft)


def read_3dsrbench(path: Path, one: Benchmark) -> Iterator[Draft]:
    """Read 3DSRBench: the Parquet file beside `coco_images/`, or a TSV file, whose pictures are in it.

    `relation` is the category, `group` the photo, which mirrored and turned questions share.

    Raises:
        InputError: it is neither, or has a bad row; of the raw CSV file it says what to name instead.
    """
    if path.suffix == ".csv":
        raise InputError(
            f"{str(path)!r} holds the raw annotations of 3DSRBench, without options: name its Parquet or TSV file"
        )
    tabbed, pictures, by_index = path.suffix == ".tsv", dict[bytes, Any](), dict[str, Any]()

    def draft(numbered: tuple[int, Mapping[str, Any]]) -> Draft:
        row, item = numbered
        letters = {name: str(item[name]).strip() for name in _LETTERS if _filled(item.get(name))}
        options, letter = tuple(letters.values()), _text(path, row, item, "answer")
        photo = _text(path, row, item, "image_url").rpartition("/")
        if letter not in letters or len(set(options)) < len(options) or len(options) < 2:
            raise bad_row(path, row, f"has the answer {letter!r} and the options {letters}, which do not fit")
        asked = _text(path, row, item, "question")
        sample = _sample(
            one,
            row,
            question=f"{asked} Answer with {list_options(options)}.",
            options=options,
            answer=letters[letter],
            relation=_text(path, row, item, "category"),
            group=photo[2],
            meta={"qid": item.get("qid") or item["index"], "letter": letter, "image_link": item["image_url"]},
        )
        if not tabbed:
            folder = photo[0].rpartition("/")[2]
            return Draft(sample, (f"{one.images}/{photo[2]}", f"{folder}/{photo[2]}", photo[2]))
        cell = str(item.get("image") or "")
        if _ANOTHER.fullmatch(cell):
            if cell not in by_index:
                raise bad_row(path, row, f"has the picture of index {cell}, which no row before it has")
            return Draft(_shown(sample, by_index[cell]), ())
        made = _with_picture(path, row, item, sample, pictures)
        by_index[str(item["index"])] = made.sample.image
        return made

    rows = tsv_rows(path, (*THREE_DSR, "image"), "3DSRBench") if tabbed else None
    rows = rows or parquet_rows(path, THREE_DSR, "3DSRBench", perhaps=("qid",))
    yield from each_row(enumerate(rows), draft)


def read_spatial457(path: Path, one: Benchmark) -> Iterator[Draft]:
    """Read the questions of one level of Spatial457, whose pictures lie in `images/`.

    Answers that are true or false become `yes` and `no`; all others are free, and have no options. `relation` is the
    level, `group` the scene.

    Raises:
        InputError: it is no JSON of a list of questions, or has a bad row.
    """

    def draft(numbered: tuple[int, Mapping[str, Any]]) -> Draft:
        row, item = numbered
        if not isinstance(item, Mapping):
            raise bad_row(path, row, f"is {item!r:.60}, no object with {', '.join(SPATIAL457)}")
        image, asked = (_text(path, row, item, name) for name in SPATIAL457[:2])
        answer = item.get("answer")
        truth = {"true": "yes", "false": "no"}.get(str(answer).lower())
        if not isinstance(answer, (bool, int, str)) or not str(answer).strip():
            raise bad_row(path, row, f"has answer {answer!r:.60}, no text, number, true or false")
        options = OPTIONS_OF_STATEMENT if truth else ()
        sample = _sample(
            one,
            row,
            question=f"{asked} Answer with {list_options(options) if truth else 'one word or number'}.",
            options=options,
            answer=truth or str(answer).strip(),
            relation=path.stem,
            group=image,
            meta={"question_index": item.get("question_index"), "program": item.get("program")},
        )
        return Draft(sample, (f"{one.images}/{image}", image))

    yield from each_row(enumerate(_questions(path)), draft)


_READERS: Mapping[str, Callable[[Path, Benchmark], Iterator[Draft]]] = {
    "spatialeval": read_spatialeval,
    "3dsrbench": read_3dsrbench,
    "spatial457": read_spatial457,
}


def _questions(path: Path) -> Sequence[Any]:
    """The questions of a JSON file: a list, or the field of that name."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no JSON that can be read ({error}): fetch the file again") from error
    found = content.get("questions") if isinstance(content, dict) else content
    if not isinstance(found, list) or not found:
        raise InputError(f"{str(path)!r} holds no list of questions: name a file of questions/ of Spatial457")
    return found


def _sample(one: Benchmark, row: int, *, meta: Mapping[str, object], **parts: Any) -> Sample:
    return Sample(id=f"{one.name}-{row:05d}", image=Path(), meta={"dataset": one.name, "row": row, **meta}, **parts)


def _with_picture(path: Path, row: int, item: Mapping[str, Any], sample: Sample, pictures: dict[bytes, Any]) -> Draft:
    """A sample with the picture of its row; rows of equal pictures share one in memory."""
    cell = item.get("image")
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    key = hashlib.sha256(content if isinstance(content, bytes) else str(content).encode()).digest()
    if key not in pictures:
        pictures[key] = picture_in(path, row, item, "image")
    return Draft(_shown(sample, pictures[key]), ())


def _shown(sample: Sample, image: Any) -> Sample:
    return replace(sample, image=image)


def _text(path: Path, row: int, item: Mapping[str, Any], column: str) -> str:
    value = item.get(column)
    if not isinstance(value, str) or not value.strip():
        raise bad_row(path, row, f"has {column} {value!r:.60}, no text")
    return value.strip()


def _filled(cell: Any) -> bool:
    return cell is not None and str(cell).strip().lower() not in ("", "nan", "none")


def _same(first: str, second: str) -> bool:
    return first.strip(" .").casefold() == second.strip(" .").casefold() != ""
