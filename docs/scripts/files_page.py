"""The page of the files: what each command writes, with the columns of its tables, from runs of the embedded model."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

import adaptvis.__main__
import interp.__main__
import probes.__main__
from adaptvis.paper.published import compare_with_published
from adaptvis.report import columns as adaptvis_columns
from interp.commands import columns as interp_columns
from interp.commands.columns import SETTINGS, Told, meaning_of
from probes.heads import columns as heads_columns
from probes.heads.found.compare import compare_heads
from probes.heads.found.saved import load_all_scores
from probes.mechanisms import columns as mechanisms_columns
from probes.position import columns as position_columns

QUESTION = "Where is the purple cross in relation to the red circle?"
PACKAGES: dict[str, Any] = {"interp": interp, "adaptvis": adaptvis, "probes": probes}
COLUMNS = (interp_columns, adaptvis_columns, position_columns, mechanisms_columns, heads_columns)
RUNS: dict[str, tuple[str, str]] = {
    "analyze": (
        "interp",
        f'analyze scene.png "{QUESTION}" --detector shapes-detector --tokens all --also two-stage,vision,rollout,'
        "gradient,gradient-alone,gradcam,relative,lens --html --show-grid",
    ),
    "overlap": ("interp", "overlap --dataset shapes --n 400 --detector shapes-detector --also two-stage,vision"),
    "answer": ("adaptvis", f'answer scene.png "{QUESTION}"'),
    "evaluate": ("adaptvis", "evaluate --dataset shapes-a --n 120 --select --policy scaling,adaptvis,add"),
    "demo": ("adaptvis", "demo --scenes 200"),
    "balance": ("probes", f'balance scene.png "{QUESTION}"'),
    "balance-study": ("probes", 'balance --dataset shapes --n 60 --system "A chat about shapes."'),
    "norms": ("probes", f'norms scene.png "{QUESTION}"'),
    "norms-study": ("probes", "norms --dataset shapes --n 60"),
    "rope": ("probes", f'rope scene.png "{QUESTION}"'),
    "rope-study": ("probes", "rope --dataset shapes --n 60"),
    "order": ("probes", f'order scene.png "{QUESTION}" --sides 4 2 1'),
    "order-study": ("probes", "order --dataset shapes --n 60 --seeds 5 --sides 4 2"),
    "normalise": ("probes", f'normalise scene.png "{QUESTION}"'),
    "normalise-study": ("probes", "normalise --dataset shapes --n 24 --scales 0.5 2"),
    "shares": ("probes", f'shares scene.png "{QUESTION}"'),
    "ablate": ("probes", "ablate --pairs 8"),
    "ablate-swap": ("probes", "ablate --pairs 8 --swap --ordering kept"),
    "knockout": ("probes", "knockout --dataset shapes --n 24"),
    "interchange": ("probes", "interchange --pairs 8 --positions strip"),
    "probe-study": ("probes", "probe --pairs 4 --sites projector,language"),
    "amplify": ("probes", "amplify --dataset shapes --n 24 --alphas 1 8 --seeds 2"),
    "lens": ("probes", f'lens scene.png "{QUESTION}" --words left red'),
    "lens-study": ("probes", "lens --dataset shapes --n 24"),
    "ids": ("probes", "ids --cells 2 --shuffles 19 --seeds 2"),
    "mechanisms": ("probes", "mechanisms --pairs 4 --tools probe,strip,ablate"),
    "retrain": (
        "probes",
        "retrain --arms plain,normalised --seeds 1 --width 32 --heads 2 --tower-steps 2 --steps 4 --scenes 8 "
        "--probes 8",
    ),
    "heads-collect": ("probes", "heads collect --n 12 --max-new-tokens 4"),
    "heads-find": (
        "probes",
        "heads find out/heads-collect --scorers linear_probe,joint_network --shuffles 5 --network-shuffles 2 "
        "--epochs 2 --deals 50",
    ),
    "heads-compare": ("probes", "heads compare out/heads-find --deals 50"),
    "heads-mask": ("probes", "heads mask out/heads-find --n 4 --control recall --doses 1 2 --max-new-tokens 4"),
    "heads-steer": ("probes", "heads steer out/heads-find --n 4 --control recall --edit gain --factors 1.5,2"),
    "heads-sha": ("probes", "heads sha --n 10 --shuffles 5 --deals 2 --max-new-tokens 4"),
}
"""The commands that are run, in this order, and their packages; `--out` is added."""


@dataclass(frozen=True)
class Table:
    """The columns of one file, or of several that have the same: name, type as it is read back, and what it holds."""

    files: tuple[str, ...]
    columns: pd.DataFrame


def write_files(path: Path) -> Path:
    """Run every command and write the page."""
    with TemporaryDirectory(prefix="files-") as place:
        path.write_text(render_files(run_all(Path(place), RUNS)), encoding="utf-8")
    return path


def run_all(place: Path, runs: Mapping[str, tuple[str, str]]) -> dict[str, Path]:
    """Run commands in a folder; the folder that each of them wrote."""
    import shlex

    from interp.datasets.synthetic.shapes import shapes

    shapes(1, kinds=("relation",))[0].image.save(place / "scene.png")
    for name, (package, line) in runs.items():
        with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()):
            code = PACKAGES[package].__main__.main([*shlex.split(line), "--out", f"out/{name}"])
        if code:
            raise RuntimeError(f"python -m {package} {line} ended with {code}")
    return {name: place / "out" / name for name in runs}


def render_files(written: Mapping[str, Path]) -> str:
    """The page, from the folders that the commands wrote."""
    from site_pages import render

    commands = [
        {
            "name": name,
            "line": f"python -m {RUNS[name][0]} {RUNS[name][1]} --out out/{name}",
            "files": pd.DataFrame([{"file": f"`{file}`", "what": what} for file, what in files_of(name).items()]),
            "tables": [
                {"title": " and ".join(f"`{file}`" for file in table.files), "columns": table.columns}
                for table in tables_of(name, folder)
            ],
            "holds": keys_of(folder),
            "keys": told_keys(name, folder),
        }
        for name, folder in written.items()
    ]
    settings = pd.DataFrame([{"setting": f"`{name}`", "what": what} for name, what in SETTINGS.items()])
    return render("files.md.jinja", commands=commands, settings=settings)


def files_of(command: str) -> dict[str, str]:
    """What each file of a command holds."""
    return _columns(command).FILES[command]


def told_of(command: str) -> Told:
    """What is known of the columns of a command's tables."""
    return _columns(command).NAMES, _columns(command).OWN


