"""Fetch a benchmark from the Hugging Face Hub, only when asked, and lay its files out as their authors do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from interp.datasets.benchmarks.catalogue import benchmark
from interp.datasets.benchmarks.entry import Benchmark
from interp.datasets.benchmarks.whatsup import file_name, parse_caption
from interp.errors import InputError
from interp.store.folder import OutputFolder
from interp.store.names import given_path, is_plain_name

MAX_OTHER_ANSWERS = 0.02
"""Share of rows in which captions and released answers may disagree when both are joined by row."""

_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))


def download_dataset(name: str, folder: str | Path = "data", *, revision: str | None = None) -> list[Path]:
    """Fetch what the Hub has of a benchmark into a folder, from which `read_dataset` then reads it.

    * What'sUp: photos and captions from `ServiceNow/whatsup_all`; image ids and the released prompts (to
      `prompts/`) from `AdaptVis/all_datasets`.
    * VSR: `test.jsonl` from `cambridgeltl/vsr_zeroshot`. Its photos are COCO's and not on the Hub.

    All rows are checked before the first photo is written, and the annotation file is written last, so that a download
    that broke off is not taken for a complete one. Photos that are there already are left as they are.

    Args:
        name: the name in the catalogue.
        folder: where to put the files.
        revision: the revision of the data set that holds the photos or, for VSR, the text.

    Returns:
        The annotation file, and the prompt file where there is one.

    Raises:
        InputError: there is nothing to fetch, the annotation file is there already, the Hub can not be reached, or
            what it sent is not what the catalogue says.

    Example:
        >>> download_dataset("controlled-a", "data")
        [PosixPath('data/controlled_images_dataset.json'), PosixPath('data/prompts/Controlled_Images_A_...jsonl')]
    """
    one = benchmark(name)
    if one.synthetic:
        raise InputError(f"{name} is drawn on the spot: there is nothing to download")
    if one.kind in ("scenes", "choices"):
        wanted = "the Parquet file" if one.kind == "scenes" else one.hub_part
        raise InputError(f"{name} is read from a file of your own: fetch {wanted} of {one.hub} from the Hub")
    target = given_path(folder)
    if (target / one.annotations[0]).exists():
        raise InputError(
            f"{str(target / one.annotations[0])!r} is there already: check it (`python -m interp datasets {name} "
            f"--check --folder {folder}`), or move it away to download {name} again"
        )
    out = OutputFolder(target)
    if one.kind in ("statements", "open"):
        (file,) = _snapshot(one.hub, one.hub_part, revision)
        return [out.write(one.annotations[0], partial(_write_bytes, file.read_bytes()))]
    shards = _snapshot(one.hub, f"data/{one.hub_part}-*.parquet", revision)
    prompts = _rows(_snapshot(one.text_hub, f"{one.text_part}/*.parquet", None), ("id", "question", "answer"))
    rows, names = _check_rows(one, shards, _image_ids(one, prompts))
    _write_photos(OutputFolder(target / one.images), shards, names)
    released = _write_prompts(one, prompts, target)
    return [out.write_text(one.annotations[0], json.dumps(rows, indent=1)), released]


def _check_rows(one: Benchmark, shards: Sequence[Path], ids: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The rows of the annotation file, and the name of each row's photo; nothing is written yet.

    Raises:
        InputError: other columns or another number of rows than published, captions that do not fit the answers, or a
            photo that would be called what is no plain file name.
    """
    rows: list[Any] = []
    names: list[str] = []
    others = 0
    for number, row in enumerate(_stream(shards, ("image_options", "caption_options"))):
        captions, (content, stored) = _captions(row["caption_options"], number), _image_of(row["image_options"], number)
        parsed = parse_caption(captions[0], one.options, n_objects=one.n_objects)
        if parsed is None or number >= len(ids):
            raise InputError(f"row {number} of {one.hub} says {captions[0]!r}, which is not of {one.name}")
        others += parsed[1] != ids[number]["answer"]
        image = _controlled_name(parsed, stored) if one.kind == "controlled" else _image_id(ids[number], content)
        names.append(_photo_name(one, number, f"{str(image).zfill(one.digits)}{_suffix(content)}"))
        rows.append(
            {"image_path": f"{one.images}/{names[-1]}", "caption_options": captions}
            if one.kind == "controlled"
            else [image, *captions]
        )
    if one.kind == "controlled" and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two photos of {one.hub} would be called {twice}: fetch the authors' files instead")
    if len(rows) != one.n or len(ids) != one.n or others > MAX_OTHER_ANSWERS * len(rows):
        raise InputError(
            f"the Hub gave {len(rows)} photos and {len(ids)} prompts of {one.name}, where {one.n} are published, and "
            f"{others} captions do not fit their answers: the data sets {one.hub} and {one.text_hub} do not belong "
            "together any more; fetch the authors' files instead"
        )
    return rows, names


