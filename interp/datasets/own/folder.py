"""A folder of one's own photos: questions from a CSV file, with boxes written in it or in label files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

from interp.answers.scoring import read_options
from interp.datasets.own.labels import PhotoBoxes, located, photo_folder, read_photo_boxes
from interp.datasets.own.questions import path_inside, questions_from_boxes
from interp.datasets.own.table import COLUMNS, NEEDED, QUESTIONS, Row, find_table, rows_of
from interp.errors import InputError
from interp.image.boxes import Boxes
from interp.image.photos import is_address, upright_size
from interp.objects.refusals import each_row
from interp.objects.sample import Object, Sample
from interp.store.names import file_of, given_path, stays_inside

KNOWN = 1 << 12
"""Cells of a kind that are remembered: rows of one table often say the same of the same photo."""
COMMAS = ",;，、"
"""Signs that would stand between names if `|` did not."""


def read_folder(folder: str | Path, *, n: int | None = None, progress: bool = True) -> list[Sample]:
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
        progress: show a progress bar where reading takes more than a moment.

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
    known = read_photo_boxes(place, progress=progress)
    table = find_table(place)
    if table is None and known is None:
        raise InputError(
            f"{str(place)!r} holds no {QUESTIONS}, and no boxes to make questions of: write one with the columns "
            f"{', '.join(NEEDED)}"
        )
    if table is None:
        return _made_questions(place, known.photos if known else {}, progress=progress)[:n]
    return list(each_row(islice(rows_of(table, progress=progress), n), _Reader(place, known).sample))


class _Reader:
    """Makes samples of the rows of a table; what rows have in common is looked up once, and kept once."""

    def __init__(self, place: Path, boxes: PhotoBoxes | None) -> None:
        self.place, self.boxes = place, boxes
        self.name, self.start = place.resolve().name, photo_folder(place)
        self.rows: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        remember = lru_cache(KNOWN)
        self.options, self.found, self.group = remember(read_options), remember(self._found), remember(self._group)
        self.size, self.beside, self.objects = remember(upright_size), remember(self._beside), remember(self._objects)

    def sample(self, row: Row) -> Sample:
        """The sample of a row.

        Raises:
            InputError: the row can not be used.
        """
        cells = row.cells
        if row.wrong:
            raise row.bad(row.wrong)
        if missing := [name for name in NEEDED if not cells[name]]:
            raise row.bad(f"has no {' and no '.join(missing)}: fill it in, or take the row out")
        photo = self._photo(row)
        options = self.options(cells.get("options", ""))
        answer = next((one for one in options if one.casefold() == cells["answer"].casefold()), cells["answer"])
        if options and answer not in options:
            raise row.bad(f"has the answer {cells['answer']!r}, which is not one of {', '.join(options)}: correct it")
        if self.boxes is not None and not cells.get("boxes") and self.beside(photo) is None:
            raise row.bad(
                f"names the photo {str(photo)!r}, which has no entry in {self.boxes.source!r} as others have: add one "
                "there, put the photo where its entry has it, or fill in the cell boxes"
            )
        try:
            objects = self.objects(photo, cells["question"], cells.get("objects", ""), cells.get("boxes", ""))
        except InputError as error:
            raise row.bad(str(error)) from error
        own = cells.get("id") or f"{self.name}-{row.number:04d}"
        if (first := self.rows.setdefault(own, row.number)) != row.number:
            raise row.bad(
                f"has the id {own!r}, as row {first} has: give each row an id of its own, or leave the column out"
            )
        return Sample(
            id=own,
            image=photo,
            question=cells["question"],
            options=options,
            answer=self._text(answer),
            objects=objects,
            relation=self._text(cells.get("relation") or answer),
            group=self._text(cells.get("group") or self.group(photo)),
            meta={
                **{name: cell for name, cell in cells.items() if name not in COLUMNS},
                "dataset": self.name,
                "row": row.number,
            },
        )

    def _text(self, text: str) -> str:
        """One and the same object for texts that are equal."""
        return self.texts.setdefault(text, text)

    def _photo(self, row: Row) -> Path:
        """The photo of a row, which lies below the folder, by whichever path the row names it."""
        name = row.cells["image"]
        if is_address(name):
            raise row.bad(f"names the photo {name!r:.120}, which is an address: download it, and name its file")
        found, is_inside = self.found(name)
        if found is None:
            raise row.bad(
                f"names the photo {name!r:.120}, which is neither in {str(self.place)!r} nor in its images/: put it "
                "there"
            )
        if not is_inside:
            raise row.bad(f"names the photo {name!r}, which lies outside {str(self.place)!r}: put it into that folder")
        return found

    def _found(self, name: str) -> tuple[Path | None, bool]:
        """The file that a name means, and whether it lies below the folder."""
        found = file_of(self.place, name) or file_of(self.place / "images", name)
        if found is None or stays_inside(name):
            return found, True
        return found, located(found).is_relative_to(self.place.resolve())

    def _group(self, photo: Path) -> str:
        return path_inside(photo, self.start)

    def _beside(self, photo: Path) -> Boxes | None:
        """The boxes that lie beside a photo, none where nothing lies beside photos; None where it has no entry."""
        return Boxes() if self.boxes is None else self.boxes.of(photo)

    def _objects(self, photo: Path, question: str, objects: str, cell: str) -> tuple[Object, ...]:
        """What the question speaks of, each with its box: the row's own, or those of the label files.

        Raises:
            InputError: what is wrong with the row's own boxes.
        """
        from interp.objects.reading import objects_asked, objects_of_template
        from interp.objects.words import match_words  # here, as it imports samples from this package

        try:
            boxes = _own_boxes(cell, self.size(photo)) if cell else self.beside(photo) or Boxes()
        except InputError as error:
            raise InputError(f"has boxes that can not be used: {error}") from error
        if "|" not in objects and any(sign in objects for sign in COMMAS):
            raise InputError(f"has the objects {objects!r}, which would be one: put | between them, as in mug|table")
        named = tuple(dict.fromkeys(name.strip() for name in objects.split("|") if name.strip()))
        labels = tuple(dict.fromkeys(boxes.labels))
        names = named or objects_asked(question, labels)
        if not labels:
            return tuple(map(Object, names))
        matched = match_words(names, labels)
        if cell and not (named or objects_of_template(question) or any(matched.values())):
            names, matched = labels, match_words(labels, labels)
        strangers = set(boxes.labels) - {label for labels in matched.values() for label in labels}
        if cell and strangers:
            raise InputError(
                f"has a box of {min(strangers)!r}, which is none of its objects {', '.join(names)}: name it as one of "
                "them, or name all in the cell objects, with | between"
            )
        every = ((name, boxes.named(matched[name])) for name in names)
        return tuple(one for name, own in every for one in [Object(name, box) for box in own] or [Object(name)])


def _own_boxes(cell: str, size: tuple[int, int]) -> Boxes:
    from interp.objects.given import GivenBoxes, clip_box

    given = GivenBoxes.parse(cell)
    return Boxes(tuple(clip_box(box, size) for box in given.boxes), source=given.name)


def _made_questions(place: Path, known: Mapping[Path, Boxes], *, progress: bool) -> list[Sample]:
    """The questions of a folder that has boxes and no CSV file."""
    samples = questions_from_boxes(known, name=place.resolve().name, folder=photo_folder(place), progress=progress)
    if not samples:
        raise InputError(
            f"none of the {len(known)} photos in {str(place)!r} has a class with one box that lies clearly apart from "
            f"another or off the photo's centre, so no question can be made of the boxes: write {QUESTIONS}"
        )
    return samples
