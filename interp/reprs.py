"""Reprs: a result says in one line what it holds, and in a notebook shows a small table of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from itertools import islice
from typing import Any, TypeVar

Result = TypeVar("Result", bound=type)

LINE, ROWS, COLUMNS, TEXT = 200, 12, 12, 40
"""At most so many characters in a line, rows and columns in a table, and characters in a cell or a text of the line."""

SHOWN = 8
"""Of more things than these a line says how many there are."""

LARGE = 2_000_000
"""Of more numbers than these no table is made only to be shown."""

_AXES = re.compile(r"^\w+\[[^,]+, *['\"]([\w ]+)['\"]\]")


def fits_a_cell(shown: str = "", *, table: str = "") -> Callable[[Result], Result]:
    """Decorate a class of results, so that printing one fills a line, and showing one in a notebook a small table.

    The line names arrays with their axes and sizes, as jaxtyping has them, tables with their rows and columns, and all
    other things by what identifies them. Equality and hash stay as they are.

    Args:
        shown: the attributes of the line, the most important first, each as `name` or `path.to.name`, or `label=path`;
            all fields of a dataclass by default. What is None or not there is left out.
        table: the attribute that the table is of, a `DataFrame` or a mapping; `to_dataframe()` by default, or where
            there is none, or its result would be large, what each attribute holds.

    Example:
        >>> print(repr(study))
        OverlapStudy(model='shapes-vlm', samples=412 rows x 21 columns, n_layers=12, n_heads=4, ...)
    """

    def decorate(cls: Result) -> Result:
        names = tuple(shown.split()) or _fields(cls)
        own: Any = cls
        own.__repr__ = lambda self: _line(self, names)
        own._repr_html_ = lambda self: _page(self, names, table)
        return cls

    return decorate


def _fields(cls: type) -> tuple[str, ...]:
    """The names of a dataclass's fields; none of another class."""
    return tuple(getattr(cls, "__dataclass_fields__", {}))


def _line(result: Any, shown: tuple[str, ...]) -> str:
    """Type and parts, as many as there is room for."""
    said, more = f"{type(result).__name__}(", "..."
    parts = [f"{name}={text}" for name, text in _parts(result, shown)]
    for place, part in enumerate(parts):
        comma = ", " if place else ""
        rest = 0 if place == len(parts) - 1 else len(f", {more}")
        if len(said) + len(comma + part) + rest + 1 > LINE:
            return f"{said}{comma}{more})"
        said += comma + part
    return f"{said})"


def _parts(result: Any, shown: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What is shown, by its label; what an object that is not whole lacks is left out, as a repr must not fail."""
    for name in shown:
        label, _, path = name.rpartition("=")
        try:
            value = _at(result, path)
            if value is not None:
                yield label or path.rpartition(".")[2], _brief(value, _axes(result, path))
        except Exception:  # noqa: S112
            continue


def _at(value: Any, path: str) -> Any:
    """The attribute, or the entry of a mapping, at the end of a path."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
    return value


def _axes(result: Any, name: str) -> tuple[str, ...]:
    """The names of an array's axes, from the type of its field; none where the type does not say."""
    field = getattr(type(result), "__dataclass_fields__", {}).get(name)
    found = None if field is None else _AXES.match(str(field.type))
    return () if found is None else tuple(found[1].split())


def _brief(value: Any, axes: tuple[str, ...] = ()) -> str:
    """A value in a few characters, on one line."""
    if isinstance(value, str):
        return _short(repr(value[: TEXT + 1]), TEXT + 2)
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, (bool, int)):
        return _short(str(value))
    if hasattr(value, "columns") and hasattr(value, "index"):
        return f"{len(value)} rows x {len(value.columns)} columns"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value, axes)
    if isinstance(value, Mapping):
        return _several([str(name) for name in islice(value, SHOWN)], len(value), "{}")
    if isinstance(value, (tuple, list, set, frozenset)):
        return _several([_nested(item) for item in islice(value, SHOWN)], len(value), "()")
    return _nested(value)


