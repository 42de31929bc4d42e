"""Rows of benchmarks in their published forms, made up, with photos of one colour."""

import io
import json
from pathlib import Path

from PIL import Image

from interp.datasets import BENCHMARKS


def photo_bytes(shade: int, form: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 0)).save(content, form)
    return content.getvalue()


def put(folder: Path, rows: list, file: str, images: list[str] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(rows))
    for number, image in enumerate(images):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(photo_bytes(number))
    return folder


def controlled(path: str, *captions: str) -> dict:
    return {"image_path": path, "caption_options": list(captions)}


def said_as_caption(names: tuple[str, ...], gold: str, *, photo_of: bool) -> str:
    start = "A photo of a " if photo_of else "A "
    if len(names) == 1:
        return f"{start}{names[0]} {'behind' if gold == 'behind' else f'on the {gold}'}"
    between = {"left": "to the left of", "right": "to the right of", "front": "in front of"}.get(gold, gold)
    return f"{start}{names[0]} {between} a {names[1]}"


def vg_two_rows() -> list[tuple[int, str, str]]:
    """Image id, answer and caption of 291 rows with the published numbers of answers; two rows share each photo."""
    answers = [answer for answer, count in BENCHMARKS["vg-two"].labels.items() for _ in range(count)]
    return [
        (row // 2 + 1, answer, said_as_caption(("man", "tree"), answer, photo_of=True))
        for row, answer in enumerate(answers)
    ]
