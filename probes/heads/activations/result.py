"""Head activations: what every head put out at tokens of answers, read from the disk where it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import whole_number
from interp.reprs import fits_a_cell
from interp.store.guard import MANIFEST
from interp.store.names import given_path
from interp.store.parsing import parse_json
from probes.heads.activations.z_shards import HeadAxes, ZShard, shard_name

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM

STUDY = "head activations"
"""What a manifest says that such a folder holds."""

LISTS = ("functions", "tokens", "log_probs", "chosen")
"""Columns of items that are lists, which tables on the disk have as JSON."""


@fits_a_cell("folder ids axes correct parse_failures left_out")
@dataclass(frozen=True, eq=False)
class HeadActivations:
    """What every head puts out at chosen tokens of the answers to some items.

    Numbers stay on the disk: what is asked for is read when it is asked for. Scorers take it as it is.

    Example:
        >>> heads = load_head_activations("out/heads")
        >>> heads.of(5, 3).shape, heads.labels(("spatial", "math")).shape  # item d_head, item function
        ((4000, 64), (4000, 2))

    Attributes:
        folder: where they are kept.
        ids: the items, in the order in which they were given; those that were answered with nothing are left out.
        groups: what belongs together, such as the steps of one main question.
        answers: what was answered.
        correct: whether that is right, by the strict rule.
        functions: of each item, what it takes to answer it, the primary function first.
        axes: layers, query heads, and the width of what is kept of each.
        left_out: items without activations: `id` and `why`.
        items: a row for each item; see `to_dataframe`.
        settings: the record of what made it.
    """

    folder: Path
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    answers: tuple[str, ...]
    correct: Bool[np.ndarray, " item"]
    functions: tuple[tuple[str, ...], ...]
    axes: HeadAxes
    left_out: pd.DataFrame = field(repr=False)
    items: pd.DataFrame = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Items, layers, heads, and the width of what is kept of each: what scorers read features by."""
        return len(self), *self.axes

    @property
    def primary(self) -> tuple[str, ...]:
        """The primary function of each item; empty where items have none."""
        return tuple(own[0] for own in self.functions if own)

    @property
    def parse_failures(self) -> int:
        """How many answers name none of their options, or say nothing; those left out among them."""
        return int((~self.items["parsed"].astype(bool)).sum()) + len(self.left_out)

    def of(self, layer: int, head: int) -> Float32[np.ndarray, "item width"]:
        """What one head puts out for each item; the other heads are not read.

        Raises:
            InputError: there is no such layer or head, or a shard was damaged.
        """
        layer, head = self._inside(layer, "layer", self.axes.layers), self._inside(head, "head", self.axes.heads)
        return self._gathered(shard.head(layer, head)[rows] for shard, _, rows in self._parts)

    def of_layer(self, layer: int) -> Float32[np.ndarray, "item head width"]:
        """What all heads of one layer put out for each item.

        Raises:
            InputError: there is no such layer, or a shard was damaged.
        """
        layer = self._inside(layer, "layer", self.axes.layers)
        return self._gathered(shard.layer(layer)[rows] for shard, _, rows in self._parts)

    def chunks(self) -> Iterator[tuple[Int[np.ndarray, " some"], Float32[np.ndarray, "some layer head width"]]]:
        """All heads of some items at a time: which items, by their place in `ids`, and what their heads put out.

        Example:
            >>> total = sum(z.sum(0) for _, z in activations.chunks())
        """
        for shard, places, rows in self._parts:
            yield places, shard.every(self.axes.layers)[rows].astype(np.float32)

    def select(self, which: ArrayLike) -> HeadActivations:
        """Those of some items alone, such as the rightly answered ones or those of a split; nothing is copied.

        Args:
            which: whether each item is taken, or the places of those that are, in their order.

        Example:
            >>> right = heads.select(heads.correct)

        Raises:
            InputError: it fits the items not, or none is taken.
        """
        given = np.asarray(which)
        if given.dtype == bool and given.shape == (len(self),):
            given = np.flatnonzero(given)
        inside = given.ndim == 1 and given.dtype.kind in "iu" and bool(((given >= 0) & (given < len(self))).all())
        if not inside or not len(given) or len(np.unique(given)) < len(given):
            raise InputError(
                f"{which!r:.60} are no items of {len(self)}: give a truth value for each, or places from 0, each once, "
                "and at least one"
            )
        there = self.items.iloc[given].reset_index(drop=True)
        return _of_rows(self.folder, there, self.left_out.iloc[:0], self.settings)

    def labels(self, functions: tuple[str, ...]) -> Bool[np.ndarray, "item function"]:
        """Which items have each of these functions, as the primary one or beside it."""
        return np.array([[name in own for name in functions] for own in self.functions], dtype=bool).reshape(
            len(self), len(functions)
        )

    def refuse_other(self, vlm: HookedVLM) -> None:
        """Refuse a model that these are not of.

        Raises:
            InputError: it has other weights.
        """
        from interp.model.provenance import weights_record

        own, then = weights_record(vlm)["sha256"], self.settings["weights"]["sha256"]
        if own != then:
            raise InputError(
                f"the activations in {str(self.folder)!r} are of {self.settings['model']} with the weights "
                f"{then[:10]}..., and this model's are {own[:10]}...: collect them from this model"
            )

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each item.

        `id`, `group`, `functions`, `gold`; `text` (all that was said), `answer` (what of it is the answer),
        `predicted`, `correct`, `parsed`, `finished`; `tokens` and `log_probs` of what was said, `chosen` (which of
        these the activations are the mean of) and the `rule` that chose them; `log_prob` of all of it, `perplexity`.
        """
        return self.items

    def _gathered(self, parts: Iterable[np.ndarray]) -> Float32[np.ndarray, " item *axes"]:
        """Parts of the shards, in the order of the items."""
        found: np.ndarray | None = None
        for part, (_, places, _) in zip(parts, self._parts, strict=True):
            if found is None:
                found = np.empty((len(self), *part.shape[1:]), np.float32)
            found[places] = part
        assert found is not None
        return found

    @cached_property
    def _parts(self) -> list[tuple[ZShard, Int[np.ndarray, " some"], Int[np.ndarray, " some"]]]:
        """Each shard with the items that are in it, by their places here and by their rows there."""
        found = []
        for number, own in self.items.groupby("shard"):
            places, rows = own.index.to_numpy(), own["place"].to_numpy(int)
            ids = {int(row): self.ids[place] for place, row in zip(places, rows, strict=True)}
            path = self.folder / "shards" / shard_name(int(number))
            known_by = own["shard_sha256"].iloc[0]
            found.append((ZShard(path, ids, self.axes, self.settings["store"], known_by), places, rows))
        return found

    def _inside(self, value: int, name: str, count: int) -> int:
        number = whole_number(value, name, 0)
        if number >= count:
            raise InputError(f"there is no {name} {number}: the model has {count}, counted from 0")
        return number


def load_head_activations(folder: str | Path) -> HeadActivations:
    """Read what `collect_heads` has kept; numbers of heads are read when they are asked for.

    Raises:
        InputError: the folder holds no such study, one that is not finished, or shards that are gone or damaged. Of
            numbers that were damaged, it is when they are read.

    Example:
        >>> load_head_activations("out/heads").of(5, 3).shape  # item d_head
        (4000, 64)
    """
    from interp.study.run import read_study

    place = given_path(folder)
    _refuse_results(place)
    table, manifest = read_study(place)
    settings = manifest["settings"]
    if settings.get("study") != STUDY:
        raise InputError(f"{str(place)!r} holds {settings.get('study', 'another study')}, not {STUDY}: name another")
    return activations_of(place, table, settings)


def _refuse_results(folder: Path) -> None:
    """Refuse a folder of what was found in activations, which is none of activations.

    Raises:
        InputError: it is one.
    """
    try:
        study = parse_json((folder / MANIFEST).read_text(encoding="utf-8")).get("study")
    except (OSError, ValueError, AttributeError):
        return
    if study:
        raise InputError(f"{str(folder)!r} holds {study}, not {STUDY}: name a folder that `heads collect` has written")


def activations_of(folder: Path, table: pd.DataFrame, settings: Mapping[str, Any]) -> HeadActivations:
    """The activations of a finished study, from its rows; its shards are looked at.

    Raises:
        InputError: a shard is gone or damaged, or rows that know no digests of shards.
    """
    refuse_undigested(folder, table)
    made = with_lists(table)
    there = made[made["why"].isna()].reset_index(drop=True)
    gone = made.loc[made["why"].notna(), ["id", "why"]].reset_index(drop=True)
    if there.empty:
        raise InputError(f"none of the {len(gone)} items in {str(folder)!r} was answered with anything: {gone.why[0]}")
    return _of_rows(folder, there.drop(columns=["key", "why"]), gone, settings)


def refuse_undigested(folder: Path, table: pd.DataFrame) -> None:
    """Refuse rows that do not know what their shards are known again by.

    Raises:
        InputError: an earlier version has written them.
    """
    if "shard_sha256" not in table:
        raise InputError(
            f"{str(folder)!r} was collected without digests, so that damage of its numbers would not be seen: collect "
            "anew in another folder"
        )


def _of_rows(folder: Path, rows: pd.DataFrame, gone: pd.DataFrame, settings: Mapping[str, Any]) -> HeadActivations:
    """The activations of the items of some rows, whose shards are looked at."""
    found = HeadActivations(
        folder=folder,
        ids=tuple(rows["id"]),
        groups=tuple(rows["group"]),
        answers=tuple(rows["answer"]),
        correct=rows["correct"].to_numpy(bool),
        functions=tuple(map(tuple, rows["functions"])),
        axes=HeadAxes(*settings["axes"]),
        left_out=gone,
        items=rows,
        settings=settings,
    )
    found._parts  # noqa: B018  each header is looked at
    return found


def with_lists(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a study with the lists in them as tuples."""
    return table.assign(**{name: [tuple(parse_json(cell)) for cell in table[name]] for name in LISTS})
