"""Names: whether one that a file or data set gives is that of a file beside it, and leads nowhere else."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_UNFIT = re.compile(r"[\\:\x00-\x1f\x7f]")
_LONGEST = 255
"""Of a file name on common systems, in bytes."""


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder: one part, of signs that every system takes in a name.

    Example:
        >>> is_plain_name("mug_on_table.jpg"), is_plain_name("../mug.jpg"), is_plain_name("/mug.jpg")
        (True, False, False)
    """
    return "/" not in name and stays_inside(name)


def stays_inside(path: str) -> bool:
    """Whether a path, written with `/`, names something below the folder that it is read from.

    Example:
        >>> stays_inside("val2017/mug.jpg"), stays_inside("val2017/../../mug.jpg"), stays_inside("C:mug.jpg")
        (True, False, False)
    """
    parts = PurePosixPath(path).parts
    long = any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST for part in parts)
    return bool(parts) and not (long or path.startswith("/") or ".." in parts or _UNFIT.search(path))
