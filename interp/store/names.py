"""Names and texts from files: whether a name is that of a file beside them and leads nowhere else, a text is text."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATORS = re.compile(r"[/\\:]")
_LONGEST = 255
"""Of a file name on common systems, in bytes."""


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


def is_text(text: str) -> bool:
    r"""Whether a text can be written down: letters of a broken encoding can not.

    Example:
        >>> is_text("Tüte"), is_text("\udcff")
        (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
