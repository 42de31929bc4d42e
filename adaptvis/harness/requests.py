"""Requests of a harness: what each asks, its photo, and how its answer is to be made, or why it can not be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from interp.errors import InputError, SpatialLensError
from interp.image.photos import check_image

MOST_TOKENS = 1024
"""The length of an answer where a task says nothing, as lmms-eval's own models have it."""

ONE_WAY: dict[str, tuple[Any, ...]] = {
    "num_beams": (1, None),
    "num_return_sequences": (1, None),
    "repetition_penalty": (1, None),
}
"""Settings of tasks that change greedy decoding, with the values under which they do not."""

NO_MATTER = frozenset({"top_p", "top_k", "seed", "use_cache", "image_aspect_ratio"})
"""Those that are about sampling, about speed, or about how the first LLaVA's own code cut photos."""

MARKS = ("<image>",)
"""Where tasks write that the photo goes."""


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        where: task and document, for messages.
        text: what is asked, without the mark of the photo.
        photo: reads the photo; None where there is none.
        stops: texts at which an answer ends.
        max_new_tokens: the most tokens that it has.
        continuation: what is to be scored.
    """

    where: str
    text: str
    photo: Callable[[], Any] | None
    stops: tuple[str, ...] = ()
    max_new_tokens: int = MOST_TOKENS
    continuation: str = ""


def read_generation(request: tuple[Any, ...], tasks: Mapping[str, Any], image_token: str) -> Asked:
    """Read a request for an answer.

    Raises:
        InputError: see `Answers.generate_until`.
    """
    context, settings, *rest = request
    where, photo, _ = _document(rest, tasks)
    stops, most = _read_decoding(where, dict(settings))
    return Asked(where, _read_text(where, context, photo, image_token), photo, stops, most)


def read_continuation(request: tuple[Any, ...], tasks: Mapping[str, Any], image_token: str) -> Asked:
    """Read a request for a likelihood.

    Raises:
        InputError: see `Answers.loglikelihood`.
    """
    context, target, *rest = request
    where, photo, document = _document(rest, tasks)
    continuation = target(document) if callable(target) else target
    if not isinstance(continuation, str):
        raise InputError(f"{where}: the continuation {continuation!r:.60} is no text: choose a task that gives texts")
    text = _read_text(where, context, photo, image_token)
    return Asked(where, text, photo, continuation=continuation)


def _document(rest: list[Any], tasks: Mapping[str, Any]) -> tuple[str, Callable[[], Any] | None, Any]:
    """Where a request is from, what reads its photo, and its document."""
    if len(rest) < 4:
        return "a request without a document", None, None
    to_visual, number, task, split = rest[:4]
    where = f"document {number} of {task}"
    document = tasks[task][split][number]

    def photos() -> list[Any]:
        found = to_visual(document) if to_visual is not None else None
        return [] if found is None else list(found) if isinstance(found, (list, tuple)) else [found]

    there = photos()
    if len(there) > 1:
        raise InputError(f"{where} shows {len(there)} photos, and spatial-lens asks about one or none: choose others")
    if not there:
        return where, None, document
    try:
        check_image(there[0])
    except SpatialLensError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:
        raise InputError(
            f"{where} shows a {type(there[0]).__name__}, which is no photo: choose tasks of photos"
        ) from error
    return where, lambda: photos()[0], document


def _read_text(where: str, context: Any, photo: Any, image_token: str) -> str:
    """What is asked, without a mark of the photo at its beginning, where the prompt has it anyway."""
    if not isinstance(context, str) or not context.strip():
        raise InputError(f"{where} asks {context!r:.60}: spatial-lens needs a question in words, choose other tasks")
    marks = dict.fromkeys((*MARKS, image_token))
    text = context
    for mark in marks:
        if photo is not None and text.lstrip().startswith(mark):
            text = text.lstrip().removeprefix(mark).lstrip()
            break
    if held := [mark for mark in marks if mark in text]:
        raise InputError(
            f"{where} holds {held[0]!r} {'within its words' if photo is not None else 'and shows no photo'}: only a "
            "photo before all words is asked about, choose other tasks"
        )
    return text


def _read_decoding(where: str, settings: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """The stops and the length; refuses what is not greedy decoding, or is not known."""
    until, most = settings.pop("until", ()), settings.pop("max_new_tokens", MOST_TOKENS)
    stops = (until,) if isinstance(until, str) else until or ()
    if not isinstance(stops, (list, tuple)) or not all(isinstance(stop, str) for stop in stops):
        raise InputError(f"{where} has until={until!r:.60}: give texts")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InputError(f"{where} has max_new_tokens={most!r}: give a whole number from 1 on")
    warm, drawn = settings.pop("temperature", None), settings.pop("do_sample", None)
    if warm != 0 and (drawn or (warm is not None and drawn is None)):
        raise InputError(f"{where} has do_sample={drawn} and temperature={warm}: {_GREEDILY}")
    for name, value in settings.items():
        if name not in ONE_WAY and name not in NO_MATTER:
            raise InputError(f"{where} has {name}={value!r:.40}, which is not known: leave it out of its settings")
        if name in ONE_WAY and value not in ONE_WAY[name]:
            raise InputError(f"{where} has {name}={value!r:.40}: {_GREEDILY}")
    return tuple(stop for stop in stops if stop), most


_GREEDILY = "spatial-lens answers greedily, so give --gen_kwargs do_sample=False,temperature=0,num_beams=1"