def _array(value: Any, axes: tuple[str, ...]) -> str:
    """The type of an array, and its axes with their sizes."""
    if not value.shape:
        return _brief(value.item())
    sizes = [str(size) for size in value.shape]
    if len(axes) == len(sizes):  # an axis may be written as its size alone
        sizes = [size if name == size else f"{name} {size}" for name, size in zip(axes, sizes, strict=True)]
    return f"{str(value.dtype).removeprefix('torch.')} [{_short(', '.join(sizes), 2 * TEXT)}]"


def _several(first: list[str], count: int, brackets: str) -> str:
    """The first few of several things, and how many there are."""
    whole = ", ".join(first)
    if count <= len(first) and len(whole) <= TEXT:
        return f"{brackets[0]}{whole}{',' if count == 1 and brackets == '()' else ''}{brackets[1]}"
    if len(set(first)) == 1:
        return f"{count} x {first[0]}"
    return f"{count}: {_short(whole, TEXT // 2 + 1)}" + ("" if len(whole) > TEXT // 2 else ", ...")


def _nested(value: Any) -> str:
    """A thing inside a result: itself where it is short, else what it is."""
    if isinstance(value, (str, float, bool, int)) or value is None:
        return _brief(value)
    if hasattr(value, "mode") and hasattr(value, "size"):
        return f"{' x '.join(map(str, value.size))} {value.mode}"
    own = type(value)
    if own.__repr__ is object.__repr__ or hasattr(value, "__len__"):
        return f"{own.__name__} of {len(value)}" if hasattr(value, "__len__") else own.__name__
    text = str(value).removeprefix("torch.") if own.__module__ == "torch" else repr(value)
    return text if len(text) <= TEXT and text.isprintable() else own.__name__


def _short(text: str, most: int = TEXT) -> str:
    """A text that is cut where it is long, on one line: what can not be printed is written as an escape."""
    text = text[: most + 1]
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _page(result: Any, shown: tuple[str, ...], table: str) -> str:
    """The line above a table, and below it how many rows there are and how to get them all."""
    rows = _rows(result, table)
    if rows is None:
        how = "each is an attribute"
    else:
        how = f"all: .{table}" if table else "all: .to_dataframe()"
    if hasattr(result, "to_dataframe") and (table or rows is None):
        how += "; what was measured: .to_dataframe()"
    if hasattr(rows, "columns"):
        head, cells, count = *_head(rows), len(rows)
    elif isinstance(rows, Mapping):
        head, count = ["name", "holds"], len(rows)
        cells = [[_short(str(name)), _brief(value)] for name, value in islice(rows.items(), ROWS)]
    else:
        every = list(_parts(result, _fields(type(result)) or shown))
        head, cells, count = ["attribute", "holds"], [list(part) for part in every[:ROWS]], len(every)
    said = f"{len(cells)} of {count} rows; {how}"
    return f"<div><p><code>{escape(repr(result))}</code></p>{_html(head, cells)}<p>{escape(said)}</p></div>"


def _rows(result: Any, table: str) -> Any:
    """What the table is of; None where that is large, or can not be had of an object that is not whole."""
    try:
        if table:
            return _at(result, table)
        return result.to_dataframe() if hasattr(result, "to_dataframe") and not _is_large(result) else None
    except Exception:
        return None


def _is_large(result: Any) -> bool:
    """Whether the arrays of a result, and those in its mappings, hold more numbers than are turned into a table."""
    held = list(vars(result).values())
    held += [value for one in held if isinstance(one, Mapping) for value in one.values()]
    sizes = [getattr(value, "size", 0) for value in held]
    return sum(size for size in sizes if isinstance(size, int)) > LARGE


def _head(table: Any) -> tuple[list[str], list[list[str]]]:
    """The first rows and columns of a table, as text."""
    columns = list(table.columns[:COLUMNS])
    cells = [[_cell(value) for value in row] for row in table[columns].head(ROWS).itertuples(index=False)]
    more = len(table.columns) - len(columns)
    head = [_short(str(name)) for name in columns]
    return ([*head, f"and {more} more"], [[*row, ""] for row in cells]) if more else (head, cells)


def _cell(value: Any) -> str:
    return _short(value) if isinstance(value, str) else _brief(value)


def _html(head: list[str], rows: list[list[str]]) -> str:
    """A table of escaped texts."""
    first = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"
