"""Study: run a measurement over a data set; what was measured survives a kill, and is never done twice or mixed up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.model.provenance import FROM_PYTHON, result_of, resumed, run_record, runs_of, tells_runs
from interp.numeric import counted, read_flag, real, whole_number
from interp.objects.refusals import refuse_noted
from interp.store.folder import OutputFolder, as_bytes, plain
from interp.store.guard import MANIFEST, holds_study, refuse_begun, refuse_other
from interp.store.names import given_path
from interp.store.parsing import read_json
from interp.store.progress import patient_bar
from interp.store.seals import study_seal
from interp.store.shards import Entry, Shards, entries, join, read_shards, shard_files, write_synced
from interp.study.keys import check_ids, content_key
from interp.study.prompter import batches

if TYPE_CHECKING:
    import pandas as pd

    from interp.objects.sample import Sample
    from interp.store.progress import ProgressBar

FORMAT = 2
"""Of the folder that a study is kept in; another number can not be read."""


def run_study(
    samples: Sequence[Sample],
    measure: Callable[[list[Sample]], list[list[dict[str, Any]]]],
    out: str | Path | None,
    *,
    settings: Mapping[str, Any],
    batch: int = 16,
    resume: bool = False,
    progress: bool = True,
    label: str = "asking",
    flush_seconds: float = 10.0,
) -> pd.DataFrame:
    """Measure every sample once, keep the rows on disk while it goes on, and give them back as one table.

    The folder holds `manifest.json` and `shards/part-*.parquet`. A process that is killed loses at most what it
    measured in the last `flush_seconds`; resumed, it forms the very same batches, so its table equals that of a run
    that was never stopped.

    Args:
        samples: what to measure; each with an id of its own.
        measure: gets a batch, gives for each of its samples, in order, its rows: at least one, all with the same
            columns, of plain numbers, texts, booleans, float32 arrays of one axis, or None. Arrays of one column have
            one length. An `id` in a row must be the sample's.
        out: the folder; None keeps nothing once the table is made.
        settings: all that the numbers depend on besides the samples, in JSON's own types, see
            `interp.model.record.record`; a resumed study must have the same, but for `interp.model.provenance.RUN`: the
            manifest keeps when and how it was begun, and adds each time that it was gone on with.
        batch: samples that are measured together; those with questions of like length share a batch.
        resume: go on with what the folder holds; an empty or missing folder is begun.
        progress: show a progress bar.
        label: what the bar says.
        flush_seconds: the rows are written when so much time has gone by since the last writing, and at the end.

    Returns:
        Rows in the order of the samples, then as measured: `id`, `key` (the sample's content key), then the measured
        columns. Gaps are NaN or None; whole numbers and booleans keep their type beside gaps (`Int64`, `boolean`), and
        each array is an array again, to the bit.

    Raises:
        InputError: no samples, two with one id, a photo that can not be read, a folder that holds another study or
            needs `resume`, a damaged shard, or rows that are not as `measure` should give them.

    Example:
        >>> def lengths(batch):
        ...     return [[{"letters": len(sample.question)}] for sample in batch]
        >>> table = run_study(samples, lengths, "out/lengths", settings={"what": "letters"})
    """
    how: dict[str, Any] = {"batch": batch, "resume": resume, "progress": progress, "label": label}
    with kept_study(samples, measure, out, settings=settings, flush_seconds=flush_seconds, **how) as folder:
        return read_study(folder)[0]


@contextmanager
def kept_study(
    samples: Sequence[Sample],
    measure: Callable[[list[Sample]], list[list[dict[str, Any]]]],
    out: str | Path | None,
    *,
    settings: Mapping[str, Any],
    batch: int = 16,
    resume: bool = False,
    progress: bool = True,
    label: str = "asking",
    flush_seconds: float = 10.0,
) -> Iterator[Path]:
    """Measure as `run_study`, and give the folder that holds all rows, to read of them what is needed at a time.

    The folder is locked, and gone afterwards where `out` is None. What a batch measured stays in memory until it is
    written: with `flush_seconds=0` that is one batch.

    Example:
        >>> with kept_study(samples, measure, None, settings={}, flush_seconds=0) as folder:
        ...     for name in ("projector", "blocks.0"):
        ...         table, _ = read_study(folder, columns=[name])
    """
    batch = check_running(out, batch=batch, resume=resume, progress=progress)
    here = _entries(samples, progress)
    _refuse_numbers(samples, flush_seconds)
    manifest = _manifest(here, settings, batch)
    with nullcontext(out) if out is not None else TemporaryDirectory(prefix="study-") as place:
        folder = OutputFolder(place)
        shards = Shards(_own_folder(folder.path), study_seal(_of_numbers(manifest)))
        with shards.lock():
            done = _begin(folder, shards, manifest, resume=resume)
            left = [places for places in batches(samples, batch) if places[0] not in done]
            with _bar(len(here), len(done), label, progress) as bar, _kept(shards, announced=out is not None):
                for places in left:
                    answers = measure([samples[place] for place in places])
                    shards.add(_checked([here[place] for place in places], answers))
                    del answers
                    shards.flush(after=flush_seconds)
                    bar.update(len(places))
            yield folder.path


def check_running(out: Any, *, batch: Any, resume: Any, progress: Any) -> int:
    """Refuse what no study can be run with, whatever it measures; the batch as a plain number.

    Args:
        out: the folder, or None.
        batch: samples that are measured together.
        resume: whether to go on with what the folder holds.
        progress: whether to show a progress bar.

    Raises:
        InputError: no folder's name, no whole number from 1 on, no truth value, or nothing that could be resumed.
    """
    if out is not None and (not isinstance(out, (str, os.PathLike)) or not os.fspath(out)):
        raise InputError(f"out={out!r:.60} names no folder: give a path, or None to keep nothing")
    for name, given in (("resume", resume), ("progress", progress)):
        read_flag(given, name)
    if out is None and resume:
        raise InputError("without a folder nothing is kept that could be resumed: name the folder")
    return whole_number(batch, "batch", 1)


def read_study(
    out: str | Path, *, partial: bool = False, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what `run_study` has stored: its table and its manifest.

    Args:
        out: the folder.
        partial: take a study that is not finished too.
        columns: of what was measured, the columns to read, beside `id` and `key`; all by default.

    Raises:
        InputError: the folder holds no study, a damaged one, one that is not finished, or no such column.
    """
    folder = given_path(out)
    manifest = _read_manifest(folder)
    tables = read_shards(folder / "shards", study_seal(_of_numbers(manifest)), columns)
    done = _of_samples(folder, entries(tables), manifest["samples"])
    missing = manifest["samples"] - len(done)
    if missing and not partial:
        raise InputError(
            f"{str(folder)!r} holds {len(done)} of {manifest['samples']} samples: resume it, "
            "or read what there is with partial=True"
        )
    return join(tables), manifest


def with_runs(settings: Mapping[str, Any], *folders: str | Path) -> dict[str, Any]:
    """Settings with the dates and commands of all runs that studies in these folders were begun and gone on with by."""
    kept = [_read_manifest(folder)["settings"] for folder in map(given_path, folders) if holds_study(folder)]
    return {**settings, **runs_of(kept)}


def _entries(samples: Sequence[Sample], progress: bool) -> list[Entry]:
    check_ids(samples)
    refuse_noted(len(samples))
    known: dict[Path, str] = {}
    every = enumerate(patient_bar(samples, "reading photos", "sample", show=progress))
    return [Entry(place, sample.id, content_key(sample, known)) for place, sample in every]


def _manifest(here: Sequence[Entry], settings: Mapping[str, Any], batch: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "samples": len(here),
        "digest": _digest(here),
        "batch": batch,
        "settings": plain(settings),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _digest(here: Iterable[Entry]) -> str:
    """Of all content keys, in the order of the samples."""
    return hashlib.sha256("\n".join(entry.key for entry in here).encode()).hexdigest()


def _begin(folder: OutputFolder, shards: Shards, manifest: Mapping[str, Any], *, resume: bool) -> dict[int, Entry]:
    """Write the manifest of a new study, or find what of this very study is stored."""
    refuse_begun(folder.path, resume=resume)
    if holds_study(folder.path):
        then = _read_manifest(folder.path)
        refuse_other(folder.path, _of_numbers(then), _of_numbers(manifest))
        done = _of_samples(folder.path, shards.load(), then["samples"])
        if len(done) < then["samples"]:
            _write_manifest(folder.path, {**then, "settings": resumed(then["settings"], manifest["settings"])})
        return done
    if shard_files(shards.path):
        raise InputError(f"{str(shards.path)!r} holds shards and no manifest beside it: name another folder")
    _write_manifest(folder.path, manifest)
    return {}


def _of_numbers(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Of a manifest what the numbers depend on."""
    parts = {name: manifest[name] for name in ("format", "samples", "digest", "batch")}
    return {**parts, "settings": result_of(manifest["settings"])}


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_synced(folder, MANIFEST, lambda file: file.write(as_bytes(text)))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = read_json(path)
        found = manifest["format"]
        if found == FORMAT and (wrong := [name for name, kind in _PARTS.items() if type(manifest[name]) is not kind]):
            raise ValueError(f"{wrong[0]} is {manifest[wrong[0]]!r:.40}")
        if found == FORMAT and not tells_runs(manifest["settings"]):
            raise ValueError("its settings do not say when and how it was begun and gone on with")
    except OSError as error:
        raise InputError(
            f"{str(folder)!r} can not be resumed or read, it holds no study ({error.strerror}): name one that does"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{str(path)!r} is no manifest of a study ({error!r}): name another folder") from error
    if found != FORMAT:
        raise InputError(f"{str(path)!r} has format {found!r} and this version reads {FORMAT}: name another folder")
    return manifest


def _own_folder(folder: Path) -> Path:
    """Where the shards of a study lie, which no link may lead elsewhere: what lies there would be written over."""
    place = folder / "shards"
    if place.is_symlink():
        raise InputError(
            f"{str(place)!r} is a link to {str(place.resolve())!r}: put the shards themselves in its place"
        )
    return place


_PARTS: dict[str, type] = {"samples": int, "digest": str, "batch": int, "settings": dict}
"""What a manifest has to say beside its format, and of which type."""


def _of_samples(folder: Path, done: dict[int, Entry], samples: int) -> dict[int, Entry]:
    """What shards hold, once it is known to be of the samples that the manifest counts."""
    if strange := [entry for place, entry in done.items() if not 0 <= place < samples]:
        raise InputError(
            f"{str(folder / 'shards')!r} holds {strange[0].id!r} at place {strange[0].place}, and the study has "
            f"{samples} samples: its shards were put together by something else, name another folder"
        )
    return done


def _refuse_numbers(samples: Sequence[Sample], flush_seconds: float) -> None:
    if not samples:
        raise InputError("there are no samples to measure: give at least one")
    if not real(flush_seconds) >= 0:
        raise InputError(f"flush_seconds {flush_seconds} is no time: give seconds, at least 0")


def _checked(batch: Sequence[Entry], answers: Any) -> list[tuple[Entry, Mapping[str, Any]]]:
    """Rows as `measure` should give them, each with the sample it is of."""
    if not isinstance(answers, Sequence) or len(answers) != len(batch):
        given = f"{len(answers)} lists" if isinstance(answers, Sequence) else f"a {type(answers).__name__}"
        raise InputError(f"measure gave {given} for {len(batch)} samples: give one list of rows for each")
    for entry, rows in zip(batch, answers, strict=True):
        if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
            raise InputError(f"measure gave no list of dicts for sample {entry.id!r}, but {rows!r:.80}: give one")
        if not rows:
            raise InputError(f"measure gave no row for sample {entry.id!r}: give at least one, with None for no value")
    return [(entry, row) for entry, rows in zip(batch, answers, strict=True) for row in rows]


def _bar(total: int, done: int, label: str, progress: bool) -> ProgressBar:
    from interp.store.progress import ProgressBar

    return ProgressBar(total=total, initial=done, desc=label, unit="sample", disable=not progress)


@contextmanager
def _kept(shards: Shards, *, announced: bool) -> Iterator[None]:
    """Write what was taken at the end, also where that is an error; then say beside the error how to go on."""
    try:
        yield
        shards.flush()
    except BaseException as error:
        full = _flush_again(shards, error)
        if announced and shards.is_there():
            error.add_note(_what_is_kept(shards, full=full, samples=isinstance(error, InputError) and not full))
        raise


def _flush_again(shards: Shards, error: BaseException) -> bool:
    """Write what was taken, behind an error; whether that can not be done, which is said where it is not the error."""
    try:
        shards.flush()
    except Exception as second:
        if str(second) != str(error):
            error.add_note(f"then {second};")
        return True
    return False


def _what_is_kept(shards: Shards, *, full: bool, samples: bool) -> str:
    """What of a study that broke off is kept, what is not, and how to go on with it."""
    folder = str(shards.path.parent)
    lost = f"the {counted(shards.unwritten, 'sample')} since the last writing" if shards.unwritten else ""
    kept = f"{folder!r} keeps what was measured{f' before, and not {lost}' if lost else ''}"
    if not shard_files(shards.path):
        kept = f"{folder!r} keeps no sample yet"
    changed = ", with the same samples (others make another study, for another folder)" if samples else ""
    return f"{kept}: {'once there is room, ' if full else ''}go on with {_option()}{changed}"


def _option() -> str:
    """How to go on with a study: by the command line that runs now, or from Python and either."""
    return "resume=True (--resume)" if run_record()["command"] == FROM_PYTHON else "--resume"
