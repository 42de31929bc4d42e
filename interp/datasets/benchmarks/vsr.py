"""Readers of Visual Spatial Reasoning: statements to confirm or deny, and the true ones as open questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interp.datasets.benchmarks.files import Draft, bad_row, read_lines
from interp.objects.refusals import each_row
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_OF_STATEMENT, is_it_true, paper_statement_prompt, where_in_own_words

_FIELDS = {"image": str, "caption": str, "label": int, "relation": str}


def read_statements(path: Path, dataset: str = "vsr") -> Iterator[Draft]:
    """Read a VSR split as statements that are true or false of a photo.

    The answer is `yes` for label 1 and `no` for 0; `relation` is the one of the statement, true or not.

    Args:
        path: a JSON Lines file with `image`, `caption`, `label`, `relation`, and perhaps `subj` and `obj`.
        dataset: name for ids.

    Raises:
        InputError: a row that is not as described.
    """

    def draft(numbered: tuple[int, Mapping[str, Any]]) -> Draft:
        row, item = numbered
        names = _check(path, row, item)
        prompt = paper_statement_prompt(item["caption"])
        answer = OPTIONS_OF_STATEMENT[1 - item["label"]]
        question = is_it_true(item["caption"])
        sample = _sample(dataset, row, item, names, question, OPTIONS_OF_STATEMENT, answer, paper_prompt=prompt)
        return Draft(sample, _images(item))

    yield from each_row(enumerate(read_lines(path)), draft)


def read_open(path: Path, dataset: str = "vsr-open") -> Iterator[Draft]:
    """Read the true statements of a VSR split as questions for the relation; the options are all relations of the file.

    Raises:
        InputError: a row that is not as described.
    """
    rows = read_lines(path)
    names = dict(each_row(enumerate(rows), lambda numbered: (numbered[0], _check(path, *numbered))))
    options = tuple(sorted({rows[row]["relation"] for row in names}))
    for row, item in enumerate(rows):
        if row in names and item["label"] == 1:
            question = where_in_own_words(*names[row])
            yield Draft(_sample(dataset, row, item, names[row], question, options, item["relation"]), _images(item))


def objects_told(caption: str, relation: str) -> tuple[str, str] | None:
    """The subject and the object of a VSR caption, or None where it is not built around the relation.

    The field `subj` of the zero-shot split is not used: the letters T, h, e were cut off its start (`andbag`).

    Example:
        >>> objects_told("The handbag is right of the cat.", "right of")
        ('handbag', 'cat')
    """
    pattern = rf"(?:the )?(?P<subject>.+?)(?: is| are)? {re.escape(relation)} (?:the )?(?P<object>.+?)\.?"
    match = re.fullmatch(pattern, caption.strip(), re.I)
    return None if match is None else (match["subject"], match["object"])


def _check(path: Path, row: int, item: Mapping[str, Any]) -> tuple[str, str]:
    """Refuse a row without the fields; the names of its two objects."""
    for name, kind in _FIELDS.items():
        if name not in item:
            raise bad_row(path, row, f"has the fields {', '.join(item) or 'none'} and no {name}")
        if not isinstance(item[name], kind) or not str(item[name]).strip():
            raise bad_row(path, row, f"has {name} {item[name]!r}, not {kind.__name__}")
    if item["label"] not in (0, 1):
        raise bad_row(path, row, f"has label {item['label']!r}, not 0 or 1")
    names = objects_told(item["caption"], item["relation"])
    if names is None:
        raise bad_row(path, row, f"says {item['caption']!r}, which does not state {item['relation']!r} of two objects")
    return names


def _images(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the photo of a row may lie: first the folder of COCO that its address names."""
    image = str(item["image"])
    linked = re.findall(r"(?:train|val)20\d\d", str(item.get("image_link", "")))
    folders = dict.fromkeys((*linked, "train2017", "val2017"))
    own = (str(item["local_path"]),) if isinstance(item.get("local_path"), str) else ()
    inside = tuple(f"{start}{folder}/{image}" for start in ("", "images/") for folder in folders)
    return (*inside, image, f"images/{image}", *own)


def _sample(
    dataset: str,
    row: int,
    item: Mapping[str, Any],
    names: tuple[str, str],
    question: str,
    options: tuple[str, ...],
    answer: str,
    **meta: object,
) -> Sample:
    return Sample(
        id=f"{dataset}-{row:05d}",
        image=Path(),
        question=question,
        options=options,
        answer=answer,
        objects=tuple(Object(name) for name in names),
        relation=item["relation"],
        group=item["image"],
        meta={
            "dataset": dataset,
            "row": row,
            "label": item["label"],
            "caption": item["caption"],
            "image_link": item.get("image_link"),
            **meta,
        },
    )
