"""A folder of one's own photos: questions from a CSV file, with boxes written in it or in label files beside it."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations, islice
from pathlib import Path

from interp.answers.scoring import read_options
from interp.datasets.own.labels import PhotoBoxes, located, photo_folder, read_photo_boxes
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import is_address, upright_size
from interp.objects.refusals import each_row
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_PHOTO, OPTIONS_IN_RELATION, where_in_photo, where_in_relation
from interp.store.names import file_of, given_path, stays_inside

QUESTIONS = "questions.csv"
NEEDED = ("image", "question", "answer")
COLUMNS = (*NEEDED, "options", "objects", "boxes", "relation", "group", "id")

CLEAR = 1.5
"""How much larger the larger offset of two centres has to be than the smaller one, for a relation to be clear."""

OFF_CENTRE = 0.1
"""How far from the photo's centre, in sides of the photo, an object has to be for its place to be clear."""


def read_folder(folder: str | Path, *, n: int | None = None) -> list[Sample]:
    """Read a folder of one's own photos.

    `questions.csv`, or the only CSV file of the folder, has a question in each row (commas, semicolons or tabs between
    cells, in UTF-8) and these columns; others go into `meta`:

    * `image`: the photo's file, below the folder or its `images/`;
    * `question`: asked exactly as it is written; `answer`: the right one;
    * `options`: the answers to choose from, with `|` between; without, the answer's own words have to be said;
    * `objects`: what the question speaks of, with `|` between (`mug|table`); by default the names that can be read off
      the question, see `interp.detect.objects_asked`;
    * `boxes`: their boxes in pixels, such as `mug=10,20,50,80; table=0,60,200,150`;
    * `relation` (default: the answer), `group` (default: the photo), `id` (default: the row).

    Boxes may also lie beside the photos: `labels/NAME.txt` in YOLO's format with the class names in `classes.txt`, or
    one JSON file in COCO's, which then has to speak of every photo whose row has no `boxes`. A name gets the boxes of
    the classes that mean it, see `interp.detect.match_words`; several boxes of one name are several objects of that
    name. A folder without a CSV file, but with boxes beside its photos, gets the questions that `questions_from_boxes`
    makes of them: about two objects, or about one.

    Args:
        folder: the folder.
        n: only the first so many samples.

    Example:
        >>> read_folder("holiday")[0].question
        'Where is the mug in relation to the table? Answer with left, right, on or under.'

    Raises:
        InputError: no such folder, nothing to ask, or a row that can not be used (the message names it).
    """
    place = given_path(folder)
    if not place.is_dir():
        raise InputError(f"there is no folder {str(place)!r}: name the one that holds the photos and {QUESTIONS}")
    if n is not None and n < 1:
        raise InputError(f"n={n} samples of {str(place)!r} were asked for: give 1 or more")
    known = read_photo_boxes(place)
    table = _find_table(place)
    if table is None and known is None:
        raise InputError(
            f"{str(place)!r} holds no {QUESTIONS}, and no boxes to make questions of: write one with the columns "
            f"{', '.join(NEEDED)}"
        )
    if table is None:
        return _made_questions(place, known.photos if known else {})[:n]
    samples = list(each_row(islice(_rows(table), n), lambda row: _sample(place, row, known)))
    _refuse_equal_ids(table, samples)
    return samples


