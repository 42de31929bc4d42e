"""Provenance: which weights a result was made with, when its run was begun, and by which command."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

from interp.store.parsing import parse_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from interp.model.hooked import HookedModel

RUN = ("begun", "command", "resumed")
"""What a record says of the run and not of the result: two runs that differ in these alone are the same."""

FROM_PYTHON = "from Python"
WHOLE = 2**30
"""Weights up to so many bytes are read whole; of more, every header and `BLOCKS` blocks of each file or tensor."""

BLOCKS, BLOCK = 64, 2**18
_running: ContextVar[dict[str, str] | None] = ContextVar("running", default=None)
GLANCED = 16
"""How many values of each tensor are kept from loading, to see later whether they are still the same."""


@contextmanager
def running(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """While this is on, what is recorded was made by this command, begun now."""
    token = _running.set({"begun": now(), "command": f"{program} {shlex.join(arguments)}".rstrip()})
    try:
        yield
    finally:
        _running.reset(token)


def run_record() -> dict[str, str]:
    """When this run was begun, ISO 8601 with the time zone, and the command as it was typed; else `FROM_PYTHON`.

    Called where a function begins, and put into its record, this says when that function began.
    """
    return dict(_running.get() or {"begun": now(), "command": FROM_PYTHON})


def now() -> str:
    """The time, ISO 8601 with the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def result_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what is of the run alone: what has to be the same for two results to be the same."""
    return {name: value for name, value in settings.items() if name not in RUN}


def resumed(then: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run that goes on now: its first date and command are kept, and this one's are added."""
    again = {name: settings[name] for name in ("begun", "command") if name in settings}
    return {**then, "resumed": [*then.get("resumed", ()), again]} if again else dict(then)


def tells_runs(record: Mapping[str, Any]) -> bool:
    """Whether a record that was read from a file tells of runs as `run_record` does, or of none."""
    later = record.get("resumed", [])
    runs = [record, *later] if isinstance(later, list) else [None]
    told = [isinstance(run, Mapping) and [run.get(name, "") for name in ("begun", "command")] for run in runs]
    return all(one and all(isinstance(text, str) for text in one) for one in told)


def runs_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs that several records tell of, as one: the first, and those that went on with it, each once."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        for run in (record, *record.get("resumed", ())):
            if "begun" in run:
                found[run["begun"], run.get("command", "")] = None
    first, *later = ({"begun": begun, "command": command} for begun, command in sorted(found)) if found else ({},)
    return {**first, "resumed": later} if later else first


def weights_record(vlm: HookedModel) -> dict[str, Any]:
    """Which weights a model has: a SHA-256, what it was taken of, and the commit on the hub where there is one.

    Weights that were loaded from safetensors files, and not changed since, have the hash of these files: of one file
    what `sha256sum` prints, of several the hash of its lines. All others have that of the tensors in memory. Where
    there are more bytes than `WHOLE`, only a sample of them is read, which `hashed` says: it tells checkpoints apart
    and is no proof that each byte is the same. Tensors count as changed where torch counted a change, where another
    tensor stands in their place, or where one of `GLANCED` values is another; torch does not count what goes through
    `.data`, so that a few values changed in this way can stay unseen.

    Example:
        >>> weights_record(HookedVLM.from_pretrained("shapes-vlm"))["hashed"]
        'model.safetensors, 8046664 bytes, all of them'
    """
    place, then = _loaded.get(vlm.model, (None, None))
    changed = then is not None and not then.is_still(_state_of(vlm.model))
    with suppress(OSError):  # files that are gone say nothing, and the tensors are still there
        if place is not None and not changed and (paths := _files(place, vlm.model)):
            return {**_of_files(paths), "commit": getattr(vlm.model.config, "_commit_hash", None)}
    found = _of_tensors(vlm.model.state_dict())
    if changed:
        found["hashed"] += "; they were changed since they were loaded"
    return {**found, "commit": None}


def note_loaded(model: PreTrainedModel, place: str | None) -> None:
    """Remember that a model's weights were loaded from this folder, or of this name on the hub, just now.

    Args:
        model: the model as it was loaded.
        place: None where options may have changed which files were read, or what was made of them.
    """
    _loaded[model] = place, _state_of(model)


class _State(NamedTuple):
    """What tells whether tensors are still those that were loaded.

    Attributes:
        tensors: which they were; None for one that is not in memory, as another takes its place for each pass.
        counts: how often each was changed in place, as torch counts it.
        values: a few of each.
    """

    tensors: tuple[ReferenceType[Tensor] | None, ...]
    counts: tuple[int, ...]
    values: tuple[bytes, ...]

    def is_still(self, now: _State) -> bool:
        """Whether nothing was changed, put in another's place, added or taken away."""
        if (self.counts, self.values) != (now.counts, now.values):
            return False
        return all(
            before is after is None or (before is not None and after is not None and before() is after() is not None)
            for before, after in zip(self.tensors, now.tensors, strict=True)
        )


