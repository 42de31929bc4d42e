"""Tensor files: tensors by name in a safetensors file, with what is said of them; reading one runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.errors import InputError
from interp.store.folder import OutputFolder, plain
from interp.store.names import given_path
from interp.store.parsing import parse_json

KEY, SUFFIX = "spatial_lens_cache", ".safetensors"
"""Under what name the metadata of a file says all but the tensors, and how the file's name ends."""


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], said: Mapping[str, Any]) -> Path:
    """Write tensors, and what is said of them as plain values, whole or not at all.

    Raises:
        InputError: another ending than `SUFFIX`, a tensor without values, or a file that can not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    file = given_path(path)
    if file.suffix != SUFFIX:
        raise InputError(f"a cache goes into a {SUFFIX} file, not {str(path)!r}: name one, such as 'cache{SUFFIX}'")
    if empty := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise InputError(f"{empty[0]} is on the meta device, and has no values: capture it on another device")
    own, metadata = {name: _alone(tensor) for name, tensor in tensors.items()}, {KEY: json.dumps(plain(said))}

    def write(aside: Path) -> None:
        try:
            save_file(own, aside, metadata=metadata)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error

    return OutputFolder(file.parent).write(file.name, write)


def read_tensors(path: str | Path, device: torch.device | str) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a file, and what it says of them; see `write_tensors`.

    Raises:
        InputError: there is no such file, it is damaged, or nothing is said in it.
    """
    from safetensors import SafetensorError, safe_open

    file = given_path(path)
    if file.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name the {SUFFIX} file in it that cache.save wrote")
    if not file.is_file():
        raise InputError(f"there is no file {str(path)!r}: name one that cache.save wrote")
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            said = (opened.metadata() or {}).get(KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{str(path)!r} can not be read as safetensors onto {device} ({why}): save it again"
        ) from error
    if said is None:
        raise InputError(f"{str(path)!r} holds no cache of run_with_cache: read it with safetensors.torch.load_file")
    try:
        return tensors, parse_json(said)
    except ValueError as error:
        raise InputError(
            f"what {str(path)!r} says of itself is no JSON ({type(error).__name__}): save it again"
        ) from error


def _alone(tensor: Tensor) -> Tensor:
    """A tensor whose values lie one after another in memory of their own, as the format has them."""
    own = tensor.detach().contiguous()
    return own if own.untyped_storage().nbytes() == own.nbytes else own.clone()
