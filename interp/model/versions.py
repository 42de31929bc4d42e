"""Versions: which versions of the libraries everything was proved with, and how this installation stands to them."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "transformer-lens")
"""The libraries whose inside the hooks depend on."""

TABLE = Path(__file__).with_name("versions.json")


def proved_versions() -> list[dict[str, Any]]:
    """The installations in which all tests and the self-check of all families passed.

    Returns:
        For each its `name` (`floor`, the lowest versions that are allowed, or `newest`, the newest of their day), its
        `python`, the `date`, the `versions` of `LIBRARIES`, and how many tests `passed` and were `skipped`.
    """
    return json.loads(TABLE.read_text(encoding="utf-8"))


def standing() -> str:
    """What is installed beside what is proved, as a sentence or two: the first thing to ask when a claim fails."""
    return " ".join(_stands(name, version(name), _proved(name)) for name in LIBRARIES)


def _stands(name: str, here: str, proved: list[str]) -> str:
    """One library's sentence."""
    if public(here) in proved:
        return f"{name} {here} is a proved version."
    advice = f"install {name}=={proved[-1]} (proved: {', '.join(proved)})" if proved else "no version is, yet"
    return f"{name} {here} is not proved: {advice}."


def _proved(name: str) -> list[str]:
    """The proved versions of a library, the newest last."""
    return sorted({entry["versions"][name] for entry in proved_versions()}, key=_numbers)


def _numbers(one: str) -> list[int]:
    """The numbers of a version, to put versions in order."""
    return [int(number) for number in re.findall(r"\d+", one)]


def public(installed: str) -> str:
    """A version without what a builder added to it, such as `+cpu`."""
    return installed.partition("+")[0]


def markdown() -> str:
    """The table of the docs: a row for each installation."""
    if not proved_versions():
        return "None is recorded yet.\n"
    rows = [
        f"| installation | Python | {' | '.join(LIBRARIES)} | tests passed | skipped | on |",
        "|---|---|" + "---|" * len(LIBRARIES) + "---:|---:|---|",
    ]
    for entry in proved_versions():
        cells = [entry["name"], entry["python"], *(entry["versions"][name] for name in LIBRARIES)]
        cells += [f"{entry['passed']:,}", f"{entry['skipped']:,}", entry["date"]]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, ""])