_loaded: WeakKeyDictionary[Any, tuple[str | None, _State]] = WeakKeyDictionary()


def _state_of(model: PreTrainedModel) -> _State:
    """The state of a model's parameters, and of those buffers that are saved with them."""
    own = list(model.parameters())
    for module in model.modules():
        passing = module._non_persistent_buffers_set
        own += [buffer for name, buffer in module.named_buffers(recurse=False) if name not in passing]
    return _State(
        tuple(None if one.is_meta else ref(one) for one in own),
        tuple(0 if one.is_inference() else one._version for one in own),
        tuple(map(_glance, own)),
    )


def _glance(tensor: Tensor) -> bytes:
    """A few values of a tensor, evenly spread, as float32; none where it shows none."""
    if tensor.is_meta or not tensor.numel():
        return b""
    places = sorted({(tensor.numel() - 1) * place // (GLANCED - 1) for place in range(GLANCED)})
    try:
        return tensor.detach().reshape(-1)[places].float().cpu().numpy().tobytes()
    except (RuntimeError, NotImplementedError, TypeError):  # of a kind that shows no values
        return b""


def _files(place: str, model: PreTrainedModel) -> list[Path]:
    """The files that transformers took the weights from; none where that can not be told."""
    folder = Path(place) if Path(place).is_dir() else _cached(place, getattr(model.config, "_commit_hash", None))
    if folder is None or (folder / "adapter_config.json").is_file():
        return []
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [path for path in (folder / "model.safetensors",) if path.is_file()]
    names = set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values())
    return sorted(folder / name for name in names)


def _cached(name: str, commit: str | None) -> Path | None:
    """The folder in which the hub's client keeps a model, if it does."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=commit)
    return Path(found).parent if isinstance(found, str) else None


def _of_files(paths: Sequence[Path]) -> dict[str, str]:
    """The hash of files, and what it was taken of."""
    size = sum(path.stat().st_size for path in paths)
    named, whole = [_hub_hash(path) for path in paths], size <= WHOLE
    if whole or not all(named):
        how = "all of them" if whole else f"a sample: of each the header and {BLOCKS} blocks of {BLOCK} bytes"
        named = [_file_hash(path, path.stat().st_size, path.stat().st_mtime_ns, whole) for path in paths]
    else:
        how = "all of them, as the hub names the files"
    lines = "".join(f"{digest}  {path.name}\n" for digest, path in zip(named, paths, strict=True))
    files = paths[0].name if len(paths) == 1 else f"{paths[0].name} to {paths[-1].name}, {len(paths)} files"
    digest = str(named[0]) if len(paths) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    return {"sha256": digest, "hashed": f"{files}, {size} bytes, {how}"}


def _hub_hash(path: Path) -> str | None:
    """The SHA-256 by which the hub's cache names a file, which costs nothing to read."""
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name) else None


@cache
def _file_hash(path: Path, size: int, changed_ns: int, whole: bool) -> str:
    """The hash of one file, once a process for the same size and time of change."""
    with path.open("rb") as file:
        if whole:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(_header(file, size))
        for start in _starts(size):
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _header(file: BinaryIO, size: int) -> bytes:
    """The size of a safetensors file and its header, which names every tensor, its shape and its place."""
    length = file.read(8)
    return size.to_bytes(8, "little") + length + file.read(min(int.from_bytes(length, "little"), size))


def _starts(size: int, count: int = BLOCKS) -> list[int]:
    """Where blocks begin that are evenly spread from the first to the last byte."""
    last = max(size - BLOCK, 0)
    return sorted({last * place // max(count - 1, 1) for place in range(count)})


def _of_tensors(tensors: Mapping[str, Any]) -> dict[str, str]:
    """The hash of tensors in memory, by name, type, shape and bytes, and what it was taken of."""
    own = {name: tensor for name, tensor in sorted(tensors.items()) if hasattr(tensor, "element_size")}
    size = sum(tensor.numel() * tensor.element_size() for tensor in own.values())
    digest, whole, unread = hashlib.sha256(), size <= WHOLE, 0
    for name, tensor in own.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        try:
            for block in _blocks(tensor, whole=whole):
                digest.update(block)
        except (RuntimeError, NotImplementedError, TypeError):  # offloaded, or of a kind that shows no bytes
            unread += 1
    how = "all of them" if whole else f"a sample: {BLOCKS // 16} blocks of {BLOCK} bytes of each tensor"
    how += f"; {unread} tensors can not be read and count by name, type and shape alone" if unread else ""
    return {"sha256": digest.hexdigest(), "hashed": f"{len(own)} tensors in memory, {size} bytes, {how}"}


def _blocks(tensor: Tensor, *, whole: bool) -> Iterator[bytes]:
    """The bytes of a tensor, or of a few blocks of it."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    starts = (0,) if whole else _starts(len(flat), BLOCKS // 16)
    for start in starts:
        part = flat if whole else flat[start : start + BLOCK]
        yield part.cpu().numpy().tobytes()
