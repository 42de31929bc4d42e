"""A checkpoint's folder in tests: changed, and refused in one line."""

import json

import pytest

from interp.errors import InputError, ModelError, SpatialLensError
from interp.model.loading import load_model


def refused(name, **options):
    with pytest.raises(SpatialLensError) as refusal:
        load_model(name, **options)
    message = str(refusal.value)
    assert isinstance(refusal.value, (ModelError, InputError)) and "\n" not in message and len(message) < 500
    return message


def change_config(folder, **parts):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in parts.items():
        place = config
        *way, last = name.split("__")
        for step in way:
            place = place[step]
        place[last] = value
    path.write_text(json.dumps(config))
