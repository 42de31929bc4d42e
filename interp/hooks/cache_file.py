"""Cache files: captured activations in a safetensors file, with their names, rows, positions and settings."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from interp.errors import InputError
from interp.hooks.cache import Capture, VLMCache
from interp.hooks.rows import check_rows
from interp.hooks.shape import ModelShape
from interp.prompt.layout import TokenLayout
from interp.store.folder import OutputFolder, plain

if TYPE_CHECKING:
    from torch import Tensor

KEY, SUFFIX = "spatial_lens_cache", ".safetensors"
"""Under what name the metadata of the file says all but the tensors, and how the file's name ends."""


def load_cache(path: str | Path, *, device: torch.device | str = "cpu") -> VLMCache:
    """Read a cache that `VLMCache.save` wrote. Nothing in the file is run.

    Args:
        path: the file.
        device: where the tensors go.

    Example:
        >>> cache.save("mug.safetensors")
        >>> load_cache("mug.safetensors")["pattern", 6].shape
        torch.Size([1, 8, 1, 93])

    Raises:
        InputError: there is no such file, it is damaged, or is of something else.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"there is no file {str(path)!r}: name one that cache.save wrote")
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            said = (opened.metadata() or {}).get(KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} can not be read as safetensors ({error}): save the cache again") from error
    if said is None:
        raise InputError(f"{str(path)!r} holds no cache of run_with_cache: read it with safetensors.torch.load_file")
    try:
        return _made(json.loads(said), tensors)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InputError) as error:
        raise InputError(f"what {str(path)!r} says of itself is damaged ({error!r:.120}): save it again") from error


def write_cache(cache: VLMCache, path: str | Path) -> Path:
    """Write a cache; see `VLMCache.save`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    file = Path(path).expanduser()
    if file.suffix != SUFFIX:
        raise InputError(f"a cache goes into a {SUFFIX} file, not {str(path)!r}: name one, such as 'cache{SUFFIX}'")
    if empty := [name for name, tensor in cache.items() if tensor.is_meta]:
        raise InputError(f"{empty[0]} is on the meta device, and has no values: capture it on another device")
    tensors, said = {name: _alone(tensor) for name, tensor in cache.items()}, {KEY: json.dumps(_said_of(cache))}

    def write(aside: Path) -> None:
        try:
            save_file(tensors, aside, metadata=said)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error

    return OutputFolder(file.parent).write(file.name, write)


def _alone(tensor: Tensor) -> Tensor:
    """A tensor whose values lie one after another in memory of their own, as the format has them."""
    own = tensor.detach().contiguous()
    return own if own.untyped_storage().nbytes() == own.nbytes else own.clone()


def _said_of(cache: VLMCache) -> dict[str, Any]:
    """All but the tensors, as plain values; the order of names too, since the format has its own."""
    model: Any = cache.model
    capture = cache.capture and {
        "query_rows": cache.capture.query_rows,
        "positions": cache.capture.positions,
        "layouts": [{"kinds": own.kinds, "tokens": own.tokens} for own in cache.capture.layouts],
        "settings": cache.capture.settings,
    }
    said = {"names": list(cache), "has_batch_dim": cache.has_batch_dim, "hook_names": model.hook_dict}
    return plain({**said, "shape": asdict(model.cfg), "capture": capture})


def _made(said: dict[str, Any], tensors: dict[str, Tensor]) -> VLMCache:
    """The cache that plain values and tensors tell of."""
    if sorted(said["names"]) != sorted(tensors):
        raise InputError("it names other tensors than it holds")
    model = SimpleNamespace(cfg=ModelShape(**said["shape"]), hook_dict=tuple(said["hook_names"]))
    capture, ordered = said["capture"], {name: tensors[name] for name in said["names"]}
    if capture is not None:
        layouts = tuple(TokenLayout(tuple(one["kinds"]), tuple(one["tokens"])) for one in capture["layouts"])
        rows, positions = check_rows(capture["query_rows"]), tuple(map(int, capture["positions"]))
        capture = Capture(rows, positions, layouts, dict(capture["settings"]))
    return VLMCache(ordered, model, bool(said["has_batch_dim"]), capture=capture)
