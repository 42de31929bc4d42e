"""Check a benchmark's files: what is there, what is missing, how to get it, and what is known to be wrong in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.datasets.benchmarks.catalogue import BENCHMARKS, benchmark
from interp.datasets.benchmarks.entry import Benchmark
from interp.datasets.benchmarks.reading import place_of, read_place
from interp.errors import InputError
from interp.image.digests import file_digest
from interp.numeric import agree, counted
from interp.reprs import fits_a_cell


@fits_a_cell("name complete rows expected images missing problems")
@dataclass(frozen=True)
class Check:
    """What was found of one benchmark.

    Attributes:
        name: the name in the catalogue.
        folder: where it was looked for.
        annotation: its file, or None.
        checksum: `as known`, `differs from the known one`, or `none is known`; empty where there is no file.
        rows: how many samples the file gives.
        expected: how many a complete one gives.
        images: how many different photos the samples show.
        missing: photos that are absent, sorted.
        labels: how often each answer is right.
        problems: what keeps it from being complete, in words.
    """

    name: str
    folder: str
    annotation: str | None
    checksum: str
    rows: int
    expected: int
    images: int
    missing: tuple[str, ...]
    labels: Mapping[str, int]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything is there and as published."""
        return not self.problems

    def describe(self) -> str:
        """The check as lines of text, with what to do."""
        one = benchmark(self.name)
        if one.synthetic:
            return f"{self.name}: complete, it is drawn on the spot"
        lines = [f"{self.name} in {self.folder}: {'complete' if self.complete else 'NOT complete'}"]
        if self.annotation is not None:
            lines.append(f"  file      {self.annotation} (checksum: {self.checksum})")
            lines.append(f"  samples   {self.rows} of {self.expected or 'an unknown number'}")
            lines.append(f"  photos    {self.images - len(self.missing)} of {self.images}")
        if 0 < len(self.labels) <= 8:
            lines.append(f"  answers   {_counted(self.labels)}")
        lines += [f"  problem   {problem}" for problem in self.problems]
        lines += [f"  licence   {one.licence}", *(f"  known     {defect}" for defect in one.defects)]
        return "\n".join(lines if self.complete else [*lines, *how_to_get(one, self.folder)])


def check_dataset(name: str, folder: str | Path = "data", *, images: str | Path | None = None) -> Check:
    """Look at the files of a benchmark without running anything on them.

    Args:
        name: the name in the catalogue.
        folder: where its files lie, or its annotation file.
        images: another folder to look for photos in.

    Example:
        >>> check_dataset("shapes-a").complete
        True

    Raises:
        InputError: there is no such data set.
    """
    one = benchmark(name)
    if one.synthetic:
        return Check(name, "", None, "", one.n, one.n, one.n, (), {}, ())
    where = str(Path(folder).parent if Path(folder).is_file() else folder)
    try:
        place = place_of(one, folder, images)
    except InputError as error:
        return Check(name, where, None, "", 0, one.n, 0, (), {}, (str(error),))
    file, checksum = str(place.annotation), _checksum(place.annotation, one.sha256)
    try:
        samples = read_place(one, place, missing="keep")
    except InputError as error:
        return Check(name, where, file, checksum, 0, one.n, 0, (), {}, (str(error),))
    photos = sorted({str(sample.image) if isinstance(sample.image, Path) else sample.group for sample in samples})
    paths = {str(sample.image) for sample in samples if isinstance(sample.image, Path)}
    missing = tuple(sorted(path for path in paths if not Path(path).is_file()))
    labels = dict(Counter(sample.answer for sample in samples).most_common())
    problems = tuple(_problems(one, len(samples), len(photos), missing, labels))
    return Check(name, where, file, checksum, len(samples), one.n, len(photos), missing, labels, problems)


def list_benchmarks() -> list[dict[str, object]]:
    """The catalogue as rows of plain data: name, n, options, photos, licence, title.

    Example:
        >>> [row["name"] for row in list_benchmarks()][:2]
        ['controlled-a', 'controlled-b']
    """
    return [
        {
            "name": one.name,
            "n": one.n,
            "options": list(one.options),
            "photos": one.photos,
            "licence": one.licence,
            "title": one.title,
        }
        for one in BENCHMARKS.values()
    ]


_OPTIONS = {"open": "relations of the file", "scenes": "none: free answers", "choices": "each row's own"}


def describe_benchmarks() -> str:
    """The catalogue as a table of text."""
    rows = [("name", "n", "options", "photos", "licence")]
    for one in BENCHMARKS.values():
        options = "/".join(one.options) or _OPTIONS.get(one.kind, "several lists")
        rows.append((one.name, _number(one), options, one.photos, one.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join((*map(str.ljust, row, widths), row[4])) for row in rows)


def describe_benchmark(name: str, folder: str = "data") -> str:
    """One entry of the catalogue as lines of text, with how to get its files.

    Raises:
        InputError: there is no such data set.
    """
    one = benchmark(name)
    lines = [f"{one.name}: {one.title}", f"  samples   {_number(one)}", f"  photos    {one.photos}"]
    if one.options:
        lines.append(f"  options   {', '.join(one.options)}")
    if one.labels:
        lines.append(f"  answers   {_counted(one.labels)}")
    lines += [f"  licence   {one.licence}", *(f"  known     {defect}" for defect in one.defects)]
    return "\n".join([*lines, *how_to_get(one, folder)])


def how_to_get(one: Benchmark, folder: str) -> list[str]:
    """Lines that say how to fetch the files of a benchmark."""
    if one.synthetic:
        return ["  get       nothing to fetch"]
    if one.kind == "scenes":
        return [
            f"  get       the Parquet file of {one.hub} on the Hugging Face Hub; --folder takes its folder or itself"
        ]
    lines = [f"  get       {source.command(folder)}" for source in one.sources]
    if one.kind == "choices":
        with_images = f" and the folder {one.images}/" if one.images else ""
        return lines or [
            f"  get       {one.hub_part}{with_images} of {one.hub} on the Hugging Face Hub; --folder takes the "
            "folder that they lie in"
        ]
    part = one.hub_part if one.hub_part.endswith(".jsonl") else f"{one.hub_part}, with photos"
    lines.append(
        f"  or        python -m interp datasets {one.name} --download --folder {folder}   (Hub: {one.hub}, {part})"
    )
    if one.kind in ("statements", "open"):
        lines.append("  or        fetch single photos: each row of test.jsonl holds the address of its own, image_link")
    return lines


def _problems(one: Benchmark, rows: int, photos: int, missing: Sequence[str], labels: Mapping[str, int]) -> list[str]:
    problems = []
    if one.n and rows != one.n:
        problems.append(f"the file gives {counted(rows, 'sample')} where {one.n} are published")
    elif one.labels and dict(one.labels) != dict(labels):
        problems.append(f"answers are {_counted(labels)} where {_counted(one.labels)} are published")
    if missing:
        are = agree(len(missing), "is", "are")
        problems.append(f"{len(missing)} of {counted(photos, 'photo')} {are} missing, the first is {missing[0]}")
    return problems


def _number(one: Benchmark) -> str:
    """How many samples there are, in words."""
    return str(one.n or "not known")


def _checksum(path: Path, known: str) -> str:
    if not known:
        return "none is known"
    return "as known" if file_digest(path) == known else "differs from the known one"


def _counted(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in labels.items())
