"""Checkpoints: where their files come from, and what of them is never run or read unasked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import ModelError
from interp.store.names import is_plain_name
from interp.store.parsing import parse_json

PLACE = (
    "revision",
    "cache_dir",
    "token",
    "local_files_only",
    "force_download",
    "proxies",
    "subfolder",
    "code_revision",
)
"""What says where files come from: configuration, weights and processor are all loaded with it."""


def split_options(
    options: Mapping[str, Any], *, trust_remote_code: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What configuration, weights and processor are all loaded with, and what is for the weights alone.

    Whether a checkpoint's own code may run is always said: transformers asks on standard input where it is not.

    Example:
        >>> split_options({"token": "hf_...", "attn_implementation": "eager"})
        ({'trust_remote_code': False, 'token': 'hf_...'}, {'attn_implementation': 'eager'})
    """
    shared = {name: value for name, value in options.items() if name in PLACE and value is not None}
    own = {name: value for name, value in options.items() if name not in PLACE}
    return {"trust_remote_code": bool(trust_remote_code), **shared}, own


def refuse_foreign_shards(place: str, config: Any, shared: Mapping[str, Any], *, variant: str | None = None) -> None:
    """Refuse an index of weights that names anything but plain safetensors files beside it: those would be unpickled.

    Raises:
        ModelError: it does, or the index is no index.
    """
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

    usual = SAFE_WEIGHTS_INDEX_NAME if not variant else SAFE_WEIGHTS_INDEX_NAME.replace("index.", f"index.{variant}.")
    named = getattr(config, "transformers_weights", None)
    found = own_file(place, named or usual, shared) if not named or named.endswith(".index.json") else None
    if found is None:
        return
    try:
        files = set(parse_json(found.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{str(found)!r} is no index of weights ({error!r}): give whole files") from error
    strange = sorted(str(file) for file in files if not _is_shard(file)) or _led_away(found.parent, files)
    if strange:
        raise ModelError(
            f"the index of weights {found.name!r} of {place!r} names {strange[0]!r}: only safetensors files "
            "beside it are read, so save the model with save_pretrained, which writes them"
        )


def own_file(place: str, name: str, shared: Mapping[str, Any]) -> Path | None:
    """A file of a checkpoint, of its folder or of the hub; None where it has none, or the hub can not be reached.

    Args:
        place: a folder, or a name on the hub.
        name: the file's.
        shared: what says where files come from, some of `PLACE`.
    """
    from transformers.utils import cached_file

    where = {own: shared[own] for own in PLACE if own in shared and own != "code_revision"}
    quiet = dict.fromkeys((f"_raise_exceptions_for_{what}" for what in ("missing_entries", "connection_errors")), False)
    found = cached_file(place, name, **where, **quiet)
    return None if found is None else Path(found)


def _is_shard(file: Any) -> bool:
    return isinstance(file, str) and is_plain_name(file) and file.endswith(".safetensors")


def _led_away(folder: Path, files: Iterable[str]) -> list[str]:
    """The files that are links out of their folder, and where they lead; those of the hub's cache lead to its blobs."""
    home = folder.resolve()
    roots = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    ends = {file: (folder / file).resolve() for file in files}
    return sorted(f"{file}, a link to {end}" for file, end in ends.items() if not any(map(end.is_relative_to, roots)))


def refuse_kernels(name: str, config: Any) -> None:
    """Refuse a configuration that names attention of the hub, which would be downloaded and run.

    Raises:
        ModelError: it does, itself or for one of its parts.
    """
    for part in (config, *(getattr(config, own, None) for own in getattr(config, "sub_configs", ()))):
        chosen = getattr(part, "_attn_implementation", None)
        named = [one for one in (chosen.values() if isinstance(chosen, Mapping) else [chosen]) if "/" in str(one)]
        if named:
            raise ModelError(
                f"the configuration of {name!r} names attention of the hub ({str(named[0])!r:.80}), whose code would "
                "run: take attn_implementation out of its config.json, or say which to use with attn_implementation="
            )


def own_code(name: str, error: Exception, *, helps: bool) -> str | None:
    """What to say where loading failed because files bring Python code of their own; None for any other error.

    Args:
        name: the checkpoint.
        error: what transformers raised.
        helps: whether allowing the code would be of use; a model of a kind that it does not know itself is not.
    """
    if "trust_remote_code" not in str(error) and "custom code" not in str(error):
        return None
    allow = ", or read that code and, if you trust it, allow it with trust_remote_code=True (--trust-remote-code)"
    return (
        f"{name!r} brings Python code of its own, which is not run: use a checkpoint that transformers knows by itself "
        f"(their names often end in -hf){allow if helps else ''}"
    )


@contextmanager
def unasked() -> Iterator[None]:
    """Keep transformers from asking on standard input, and from printing its table of tensors.

    It asks wherever it loads a part and was not told whether to trust code; some of its own calls forget to say so.
    """
    from transformers import dynamic_module_utils as dynamic
    from transformers.utils import logging

    verbosity, patience = logging.get_verbosity(), getattr(dynamic, PATIENCE, None)
    logging.set_verbosity_error()
    if patience is not None:
        setattr(dynamic, PATIENCE, 0)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if patience is not None:
            setattr(dynamic, PATIENCE, patience)


PATIENCE = "TIME_OUT_REMOTE_CODE"
"""For how many seconds transformers waits for an answer; with 0 it refuses."""
