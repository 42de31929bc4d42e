"""Saved probes: linear probes by name in one safetensors file, read back to the bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from interp.errors import InputError
from interp.stats.linear_probe import LinearProbe
from interp.store.names import given_path
from interp.store.parsing import parse_json

FORMAT = "spatial-lens probes 1"


def save_probes(path: str | Path, probes: Mapping[str, LinearProbe]) -> Path:
    """Keep probes by name.

    Raises:
        InputError: the file can not be written.
    """
    from safetensors.numpy import save

    from interp.store.folder import OutputFolder

    place = given_path(path)
    about = {name: {"recipe": probe.recipe, "loss": probe.loss} for name, probe in probes.items()}
    arrays = {f"{name}/{part}": array.copy() for name, own in probes.items() for part, array in own.arrays().items()}
    content = save(arrays, {"format": FORMAT, "probes": json.dumps(about)})
    return OutputFolder(place.parent).write(place.name, lambda file: file.write_bytes(content))


def load_probes(path: str | Path) -> dict[str, LinearProbe]:
    """Read what `save_probes` kept.

    Raises:
        InputError: the file can not be read, or holds no probes.
    """
    from safetensors import SafetensorError, safe_open

    place = given_path(path)
    try:
        with safe_open(place, framework="numpy") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{str(place)!r} can not be read as safetensors ({error}): name a file of probes") from error
    if about.get("format") != FORMAT:
        raise InputError(f"{str(place)!r} holds no probes: name a file that save_probes wrote")
    return {
        name: LinearProbe.of_arrays(
            {part: arrays[f"{name}/{part}"] for part in ("weights", "bias", "centre")}, own["recipe"], own["loss"]
        )
        for name, own in parse_json(about["probes"]).items()
    }
