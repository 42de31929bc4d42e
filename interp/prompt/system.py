"""The system part of a prompt: where it lies, how it is given to a chat template, and how it is left out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from interp.errors import InputError, RefusedError
from interp.store.names import is_text

_MARK = r"(?:<[^<>\s]+>(?:(?:system|user|human)\b)?|\[[^\[\]\s]+\])"
"""A token of the format, with the name of the role that some of them announce: `<|im_start|>system`, `[INST]`."""

_ROLE = re.compile(
    r"(?:<[^<>\s]+>(?:user|human)<[^<>\s]+>|[^\s<>\[\]]+:|<[^<>\s]+>[^\s<>\[\]]*|\[[^\s\[\]]+\])\s*$", re.IGNORECASE
)
"""The words that open the user's turn: `USER:`, `<|im_start|>user`, `[INST]`."""


@dataclass(frozen=True)
class Head:
    """What stands before the image and the question, cut in three.

    Attributes:
        begin: where the system part begins; before it lies what begins every text of the format.
        end: where it ends; as `begin` where there is none. Behind it are the words that open the user's turn.
        in_turn: whether the system part lies in the user's turn, behind the words that open it.
    """

    begin: int
    end: int
    in_turn: bool = False


def cut_head(prompt: str, question: str, image_token: str, *, bos: str = "") -> Head:
    """Find the system part of a prompt; format tokens alone are none.

    Args:
        prompt: the prompt's text.
        question: the question as it stands in it.
        image_token: the text of the image placeholder, with what the prompt wraps it in.
        bos: the text of the token that begins a text, where a prompt may begin with it.
    """
    head = prompt[: body_start(prompt, question, image_token)]
    first = len(bos) if bos and head.startswith(bos) else 0
    role = _ROLE.search(head, first)
    end = role.start() if role else len(head)
    lead = re.compile(rf"(?:{_MARK}\s*)*").match(head, first, end)
    marks = list(re.compile(_MARK).finditer(head, first, lead.end() if lead else first))
    if not head[lead.end() if lead else first : end].strip():
        return Head(end, end)
    if role is None and marks:
        return Head(lead.end() if lead else first, end, in_turn=True)
    named = next((mark for mark in marks if mark.group()[-1] not in ">]"), marks[-1] if marks else None)
    return Head(named.start() if named else first, end)


def body_start(prompt: str, question: str, image_token: str) -> int:
    """Where the image or the question begins, whichever is first."""
    places = (prompt.find(image_token), prompt.rfind(question) if question else -1)
    return min((place for place in places if place >= 0), default=0)


def without_system(prompt: str, question: str, image_token: str, *, bos: str = "") -> str:
    """The prompt without its system part, and without the blanks behind that."""
    head = cut_head(prompt, question, image_token, bos=bos)
    return prompt[: head.begin] + (prompt[head.end :].lstrip() if head.end > head.begin else prompt[head.end :])


def check_system(system: str | None, style: str) -> None:
    """Refuse a system prompt that is no text, or that a style of prompts has no place for.

    Raises:
        InputError: it is, or has none.
    """
    if system is None or system == "":
        return
    if not isinstance(system, str) or not system.strip() or not is_text(system):
        raise InputError(f"the system prompt {system!r:.120} is no text: write it as a string, or '' to leave it out")
    if style != "chat":
        where = "write it into the prompt" if style == "raw" else "the evaluation that it follows has none"
        raise InputError(
            f"system={system!r:.60} and prompt={style!r}: {where}; only prompt='chat' has a place for a system prompt"
        )


def in_chat(processor: Any, content: list[dict[str, str]], system: str | None) -> str:
    """A user's turn in the processor's chat template, with a system prompt of one's own where one is given.

    Templates take its text as a part or as it is; the first way that writes it is taken.

    Raises:
        RefusedError: the template takes no system prompt: it refuses, leaves it out, or writes it as another role's.
        Exception: what the template raises without one; it is a program that a checkpoint brings.
    """
    if not system:
        return _written(processor, content)
    why = "it leaves it out"
    for told in ([{"type": "text", "text": system}], system):
        try:
            text = _written(processor, content, "system", told)
        except Exception as error:  # a template may raise anything
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            continue
        if told is not system and (str(told) in text or json.dumps(told) in text):
            why = "it writes it as a list of parts"
        elif text.count(system.strip()) == 1:
            if text != _as_answer(processor, content, told):
                return text
            why = "it writes it as the assistant's"
    raise RefusedError(
        f"this model's chat template takes no system prompt ({why}): leave --system (system=) out, or write the whole "
        "prompt with prompt='raw'"
    )


def _written(processor: Any, content: list[dict[str, str]], role: str = "", told: Any = None) -> str:
    """A user's turn in a template, with what another role has said before."""
    first = [{"role": role, "content": told}] if role else []
    return processor.apply_chat_template([*first, {"role": "user", "content": content}], add_generation_prompt=True)


def _as_answer(processor: Any, content: list[dict[str, str]], told: Any) -> str | None:
    """The same with the text as the assistant's; None where the template does not let it speak first."""
    try:
        return _written(processor, content, "assistant", told)
    except Exception:  # as above
        return None


def check_found(prompt: str, system: str, question: str, image_token: str, *, bos: str = "") -> None:
    """Refuse a prompt whose system part is not the text that was given.

    Raises:
        InputError: it can not be told from the rest, as when it reads like a role word.
    """
    head = cut_head(prompt, question, image_token, bos=bos)
    if system.strip() not in prompt[head.begin : head.end]:
        raise InputError(
            f"the system prompt {system!r:.60} can not be told from the words around it: end it with a full stop, and "
            "write neither the question nor role words or format tokens into it"
        )
