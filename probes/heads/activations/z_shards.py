"""Shards of z: one safetensors file a batch, whole or not at all, read a layer at a time and held to digests."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError, ModelError
from interp.store.parsing import parse_json
from interp.store.shards import write_synced

STORED: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}
"""By name, what numbers are kept as."""


TOLD = "items_and_digests"
"""The entry of a shard's header that says as JSON which items it has, and the digest of each layer."""


class HeadAxes(NamedTuple):
    """How many numbers one item has: layers, heads, and the width of what each head gives."""

    layers: int
    heads: int
    width: int


def shard_name(number: int) -> str:
    """The file of a batch.

    Example:
        >>> shard_name(3)
        'z-0003.safetensors'
    """
    return f"z-{number:04d}.safetensors"


def narrowed(
    values: Float32[np.ndarray, " item *axes"], dtype: str, ids: Sequence[str]
) -> Float[np.ndarray, " item *axes"]:
    """Numbers of some items as they are kept.

    Raises:
        ModelError: some are not finite.
        InputError: some are too large for `float16`.
    """
    for item, own in zip(ids, values, strict=True):
        largest = float(np.abs(own).max(initial=0.0))  # NaN where one is
        if not np.isfinite(largest):
            raise ModelError(
                f"item {item!r}: {int((~np.isfinite(own)).sum())} of {own.size} activations are infinite or NaN, as "
                "happens where a model overflows its number type: load it with dtype='bfloat16' or 'float32'"
            )
        if largest > float(np.finfo(STORED[dtype]).max):
            raise InputError(
                f"item {item!r}: an activation of {largest:.6g} is beyond what {dtype} holds: keep them as float32 "
                "(store='float32')"
            )
    return values.astype(STORED[dtype])


def write_shard(
    folder: Path, number: int, values: Float[np.ndarray, "item layer head width"], ids: Sequence[str]
) -> str:
    """Write what the items of a batch have, a tensor a layer; a file of that name is replaced.

    Returns:
        What the shard is known again by: a digest of its items and of what each layer holds.

    Raises:
        InputError: it can not be written.
    """
    from safetensors.numpy import save

    layers = {f"blocks.{layer}": np.ascontiguousarray(values[:, layer]) for layer in range(values.shape[1])}
    told = json.dumps({"ids": list(ids), "sha256": [_digest(own) for own in layers.values()]})
    content = save(layers, {TOLD: told})  # one entry, as several are written in no order
    write_synced(folder, shard_name(number), lambda file: file.write(content))
    return _known_by(told)


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def _known_by(told: str) -> str:
    """The digest of what the header of a shard says of its items and layers."""
    return hashlib.sha256(told.encode()).hexdigest()


class ZShard:
    """One shard, of which parts are read when they are asked for; the first time, a layer is held to its digest.

    Raises:
        InputError: it is not there, was cut off, or holds something else than these items; when it is read, a layer
            that is not what was written.
    """

    def __init__(self, path: Path, ids: Mapping[int, str], axes: HeadAxes, dtype: str, known_by: str) -> None:
        """Look at the header; no number is read yet.

        Args:
            path: the file.
            ids: by place in it, the items that are looked for.
            axes: how many numbers each has.
            dtype: what they are kept as.
            known_by: what `write_shard` gave when it was written.
        """
        self.path, self._held = path, set[int]()
        with self._opened() as file:
            names = set(file.keys())
            first = file.get_slice("blocks.0") if "blocks.0" in names else None
            found = (first.get_shape(), first.get_dtype()) if first is not None else ([], "")
            told = (file.metadata() or {}).get(TOLD, "")
        if _known_by(told) != known_by:
            raise InputError(f"{str(path)!r} is not the shard of its study, which wrote another: {AGAIN}")
        own, self._digests = _told_by(path, told, axes.layers)
        wanted = [len(own), axes.heads, axes.width]
        kept = {"float16": "F16", "float32": "F32"}[dtype]
        right = all(place < len(own) and own[place] == item for place, item in ids.items())
        if names != {f"blocks.{layer}" for layer in range(axes.layers)} or found != (wanted, kept) or not right:
            raise InputError(
                f"{str(path)!r} is not the shard of its study: it holds {len(names)} layers of {found[0]} {found[1]}, "
                f"not {axes.layers} of {wanted} {kept} of {next(iter(ids.values()))!r} and so on: {AGAIN}"
            )

    def layer(self, layer: int) -> Float[np.ndarray, "item head width"]:
        """What the items have in one layer."""
        with self._opened() as file:
            values = file.get_tensor(f"blocks.{layer}")
        if layer not in self._held:
            if _digest(values) != self._digests[layer]:
                raise InputError(
                    f"layer {layer} of {str(self.path)!r} is not what was written, bytes of it differ: {AGAIN}"
                )
            self._held.add(layer)
        return values  # type: ignore[no-any-return]

    def head(self, layer: int, head: int) -> Float[np.ndarray, "item width"]:
        """What they have in one head; the others are read once, when the layer is held to its digest."""
        if layer not in self._held:
            return self.layer(layer)[:, head]
        with self._opened() as file:
            return file.get_slice(f"blocks.{layer}")[:, head]  # type: ignore[no-any-return]

    def every(self, layers: int) -> Float[np.ndarray, "item layer head width"]:
        """All that they have."""
        return np.stack([self.layer(layer) for layer in range(layers)], 1)

    def _opened(self) -> Any:
        """The file, mapped into memory."""
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self.path, framework="np")
        except (OSError, SafetensorError) as error:
            raise InputError(f"{str(self.path)!r} can not be read ({error}): {AGAIN}") from error


AGAIN = "delete it and collect again with resume=True (--resume), which measures again what it held"
"""What to do with a shard that is gone or damaged."""


def _told_by(path: Path, told: str, layers: int) -> tuple[list[str], list[str]]:
    """The items and the digests of layers that the header of a shard tells."""
    try:
        own, digests = (list(parse_json(told)[name]) for name in ("ids", "sha256"))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} does not tell what it holds ({error!r:.80}): {AGAIN}") from error
    if len(digests) != layers:
        raise InputError(f"{str(path)!r} has digests of {len(digests)} layers, not {layers}: {AGAIN}")
    return own, digests


def disk_needed(items: int, axes: HeadAxes, dtype: str) -> int:
    """Bytes that the activations of some items take."""
    return items * axes.layers * axes.heads * axes.width * np.dtype(STORED[dtype]).itemsize


def refuse_small_disk(folder: Path, needed: int) -> None:
    """Refuse a folder on a disk that lacks room for so many bytes, and a hundredth more for what goes with them.

    Raises:
        InputError: it does.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < needed * 1.01:
        raise InputError(
            f"the activations need {in_bytes(needed)}, and the disk of {str(folder)!r} has {in_bytes(free)} left: "
            "name a folder on another disk, keep them as float16, or collect fewer items"
        )


def in_bytes(count: int) -> str:
    """A number of bytes in words.

    Example:
        >>> in_bytes(1_500_000_000)
        '1.5 GB'
    """
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
