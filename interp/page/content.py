"""The content of the page to explore: what its script reads, in JSON's own types, maps packed and photo made small."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from interp.layers import paper_layers
from interp.maps.trajectory import PARTS
from interp.page.data import LABELS, Exploration, FurtherMap, Run
from interp.page.packing import DIGITS, FLOOR, pack, to_blob

if TYPE_CHECKING:
    from PIL import Image

MOST_PAGE = 2_980_000  # bytes of which the photo gets what the rest leaves, but from LEAST_PHOTO to MOST_PHOTO
AROUND = 64_000  # bytes that the page has beside its data: texts, style and script
LEAST_PHOTO, MOST_PHOTO = 40_000, 350_000  # bytes
LOSSLESS = 256  # pixels; a photo so small is kept as it is
SMALLER = ((900, 88), (900, 75), (900, 60), (760, 60), (640, 60), (640, 45), (520, 45), (400, 45), (400, 30), (200, 30))
"""Pixels of the photo's longer side and quality of its JPEG, from the largest on."""

MOST_FINE = 1_300_000  # bytes of maps up to which each weight gets two of them


def page_content(exploration: Exploration) -> dict[str, Any]:
    """What the page's script reads.

    Raises:
        InputError: the photo is not the one that the grid was made for.
    """
    from interp.plots.canvas import canvas
    from interp.plots.style import DIVERGING, SEQUENTIAL, name_paper_layers

    grid, layers = exploration.grid, exploration.n_layers
    frame = canvas(exploration.image, grid).frame
    bits = _bits(exploration)
    neutral = None if exploration.neutral is None else _maps(exploration.divisor, bits, floor=0.0)
    content: dict[str, Any] = {
        "digits": DIGITS,
        "layers": layers,
        "heads": exploration.n_heads,
        "paper": {"layers": list(paper_layers(layers)), "name": name_paper_layers(layers)},
        "photo": {"frame": list(frame), "seen": list(grid.seen)},
        "tokens": _tokens(exploration),
        "views": [{"number": number, "name": _name_view(number)} for number in np.unique(grid.view).tolist()],
        "length": len(exploration.layout),
        "parts": list(PARTS),
        "image_positions": len(grid) / exploration.visible_keys,
        "boxes": _boxes(exploration),
        "normalisations": [_normalisation(exploration, name) for name in exploration.normalisations],
        "sinks": _sinks(exploration),
        "runs": [_run(exploration, run, bits) for run in exploration.runs],
        "neutral": neutral,
        "colours": {"run": to_blob(colour_table(SEQUENTIAL)), "difference": to_blob(colour_table(DIVERGING))},
    }
    if exploration.further:
        content["further"] = [_further(exploration, each, bits) for each in exploration.further]
    content["photo"]["source"] = photo_url(exploration.image.crop(frame), _room(content))
    return content


def photo_url(photo: Image.Image, most: int = MOST_PHOTO) -> str:
    """A photo as a data URL of at most so many bytes: a small one as it is, any other resized, as JPEG.

    Pixels alone are kept: no comment, colour profile or place where it was taken.
    """
    plain = photo.convert("RGB")
    plain.info.clear()  # Pillow would write a JPEG's comment and its colour profile again
    if max(plain.size) <= LOSSLESS and len(url := _data_url("png", _encoded(plain, "PNG"))) <= most:
        return url
    for longest, quality in SMALLER:
        plain.thumbnail((longest, longest), reducing_gap=2.0)
        url = _data_url("jpeg", _encoded(plain, "JPEG", quality=quality, optimize=True))
        if len(url) <= most:
            break
    return url


def _room(content: dict[str, Any]) -> int:
    """Bytes for the photo."""
    left = MOST_PAGE - AROUND - len(json.dumps(content, separators=(",", ":")))
    return max(LEAST_PHOTO, min(MOST_PHOTO, left))


def colour_table(name: str) -> np.ndarray:
    """The 256 colours of one of matplotlib's maps, uint8 [colour rgb]."""
    from matplotlib import colormaps

    return colormaps[name](np.arange(256), bytes=True)[:, :3]


