"""Guard: what a folder already holds is neither written over by something else nor mixed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.store.names import given_path
from interp.store.parsing import read_json

MANIFEST = "manifest.json"
"""The file that says which study a folder holds."""

LOCK = ".lock"
"""The file that a process holds locked while it writes. It stays: were it removed, another could lock a new one."""


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
