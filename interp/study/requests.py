"""Requests: all options of a job in one frozen object, which its function takes whole or spelled out as keywords."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields
from functools import wraps
from inspect import Parameter, cleandoc, signature
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, Protocol, Self, TypeVar, overload

from interp.errors import InputError
from interp.numeric import whole_number
from interp.options import called, named_in, refuse_unknown
from interp.prompt.inputs import PROMPTS

First = TypeVar("First", contravariant=True)
Second = TypeVar("Second", contravariant=True)
Whole = TypeVar("Whole", contravariant=True)
Kind = TypeVar("Kind")
Result = TypeVar("Result", covariant=True)
Options = ParamSpec("Options")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of a job. A field is written once: here are its type, default and meaning, and all else reads them.

    Attributes:
        UNRECORDED: the fields that no number depends on, such as a folder, or that others record, such as the model.
    """

    UNRECORDED: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_options(cls, options: Namespace, **read: Any) -> Self:
        """The request of a command line: each field from the option of its name, where there is one.

        Args:
            options: what the parser made.
            read: fields whose options are spelled otherwise, or have to be read first, such as a list.

        Raises:
            InputError: what the request refuses.
        """
        named = {one.name: getattr(options, one.name) for one in fields(cls) if hasattr(options, one.name)}
        return cls(**{**named, **read})

    def recorded(self) -> dict[str, Any]:
        """What goes into the record of a result, by field; tuples as lists, as JSON has them."""
        kept = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in self.UNRECORDED}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    def _keep_tuples(self, *names: str) -> None:
        """Lists as tuples, so that what was asked can not change, and equals itself when it comes back from JSON.

        Raises:
            InputError: a text, or something that is no list at all.
        """
        for name in names:
            value = getattr(self, name)
            if value is None and _default_of(self, name) is None:
                continue
            if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
                raise InputError(f"{name}={value!r:.60} is no list: give a list of them, also of one")
            object.__setattr__(self, name, tuple(value))

    def _keep_whole(self, **least: int) -> None:
        """Whole numbers as plain ones, from the least that each may be.

        Raises:
            InputError: one is below that, or no whole number.
        """
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is None and _default_of(self, name) is None:
                continue
            object.__setattr__(self, name, whole_number(value, name, lowest))

    def _keep_layers(self) -> None:
        """Layers as a tuple of whole numbers, each once.

        Raises:
            InputError: they are not, or there is none.
        """
        self._keep_tuples("layers")
        layers = getattr(self, "layers")  # noqa: B009  of those requests that have them
        if layers is None:
            return
        if not layers:
            raise InputError("layers is empty, so nothing would be measured or drawn: name some, or leave it out")
        own = tuple(whole_number(layer, "a layer", None) for layer in layers)
        if len(set(own)) < len(own):
            raise InputError(f"layers {', '.join(map(str, own))}: give each once")
        object.__setattr__(self, "layers", own)

    def _check_prompt(self) -> None:
        """Refuse a prompt style that there is not.

        Raises:
            InputError: it is not known.
        """
        style = getattr(self, "prompt")  # noqa: B009  of those requests that ask
        if style not in PROMPTS:
            raise InputError(f"prompt style {style!r} is not known: use one of {', '.join(PROMPTS)}")


class Body(Protocol[First, Second, Whole, Result]):
    """A job as it is written: what it is about, and the request."""

    def __call__(self, first: First, second: Second, /, *, request: Whole) -> Result:
        """Do it."""
        ...


class Job(Protocol[First, Second, Whole, Options, Result]):
    """A job as it is called: with a request, or with the fields of one."""

    @overload
    def __call__(self, first: First, second: Second, /, *, request: Whole) -> Result: ...

    @overload
    def __call__(self, first: First, second: Second, /, *args: Options.args, **options: Options.kwargs) -> Result: ...

    @overload  # the second by its name, and both: there is no way to say these names here
    def __call__(self, first: First, /, **named: Any) -> Result: ...

    @overload
    def __call__(self, **named: Any) -> Result: ...


class Taker(Protocol[Kind, Options]):
    """What makes the one of the other."""

    def __call__(self, body: Body[First, Second, Kind, Result], /) -> Job[First, Second, Kind, Options, Result]:
        """Decorate a job."""
        ...


def takes(kind: Callable[Options, Kind]) -> Taker[Kind, Options]:
    """Decorate a job of two things and a `request`, so that it is also called with the fields of that as keywords.

    Its signature and docstring, as `help` shows them, list the fields beside the request; type checkers read them from
    the class.

    Args:
        kind: the class of the request.

    Example:
        >>> @takes(AnalyzeRequest)
        ... def analyze(photo, question, *, request): ...
        >>> analyze(photo, question, tokens="all")
        >>> analyze(photo, question, request=AnalyzeRequest(tokens="all"))

    Raises:
        InputError: when the job is called: a request of another kind, or one with keywords beside it.
        OptionError: likewise, a keyword that is no field.
    """
    wanted: Any = kind

    def decorate(body: Any) -> Any:
        known = [*named_in(body), *(one.name for one in fields(wanted))]

        @wraps(body)
        def job(*args: Any, request: Any = None, **options: Any) -> Any:
            refuse_unknown(options, known, of=called(body))
            given = {one.name: options.pop(one.name) for one in fields(wanted) if one.name in options}
            if request is None:
                request = wanted(**given)
            elif not isinstance(request, wanted):
                raise InputError(f"the request is a {type(request).__name__}: give one of {wanted.__name__}")
            elif given:
                raise InputError(
                    f"a request was given and {', '.join(given)} beside it: change the request with "
                    "dataclasses.replace, or give keywords alone"
                )
            return body(*args, request=request, **options)

        job.__signature__ = _signature(body, wanted)  # type: ignore[attr-defined]
        job.__doc__ = _docstring(body, wanted)
        return job

    return decorate


def refuse_nothing_to_resume(out: str | Path | None, *, resume: bool) -> None:
    """Refuse to go on with a study that nothing keeps.

    Raises:
        InputError: `resume` is set, and no folder is named.
    """
    if resume and out is None:
        raise InputError("without a folder nothing is kept that could be resumed: name the folder")


def _default_of(request: Request, name: str) -> Any:
    """What a field of a request is where nothing was said."""
    return next(one.default for one in fields(request) if one.name == name)


def _signature(body: Callable[..., Any], kind: Any) -> Any:
    """The body's own signature with the fields of the request as keywords, and the request at the end."""
    own = signature(body)
    first = [one for one in own.parameters.values() if one.name != "request"]
    options = [
        Parameter(one.name, Parameter.KEYWORD_ONLY, default=_default(one), annotation=one.type) for one in fields(kind)
    ]
    whole = Parameter("request", Parameter.KEYWORD_ONLY, default=None, annotation=f"{kind.__name__} | None")
    return own.replace(parameters=[*first, *options, whole])


def _default(one: Field[Any]) -> Any:
    """The default of a field, where it has one."""
    return Parameter.empty if one.default is MISSING else one.default


def _docstring(body: Callable[..., Any], kind: Any) -> str:
    """The body's own docstring with what the request says of its fields, above the line about the request."""
    _, _, told = cleandoc(kind.__doc__).partition("Attributes:\n")
    before, mark, after = cleandoc(body.__doc__ or "").partition("    request: ")
    return "".join((before, told.split("\n\n")[0].rstrip(), "\n", mark, after)) if mark else before
