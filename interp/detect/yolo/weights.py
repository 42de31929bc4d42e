"""From what a user calls a detector's weights to a checked file, and from the file to an ultralytics model."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from interp.detect.common import one_line, read_class_names
from interp.detect.yolo.containment import contained
from interp.errors import DetectorError
from interp.store.names import given_path
from interp.store.parsing import parse_json
from interp.zoo import EMBEDDED_DETECTORS as EMBEDDED


def find_weights(weights: str | Path, *, download: bool = False) -> Path:
    """Turn a path, an embedded name or a hub name into a file that exists.

    A file of that path comes first, then the embedded detectors, then the checkpoints that ultralytics publishes. These
    are fetched only with `download`, into the cache folder (`$XDG_CACHE_HOME` or `~/.cache`, `spatial-lens/detectors`).

    Raises:
        DetectorError: there is no such file or name, or it would have to be downloaded and that was not allowed.
    """
    path = given_path(weights) if str(weights) else Path()
    if path.is_file():
        return path
    if path.is_dir():
        raise DetectorError(f"detector weights {str(weights)!r} are a folder: give the .pt or .safetensors file in it")
    if str(weights) in EMBEDDED:
        return _embedded(str(weights))
    if path.name == str(weights) and path.name in _published():
        return _from_hub(path.name, download)
    raise DetectorError(
        f"there are no detector weights {str(weights)!r}: give the path of a .pt file, {' or '.join(EMBEDDED)}, "
        "or a published name such as yolo11n.pt"
    )


def load_model(path: Path) -> Any:
    """Load a detection model without unpickling anything but tensors and known layers.

    Args:
        path: a `.pt` checkpoint of ultralytics, or a `.safetensors` file with the network's `.yaml` beside it.

    Returns:
        The `ultralytics.YOLO` object.

    Raises:
        DetectorError: the file is unreadable, broken, of another format, or holds no detection model.
    """
    if not os.access(path, os.R_OK):
        raise DetectorError(f"detector weights {path} can not be read: check the permissions of the file")
    loaders = {".pt": _load_checkpoint, ".safetensors": _load_safetensors}
    if path.suffix not in loaders:
        raise DetectorError(f"detector weights {path} are of no known format: give a .pt or .safetensors file")
    model = loaders[path.suffix](path)
    kind = type(model.model).__name__
    detects = isinstance(model.model, importlib.import_module("ultralytics.nn.tasks").DetectionModel)
    if model.task != "detect" or not detects:  # a checkpoint without a task is taken for a detector
        raise DetectorError(f"{path} holds a {kind}, which is no detection model: give weights of a detection model")
    return model


def _load_checkpoint(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise DetectorError(f"{path} is no PyTorch checkpoint, or a broken one: give weights saved by ultralytics")
    with contained() as ultralytics, tempfile.TemporaryDirectory(prefix="spatial-lens-") as folder:
        # Under a plain name: ultralytics rewrites some names and turns those that it then misses into downloads.
        copy = shutil.copyfile(path, Path(folder) / "weights.pt")
        warnings.simplefilter("ignore")  # what is wrong with the file becomes an error below
        try:
            return ultralytics.YOLO(str(copy))
        except Exception as error:
            raise DetectorError(
                f"{path} can not be loaded as a detector ({one_line(error, str(copy))}): "
                "give a detection checkpoint saved by ultralytics; only its tensors and known layers are read"
            ) from error


def _load_safetensors(path: Path) -> Any:
    from safetensors import safe_open

    config = path.with_suffix(".yaml")
    if not config.is_file():
        raise DetectorError(f"{path} needs its network beside it, but there is no {config.name} in {path.parent}")
    with contained() as ultralytics:
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
                names = parse_json((file.metadata() or {})["names"])
            model = ultralytics.YOLO(str(config), task="detect")
            _fill(model.model, tensors, names)
            model.overrides["imgsz"] = int(model.model.yaml["imgsz"])
        except Exception as error:
            raise DetectorError(
                f"{path} and {config.name} can not be loaded as a detector ({one_line(error)}): "
                "give both files as the training script wrote them"
            ) from error
    return model


def _fill(network: Any, tensors: dict[str, Any], names: list[str]) -> None:
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]  # a counter that training keeps
    if missing or unexpected:
        raise ValueError(f"{len(missing)} weights are missing and {len(unexpected)} are not of this network")
    if not isinstance(names, list) or len(names) != network.yaml["nc"]:
        raise ValueError(f"the class names {names!r:.60} are no list of {network.yaml['nc']}")
    network.names = dict(enumerate(read_class_names(names)))
    network.eval()


def _embedded(name: str) -> Path:
    from interp.zoo import embedded_path

    path = Path(embedded_path(name))
    return path / f"{name}.safetensors" if path.is_dir() else path


def _published() -> frozenset[str]:
    """List the checkpoints that the installed ultralytics knows how to fetch."""
    with contained():
        return frozenset(importlib.import_module("ultralytics.utils.downloads").GITHUB_ASSETS_NAMES)


def _from_hub(name: str, download: bool) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spatial-lens" / "detectors"
    path = cache / name
    if path.is_file():
        return path
    if not download:
        raise DetectorError(
            f"{name} is not on this machine: allow the download (--download, or download=True), "
            "or give the path of a .pt file"
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with contained(), tempfile.TemporaryDirectory(dir=cache) as folder:
            fetched = importlib.import_module("ultralytics.utils.downloads").attempt_download_asset(f"{folder}/{name}")
            os.replace(fetched, path)
    except Exception as error:
        raise DetectorError(
            f"{name} could not be downloaded ({one_line(error)}): check the network, or give the path of a .pt file"
        ) from error
    return path
