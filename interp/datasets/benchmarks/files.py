"""The files of a benchmark: find them in a folder, read them, and say clearly what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.numeric import agree, counted
from interp.objects.refusals import each_row, note_bad, takes_notes
from interp.objects.sample import Sample
from interp.store.names import file_of, given_path, stays_inside
from interp.store.parsing import parse_json
from interp.store.progress import patient_bar

MISSING = ("refuse", "skip", "keep")


@dataclass(frozen=True)
class Place:
    """Where the files of a benchmark lie.

    Attributes:
        annotation: the JSON or JSON Lines file.
        roots: folders in which images are looked for, in this order.
    """

    annotation: Path
    roots: tuple[Path, ...]


@dataclass(frozen=True)
class Draft:
    """A sample whose image has not been looked for yet.

    Attributes:
        sample: the sample; its `image` means nothing where `images` says where to look.
        images: where the image may lie, as paths below the roots, the most likely first; none where the sample has its
            picture already.
    """

    sample: Sample
    images: tuple[str, ...]


def find_place(
    name: str, folder: str | Path, annotations: Sequence[str], taken: Sequence[str], images: str | Path | None = None
) -> Place:
    """Find the annotation file of a benchmark: under its own name, or as the only one in the folder.

    Args:
        name: the benchmark, for messages.
        folder: the folder, or the annotation file itself.
        annotations: names that the file may have, below `folder` or `folder/data`.
        taken: file names of other benchmarks, which are never taken for this one's.
        images: another folder to look for images in, before all others.

    Raises:
        InputError: there is no such folder or no such file in it.
    """
    given = given_path(folder)
    extra = () if images is None else (given_path(images),)
    for root in extra:
        if not root.is_dir():
            raise InputError(f"there is no folder {str(root)!r} of images for {name}: name one that exists")
    if given.is_file():
        return Place(given, _distinct((*extra, given.parent, given.parent.parent)))
    if not given.is_dir():
        raise InputError(f"there is no folder {str(given)!r} to read {name} from: name the folder that holds its files")
    named = [path for root in (given, given / "data") for file in annotations if (path := root / file).is_file()]
    suffix = Path(annotations[0]).suffix
    alone = [path for path in sorted(given.glob(f"*{suffix}")) if path.name not in taken and path.is_file()]
    if not named and len(alone) != 1:
        raise InputError(
            f"{str(given)!r} holds no {annotations[0]}, the file of {name}: fetch it "
            f"(`python -m interp datasets {name}` says from where), or give the path of the file itself"
        )
    found = (named or alone)[0]
    return Place(found, _distinct((*extra, given, given / "data", given.parent, found.parent, found.parent.parent)))


def read_list(path: Path) -> list[Any]:
    """Read a JSON file that holds a list.

    Raises:
        InputError: it can not be read, is no JSON, or holds no list.
    """
    try:
        content = parse_json(_text(path))
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON ({error}): fetch the file again") from error
    if not isinstance(content, list):
        raise InputError(f"{str(path)!r} holds {type(content).__name__} where a list of rows belongs: fetch it again")
    if not content:
        raise InputError(f"{str(path)!r} is a list without rows: fetch it again")
    return content


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file: an object on each line; empty lines at the end do not count.

    Raises:
        InputError: it can not be read, or a line is no JSON object.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_text(path).rstrip().split("\n"), 1):
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"line {number} of {str(path)!r} is no JSON ({error}): fetch the file again") from error
        if not isinstance(row, dict):
            raise InputError(f"line {number} of {str(path)!r} is {line[:60]!r}, not an object: fetch the file again")
        rows.append(row)
    return rows


def bad_row(path: Path, row: int, what: str) -> InputError:
    """The error for a row that can not be used: which one, of which file, and why."""
    return InputError(f"row {row} of {str(path)!r} {what}: compare it with the published file, or leave the row out")


def attach_images(
    name: str,
    drafts: Iterable[Draft],
    place: Place,
    *,
    n: int | None = None,
    missing: str = "refuse",
    progress: bool = True,
) -> list[Sample]:
    """Find the image of each draft.

    Args:
        name: the benchmark, for messages.
        drafts: what was read, in the file's order.
        place: where to look.
        n: only so many samples, the first ones; all by default.
        missing: what an absent image means: `refuse`, `skip` the sample, or `keep` it with the path it would have.
        progress: show a progress bar where reading takes more than a moment.

    Raises:
        InputError: images are absent and must not be or lie elsewhere, nothing is left, or an argument means nothing.
    """
    if missing not in MISSING:
        raise InputError(f"missing={missing!r} is not known: use {', '.join(MISSING)}")
    if n is not None and n < 1:
        raise InputError(f"n={n} samples of {name} were asked for: give 1 or more")
    samples: list[Sample] = []
    absent: list[Draft] = []
    notes = missing == "refuse" and takes_notes()
    rows = patient_bar(drafts, "reading rows", "row", show=progress)
    for draft in each_row(rows, partial(_inside, place)):
        if n is not None and len(samples) + (0 if missing == "skip" or notes else len(absent)) == n:
            break
        if not draft.images:
            samples.append(draft.sample)
            continue
        found = _find(draft.images, place.roots)
        if found is None and missing != "keep":
            absent.append(draft)
        else:
            samples.append(replace(draft.sample, image=found or place.roots[0] / draft.images[0]))
    if absent and (missing == "refuse" or not samples) and not (samples and notes):
        raise _absent(name, absent, len(absent) + len(samples), place)
    for draft in absent if notes else ():
        note_bad(*_why_absent(name, draft))
    if not samples:
        raise InputError(f"{str(place.annotation)!r} holds no row of {name}: name the file of this benchmark")
    return samples


def _inside(place: Place, draft: Draft) -> Draft:
    """Refuse a row that names an image outside the folders in which it is looked for."""
    outside = [image for image in draft.images if not stays_inside(image)]
    if outside:
        row = int(str(draft.sample.meta["row"]))
        raise bad_row(place.annotation, row, f"names the image {outside[0]!r}, which is no path below a folder")
    return draft


def _absent(name: str, absent: Sequence[Draft], total: int, place: Place) -> InputError:
    first = absent[0]
    others = "" if len(absent) == total else ", or pass missing='skip' to leave these rows out"
    have = agree(len(absent), "has", "have")
    return InputError(
        f"{len(absent)} of {counted(total, 'sample')} of {name} {have} no image; the first is row "
        f"{first.sample.meta['row']} of {place.annotation.name}, {first.images[0]!r}, which is not under "
        f"{str(place.roots[0])!r}: fetch the images "
        f"(`python -m interp datasets {name}` says from where), name their folder with images=...{others}"
    )


def _why_absent(name: str, draft: Draft) -> tuple[str, str, object]:
    """What there is to say of a sample whose image is left out: why, its id and its row."""
    why = f"its image {draft.images[0]!r} is absent: fetch it (`python -m interp datasets {name}` says from where)"
    return why, draft.sample.id, draft.sample.meta["row"]


def _find(images: Sequence[str], roots: Sequence[Path]) -> Path | None:
    return next((path for root in roots for image in images if (path := file_of(root, image)) is not None), None)


def _distinct(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} can not be read as text ({error}): fetch the file again") from error
