"""Files of stepped questions: JSON lists and JSON Lines, read, checked and written, of CogVSR's form and CogQA's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.objects.refusals import all_of
from interp.objects.sample import Object
from interp.store.folder import OutputFolder, plain
from interp.store.names import given_path, is_plain_name
from probes.heads.data.items import UNKNOWN, Problem, Reader
from probes.heads.data.names import VOCABULARIES, title_of
from probes.heads.data.record import Step, SteppedQuestion, SteppedQuestions
from probes.heads.data.splits import find_leaks

FORMS = ("cogvsr", "cogqa")
"""How a file is written: with all that is known, or as CogQA has it, of text alone."""

MISSING = ("refuse", "keep")
"""What an image that is not there means: an error, or nothing."""


def read_steps(
    path: str | Path,
    *,
    images: str | Path | None = None,
    names: str | None = None,
    unknown: str = "refuse",
    missing: str = "refuse",
) -> SteppedQuestions:
    """Read stepped questions from a JSON list or, where the file ends in `.jsonl`, from JSON Lines.

    Needed of an item are `question`, `answer` and `generated`, a list of `subquestion`, `answer` and
    `cognitive_skill` (a label, or a list of them of which `primary` names the first); see `probes.heads.data.items` for
    the rest. Answers that are numbers are read as text.

    Args:
        path: the file.
        images: the folder that paths of images are below; the file's own by default.
        names: whose function names these are, see `probes.heads.data.names`; by default `cogqa` in a file without an
            image, and `cogvsr` in any other.
        unknown: what a label means that is no known function: `refuse` (an error that counts them), `drop` it, and
            with it steps and questions of which nothing is left, or `keep` it as a function of its own.
        missing: what an image means that is not there: `refuse`, or `keep` its path.

    Returns:
        The questions, with what was left out and what was mended (`describe()`).

    Raises:
        InputError: the file can not be read, or holds items that can not be used; the message names file, item and
            field of the first few and tells how many there are.

    Example:
        >>> print(read_steps("balanced_cot_test_data.json").describe())
        148 questions, 713 steps: math 201, retrieval 175, ...
    """
    found, problems = _read(given_path(path), images, names, unknown, missing)
    if problems:
        raise all_of([InputError(str(one)) for one in problems], "fields can not be used")
    return found


def check_steps(
    path: str | Path,
    *,
    images: str | Path | None = None,
    names: str | None = None,
    missing: str = "refuse",
) -> list[Problem]:
    """List everything that keeps a file from being read, each with item and field; an empty list where it can be.

    Labels of unknown functions are problems here, whatever `read_steps` is then told to do with them.

    Args:
        path: the file.
        images: the folder of its images, see `read_steps`.
        names: whose function names these are, see `read_steps`.
        missing: `keep` where images need not be there.

    Raises:
        InputError: the file is no JSON of a list.

    Example:
        >>> print(check_steps("questions.json")[0])
        item 3 of 'questions.json': generated[1].answer is missing: fill it in
    """
    return _read(given_path(path), images, names, "refuse", missing)[1]


def write_steps(questions: Iterable[SteppedQuestion], path: str | Path, *, form: str = "cogvsr") -> Path:
    """Write stepped questions to a JSON list or, where the name ends in `.jsonl`, to JSON Lines.

    What `read_steps` reads of the file is equal to what was written, and written again gives the same bytes. Images
    that lie below the file's folder are named by their path from there; those in memory are written as PNG files into a
    folder beside it, called after the file.

    Args:
        questions: what to write.
        path: the file, which is written whole or not at all.
        form: `cogvsr`, or `cogqa` for questions of text alone, with question, answer and one label a step.

    Raises:
        InputError: there are none, an image lies elsewhere or has an id that is no file name, or the form does not
            hold what is known of them (images, options, several functions, boxes); nothing is written.

    Example:
        >>> write_steps(synthetic_steps(20), "out/steps.json")
        PosixPath('out/steps.json')
    """
    chosen, target = list(questions), given_path(path)
    if form not in FORMS:
        raise InputError(f"there is no form {form!r} of stepped questions: use one of {', '.join(FORMS)}")
    if not chosen:
        raise InputError(f"there are no questions to write to {str(target)!r}: give one or more")
    out = OutputFolder(target.parent)
    if form == "cogqa":
        items = [_cogqa_item(one) for one in chosen]
        text = json.dumps(items, indent=4)
        return out.write_text(target.name, text if target.suffix != ".jsonl" else _lines(items))
    named = [[_image_name(target, one, place) for place in range(len(one.images))] for one in chosen]
    items = [_item(one, names) for one, names in zip(chosen, named, strict=True)]
    for one, names in zip(chosen, named, strict=True):
        for image, name in zip(one.images, names, strict=True):
            if not isinstance(image, Path):
                OutputFolder((target.parent / name).parent).write(Path(name).name, image.save)
    text = _lines(items) if target.suffix == ".jsonl" else json.dumps(items, indent=2, ensure_ascii=False) + "\n"
    return out.write_text(target.name, text)


def _read(
    path: Path, images: str | Path | None, names: str | None, unknown: str, missing: str
) -> tuple[SteppedQuestions, list[Problem]]:
    for name, value, known in (("unknown", unknown, UNKNOWN), ("missing", missing, MISSING)):
        if value not in known:
            raise InputError(f"{name}={value!r} is not known: use {', '.join(known)}")
    if names is not None and names not in VOCABULARIES:
        raise InputError(f"names={names!r} is not known: use {', '.join(VOCABULARIES)}")
    root = path.parent if images is None else given_path(images)
    if images is not None and not root.is_dir():
        raise InputError(f"there is no folder {str(root)!r} of images: name one that exists")
    items = _items(path)
    pictured = any(isinstance(item, dict) and item.get("image") for item in items)
    reader = Reader(path, names or ("cogvsr" if pictured else "cogqa"), unknown, root)
    numbered = [(number, reader.question(number, item)) for number, item in enumerate(items)]
    kept = [(number, one) for number, one in numbered if one is not None]
    problems = [*reader.problems, *_same_ids(path, kept)]
    if missing == "refuse":
        problems += _absent(path, kept)
    questions = tuple(one for _, one in kept)
    problems += [Problem(kept[place][0], "split", what, str(path)) for place, what in find_leaks(questions)]
    if not questions and not problems:
        raise InputError(
            f"nothing is left of the {len(items)} items of {str(path)!r}: correct it, or keep what is unknown"
        )
    return SteppedQuestions(questions, tuple(reader.dropped), dict(reader.repaired)), sorted(
        problems, key=lambda one: one.item
    )


def _items(path: Path) -> list[Any]:
    from interp.datasets.benchmarks.files import read_lines, read_list

    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r} of stepped questions: name one that exists")
    return list(read_lines(path)) if path.suffix == ".jsonl" else read_list(path)


def _same_ids(path: Path, kept: Sequence[tuple[int, SteppedQuestion]]) -> list[Problem]:
    first: dict[str, int] = {}
    twice = [(number, one.id) for number, one in kept if first.setdefault(one.id, number) != number]
    return [
        Problem(number, "id", f"is {name!r}, that of item {first[name]}: give each an id of its own", str(path))
        for number, name in twice
    ]


def _absent(path: Path, kept: Sequence[tuple[int, SteppedQuestion]]) -> list[Problem]:
    return [
        Problem(number, "image", f"{str(image)!r} is not there: put it there, or name its folder, images=", str(path))
        for number, one in kept
        for image in one.images
        if isinstance(image, Path) and not image.is_file()
    ]


def _item(one: SteppedQuestion, names: Sequence[str]) -> dict[str, Any]:
    """A question as JSON has it; what is empty is left out."""
    content: dict[str, Any] = {"id": one.id, "source": one.source}
    if names:
        content["image"] = names[0] if len(names) == 1 else list(names)
    content |= {"question": one.question, "answer": one.answer}
    if one.options:
        content["options"] = list(one.options)
    content["generated"] = [_step(step) for step in one.steps]
    if one.split:
        content["split"] = one.split
    return content if one.group in ("", one.id) else content | {"group": one.group}


def _step(step: Step) -> dict[str, Any]:
    titles = [title_of(name) for name in step.functions]
    content: dict[str, Any] = {"subquestion": step.subquestion, "answer": step.answer, "cognitive_skill": titles}
    content["primary"] = titles[0]
    if step.options:
        content["options"] = list(step.options)
    if step.objects:
        content["objects"] = [_object(one) for one in step.objects]
    return content | {"meta": plain(step.meta)} if step.meta else content


def _object(one: Object) -> dict[str, Any]:
    return {"name": one.name, "box": None if one.box is None else list(one.box.xyxy)}


def _cogqa_item(one: SteppedQuestion) -> dict[str, Any]:
    """A question of text alone as CogQA has it; refuses one that would lose something."""
    lost = [
        what
        for what, there in (
            ("images", one.images),
            ("options", one.options or any(step.options for step in one.steps)),
            ("several functions of one step", any(len(step.functions) > 1 for step in one.steps)),
            ("objects", any(step.objects for step in one.steps)),
        )
        if there
    ]
    if lost:
        raise InputError(f"{one.id} has {', '.join(lost)}, which CogQA's form does not hold: write form='cogvsr'")
    steps = [
        {"subquestion": step.subquestion, "answer": step.answer, "cognitive_skill": title_of(step.primary, "cogqa")}
        for step in one.steps
    ]
    return {"question": one.question, "answer": one.answer, "generated": steps}


def _image_name(target: Path, one: SteppedQuestion, place: int) -> str:
    """What the file calls an image: a path below its own folder."""
    image = one.images[place]
    if not isinstance(image, Path):
        name = f"{one.id}.png" if len(one.images) == 1 else f"{one.id}-{place}.png"
        if not is_plain_name(name):
            raise InputError(f"the picture of {one.id!r} would be called {name!r}, no file name: give it another id")
        return f"{target.stem}-images/{name}"
    try:
        return image.resolve().relative_to(target.parent.resolve()).as_posix()
    except ValueError as error:
        raise InputError(
            f"{one.id} shows {str(image)!r}, which does not lie below {str(target.parent)!r}: write the file above its "
            "images, or copy them there"
        ) from error


def _lines(items: Sequence[Any]) -> str:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
