"""Directions: files with the columns of a probe by axis, and the ids of what it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interp.errors import InputError
from interp.store.names import given_path
from interp.store.parsing import read_arrays
from probes.mechanisms.scenes.sides import SIDES

TRAINED_ON = "trained_on"
"""The name of the ids in a file."""


def save_directions(path: str | Path, directions: Mapping[str, Any], trained_on: Iterable[str]) -> Path:
    """Write directions [d_model 2] by axis, and the ids or groups of the samples that they were trained on, as NPZ.

    Raises:
        InputError: an axis that is not known, or a file that can not be written.
    """
    if not directions or not set(directions) <= set(SIDES):
        raise InputError(f"directions are named {list(directions)}: name them {' and '.join(SIDES)}")
    place = given_path(path)
    arrays: dict[str, Any] = {axis: np.asarray(own, dtype=np.float32) for axis, own in directions.items()}
    arrays[TRAINED_ON] = np.array(list(trained_on), dtype=np.str_)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise InputError(f"{str(place)!r} can not be written ({error}): name another file") from error
    return place


def load_directions(path: str | Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read what `save_directions` wrote: directions by axis, and what they were trained on.

    Raises:
        InputError: the file can not be read, or holds no directions.
    """
    place = given_path(path)
    try:
        arrays = read_arrays(place)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(place)!r} can not be read as NPZ ({error}): name a file of directions") from error
    named = arrays.pop(TRAINED_ON, None)
    known = set(arrays) <= set(SIDES) and all(own.dtype.kind == "f" for own in arrays.values())
    if named is None or named.ndim != 1 or not arrays or not known:
        raise InputError(
            f"{str(place)!r} holds {sorted(arrays)}: name a file that save_directions wrote, with "
            f"{' or '.join(SIDES)}, and {TRAINED_ON}"
        )
    return arrays, tuple(map(str, named.tolist()))
