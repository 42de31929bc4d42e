"""Read a benchmark: from local files in their published formats, or drawn on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from interp.datasets.benchmarks import choices, vsr, whatsup
from interp.datasets.benchmarks.catalogue import BENCHMARKS, benchmark
from interp.datasets.benchmarks.entry import Benchmark
from interp.datasets.benchmarks.files import Draft, Place, attach_images, find_place
from interp.datasets.benchmarks.two_ds import read_two_ds
from interp.errors import InputError
from interp.objects.sample import Sample


def read_dataset(
    name: str,
    folder: str | Path | None = None,
    *,
    n: int | None = None,
    missing: str = "refuse",
    images: str | Path | None = None,
    progress: bool = True,
) -> list[Sample]:
    """Read a benchmark from local files in their published formats, or draw a synthetic one.

    Args:
        name: the name in the catalogue.
        folder: where the files lie, as their authors lay them out (`controlled_images_dataset.json` beside
            `controlled_images/`, `coco_qa_one_obj.json` beside `val2017/`, ...), or the annotation file itself. None
            for synthetic sets.
        n: only the first so many samples; all by default, of a synthetic set as many as the catalogue says.
        missing: what absent images mean: `refuse` (an error with their number), `skip` these samples, or `keep` them
            with paths where nothing is (for statistics of the text). `meta["row"]` always counts the file's rows.
        images: another folder to look for images in, before those of `folder`.
        progress: show a progress bar where reading takes more than a moment.

    Returns:
        Samples with `image` a path (a picture where the file holds it), `answer` in lower case (as it stands where
        each row has answers of its own), `group` the object pair (Controlled Images), the scene, or the photo, and
        `meta` with `dataset`, `row` and what the row says.

    Raises:
        InputError: no such data set, folder or file, a row that can not be used, or absent images.

    Example:
        >>> [sample.answer for sample in read_dataset("shapes-a", n=4)]
        ['left', 'right', 'on', 'under']
    """
    one = benchmark(name)
    if one.synthetic:
        if folder is not None or images is not None:
            raise InputError(f"{name} is drawn on the spot and reads no files: leave the folder out")
        return _drawn(one, one.n if n is None else n)
    if folder is None:
        raise InputError(f"{name} is read from files: name their folder (`python -m interp datasets {name}` says more)")
    return read_place(one, place_of(one, folder, images), n=n, missing=missing, progress=progress)


def read_place(
    one: Benchmark, place: Place, *, n: int | None = None, missing: str = "refuse", progress: bool = True
) -> list[Sample]:
    """Read a benchmark whose files were found.

    Raises:
        InputError: a row that can not be used, or absent images.
    """
    if one.kind == "scenes":
        return read_two_ds(place.annotation, one.name, n=n, progress=progress)
    return attach_images(one.name, drafts(one, place.annotation), place, n=n, missing=missing, progress=progress)


def place_of(one: Benchmark, folder: str | Path, images: str | Path | None = None) -> Place:
    """Find the files of a benchmark, without taking another one's for them.

    Raises:
        InputError: there is no such folder or file.
    """
    taken = {
        file for other in BENCHMARKS.values() if other.annotations != one.annotations for file in other.annotations
    }
    return find_place(one.name, folder, one.annotations, sorted(taken), images)


def drafts(one: Benchmark, path: Path) -> Iterator[Draft]:
    """Read the rows of a file with the reader of its kind."""
    if one.kind == "controlled":
        return whatsup.read_controlled(path, one.name, one.options, subset=one.subset, folder=one.images)
    if one.kind == "captioned":
        return whatsup.read_captioned(
            path, one.name, one.options, n_objects=one.n_objects, folder=one.images, digits=one.digits
        )
    if one.kind == "choices":
        return choices.read_choices(path, one)
    return vsr.read_statements(path, one.name) if one.kind == "statements" else vsr.read_open(path, one.name)


def _drawn(one: Benchmark, n: int) -> list[Sample]:
    """The first samples of a synthetic set; complete sets of four are made and the rest is cut."""
    from interp.datasets.synthetic.quartets import quartets  # numpy and drawing, which reading files needs not
    from interp.datasets.synthetic.shapes import shapes
    from interp.datasets.synthetic.two_ds import two_ds

    if n < 1:
        raise InputError(f"n={n} samples of {one.name} were asked for: give 1 or more")
    if one.subset == "2ds":
        return two_ds(n, split="test", seed=0)
    if one.subset:
        return quartets(-(-n // 4), words=one.subset, split="test", seed=0)[:n]
    samples = shapes(n, split="test", seed=0)
    return [
        replace(sample, meta={**sample.meta, "dataset": one.name, "row": row}) for row, sample in enumerate(samples)
    ]