def tables_of(command: str, folder: Path) -> list[Table]:
    """The tables that a command wrote, those with the same columns as one; shards are not for reading by hand."""
    found: dict[str, Table] = {}
    for path in [*sorted(folder.rglob("*.parquet")), *sorted(folder.rglob("*.csv"))]:
        name, twin = path.relative_to(folder).as_posix(), path.with_suffix(".parquet")
        if "shards" in path.parts or (path.suffix == ".csv" and twin.exists()):
            continue
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        columns = describe(table, path.stem, command)
        same = columns.to_csv()
        found[same] = Table((*(found[same].files if same in found else ()), name), columns)
    if command == "evaluate":  # of the embedded model nothing is published
        rows = compare_with_published(198 / 330, 330, "controlled-a", "llava-1.5", "baseline").rows
        found["published"] = Table(("published.csv",), describe(rows, "published", command))
    if command == "heads-compare":  # the embedded model is the only one
        found["models"] = Table(
            ("models.parquet",), describe(models_of(folder.parent / "heads-find"), "models", command)
        )
    return list(found.values())


def models_of(found: Path) -> pd.DataFrame:
    """Two models compared by one scorer: the embedded one, and one with the same scores that is said to be another."""
    own = load_all_scores(found)["linear_probe"]
    other = replace(own, settings={**own.settings, "weights_sha256": "another model's"})
    return compare_heads({"found-one/linear_probe": own, "found-other/linear_probe": other}, deals=50).models


def describe(table: pd.DataFrame, stem: str, command: str) -> pd.DataFrame:
    """The columns of a table, neighbours that one entry tells of in one row.

    Raises:
        LookupError: nothing is told of a column.
    """
    rows: list[dict[str, Any]] = []
    for column in table.columns:
        found = meaning_of(str(column), stem, told_of(command))
        if found is None:
            raise LookupError(f"{stem} has a column {column!r} of which {_columns(command).__name__} says nothing")
        (entry, what), kind = found, str(table[column].dtype)
        kind = "text" if kind in ("object", "str", "string") else kind
        if rows and rows[-1]["entry"] == entry and rows[-1]["type"] == kind:
            rows[-1]["column"] += f", `{column}`"
        else:
            rows.append({"entry": entry, "column": f"`{column}`", "type": kind, "what": what})
    return pd.DataFrame(rows)[["column", "type", "what"]]


def unknown_files(command: str, folder: Path) -> list[str]:
    """Files that a command wrote and that nothing is told of; a table also lies beside itself as CSV."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    known = [*files_of(command), *(name.replace(".parquet", ".csv") for name in files_of(command))]
    return [name for name in names if not any(fnmatch(name, one) for one in known)]


def keys_of(folder: Path) -> str:
    """The keys of a folder's summary, or answer."""
    path = next(path for path in (folder / "summary.json", folder / "answer.json") if path.exists())
    return ", ".join(f"`{name}`" for name in json.loads(path.read_text(encoding="utf-8")))


def told_keys(command: str, folder: Path) -> pd.DataFrame | None:
    """The keys of a folder's summary with what each holds; None where nothing is told of a command's.

    Raises:
        LookupError: nothing is told of a key.
    """
    meanings = getattr(_columns(command), "KEYS", {}).get(command)
    if meanings is None:
        return None
    there = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    unknown = [name for name in there if name not in meanings]
    if unknown:
        raise LookupError(f"summary.json of {command} has a key {unknown[0]!r} of which KEYS says nothing")
    return pd.DataFrame([{"key": f"`{name}`", "what": meanings[name]} for name in there])


def _columns(command: str) -> Any:
    return next(columns for columns in COLUMNS if command in columns.FILES)


if __name__ == "__main__":
    print(write_files(Path(__file__).resolve().parent.parent / "files.md"))
