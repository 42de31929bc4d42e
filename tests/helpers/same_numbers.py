"""Whether two trees of this project say the same: every command is run in both, and every file they write compared.

python tests/helpers/same_numbers.py OLD NEW [--out FOLDER] [--only demo,overlap]

OLD and NEW are checkouts (`git worktree add OLD COMMIT`). Tables, JSON and CSV have to be equal to the bit, but for the
date and the command of the run; figures pixel by pixel, and pages word by word. It takes some ten minutes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

FAMILIES = ("llava", "qwen2_5_vl", "llava_next", "gemma3")
SHAPES = {"square": (224, 224), "wide": (400, 150), "tall": (120, 330)}
OF_THE_RUN = {"begun", "command", "resumed", "seconds", "out"}
"""What two runs of one tree differ in as well."""


def commands(photos):
    """By name: the arguments of `python -m`, without the folder that they write into."""
    overlap = "interp overlap --dataset shapes --n 200 --detector shapes-detector --also two-stage,vision"
    evaluate = "adaptvis evaluate --n 60 --select --policy scaling,adaptvis,add --alphas 0.5,2 --dataset"
    asked = ["Where is the left thing in relation to the right one?"]
    return {
        "demo": ["adaptvis", "demo"],
        "overlap": overlap.split(),
        "evaluate-a": [*evaluate.split(), "shapes-a"],
        "evaluate-b": [*evaluate.split(), "shapes-b"],
        **{
            f"analyze-{family}-{photo.stem}": ["interp", "analyze", str(photo), *asked, "--model", f"tiny-{family}"]
            for family in FAMILIES
            for photo in photos
        },
        "selfcheck": ["interp", "selfcheck", "--all-families", "--json"],
    }


def draw_photos(folder):
    """Three photos, each of another shape, always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, (width, height) in SHAPES.items():
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in SHAPES]


def run(tree, out, arguments):
    """Run one command of a tree; what it prints is kept beside what it writes."""
    out.mkdir(parents=True, exist_ok=True)
    given = arguments if arguments[-1] == "--json" else [*arguments, "--out", "out"]
    own = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-m", *given], cwd=out, env=own, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tree}: {' '.join(given)} ended with {done.returncode}:\n{done.stderr}")
    (out / "printed.txt").write_text(done.stdout)


def differences(old, new):
    """The files in which two folders differ, and how; where a study's shards end depends on the clock alone."""
    paths = [(path, folder) for folder in (old, new) for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder) for path, folder in paths if path.parent.name != "shards"}
    for name in sorted(names):
        if not (old / name).is_file() or not (new / name).is_file():
            yield name, "is there only " + ("before" if (old / name).is_file() else "after")
        elif said := _differs(old / name, new / name):
            yield name, said


def _differs(old, new):
    """What is another in two files of one name; nothing where they say the same."""
    if old.suffix == ".parquet":
        before, after = pd.read_parquet(old), pd.read_parquet(new)
        if list(before.columns) != list(after.columns) or len(before) != len(after):
            return f"{len(before)} rows of {list(before.columns)}, now {len(after)} of {list(after.columns)}"
        unequal = [name for name in before if not before[name].equals(after[name])]
        return f"columns {unequal}" if unequal else ""
    if old.suffix in (".png", ".gif"):
        return "" if np.array_equal(*(np.asarray(Image.open(path).convert("RGB")) for path in (old, new))) else "pixels"
    before, after = (path.read_text(encoding="utf-8") for path in (old, new))
    if old.suffix == ".json":
        before, after = (json.dumps(_without_run(json.loads(text)), sort_keys=True) for text in (before, after))
    lines = [[line for line in _plain(text).splitlines() if line] for text in (before, after)]
    unequal = [pair for pair in zip(*lines, strict=False) if pair[0] != pair[1]]
    if len(lines[0]) != len(lines[1]):
        return f"{len(lines[0])} lines, now {len(lines[1])}"
    return f"{len(unequal)} lines, such as {unequal[0][0][:120]!r}, now {unequal[0][1][:120]!r}" if unequal else ""


def _without_run(value):
    """JSON without what is of the run alone."""
    if isinstance(value, dict):
        return {name: _without_run(item) for name, item in value.items() if name not in OF_THE_RUN}
    return [_without_run(item) for item in value] if isinstance(value, list) else value


def _plain(text):
    """Text without pictures, dates and times."""
    text = re.sub(r"data:[a-z/+-]+;base64,[A-Za-z0-9+/=]+", "picture", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:+.Z-]+|\b\d+(\.\d+)? (s|seconds)\b", "then", text)


def main():
    """Run both trees, compare, and say what differs; ends with 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/same-numbers"), help="folder (%(default)s)")
    parser.add_argument("--only", default="", help="names of commands, or how they begin, with commas between")
    options = parser.parse_args()
    wanted = tuple(filter(None, options.only.split(",")))
    chosen = commands(draw_photos(options.out.resolve() / "photos"))
    found = 0
    for name, arguments in chosen.items():
        if wanted and not name.startswith(wanted):
            continue
        folders = [options.out.resolve() / side / name for side in ("old", "new")]
        for tree, folder in zip((options.old, options.new), folders, strict=True):
            if not (folder / "printed.txt").is_file():
                run(tree.resolve(), folder, arguments)
        unequal = list(differences(*folders))
        print(
            f"{name}: {'the same' if not unequal else ''}", *(f"  {file}: {said}" for file, said in unequal), sep="\n"
        )
        found += len(unequal)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