def _tokens(exploration: Exploration) -> dict[str, Any]:
    """Where each image token lies: in the photo, in its view, in the prompt."""
    grid = exploration.grid
    places = {"rows": grid.rows, "columns": grid.cols, "views": grid.view}
    places["positions"] = exploration.layout.image_positions
    blobs = {name: to_blob(np.asarray(place, dtype=np.int32)) for name, place in places.items()}
    return {"count": len(grid), "boxes": to_blob(grid.boxes.astype(np.float32)), **blobs}


def _boxes(exploration: Exploration) -> list[dict[str, Any]]:
    """The objects, in pixels of the photo."""
    pairs = zip(exploration.boxes, exploration.roles, strict=True)
    return [{"label": box.label, "xyxy": [float(side) for side in box.xyxy], "role": role} for box, role in pairs]


def _normalisation(exploration: Exploration, name: str) -> dict[str, Any]:
    """A normalisation: what its values are, and what evenly spread attention has: of a token, and with the boxes."""
    even = {"token": exploration.even(name), **exploration.even_agreement(name)}
    return {"name": name, "label": LABELS[name], "even": {key: _short(values) for key, values in even.items()}}


def _short(values: np.ndarray) -> dict[str, Any]:
    """Values per layer and head, or the one value that they all have."""
    same = bool((values == values[0, 0]).all() or np.isnan(values).all())
    return to_blob((values[:1, :1] if same else values).astype(np.float32))


def _sinks(exploration: Exploration) -> dict[str, Any]:
    """Which tokens no-sinks takes out, a bit each, in rows of whole bytes: a row a map, a row a layer, or one row."""
    nothing = np.zeros((1, 1, len(exploration.grid)), dtype=bool)
    taken = nothing if exploration.sinks is None else ~exploration.kept
    if (taken == taken[:, :1]).all():
        taken = taken[:, :1]
        taken = taken[:1] if (taken == taken[:1]).all() else taken
    return to_blob(np.packbits(rearrange(taken, "layer head token -> (layer head) token"), axis=-1))


def _run(exploration: Exploration, run: Run, bits: int) -> dict[str, Any]:
    """One run: its maps, and per layer and head what they sum to and how they agree with the boxes."""
    names = exploration.normalisations
    agreement = {name: exploration.agreement(exploration.maps(run, name), name) for name in names}
    bare = pack(exploration.without_sinks(run)[:, -1], bits=16).to_json() if "no-sinks" in names else None
    return {
        "name": run.name,
        **_maps(run.weights, bits),
        "bare": bare,
        "totals": {name: to_blob(exploration.totals(run, name).astype(np.float32)) for name in names},
        "shares": to_blob(run.shares),
        "cosine": {name: to_blob(agreement[name]["cosine"].astype(np.float32)) for name in names},
        "mass": {name: to_blob(agreement[name]["mass"].astype(np.float32)) for name in names},
    }


def _maps(weights: np.ndarray, bits: int, *, floor: float = FLOOR) -> dict[str, Any]:
    """The maps of the heads, and those of the head mean, which is looked at most and always gets two bytes."""
    mean, heads = pack(weights[:, -1], bits=16, floor=floor), pack(weights[:, :-1], bits=bits, floor=floor)
    return {"mean": mean.to_json(), "heads": heads.to_json()}


def _further(exploration: Exploration, each: FurtherMap, bits: int) -> dict[str, Any]:
    """A map that is not raw attention: packed as attention is, and how it agrees with the boxes, as shares of one."""
    agreement = exploration.agreement(each.shares.astype(np.float64), "image")
    shape = exploration.runs[0].weights.shape[:2]  # of a map without heads, each head has the numbers of the one map
    numbers = {"total": each.totals, **agreement}
    maps = _maps(each.values, bits) if each.has_heads else {**_maps(each.values, bits), "heads": None}
    blobs = {name: to_blob(np.broadcast_to(one, shape).astype(np.float32)) for name, one in numbers.items()}
    return {"name": each.name, "label": each.label, **maps, **blobs}


def _bits(exploration: Exploration) -> int:
    """Two bytes a weight where the page stays small, one where it does not."""
    kept = len(exploration.runs) + (exploration.neutral is not None)
    weights = kept * exploration.runs[0].weights.size + sum(each.values.size for each in exploration.further)
    return 16 if 2 * weights <= MOST_FINE else 8


def _name_view(number: int) -> str:
    return "whole photo" if number == 0 else f"tile {number}"


def _encoded(photo: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
