"""Earlier reports: one with other settings in the same folder is kept beside the new one, named by what differed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptvis.report.columns import FILES
from interp.errors import InputError
from interp.store.folder import plain
from interp.store.names import given_path
from interp.store.parsing import parse_json

REPORT = tuple(name for name in FILES["evaluate"] if "/" not in name)
"""The files that make up a report."""

LONGEST = 100
"""Characters of a folder's name."""

Policies = Mapping[str, Mapping[str, Any]]
"""By name, `policy` and `settings`, as `summary.json` has them."""


def keep_earlier(out: str | Path, policies: Policies) -> Path | None:
    """Move the report in a folder into a folder of its own, unless it is about the very policies of the new one.

    Args:
        out: where the new report goes.
        policies: what it is about, see `adaptvis.report.write.policies_of`.

    Returns:
        The folder of the earlier report, inside `out`, named by what its policies had otherwise, such as
        `earlier-threshold=0.4`; None where there is no report, or one about the same policies.

    Raises:
        InputError: a file can not be moved.

    Example:
        >>> keep_earlier("out/evaluate", policies_of(evaluation, run))
        PosixPath('out/evaluate/earlier-threshold=0.4')
    """
    folder = given_path(out)
    then, now = _policies_in(folder), plain(policies)
    if then is None or _settings(then) == _settings(now):
        return None
    target = _free(folder / name_of(then, now), then)
    try:
        target.mkdir(exist_ok=True)
        for name in REPORT:
            if (folder / name).is_file():
                os.replace(folder / name, target / name)
    except OSError as error:
        raise InputError(
            f"the earlier report in {str(folder)!r} can not be moved to {str(target)!r} ({error.strerror}): "
            "free the folder, or move the report yourself"
        ) from error
    return target


def name_of(then: Policies, now: Policies) -> str:
    """A folder's name that says what an earlier report had where the new one has something else.

    Example:
        >>> one, other = ({"adaptvis": {"policy": "...", "settings": {"threshold": beta}}} for beta in (0.4, 0.6))
        >>> name_of(one, other)
        'earlier-threshold=0.4'
    """
    if not then:
        return "earlier"
    differing = list(_differences(then, now))
    values: dict[str, set[str]] = {}
    for _, key, value in differing:
        values.setdefault(key, set()).add(value)
    parts = [f"{key}={value}" if len(values[key]) == 1 else f"{name}-{key}={value}" for name, key, value in differing]
    name = "earlier-" + ",".join(dict.fromkeys(re.sub(r"[^\w.=+-]+", "-", part).strip("-") for part in parts))
    if len(name) > LONGEST:
        return f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def _differences(then: Policies, now: Policies) -> Iterator[tuple[str, str, str]]:
    """Policy, setting and the earlier value, wherever the new one is another."""
    for name in [*then, *(name for name in now if name not in then)]:
        if name not in then or name not in now:
            yield name, name, "there" if name in then else "absent"
            continue
        before, after = then[name]["settings"], now[name]["settings"]
        for key in [*before, *(key for key in after if key not in before)]:
            if before.get(key) != after.get(key):
                yield name, key, _spelled(before.get(key))


def _spelled(value: Any) -> str:
    """A value of a setting; of layers and heads, none are all."""
    return "all" if value is None else "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _settings(policies: Policies) -> dict[str, Any]:
    return {name: one["settings"] for name, one in policies.items()}


def _policies_in(folder: Path) -> dict[str, Any] | None:
    """What the report in a folder is about; None where there is none, and nothing where it does not say."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    try:
        found = parse_json(path.read_text(encoding="utf-8"))["policies"]
        _settings(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _free(wanted: Path, policies: Policies) -> Path:
    """That folder, or one with a number behind it: none that holds a report about other policies."""
    tried, number = wanted, 1
    while tried.exists() and (not tried.is_dir() or not _holds(tried, policies)):
        number += 1
        tried = wanted.with_name(f"{wanted.name}-{number}")
    return tried


def _holds(folder: Path, policies: Policies) -> bool:
    """Whether the report in a folder is about these policies."""
    there = _policies_in(folder)
    return there is None or _settings(there) == _settings(policies)