def questions_from_boxes(
    photos: Mapping[Path, Boxes], *, name: str = "photos", folder: str | Path | None = None
) -> list[Sample]:
    """Ask of photos with boxes where an object lies from another, or in the photo: at most one question a photo.

    Classes with exactly one box in the photo can be asked about. Of each two of them, in alphabetical order, the answer
    is where the first box's centre lies from the second's: left, right, above or below, if the larger offset is `CLEAR`
    times the smaller or more, and the boxes lie apart in that direction. Of the pairs that are clear, the photo's
    question is about the one whose smaller box is the largest. Without such a pair, it asks where in the photo the
    largest of these classes lies: left, right, top or bottom, if its centre is clearly off the photo's, by `OFF_CENTRE`
    of the side or more.

    Args:
        photos: the boxes in each photo, by its path.
        name: what ids begin with.
        folder: where the paths start that tell photos apart in `id` and `group`; by default the innermost folder that
            holds all of them.

    Returns:
        The samples, in the order of the photos; those where nothing is clear have none. `relation` is the answer.

    Example:
        >>> boxes = Boxes((Box("dog", (0, 0, 30, 30)), Box("cat", (60, 0, 90, 30))))
        >>> [sample.answer for sample in questions_from_boxes({Path("a.jpg"): boxes})]  # the cat, from the dog
        ['right']

    Raises:
        InputError: a photo is given twice, or one without a clear pair can not be opened to learn its size.
    """
    start = given_path(folder) if folder is not None else _common_folder(list(photos))
    given: dict[str, Path] = {}
    for photo in photos:
        if (other := given.setdefault(_inside(photo, start), photo)) is not photo:
            raise InputError(f"{str(other)!r} and {str(photo)!r} are one photo: give it once, with all of its boxes")
    asked = (_made_question(name, inside, photo, photos[photo]) for inside, photo in given.items())
    return [sample for sample in asked if sample is not None]


def relation_of(first: Box, second: Box) -> str | None:
    """Where the first box lies from the second: left, right, above or below; None where that is not clear."""
    (x, y), (x_ref, y_ref) = first.centre, second.centre
    across, down = x - x_ref, y - y_ref
    if max(abs(across), abs(down)) < CLEAR * min(abs(across), abs(down)):
        return None
    axis, answers = (0, ("left", "right")) if abs(across) > abs(down) else (1, ("above", "below"))
    near, far = (first, second) if (across, down)[axis] < 0 else (second, first)
    return None if near.xyxy[axis + 2] > far.xyxy[axis] else answers[near is second]


def place_of(box: Box, size: tuple[int, int]) -> str | None:
    """Where a box lies in a photo of that width and height: left, right, top or bottom; None where it is not clear."""
    offsets = [centre / side - 0.5 for centre, side in zip(box.centre, size, strict=True)]
    axis = int(abs(offsets[1]) > abs(offsets[0]))
    if abs(offsets[axis]) < max(OFF_CENTRE, CLEAR * abs(offsets[1 - axis])):
        return None
    return OPTIONS_IN_PHOTO[2 * axis + (offsets[axis] > 0)]


@dataclass(frozen=True)
class _Row:
    """One row of the table: its number from 1 on, what messages call it, its cells, and what is wrong with them."""

    number: int
    where: str
    cells: dict[str, str]
    wrong: str = ""

    def bad(self, what: str) -> InputError:
        return InputError(f"{self.where} {what}")


