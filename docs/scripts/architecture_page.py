"""Write docs/architecture.md: how a photo and a question travel through the rooms, and who imports whom, as it is."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
PAGE, DRAWING = ROOT / "docs" / "architecture.md", ROOT / "docs" / "images" / "architecture" / "rooms.png"
PACKAGES = ("adaptvis", "probes", "interp")
BOX, SHADES = (1.5, 0.62), {"interp": "#dbe7f3", "adaptvis": "#f6e3cf", "probes": "#e2efdc"}


def write_architecture(page: Path = PAGE, drawing: Path = DRAWING) -> Path:
    """Write the page and its drawing, from the code as it stands; returns the page's path."""
    drawing.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_rooms()
    figure.savefig(drawing, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    loader = jinja2.FileSystemLoader(Path(__file__).resolve().parent / "pages")
    template = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True).get_template(
        "architecture.md.jinja"
    )
    page.write_text(
        template.render(
            rooms={package: list(rooms_of(package)) for package in PACKAGES},
            image=drawing.relative_to(page.parent).as_posix(),
        ),
        encoding="utf-8",
    )
    return page


def rooms_of(package: str) -> Iterator[tuple[str, str, str]]:
    """Each room of a package from the top of its layers down: its name, what it is for, and its modules."""
    for name in (name for row in layers_of(package) for name in row if not name.startswith("_")):
        place = ROOT / package / name
        if place.is_dir():
            own = sorted(
                path.relative_to(place).with_suffix("").as_posix().removesuffix("/__init__")
                for path in place.rglob("*.py")
                if path != place / "__init__.py" and ast.parse(path.read_text(encoding="utf-8")).body[1:]
            )
            yield name, _first_sentence(place / "__init__.py"), ", ".join(f"`{module}`" for module in own)
        else:
            yield f"{name}.py", _first_sentence(place.with_suffix(".py")), ""


def layers_of(package: str) -> list[list[str]]:
    """The layers of a package, the highest first, as the contract in pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (own,) = [one["layers"] for one in settings["contracts"] if one.get("containers") == [package]]
    return [re.split(r"\s*[|:]\s*", layer) for layer in own]


def imports() -> set[tuple[str, str]]:
    """Which room imports which, over all packages: pairs such as `("adaptvis.policy", "interp.model")`."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            here = _room(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
                    for name in node.names:
                        inside = (ROOT / node.module.replace(".", "/") / name.name).with_suffix(".py").is_file()
                        found.add((here, _room(f"{node.module}.{name.name}" if inside else node.module)))
    return {(here, there) for here, there in found if here != there}


def necessary(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs without those that follow from others: what a drawing needs to show."""
    below = {one: {there for here, there in pairs if here == one} for pair in pairs for one in pair}

    def reach(start: str, seen: set[str]) -> set[str]:
        for there in below[start] - seen:
            seen.add(there)
            reach(there, seen)
        return seen

    far = {one: set().union(*(reach(there, set()) for there in below[one])) if below[one] else set() for one in below}
    return {(here, there) for here, there in pairs if there not in far[here]}


def draw_rooms() -> plt.Figure:
    """The rooms as boxes, each above all that it imports; a line for each import that does not follow from others."""
    pairs = {pair for pair in imports() if not any(_hidden(one) for one in pair)}
    height = _heights(pairs)
    rows: dict[int, list[str]] = {}
    for room in sorted(height, key=lambda room: (PACKAGES.index(room.split(".")[0]), room)):
        rows.setdefault(height[room], []).append(room)
    places = {
        room: (2.1 * (place - (len(row) - 1) / 2), 1.25 * level)
        for level, row in rows.items()
        for place, room in enumerate(row)
    }
    figure, ax = plt.subplots(figsize=(9.5, 1.0 * (max(height.values()) + 1)))
    for here, there in necessary(pairs):
        (x, y), (to_x, to_y) = places[here], places[there]
        ax.plot([x, to_x], [y - BOX[1] / 2, to_y + BOX[1] / 2], color="#8899aa", linewidth=0.8, zorder=1)
    for room, (x, y) in places.items():
        package, _, name = room.partition(".")
        box = plt.Rectangle((x - BOX[0] / 2, y - BOX[1] / 2), *BOX, facecolor=SHADES[package], edgecolor="#445566")
        ax.add_patch(box)
        ax.text(x, y, f"{package}\n{name}", ha="center", va="center", fontsize=8)
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.axis("off")
    return figure


def _heights(pairs: set[tuple[str, str]]) -> dict[str, int]:
    """How many rooms lie, at most, one above the other beneath each."""
    below = {one: {there for here, there in pairs if here == one} for pair in pairs for one in pair}
    known: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in known:
            known[room] = 1 + max((height(there) for there in below[room]), default=-1)
        return known[room]

    return {room: height(room) for room in below}


def _room(module: str) -> str:
    """The room of a module: the package and the folder, or the file, in it."""
    return ".".join(module.split(".")[:2])


def _hidden(room: str) -> bool:
    """What is in everybody's hands, or is a door alone, and would only cover the drawing with lines."""
    return room in PACKAGES or room.split(".")[1] in (
        "__main__",
        "_lazy",
        "errors",
        "reprs",
        "numeric",
        "quiet",
        "compat",
    )


def _first_sentence(path: Path) -> str:
    """What a module says first of itself."""
    said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return " ".join(said.split())


if __name__ == "__main__":
    print(write_architecture())
