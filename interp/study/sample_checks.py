"""Sample checks: all that can be wrong with samples is found before the first pass, in all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from interp.errors import InputError, SpatialLensError
from interp.image.boxes import refuse_fractions
from interp.image.photos import check_image, photo_path
from interp.objects.refusals import (
    leaves_out,
    note_bad,
    noted,
    refuse_noted,
    refused,
    skipped,
    takes_notes,
    tell_skipped,
)
from interp.objects.sample import Object, Sample
from interp.store.names import is_text
from interp.store.progress import patient_bar
from interp.study.keys import check_ids

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

BLANK = (64, 64)
"""Width and height of the grey photo that prompts are tried with, in pixels."""

TOGETHER = 8
"""How many prompts are tried at a time; some processors make many tiles of each photo."""


def check_samples(samples: Sequence[Sample], *, progress: bool = True) -> None:
    """Refuse samples that no model could be asked: it decodes each photo once, and needs no model.

    Args:
        samples: what is to be asked.
        progress: show a progress bar.

    Raises:
        InputError: two samples have one id, or a sample has no id, no question, no answer, options that are empty,
            double or without the answer, anything of another type than `Sample` says, a photo that can not be read, or
            a box outside it or in fractions of it. The message names the first few and tells how many there are.

    Example:
        >>> check_samples(read_folder("holiday"))
    """
    _refuse(samples, _unusable(samples, progress))


def check_prompts(
    vlm: HookedVLM, samples: Sequence[Sample], prompt: str, *, system: str | None = None, progress: bool = True
) -> None:
    """Refuse samples whose questions a model can not be asked, with a blank photo in the place of each one's own.

    Args:
        vlm: the model.
        samples: samples that `check_samples` takes.
        prompt: prompt style, see `HookedVLM.prepare`.
        system: system prompt, see there.
        progress: show a progress bar.

    Raises:
        InputError: a question that holds an image placeholder, or a raw one that holds none or several; a prompt whose
            parts can not be found among its tokens; a photo of a shape that the model can not take.
        SpatialLensError: what is wrong with all of them, such as a model without a chat template.

    Example:
        >>> check_prompts(vlm, read_folder("holiday"), "paper")
    """
    refuse_noted(len(samples))
    _refuse(samples, [*_unaskable(vlm, samples, prompt, system, progress), *_unfit(vlm, samples, progress)])


def askable(
    samples: Sequence[Sample],
    vlm: HookedVLM | None = None,
    *,
    prompt: str = "chat",
    system: str | None = None,
    progress: bool = True,
) -> list[Sample]:
    """The samples that can be asked, where `leaving_out` is on; else nothing is done.

    Others are noted. Give the samples first without a model, before one is loaded, then with it: now that all is known,
    what was noted is told. Where it is left out, that is printed; else it is refused in one error, with the rows that
    could not be read. Where nothing was noted, prompts are left to `check_prompts`, which studies begin with.

    Args:
        samples: what is to be asked.
        vlm: the model; without one, only what needs none is looked at, see `check_samples`.
        prompt: prompt style, see `HookedVLM.prepare`.
        system: system prompt, see there.
        progress: show a progress bar.

    Raises:
        InputError: none can be asked, something is to be refused, or what is wrong is about the model or the way of
            asking, see `check_prompts`.
    """
    if not takes_notes() or (vlm is not None and not leaves_out() and not noted()):
        return list(samples)
    bad = _unusable(samples, progress)
    good = _without(samples, bad)
    if vlm is not None and good:
        bad += [*_unaskable(vlm, good, prompt, system, progress), *_unfit(vlm, good, progress)]
    kept = _without(samples, bad)
    if not kept:
        _refuse(samples, bad)
    for name, (row, why) in _reasons(bad).items():
        note_bad("; ".join(why), name, row)
    if vlm is not None:
        refuse_noted(len(kept))
        if told := tell_skipped(skipped().get("skipped", ())):
            print(told)
    return kept


def _without(samples: Sequence[Sample], bad: Sequence[tuple[Sample, SpatialLensError]]) -> list[Sample]:
    out = {sample.id for sample, _ in bad}
    return [sample for sample in samples if sample.id not in out]


def _unusable(samples: Sequence[Sample], progress: bool) -> list[tuple[Sample, SpatialLensError]]:
    """The samples that no model could be asked, each with what is wrong with it."""
    check_ids(samples)
    looked_at = patient_bar(samples, "looking at samples", "sample", show=progress)
    return [(sample, error) for sample in looked_at for error in _wrong(sample)]


def _wrong(sample: Sample) -> Iterator[InputError]:
    """What is wrong with one sample, as far as no model is needed to know it."""
    if not sample.id.strip():
        yield InputError("it has no id: give each an id of its own")
    if not isinstance(sample.question, str) or not sample.question.strip():
        yield InputError("its question is empty: ask something")
    elif not is_text(sample.question):
        yield InputError(f"its question {sample.question!r:.120} holds broken letters: write it in UTF-8")
    for name in ("answer", "relation", "group"):
        if not isinstance(getattr(sample, name), str):
            yield InputError(f"its {name} {getattr(sample, name)!r} is no text: give text")
    for name in ("id", "answer", "relation", "group"):
        if isinstance(getattr(sample, name), str) and not is_text(getattr(sample, name)):
            yield InputError(f"its {name} {getattr(sample, name)!r:.120} holds broken letters: write it in UTF-8")
    if isinstance(sample.answer, str) and not sample.answer.strip():
        yield InputError("its answer is empty: give the right one")
    yield from _wrong_options(sample)
    if not isinstance(sample.meta, Mapping):
        yield InputError(f"its meta is a {type(sample.meta).__name__}: give a dict")
    if not _are(sample.objects, Object):
        yield InputError(f"its objects {sample.objects!r:.120} are no tuple of Object: give such")
        return
    try:
        size = _size_of(sample.image)
        for thing in sample.objects:
            if thing.box is not None:
                _refuse_outside(thing.box, size)
    except InputError as error:
        yield error


def _wrong_options(sample: Sample) -> Iterator[InputError]:
    """What is wrong with the options of one sample."""
    if not _are(sample.options, str):
        yield InputError(f"its options {sample.options!r:.120} are no tuple of texts: give such")
        return
    folded = [option.strip().casefold() for option in sample.options]
    if "" in folded or len(set(folded)) < len(folded):
        yield InputError(f"its options {', '.join(map(repr, sample.options))} are empty or double: give each once")
    elif folded and sample.answer not in sample.options:
        yield InputError(
            f"its answer {sample.answer!r} is none of its options {', '.join(sample.options)}: correct one of them"
        )


def _are(things: object, kind: type) -> bool:
    """Whether something is a tuple, or a list, of things of one kind."""
    return isinstance(things, (tuple, list)) and all(isinstance(thing, kind) for thing in things)


def _refuse_outside(box: Any, size: tuple[int, int]) -> None:
    from interp.objects.given import clip_box  # here, as it imports samples

    refuse_fractions([box])
    clip_box(box, size)


def _size_of(image: Any) -> tuple[int, int]:
    """The upright size of a photo that can be decoded, in pixels; one that did not change is decoded once."""
    if not isinstance(image, (str, Path)):
        return _size_of_object(image)
    path = photo_path(image)
    try:
        stamp = path.stat()
    except (OSError, ValueError):
        return check_image(path)
    return _size_of_file(path.absolute(), stamp.st_mtime_ns, stamp.st_size)


def _size_of_object(image: Any) -> tuple[int, int]:
    """The same of a photo in memory, which is known again by itself and the size that it had."""
    from PIL import Image

    if not isinstance(image, Image.Image):
        return check_image(image)
    known, before, size = _sizes.get(id(image), (None, None, (0, 0)))
    if known is None or known() is not image or before != image.size:
        size = check_image(image)
        _sizes[id(image)] = ref(image, partial(_forget, id(image))), image.size, size
    return size


def _forget(key: int, gone: object) -> None:
    _sizes.pop(key, None)


_sizes: dict[int, tuple[Any, Any, tuple[int, int]]] = {}
"""By `id` of a PIL image: the image itself, held weakly, its size as it was given, and its upright size."""


@lru_cache(maxsize=1 << 16)
def _size_of_file(path: Path, changed: int, length: int) -> tuple[int, int]:
    return check_image(path)


def _unaskable(
    vlm: HookedVLM, samples: Sequence[Sample], prompt: str, system: str | None, progress: bool
) -> Iterator[tuple[Sample, SpatialLensError]]:
    """The samples whose prompts can not be made, or taken apart into their tokens."""
    from PIL import Image

    from interp.prompt.inputs import prepare
    from interp.study.prompter import questions_of

    blank = Image.new("RGB", BLANK, "grey")

    def error_of(some: Sequence[Sample]) -> SpatialLensError | None:
        texts, style = questions_of(vlm, some, prompt)
        photos = [blank] * len(some)
        return _error(lambda: prepare(vlm.model, vlm.processor, photos, texts, prompt=style, system=system))

    asked = {_asks(sample): sample for sample in samples}  # many samples may ask the same
    first = list(asked.values()) if len(asked) > 1 else list(samples[:2])
    batches = [first[start : start + TOGETHER] for start in range(0, len(first), TOGETHER)]
    bad: dict[tuple[str, str], SpatialLensError] = {}
    for some in patient_bar(batches, "trying prompts", "batch", show=progress):
        together = error_of(some)
        if together is None:
            continue
        alone = {_asks(sample): error for sample in some if (error := error_of([sample])) is not None}
        if not alone:
            raise together
        bad |= alone
    for sample in samples if bad else ():
        if (error := bad.get(_asks(sample))) is not None:
            yield sample, error


def _asks(sample: Sample) -> tuple[str, str]:
    """What makes the prompt of a sample, beside the style: see `interp.study.prompter.questions_of`."""
    return sample.question, str(sample.meta.get("paper_prompt", ""))


def _unfit(vlm: HookedVLM, samples: Iterable[Sample], progress: bool) -> Iterator[tuple[Sample, SpatialLensError]]:
    """The samples whose photos have a shape that the model can not take."""
    known: dict[tuple[int, int], SpatialLensError | None] = {}
    for sample in patient_bar(samples, "looking at shapes", "sample", show=progress):
        size = _size_of(sample.image)
        if size not in known:
            known[size] = _error(lambda size=size: vlm.grid_of(size))  # type: ignore[misc]
        error = known[size]
        if error is not None:
            yield sample, error


def _error(make: Callable[[], Any]) -> SpatialLensError | None:
    """The refusal that making something ends in; None where it ends well."""
    try:
        make()
    except SpatialLensError as error:
        return error
    return None


def _refuse(samples: Sequence[Sample], bad: Sequence[tuple[Sample, SpatialLensError]]) -> None:
    """Refuse, once for all, samples that something is wrong with."""
    if not bad:
        return
    reasons = _reasons(bad)
    first = bad[0][1]
    alike = not noted() and len(reasons) == len(samples) and len({str(error) for _, error in bad}) == 1
    if alike and (len(samples) > 1 or not isinstance(first, InputError)):
        raise first  # which is about the model, or the way of asking
    errors = [
        InputError(f"sample {name!r}{'' if row is None else f' (row {row})'}: {'; '.join(why)}")
        for name, (row, why) in reasons.items()
    ]
    raise refused([*noted(), *errors], len(samples) + len(noted()))


def _reasons(bad: Sequence[tuple[Sample, SpatialLensError]]) -> dict[str, tuple[Any, list[str]]]:
    """By the id of a sample, which row of its file it is, where it says so, and what is wrong with it."""
    reasons: dict[str, tuple[Any, list[str]]] = {}
    for sample, error in bad:
        row = sample.meta.get("row") if isinstance(sample.meta, Mapping) else None
        reasons.setdefault(sample.id, (row, []))[1].append(str(error))
    return reasons
