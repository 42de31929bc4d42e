"""Options: a keyword that a function does not have is refused by name, with the nearest of those that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

from interp.errors import OptionError

Given = ParamSpec("Given")
Result = TypeVar("Result")

_OPEN = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Lens(dict[str, tuple[tuple[Any, ...], str]]):
    """Keywords of TransformerLens that have no meaning here: which values say nothing, and what to do instead."""

    def without_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords that were given, without those whose value says nothing."""
        return {name: value for name, value in given.items() if name not in self or not _among(value, self[name][0])}


ROWS = "use query_rows"
RUN = Lens(
    pos_slice=((None,), ROWS),
    incl_bwd=((False, None), "run_with_cache keeps gradients, hooks(bwd_hooks=...) shows them"),
    return_cache_object=((True,), "cache.cache_dict is the plain dict"),
    reset_hooks_end=((True,), "use hooks(reset_hooks_end=False), or add_hook"),
    clear_contexts=((False,), "use hooks(clear_contexts=True)"),
    return_type=(("logits",), "the output is Hugging Face's: take output.logits, or output.loss with labels="),
    loss_per_token=((False,), "take output.logits"),
    start_at_layer=((None,), "edit the layer's hook_resid_pre by fwd_hooks"),
    prepend_bos=((None,), "prepare(..., prompt='raw') runs a prompt as it is written"),
    padding_side=((None, "left"), "batches are padded on the left"),
    tokens=((None,), "inputs hold the tokens"),
    remove_batch_dim=((False,), "use run_with_cache(remove_batch_dim=True)"),
    past_kv_cache=((None,), "use a Prefix, or past_key_values"),
)
"""What TransformerLens's `run_with_cache`, `run_with_hooks` and `forward` take."""

GREEDY = "use vlm.model.generate(...) inside vlm.hooks(...) for what vlm.generate does not take"
ANSWERS = Lens(
    stop_at_eos=((True,), GREEDY),
    eos_token_id=((None,), GREEDY),
    do_sample=((False,), GREEDY),
    top_k=((None,), GREEDY),
    top_p=((None,), GREEDY),
    temperature=((1.0,), GREEDY),
    num_beams=((1,), GREEDY),
    freq_penalty=((0.0,), GREEDY),
    repetition_penalty=((1.0,), GREEDY),
    stop_strings=((None,), GREEDY),
    stopping_criteria=((None,), GREEDY),
    use_past_kv_cache=((True,), GREEDY),
    prepend_bos=RUN["prepend_bos"],
    padding_side=RUN["padding_side"],
    attention_mask=((None,), "inputs hold the mask"),
    pixel_values=((None,), "inputs hold the photos"),
    return_cache=((False,), "use generate_with_cache"),
    output_logits=((False,), "the answer has first_logits"),
    return_input_tokens=((False,), "inputs.input_ids has them"),
    names_filter=((None,), "use generate_with_cache, or fwd_hooks that keep what they see"),
)
"""What TransformerLens's `generate` takes, and Hugging Face's where it says nothing else."""

NONE = Lens()


def known_options(lens: Lens = NONE) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Decorate a function that takes its keywords by name, so that any other is refused as `refuse_unknown` does.

    Args:
        lens: keywords that are taken all the same where their value says nothing.

    Example:
        >>> @known_options()
        ... def ask(photo, *, prompt="chat"): ...
        >>> ask("photo.jpg", promt="paper")
        Traceback (most recent call last):
        interp.errors.OptionError: ask has no option 'promt': did you mean prompt?
    """

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        names = frozenset(named_in(function))

        @wraps(function)
        def checked(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            if not names.issuperset(kwargs):
                kept = {name: value for name, value in kwargs.items() if name in names}
                refuse_unknown(lens.without_defaults(kwargs), names, of=called(function), lens=lens)
                return function(*args, **kept)  # type: ignore[arg-type]
            return function(*args, **kwargs)

        return checked

    return decorate


def named_in(function: Callable[..., Any]) -> list[str]:
    """The parameters of a function that can be given by name, itself aside."""
    known = signature(function).parameters.values()
    return [one.name for one in known if one.kind not in _OPEN and one.name not in ("self", "cls")]


def called(function: Callable[..., Any]) -> str:
    """The name by which a function is called: that of its class, where it makes one of it."""
    return function.__qualname__.removesuffix(".__init__").rpartition(".")[2]


def refuse_unknown(given: Iterable[str], known: Iterable[str], *, of: str, lens: Lens = NONE) -> None:
    """Refuse keywords that are not known.

    Args:
        given: the keywords.
        known: those that there are.
        of: what they were given to.
        lens: what to do instead of some that are known elsewhere.

    Raises:
        OptionError: one of them is not known.
    """
    every = sorted(known)
    for name in given:
        if name not in every:
            instead = lens[name][1] if name in lens else nearest(name, every) or f"it has {', '.join(every)}"
            raise OptionError(f"{of} has no option {name!r}: {instead}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the names that are most like this one; nothing where none is."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else ""


def _among(value: Any, said: tuple[Any, ...]) -> bool:
    return any(value is one or (type(value) is type(one) and value == one) for one in said)
