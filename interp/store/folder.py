"""Output: a folder that results go into, each file written whole or not at all, and the record that goes with them."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.store.guard import holds_study, in_turn
from interp.store.names import given_path, is_text
from interp.store.signals import signals_held

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class OutputFolder:
    """A folder for results, proved to be writable before any work is done.

    Example:
        >>> out = OutputFolder("out/photo")
        >>> out.write_json("summary.json", {"answer": "Left"})
    """

    def __init__(self, path: str | Path) -> None:
        """Prove that the folder can be written; it is made with the first file, so that a failed run leaves nothing.

        Raises:
            InputError: it can not be made or written to.
        """
        self.path = given_path(path)
        if not is_text(str(self.path)):
            raise InputError(f"output folder {str(path)!r} holds broken letters: name one in UTF-8, with --out")
        self._aside: dict[Path, Path] | None = None
        self._held_study = False
        _refuse_dead_links(self.path)
        try:
            there = next(place for place in (self.path, *self.path.absolute().parents) if place.exists())
            with tempfile.NamedTemporaryFile(dir=there, prefix=".probe-"):
                pass
        except OSError as error:
            raise InputError(
                f"output folder {str(path)!r} can not be written ({error.strerror}): name a folder that can, with --out"
            ) from error

    def write(self, name: str, writer: Callable[[Path], Any]) -> Path:
        """Let `writer` write a file aside, then move it into place: nobody ever sees half of it."""
        target = self.path / name
        aside = self.path / f".part-{secrets.token_hex(8)}{target.suffix}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less what the user's umask takes
            writer(aside)
            if self._aside is None:
                os.replace(aside, target)
            else:
                if earlier := self._aside.get(target):
                    earlier.unlink()
                self._aside[target] = aside
        except OSError as error:
            raise _unwritten(target, error) from error
        finally:
            if self._aside is None or self._aside.get(target) != aside:
                with suppress(OSError):
                    os.unlink(aside)
        return target

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Keep files that are written inside aside until all are there, so that no folder holds parts of two runs.

        Where something fails, none of them appears, and what the folder held before stays as it was.

        Raises:
            InputError: a file can not be moved into place, or a study that the folder held is gone.
        """
        if self._aside is not None:
            yield
            return
        self._aside = {}
        try:
            with self.told_kept():
                yield
                self._refuse_lost_study()
                with in_turn(self.path), signals_held():
                    for target, aside in self._aside.items():
                        try:
                            os.replace(aside, target)
                        except OSError as error:
                            raise _unwritten(target, error) from error
        finally:
            for aside in self._aside.values():
                with suppress(OSError):
                    os.unlink(aside)
            self._aside = None

    def _refuse_lost_study(self) -> None:
        """Refuse to write about a study whose folder was deleted meanwhile: the report would stand there alone."""
        if self._held_study and not _keeps_study(self.path):
            for aside in (self._aside or {}).values():
                aside.unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
            raise InputError(
                f"{str(self.path)!r} no longer holds the study that it held: it was deleted or moved while its report "
                "was made; put it back, or run the command again"
            )

    @contextmanager
    def told_kept(self) -> Iterator[None]:
        """Say beside a stop what the folder keeps, while what was measured there is examined and reported."""
        self._held_study = self._held_study or _keeps_study(self.path)
        try:
            yield
        except KeyboardInterrupt as error:
            told = f"{str(self.path)!r} keeps what was measured: go on with --resume"
            if _keeps_study(self.path) and told not in getattr(error, "__notes__", []):
                error.add_note(told)
            raise

    def write_text(self, name: str, text: str) -> Path:
        """Write UTF-8 text."""
        return self.write(name, lambda path: path.write_bytes(as_bytes(text)))

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write JSON; numbers that are not finite become null."""
        return self.write_text(name, json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")

    def write_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a table as Parquet."""
        return self.write(name, lambda path: table.to_parquet(path, index=False))

    def write_figure(self, name: str, figure: Figure, *, dpi: int = 150) -> Path:
        """Write a figure as PNG."""
        return self.write(name, lambda path: figure.savefig(path, dpi=dpi, bbox_inches="tight"))


def as_bytes(text: str) -> bytes:
    """A text in UTF-8; what can not be written so, such as parts of names that are in no encoding, by its number."""
    return text.encode("utf-8", "backslashreplace")


def _refuse_dead_links(folder: Path) -> None:
    """Refuse a folder behind a link that leads nowhere: it could not be made when there are results."""
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            raise InputError(f"{str(place)!r} is a link that leads nowhere: take it away, or name another with --out")


def _unwritten(target: Path, error: OSError) -> InputError:
    """A file that can not be written; where it was to lie beside a study, what was measured is kept, which is said."""
    why = error.strerror or " ".join(str(error).split())
    refused = InputError(f"{str(target)!r} can not be written ({why}): free the disk or change --out")
    if _keeps_study(target.parent):
        refused.add_note("; what was measured is kept: once there is room, go on with --resume")
    return refused


def _keeps_study(folder: Path) -> bool:
    """Whether a folder holds a study, or several in folders of their own."""
    return any(holds_study(place) for place in (folder, *folder.glob("*/")))


TOLD = 5
"""Records of a list that a report tells one by one; of more it tells how many."""


def in_words(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a report shows them."""
    return {name: _as_text(value) for name, value in plain(settings).items()}


def _as_text(value: Any) -> str:
    """A setting as it is to be read."""
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        records = [item for item in value if isinstance(item, dict)]
        if len(records) > TOLD:
            return f"{len(value)}, each with {', '.join(records[0])}"
        return ", ".join(map(_as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def plain(value: Any) -> Any:
    """A value in JSON's own types: arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