def _write_photos(folder: OutputFolder, shards: Sequence[Path], names: Sequence[str]) -> None:
    """Write each row's photo under its name."""
    for number, (name, row) in enumerate(zip(names, _stream(shards, ("image_options",)), strict=True)):
        if not (folder.path / name).is_file():
            folder.write(name, partial(_write_bytes, _image_of(row["image_options"], number)[0]))


def _photo_name(one: Benchmark, row: int, name: str) -> str:
    """The name of a photo, which comes from the data set and must not lead out of the folder."""
    if not is_plain_name(name):
        raise InputError(f"row {row} of {one.hub} would be called {name!r}, no file name: fetch the authors' files")
    return name


def _captions(cell: Any, row: int) -> list[str]:
    """The captions of a row."""
    if not isinstance(cell, list) or not cell or not all(isinstance(text, str) for text in cell):
        raise InputError(f"row {row} holds no captions but {cell!r:.80}: the Hub's data set has changed")
    return cell


def _image_ids(one: Benchmark, prompts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Image id (or None) and answer of each row, in row order."""
    ordered = sorted(prompts, key=lambda row: int(row["id"]))
    if [int(row["id"]) for row in ordered] != list(range(len(ordered))):
        raise InputError(f"the ids of {one.text_hub} ({one.text_part}) are not 0, 1, 2, ...: fetch the authors' files")
    return [{"image_id": row.get("image_id"), "answer": str(list(row["answer"])[0]).lower()} for row in ordered]


def _write_prompts(one: Benchmark, prompts: Sequence[Mapping[str, Any]], target: Path) -> Path:
    """Write the prompts in the form in which they were released."""
    rows = [{"id": int(row["id"]), "question": row["question"], "answer": list(row["answer"])} for row in prompts]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=lambda row: row["id"]))
    return OutputFolder(target / "prompts").write_text(one.prompts, text)


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _controlled_name(parsed: tuple[tuple[str, ...], str], stored: str | None) -> str:
    """The stem of a photo: as stored with it, where that is such a name, or else from the caption."""
    (first, second), relation = parsed
    stem = PurePosixPath(stored or "").stem
    return stem if stem.count("_") >= 2 else file_name(first, relation, second)


def _image_id(row: Mapping[str, Any], content: bytes) -> int | str:
    """The released image id, or a name that equal photos share."""
    return hashlib.sha256(content).hexdigest()[:12] if row["image_id"] is None else int(row["image_id"])


def _image_of(value: Any, row: int) -> tuple[bytes, str | None]:
    """Bytes and stored name of an image column's cell: one image, or a list of one."""
    cell = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(cell, Mapping) or not isinstance(cell.get("bytes"), bytes):
        raise InputError(f"row {row} holds no image bytes but {type(cell).__name__}: the Hub's data set has changed")
    return cell["bytes"], cell.get("path")


def _suffix(content: bytes) -> str:
    for start, suffix in _MAGIC:
        if content.startswith(start):
            return suffix
    raise InputError(f"a photo of the Hub begins with {content[:8]!r}, which is neither JPEG nor PNG")


def _rows(shards: Sequence[Path], columns: Sequence[str]) -> list[dict[str, Any]]:
    return list(_stream(shards, columns))


def _stream(shards: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of Parquet files, a few at a time, because photos are large."""
    from pyarrow.parquet import ParquetFile

    for shard in shards:
        with ParquetFile(shard) as file:
            absent = [column for column in columns if column not in file.schema_arrow.names]
            if absent:
                raise InputError(f"{shard.name!r} has the columns {file.schema_arrow.names} and no {absent[0]}")
            for batch in file.iter_batches(batch_size=16):
                yield from batch.to_pylist()


def _snapshot(repository: str, pattern: str, revision: str | None) -> list[Path]:
    """Fetch the files of a Hub data set that fit a pattern; sorted local paths.

    Raises:
        InputError: the Hub can not be reached, or has no such files.
    """
    from fnmatch import fnmatch

    from huggingface_hub import snapshot_download

    try:
        root = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern], revision=revision))
    except Exception as error:  # the Hub's client raises errors of several libraries
        raise InputError(
            f"{repository} can not be fetched from the Hub ({type(error).__name__}: {str(error).splitlines()[0]}): go "
            "online, or fetch the authors' files"
        ) from error
    found = sorted(path for path in root.rglob("*") if fnmatch(path.relative_to(root).as_posix(), pattern))
    if not found:
        raise InputError(f"{repository} has no files {pattern!r}: its layout has changed; fetch the authors' files")
    return found
