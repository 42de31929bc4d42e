"""Names and texts from files and users: paths as given, names that lead nowhere else, texts that can be written."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from unicodedata import normalize

from interp.errors import InputError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATORS = re.compile(r"[/\\:]")
_LONGEST, _LONGEST_PATH = 255, 4096
"""Of a file name, and of a path, on common systems, in bytes."""


def given_path(path: Any) -> Path:
    """A path as a user gives it, with `~` and `~name` as the home folders that they stand for.

    Example:
        >>> given_path("~/photos").is_absolute()
        True

    Raises:
        InputError: no path, an empty one, one that no system can hold, or the home of a user who is not there.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InputError(f"{path!r:.60} is no path: name a file or a folder")
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise InputError(
            f"{str(path)!r}: there is no user {user[1:]!r} here: write out the path that {user} means"
        ) from None
    if not can_be_a_path(str(found)):
        raise InputError(f"{str(path)!r:.200} holds what no path can: name another file or folder")
    return found


def can_be_a_path(path: str) -> bool:
    r"""Whether a system can be asked for a path: it is not too long, nor is a part of it, and holds no NUL.

    Example:
        >>> can_be_a_path("photos/mug.jpg"), can_be_a_path("mug" * 100), can_be_a_path("mug\0")
        (True, False, False)
    """
    written = path.encode("utf-8", "surrogatepass")
    return b"\0" not in written and len(written) < _LONGEST_PATH and max(map(len, written.split(b"/"))) <= _LONGEST


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder: one part, without what any system takes for a separator.

    Example:
        >>> is_plain_name("mug_on_table.jpg"), is_plain_name("../mug.jpg"), is_plain_name("a/mug.jpg")
        (True, False, False)
    """
    return stays_inside(name) and not _SEPARATORS.search(name)


def stays_inside(path: str) -> bool:
    """Whether a path names something below the folder that it is read from, on any system.

    Example:
        >>> stays_inside("val2017/mug.jpg"), stays_inside("val2017/../../mug.jpg"), stays_inside("C:mug.jpg")
        (True, False, False)
    """
    both = PurePosixPath(path), PureWindowsPath(path)
    leaves = any(one.anchor or ".." in one.parts or not one.parts for one in both)
    long = any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST for part in both[0].parts)
    return not (leaves or long or _CONTROL.search(path))


def spelled(path: str) -> str:
    r"""A path in the one spelling by which two are compared: slashes between parts, letters composed with their marks.

    Example:
        >>> spelled("photos\\mug.jpg"), len("e\u0301.jpg"), len(spelled("e\u0301.jpg"))
        ('photos/mug.jpg', 6, 5)
    """
    return normalize("NFC", path.replace("\\", "/"))


def file_of(folder: Path, name: str) -> Path | None:
    """The file of a folder that a name from a table means; None where there is none.

    As it is written, else with the separators of Windows as slashes, else with letters and their marks composed, or
    apart, as other systems write them.
    """
    slashes = name.replace("\\", "/")
    forms = (name, slashes, normalize("NFC", slashes), normalize("NFD", slashes))
    return next((path for path in (folder / form for form in dict.fromkeys(forms)) if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds what no name may
        return False


def is_text(text: str) -> bool:
    r"""Whether a text can be written down: letters of a broken encoding can not.

    Example:
        >>> is_text("Tüte"), is_text("\udcff")
        (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
