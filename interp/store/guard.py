"""Guard: what a folder already holds is neither written over by something else nor mixed with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.store.names import given_path
from interp.store.parsing import read_json

MANIFEST = "manifest.json"
"""The file that says which study a folder holds."""

LOCK = ".lock"
"""The file that a process holds locked while it writes. It stays: were it removed, another could lock a new one."""

PATIENCE = 200
"""How often another process is waited for that moves files, a twentieth of a second each time."""


def refuse_begun(
    out: str | Path,
    *,
    resume: bool,
    parts: Sequence[str] = ("",),
    what: str = "a study",
    option: str = "resume=True (--resume)",
) -> None:
    """Refuse a folder that holds what is not to be gone on with.

    Args:
        out: the folder.
        resume: whether it is to be gone on with.
        parts: the folders inside it that studies are kept in; by default the folder itself.
        what: the name of what these studies make up.
        option: the way to go on with it, as the reader would write it.

    Raises:
        InputError: it holds a study, and `resume` is not set.
    """
    folder = given_path(out)
    if not resume and any(holds_study(folder / part) for part in parts):
        raise InputError(f"{str(folder)!r} holds {what}: go on with it by {option}, or name another folder")


def refuse_foreign(folder: Path, parts: Sequence[str] = ("",)) -> None:
    """Refuse a folder that holds something else than a study, which files of the same name would replace.

    Args:
        folder: the folder.
        parts: the folders inside it that studies are kept in; by default the folder itself.

    Raises:
        InputError: it has files, and none of them is a study's manifest; a study of something else is named.
    """
    if not _holds_files(folder) or any(holds_study(folder / part) for part in parts):
        return
    held = "files that are no study's"
    if begun := sorted(path for deep in ("", "*/", "*/*/") for path in folder.glob(f"{deep}{MANIFEST}")):
        held = f"a study of another command{_begun_by(begun[0])}"
    raise InputError(f"{str(folder)!r} holds {held}: name a new or an empty folder with --out")


def _holds_files(folder: Path) -> bool:
    """Whether there is a folder with any file in it, but for the lock of a study of which nothing could be written."""
    return any(path.name != LOCK for path in folder.rglob("*") if not path.is_dir())


@contextmanager
def locked(folder: Path, told: Path | None = None) -> Iterator[int]:
    """Keep other processes from writing to a folder; the lock dies with the process, however it ends.

    Args:
        folder: it is made where there is none, and holds the file that is locked.
        told: the folder that errors name; by default the same.

    Yields:
        The handle of the locked file.

    Raises:
        InputError: another process has it, the folder can not be made, or nothing in it can be locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{str(folder)!r} can not be made ({error.strerror}): name another folder") from error
    handle = _take(folder, told or folder)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Move files into a folder one process after the other, so that those of two runs do not mix.

    Where a system locks no folders it goes on at once, and after some seconds it does in any case.
    """
    from filelock import lock_descriptor

    handle = None
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        for _ in range(PATIENCE):
            if lock_descriptor(handle, blocking=False):
                break
            time.sleep(0.05)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def holds_lock(folder: Path, handle: int) -> bool:
    """Whether a handle is of the lock that now lies in a folder: nobody has deleted it, or put another in its place."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder / LOCK))
    except OSError:
        return False


def _take(folder: Path, told: Path) -> int:
    """Lock a folder until the handle is closed."""
    from filelock import lock_descriptor

    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # nor a link, which would make a file elsewhere
        handle = os.open(folder / LOCK, flags, 0o666)  # a file, as network disks lock no folder
        try:
            taken = lock_descriptor(handle, blocking=False)
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        raise InputError(
            f"nothing in {str(folder)!r} can be locked ({error.strerror}), so two processes could write there at once: "
            "name a folder on another disk"
        ) from error
    if not taken or not holds_lock(folder, handle):  # one that has ended since may have taken its lock away
        os.close(handle)
        raise InputError(f"another process is writing to {str(told)!r}: wait for it or name another folder")
    return handle


def refuse_other(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a study of other samples, another batch size or another setting.

    Args:
        folder: the folder of the study.
        then: its manifest, whose settings are only those that its numbers depend on.
        now: the manifest of what is asked, likewise.

    Raises:
        InputError: they differ; each difference is named with both values.
    """
    names = ("samples", "digest", "batch")
    differ = [f"{name}: was {_brief(then[name])}, now {_brief(now[name])}" for name in names if then[name] != now[name]]
    differ += _differences(then["settings"], now["settings"])
    if differ:
        why = " (the digest is of the samples' content and order)" if then["digest"] != now["digest"] else ""
        why += " (other batches round otherwise, and would make other numbers)" if then["batch"] != now["batch"] else ""
        raise InputError(
            f"{str(folder)!r} holds another study: {'; '.join(differ)}{why}: resume with what it was begun with, "
            "or name another folder"
        )


def holds_study(folder: Path) -> bool:
    """Whether a study was begun in a folder."""
    return (folder / MANIFEST).exists()


def _begun_by(manifest: Path) -> str:
    """By which command a study was begun, as far as its manifest can say."""
    try:
        command = read_json(manifest)["settings"]["command"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return f" ({' '.join(str(command).split())[:120]})"


def _brief(value: Any) -> str:
    """A value in a message, a digest by its beginning."""
    return f"{value[:10]}..." if isinstance(value, str) and len(value) > 40 else repr(value)


def _differences(then: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        names = [*then, *(key for key in now if key not in then)]
        pairs = {f"{name}.{key}" if name else key: (then.get(key, "absent"), now.get(key, "absent")) for key in names}
        return [line for longer, (was, is_now) in pairs.items() for line in _differences(was, is_now, longer)]
    return [] if then == now else [f"{name}: was {_brief(then)}, now {_brief(now)}"]