def _find_table(place: Path) -> Path | None:
    """The CSV file with the questions."""
    if (place / QUESTIONS).is_file():
        return place / QUESTIONS
    found = sorted(path for path in place.glob("*.csv") if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{str(place)!r} holds several CSV files ({names}): call the one to read {QUESTIONS}")
    return found[0] if found else None


def _rows(table: Path) -> Iterator[_Row]:
    """The rows of a CSV file, each told whether it has a cell for every column."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(table)!r} can not be read ({error}): save it as CSV in UTF-8") from error
    comma = max(",;\t", key=text.partition("\n")[0].count)
    lines = _lines(table, text, comma)
    columns = [name.strip().lower() for name in next(lines, (0, []))[1]]
    _check_columns(table, columns)
    number = 0
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        number += 1
        wrong = ""
        if len(cells) != len(columns):
            wrong = f"has {len(cells)} cells for {len(columns)} columns: put text that holds {comma!r} in double quotes"
        named = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
        yield _Row(number, f"row {number} (line {line}) of {str(table)!r}", named, wrong)
    if not number:
        raise InputError(f"{str(table)!r} holds no row: write a question on each line below the names of the columns")


def _lines(table: Path, text: str, comma: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of the line on which it ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        where = f"line {reader.line_num} of {str(table)!r} can not be read as CSV ({error})"
        if "field limit" in str(error):
            raise InputError(
                f"{where}: a cell may hold {csv.field_size_limit()} characters, so shorten it, or close its quote"
            ) from error
        raise InputError(
            f"{where}: put text in double quotes that are closed, and write a quote inside them twice"
        ) from error


def _check_columns(table: Path, columns: list[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(
            f"{str(table)!r} has the columns {', '.join(columns) or 'none'} and lacks {', '.join(missing)}: its first "
            f"line has to name {', '.join(NEEDED)}"
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{str(table)!r} names a column twice ({', '.join(columns)}): give each a name of its own")
    for name in columns:
        if name not in COLUMNS and (near := get_close_matches(name, COLUMNS, 1, 0.85)):
            raise InputError(f"{str(table)!r} has a column {name!r}, which is not read: call it {near[0]!r}")


def _sample(place: Path, row: _Row, known: PhotoBoxes | None) -> Sample:
    cells = row.cells
    if row.wrong:
        raise row.bad(row.wrong)
    for name in NEEDED:
        if not cells[name]:
            raise row.bad(f"has no {name}: fill it in, or take the row out")
    photo = _photo(place, row)
    options = read_options(cells.get("options", ""))
    answer = next((one for one in options if one.casefold() == cells["answer"].casefold()), cells["answer"])
    if options and answer not in options:
        raise row.bad(f"has the answer {cells['answer']!r}, which is not one of {', '.join(options)}: correct it")
    return Sample(
        id=cells.get("id") or f"{place.resolve().name}-{row.number:04d}",
        image=photo,
        question=cells["question"],
        options=options,
        answer=answer,
        objects=_objects(row, photo, _known_boxes(row, photo, known)),
        relation=cells.get("relation") or answer,
        group=cells.get("group") or _inside(photo, photo_folder(place)),
        meta={
            **{name: cell for name, cell in cells.items() if name not in COLUMNS},
            "dataset": place.resolve().name,
            "row": row.number,
        },
    )


def _photo(place: Path, row: _Row) -> Path:
    """The photo of a row, which lies below the folder, by whichever path the row names it."""
    name = row.cells["image"]
    if is_address(name):
        raise row.bad(f"names the photo {name!r:.120}, which is an address: download it, and name its file")
    found = file_of(place, name) or file_of(place / "images", name)
    if found is None:
        raise row.bad(
            f"names the photo {name!r:.120}, which is neither in {str(place)!r} nor in its images/: put it there"
        )
    if not stays_inside(name) and not located(found).is_relative_to(place.resolve()):
        raise row.bad(f"names the photo {name!r}, which lies outside {str(place)!r}: put it into that folder")
    return found


def _known_boxes(row: _Row, photo: Path, known: PhotoBoxes | None) -> Boxes:
    """The boxes beside a photo; refuses one of which they say nothing, where the row has no boxes of its own."""
    if known is None or row.cells.get("boxes"):
        return Boxes()
    boxes = known.of(photo)
    if boxes is None:
        raise row.bad(
            f"names the photo {str(photo)!r}, which has no entry in {known.source!r} as others have: add one there, "
            "put the photo where its entry has it, or fill in the cell boxes"
        )
    return boxes


def _inside(photo: Path, folder: Path) -> str:
    """The path of a photo from a folder on, the same by whichever path the photo is named."""
    return Path(os.path.relpath(located(photo), folder.resolve())).as_posix()


def _common_folder(photos: list[Path]) -> Path:
    return Path(os.path.commonpath([located(photo).parent for photo in photos])) if photos else Path()


def _objects(row: _Row, photo: Path, known: Boxes) -> tuple[Object, ...]:
    """What the question speaks of, each with its box: the row's own, or those of the label files."""
    from interp.objects.reading import objects_asked, objects_of_template
    from interp.objects.words import match_words  # here, as it imports samples from this package

    cell = row.cells.get("boxes", "")
    try:
        boxes = _own_boxes(cell, photo) if cell else known
    except InputError as error:
        raise row.bad(f"has boxes that can not be used: {error}") from error
    named = tuple(dict.fromkeys(name.strip() for name in row.cells.get("objects", "").split("|") if name.strip()))
    question, labels = row.cells["question"], tuple(dict.fromkeys(boxes.labels))
    names = named or objects_asked(question, labels)
    matched = match_words(names, labels)
    if cell and not (named or objects_of_template(question) or any(matched.values())):
        names, matched = labels, match_words(labels, labels)
    strangers = set(boxes.labels) - {label for labels in matched.values() for label in labels}
    if cell and strangers:
        raise row.bad(f"has a box of {min(strangers)!r}, which is none of its objects {', '.join(names)}: name it so")
    return tuple(
        item for name in names for item in [Object(name, box) for box in boxes.named(matched[name])] or [Object(name)]
    )


def _own_boxes(cell: str, photo: Path) -> Boxes:
    from interp.objects.given import GivenBoxes, clip_box

    size = upright_size(photo)
    given = GivenBoxes.parse(cell)
    return Boxes(tuple(clip_box(box, size) for box in given.boxes), source=given.name)


def _refuse_equal_ids(table: Path, samples: list[Sample]) -> None:
    rows: dict[str, object] = {}
    for sample in samples:
        if sample.id in rows:
            raise InputError(
                f"rows {rows[sample.id]} and {sample.meta['row']} of {str(table)!r} have the id {sample.id!r}: "
                "give each row an id of its own, or leave the column out"
            )
        rows[sample.id] = sample.meta["row"]


def _made_questions(place: Path, known: Mapping[Path, Boxes]) -> list[Sample]:
    """The questions of a folder that has boxes and no CSV file."""
    samples = questions_from_boxes(known, name=place.resolve().name, folder=photo_folder(place))
    if not samples:
        raise InputError(
            f"none of the {len(known)} photos in {str(place)!r} has a class with one box that lies clearly apart from "
            f"another or off the photo's centre, so no question can be made of the boxes: write {QUESTIONS}"
        )
    return samples


def _made_question(name: str, inside: str, photo: Path, boxes: Boxes) -> Sample | None:
    """A question about the clear pair whose smaller box is the largest, else about the largest box off the centre."""
    times = Counter(boxes.labels)
    alone = sorted((box for box in boxes if times[box.label] == 1), key=lambda box: box.label)
    pairs = [pair for pair in combinations(alone, 2) if relation_of(*pair) is not None]
    if pairs:
        first, second = max(pairs, key=lambda pair: min(box.area for box in pair))
        asked, options = where_in_relation(first.label, second.label), OPTIONS_IN_RELATION
        return _sample_of(name, inside, photo, (first, second), asked, options, relation_of(first, second) or "")
    size = upright_size(photo) if alone else (1, 1)
    placed = [box for box in alone if place_of(box, size) is not None]
    if not placed:
        return None
    box = max(placed, key=lambda box: box.area)
    asked, options = where_in_photo(box.label), OPTIONS_IN_PHOTO
    return _sample_of(name, inside, photo, (box,), asked, options, place_of(box, size) or "")


def _sample_of(
    name: str,
    inside: str,
    photo: Path,
    boxes: tuple[Box, ...],
    question: str,
    options: tuple[str, ...],
    answer: str,
) -> Sample:
    return Sample(
        id=f"{name}-{inside}",
        image=photo,
        question=question,
        options=options,
        answer=answer,
        objects=tuple(Object(box.label, box) for box in boxes),
        relation=answer,
        group=inside,
        meta={"dataset": name, "made_from": "boxes"},
    )
