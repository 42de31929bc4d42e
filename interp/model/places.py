"""Places: whether a name means a folder here or a model of the hub, which is asked where nothing else can be meant."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from interp.errors import InputError, ModelError
from interp.store.names import given_path

HUB = "hf://"
"""What a name begins with that is one of the hub, whatever lies here."""


def resolve(name: str) -> str:
    """The path of an embedded model or of a folder, or the name on the hub.

    Raises:
        ModelError: the name is empty, a path that does not exist, or none of the hub, whose names have an owner.
    """
    from interp.zoo import EMBEDDED, embedded_path

    if name in EMBEDDED:
        if not (embedded_path(name) / "model.safetensors").is_file():
            raise ModelError(
                f"the weights of {name!r} are not in this installation: make them with "
                f"'python -m interp.training.vlm.train --out {embedded_path(name)}', or name another model with --model"
            )
        return str(embedded_path(name))
    of_hub = name.removeprefix(HUB)
    if name.startswith(HUB):
        if not _is_hub_name(of_hub):
            raise ModelError(f"{name!r} is no name of the hub: write {HUB}OWNER/NAME")
        return of_hub
    path = _expanded(name)
    if name and path is not None and path.is_dir():
        return str(path)
    if path is not None and path.is_file():
        raise ModelError(f"{name!r} is a file: give the folder that it lies in, with its configuration and processor")
    if "/" not in name and name and not name.startswith((".", "~")):
        raise ModelError(f"no model {name!r}: {_unowned(name)}")
    if not _is_hub_name(name):
        raise ModelError(f"no model folder {name!r:.200}: give a folder, a hub name, or one of {', '.join(EMBEDDED)}")
    return name


def stays_here(name: str, place: str, *, trust_remote_code: bool) -> bool:
    """Whether nothing is to be asked of the hub: a folder has all that it needs, but for code that may run."""
    return (Path(place).is_dir() and not trust_remote_code) or may_be_a_folder(name)


def may_be_a_folder(name: str) -> bool:
    """Whether a name like those of the hub may be a mistyped path: what it begins with lies here, or nearly."""
    return _is_hub_name(name) and not Path(name).is_dir() and bool(_near(name))


def not_a_folder(name: str) -> str:
    """What to do about a name for which `may_be_a_folder` holds."""
    near = _near(name)
    found = [path for folder in near for path in sorted(folder.iterdir()) if path.is_dir()]
    close = get_close_matches(name, [str(path) for path in found], n=1)
    meant = f"did you mean {close[0]!r}? I" if close else "correct the path, or i"
    return (
        f"there is no such folder, nor is it in the cache, and as there is a folder {near[0].name!r} here, the hub was "
        f"not asked: {meant}f it is a model of the hub, write {HUB}{name}"
    )


def _near(name: str) -> list[Path]:
    """The folders here that the first part of a name names, or nearly names where the second nearly fits in them."""
    first, _, last = name.partition("/")
    try:
        here = {path.name: path for path in Path().iterdir() if path.is_dir()}
        if first in here:
            return [here[first]]
        alike = [here[close] for close in get_close_matches(first, list(here), cutoff=0.8)]
        return [folder for folder in alike if get_close_matches(last, [path.name for path in folder.iterdir()])]
    except OSError:
        return []


def _is_hub_name(name: str) -> bool:
    """Whether the hub could have a model of that name: an owner and a name, of its letters."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _expanded(name: str) -> Path | None:
    """The path that a name is, see `given_path`; None where it is none."""
    try:
        return given_path(name)
    except InputError:
        return None


def _unowned(name: str) -> str:
    """What to give in place of a name without an owner, which the hub has no model of."""
    from interp.zoo import EMBEDDED

    if name.startswith("planted-"):
        return (
            "planted models are made in Python, by interp.planted.lines.build_line_model or "
            "interp.planted.llava.build_planted, and hooked by HookedVLM.wrap; name a folder, a hub model as "
            f"OWNER/NAME, or one of {', '.join(EMBEDDED)}"
        )
    return f"give a folder that is there, a hub model as OWNER/NAME, or one of {', '.join(EMBEDDED)}"
