"""Saved scores: what a scorer gave, as a file that another command or another day can read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from interp.errors import InputError
from interp.store.folder import OutputFolder, plain
from interp.store.guard import LOCK, MANIFEST, holds_study, locked, refuse_begun, refuse_foreign
from interp.store.names import given_path
from interp.store.parsing import parse_json, read_arrays
from probes.heads.scores import HeadScores

FORMAT = 1
"""Of such a file; another number can not be read."""

TABLES = ("values", "low", "high", "null", "p", "p_any", "draws")
"""Arrays of scores, all but the first of which may be missing."""


def save_scores(scores: HeadScores, path: str | Path) -> Path:
    """Write scores to a file that ends in `.npz`; what a scorer has beside them, such as its network, is left out.

    Raises:
        InputError: the name ends otherwise, or the file can not be written.

    Example:
        >>> save_scores(linear_probe(z, labels, groups), "out/scores/linear_probe.npz")
    """
    target = given_path(path)
    if target.suffix != ".npz":
        raise InputError(f"{str(path)!r} is no name of scores: end it in .npz")
    about = {
        "format": FORMAT,
        "scorer": scores.scorer,
        "functions": list(scores.functions),
        "samples": list(scores.samples),
        "groups": list(scores.groups),
        "left_out": [dict(one) for one in scores.left_out],
        "settings": plain(dict(scores.settings)),
    }
    tables = {name: own for name in TABLES if (own := getattr(scores, name)) is not None}
    text = np.array(json.dumps(about, ensure_ascii=False))

    def write(place: Path) -> None:
        with place.open("wb") as file:
            np.savez_compressed(file, about=text, **tables)

    return OutputFolder(target.parent).write(target.name, write)


def load_scores(path: str | Path) -> HeadScores:
    """Read scores that `save_scores` has written.

    Raises:
        InputError: there is no such file, or it holds something else.

    Example:
        >>> load_scores("out/heads-found/scores/linear_probe.npz").functions
        ('spatial', 'relational', 'math')
    """
    place = given_path(path)
    try:
        kept = read_arrays(place)
        about = parse_json(str(kept["about"]))
        tables = {name: kept[name] for name in TABLES if name in kept}
        if about["format"] != FORMAT or not _fit(about, tables):
            raise ValueError(f"format {about['format']}")
        return HeadScores(
            scorer=about["scorer"],
            functions=tuple(about["functions"]),
            samples=tuple(about["samples"]),
            groups=tuple(about["groups"]),
            left_out=tuple(about["left_out"]),
            settings=about["settings"],
            **tables,
        )
    except OSError as error:
        why = error.strerror or "it is damaged"
        raise InputError(f"scores {str(path)!r} can not be read ({why}): name a file of `heads find`") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} holds no scores of heads: name a file of `heads find`") from error


def _fit(about: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> bool:
    """Whether what a file says of its scores is of the right types, and goes together with its arrays."""
    shape, functions = tables["values"].shape, about["functions"]
    lists = [about[name] for name in ("functions", "samples", "groups", "left_out")]
    if not all(isinstance(one, list) for one in lists) or not isinstance(about["settings"], dict):
        return False
    texts = all(isinstance(name, str) for name in [about["scorer"], *functions])
    counts = all(type(number) is int for number in [*about["samples"], *about["groups"]])
    told = all(isinstance(one, dict) and {"function", "why"} <= set(one) for one in about["left_out"])
    alike = all(own.dtype == np.float32 and own.shape[name == "draws" :] == shape for name, own in tables.items())
    return texts and counts and told and alike and len(shape) == 3 and shape[0] == len(functions)


def load_all_scores(folder: str | Path) -> dict[str, HeadScores]:
    """All scores in a folder of `heads find`, by scorer, in the order in which the scorers were named.

    Raises:
        InputError: it holds none, or one that can not be read.
    """
    place = given_path(folder)
    found = {file.stem: load_scores(file) for file in sorted((place / "scores").glob("*.npz"))}
    if not found:
        raise InputError(f"{str(folder)!r} holds no scores of heads: name a folder that `heads find` has written")
    try:
        order = parse_json((place / "summary.json").read_text(encoding="utf-8"))["settings"]["scorers"]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return {name: found[name] for name in [*(one for one in order if one in found), *found]}


def begin_folder(folder: OutputFolder, study: str, *, resume: bool, asked: Mapping[str, Any] | None = None) -> None:
    """Begin a folder of results that no model is asked for, or go on with one.

    Args:
        folder: the folder.
        study: what it is to hold.
        resume: go on with what it holds.
        asked: what results hang on, which is to be the same when they are gone on with.

    Raises:
        InputError: it holds a study and is not to be gone on with, holds another study or one that was asked for
            otherwise, or files of something else.
    """
    wanted = {"study": study, **plain(dict(asked or {}))}
    refuse_begun(folder.path, resume=resume)
    refuse_foreign(folder.path)
    there = folder.path / MANIFEST
    if there.is_file():
        try:
            then = dict(parse_json(there.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            then = {}
        if then.get("study") != study:
            raise InputError(f"{str(folder.path)!r} holds another study, and not {study}: name another folder")
        if differ := [name for name in {**then, **wanted} if then.get(name) != wanted.get(name)]:
            told = "; ".join(f"{name}: was {then.get(name)!r:.60}, now {wanted.get(name)!r:.60}" for name in differ)
            raise InputError(f"{str(folder.path)!r} was begun otherwise ({told}): name another folder")
    folder.write_json(MANIFEST, wanted)


@contextmanager
def begun_folder(
    folder: OutputFolder, study: str, *, resume: bool, asked: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Begin a folder as `begin_folder` does, and keep other processes from writing to it.

    Where nothing came to be kept before an error, it is as it was before.

    Raises:
        InputError: see `begin_folder`; another process writes to it.
    """
    refuse_begun(folder.path, resume=resume)
    refuse_foreign(folder.path)
    new = not folder.path.exists()
    with locked(folder.path):
        fresh = not holds_study(folder.path)
        begin_folder(folder, study, resume=resume, asked=asked)
        try:
            yield
        except BaseException:
            own = {folder.path / MANIFEST, folder.path / LOCK}
            if fresh and {path for path in folder.path.rglob("*") if path.is_file()} <= own:
                for path in own:
                    path.unlink(missing_ok=True)
                if new:
                    shutil.rmtree(folder.path, ignore_errors=True)
            raise


def digests_of(every: Mapping[str, HeadScores]) -> dict[str, str]:
    """By name, what scores are known again by: their numbers."""
    return {name: hashlib.sha256(own.values.tobytes()).hexdigest() for name, own in every.items()}
