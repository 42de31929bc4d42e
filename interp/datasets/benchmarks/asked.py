"""Ask a benchmark in the prompts of a file, as they are: each sample carries its own, or the file is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.datasets.benchmarks.catalogue import BENCHMARKS, benchmark
from interp.datasets.benchmarks.prompts import (
    ReleasedPrompt,
    asked_alike,
    compare_prompts,
    read_prompts,
    summarize_prompts,
)
from interp.errors import InputError
from interp.image.digests import file_digest
from interp.prompt.templates import paper_prompt
from interp.store.names import given_path

if TYPE_CHECKING:
    from interp.objects.sample import Sample


def with_prompts(samples: Sequence[Sample], path: str | Path, name: str) -> tuple[list[Sample], dict[str, Any]]:
    """The samples, each to be asked with its row of a released prompt file; and what records say of the file.

    Args:
        samples: the samples of a benchmark, paired by `meta["row"]`.
        path: the file, JSON Lines with `id`, `question` and `answer`.
        name: the benchmark.

    Returns:
        The samples, and `file`, `sha256`, `released` (whether the file is the authors' to the byte), `rows`, `differ`
        (how many are worded otherwise than ours) and `why` (reason to number of rows).

    Raises:
        InputError: the file can not be read, is another benchmark's, has a row twice, a row that the benchmark does not
            have, one without exactly one image placeholder, none for a sample, or another answer than the sample's.

    Example:
        >>> file = "prompts/COCO_QA_two_obj_with_answer_four_options.jsonl"
        >>> samples, record = with_prompts(samples, file, "coco-two")
        >>> record["rows"], record["differ"]
        (440, 372)
    """
    file, one = given_path(path), benchmark(name)
    owner = next((other.name for other in BENCHMARKS.values() if other.prompts == file.name), name)
    if owner != name:
        alike = f"ask {owner} (--dataset {owner}), which reads the same files, or " if owner in asked_alike(one) else ""
        wanted = f"give {one.prompts}" if one.prompts else f"{alike}leave it out, as none were released for {name}"
        raise InputError(f"{str(path)!r} holds the prompts of {owner}, and {name} is asked: {wanted}")
    table = compare_prompts(None, file, name=name)  # which refuses a benchmark without released prompts
    prompts = read_prompts(file)
    by_row = {prompt.row: prompt for prompt in prompts}
    _refuse(file, "that are there twice", _doubles(prompts), "leave one of the two out")
    _refuse(
        file,
        f"of rows that {name} does not have, which has {one.n}",
        [row for row in by_row if one.kind != "open" and not 0 <= row < one.n],
        "give the file of this data set",
    )
    _refuse(
        file,
        "that do not hold <image> just once",
        [row for row, prompt in by_row.items() if prompt.text.count("<image>") != 1],
        "say in each where the photo stands",
    )
    rows = [int(str(sample.meta["row"])) for sample in samples]
    _refuse(
        file,
        f"that are not there, of {len(rows)} that are asked",
        [row for row in rows if row not in by_row],
        "give the whole file, or ask fewer rows",
    )
    other = [row for row, sample in zip(rows, samples, strict=True) if by_row[row].gold != sample.answer]
    _refuse(file, "that have another answer than the data set", other, "give the file of this very data set")
    asked = [
        replace(sample, meta={**sample.meta, "paper_prompt": by_row[row].text})
        for row, sample in zip(rows, samples, strict=True)
    ]
    digest = file_digest(file)
    record = {"file": file.name, "sha256": digest, "released": digest == one.prompts_sha256, "rows": len(rows)}
    found = summarize_prompts(table[table["row"].isin(rows)])
    return asked, {**record, "differ": count_differing(asked), "why": found["why"]}


def count_differing(samples: Iterable[Sample]) -> int:
    """How many of the samples are asked with a prompt of their own that is worded otherwise than ours."""
    return sum(sample.meta.get("paper_prompt") != paper_prompt(sample.question) for sample in samples)


def _doubles(prompts: Sequence[ReleasedPrompt]) -> list[int]:
    seen: set[int] = set()
    return [prompt.row for prompt in prompts if prompt.row in seen or seen.add(prompt.row)]  # type: ignore[func-returns-value]


def _refuse(file: Path, what: str, rows: Sequence[int], todo: str) -> None:
    """Refuse rows of a prompt file, of which the first few are named.

    Raises:
        InputError: there are some.
    """
    if rows:
        named = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise InputError(f"{str(file)!r} can not be asked; prompts {what}: {len(rows)} (rows {named}): {todo}")
