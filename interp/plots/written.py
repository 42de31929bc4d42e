"""As written: texts of figures drawn letter by letter, in any script, whoever wrote them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from interp.quiet import spell_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "PingFang HK", "Hiragino Sans", "Apple SD Gothic Neo",
    "Microsoft YaHei", "SimHei", "Malgun Gothic", "Yu Gothic", "Meiryo", "Arial Unicode MS", "Noto Sans",
)  # fmt: skip
"""Fonts of other scripts, as common systems call them, beside all whose name begins as the last one."""


def _worth_saying(record: logging.LogRecord) -> bool:
    """Whether a line of matplotlib's log says more than that a font of another script has a weight of its own."""
    of_weight = str(record.msg).startswith("findfont: Failed to find font weight")
    return not (of_weight and any(str(one).startswith(FALLBACKS) for one in record.args or ()))


logging.getLogger(font_manager.__name__).addFilter(_worth_saying)


def as_written(plot: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw all its texts as they are written.

    Dollar signs are no formulas. Letters that the font lacks come from another font that is installed; where none has
    them, their numbers stand in their place, such as `<U+676F>`. The function gives axes or figures, or holds them in
    lists, tuples, arrays or dictionaries.

    Example:
        >>> @as_written
        ... def plot_name(name, ax):
        ...     ax.set_title(name)
        ...     return ax
    """

    @wraps(plot)
    def written(*args: P.args, **kwargs: P.kwargs) -> R:
        drawn = plot(*args, **kwargs)
        for figure in dict.fromkeys(_figures(drawn)):
            write_out(figure)
        return drawn

    return written


def write_out(figure: Figure) -> None:
    """Draw all texts that are on a figure now as they are written; see `as_written`."""
    numbers: set[Artist] = set()
    for axis in figure.findobj(Axis):
        if isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter)):
            _write_ticks(axis)
        else:  # of which those of an axis of powers are formulas of matplotlib's own
            numbers |= {*axis.get_majorticklabels(), *axis.get_minorticklabels(), axis.get_offset_text()}
    for text in figure.findobj(Text):
        if text not in numbers:
            write_text(text)


def drawable(words: str, font: Any = None) -> str:
    r"""A text without what can not be drawn; each such letter by its number.

    Example:
        >>> drawable("mug" + chr(27))
        'mug\x1b'
    """
    missing = _missing(spell_out(words), font)
    for name in _fallbacks(missing):
        missing -= _letters(_path(name))
    return "".join(f"<U+{ord(letter):04X}>" if letter in missing else letter for letter in spell_out(words))


def write_text(text: Text) -> None:
    """Draw one text as it is written; see `as_written`."""
    text.set_parse_math(False)
    words = text.get_text()
    if words.isascii() and words.isprintable():
        return
    if fonts := _fallbacks(_missing(words, text.get_fontproperties())):
        text.set_fontfamily([*text.get_fontfamily(), *(one for one in fonts if one not in text.get_fontfamily())])
    if (own := drawable(words, text.get_fontproperties())) != words:
        text.set_text(own)


def _write_ticks(axis: Axis) -> None:
    """Ticks with words, which an axis writes anew whenever it is drawn."""
    labels = axis.get_majorticklabels()
    words = [label.get_text() for label in labels]
    own = [drawable(one, label.get_fontproperties()) for one, label in zip(words, labels, strict=True)]
    if own != words:
        axis.set_ticks(axis.get_majorticklocs(), own)


def _missing(words: str, font: Any) -> set[str]:
    """The letters that a font lacks."""
    if words.isascii():
        return set()
    own = _letters(font_manager.findfont(font_manager.FontProperties() if font is None else font))
    return {letter for letter in words if not letter.isspace() and letter not in own}


def _fallbacks(missing: set[str]) -> list[str]:
    """The fewest fonts in order that have what is missing, as far as any has it."""
    found = []
    for name in _installed() if missing else ():
        if had := missing & _letters(_path(name)):
            found.append(name)
            missing = missing - had
    return found


@cache
def _installed() -> tuple[str, ...]:
    """Which fonts of other scripts are installed, in order."""
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    noto = sorted(name for name in names if name.startswith(FALLBACKS[-1]))
    return tuple(dict.fromkeys([*(name for name in FALLBACKS if name in names), *noto]))


@cache
def _path(name: str) -> str:
    return font_manager.findfont(font_manager.FontProperties(family=name))


@cache
def _letters(path: str) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _figures(drawn: Any) -> Iterator[Figure]:
    """All figures that what was drawn belongs to."""
    if isinstance(drawn, Artist):
        figure = drawn.get_figure(root=True)
        if figure is not None:
            yield figure
    elif isinstance(drawn, Mapping):
        yield from _figures(list(drawn.values()))
    elif isinstance(drawn, np.ndarray):
        yield from _figures(drawn.ravel().tolist() if drawn.dtype == object else [])
    elif isinstance(drawn, Iterable) and not isinstance(drawn, (str, bytes)):
        for one in list(drawn):
            yield from _figures(one)
