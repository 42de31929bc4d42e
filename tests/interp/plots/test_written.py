"""Texts of figures: whoever wrote them, they are drawn letter by letter, in any script, without a warning."""

import importlib
import inspect
import pkgutil
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.text import Text
from PIL import Image

import adaptvis
import interp
import probes
from interp import plots
from interp.image.boxes import Box
from interp.plots import written
from interp.plots.answers import plot_confusion
from interp.plots.maps import plot_photo
from interp.plots.written import as_written, drawable
from tests.helpers.made_up import square_grid

HOSTILE = {
    "a broken formula": "$\\frac{$",
    "two dollars": "$$",
    "a formula": "costs $5 or $6",
    "chinese": "杯子 on 桌子",
    "korean": "왼쪽",
    "japanese": "ひだり",
    "thai": "ซ้าย",
    "emoji": "🍵",
    "an escape": "mug\x1b[2J",
    "a private letter": "\ue000",
    "arabic": "كوب",
}


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine on which no font of another script is installed."""
    monkeypatch.setattr(written, "_installed", lambda: ())


def drawn(figure):
    """All texts of a figure after it was drawn, which must warn of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("fonts", ["those here", "none"])
def test_that_any_text_is_drawn_in_titles_ticks_labels_and_legends(words, fonts, monkeypatch):
    if fonts == "none":
        monkeypatch.setattr(written, "_installed", lambda: ())

    @as_written
    def plot():
        _, ax = plt.subplots(layout="compressed")
        ax.plot([0, 1], [0, 1], label=words)
        ax.set_title(words)
        ax.set_xticks([0, 1], [words, "left"])
        ax.set_ylabel(words)
        ax.legend(title=words)
        ax.text(0.5, 0.5, words)
        return ax

    figure = plot().figure
    texts = drawn(figure)
    plt.close(figure)
    said = drawable(words)
    assert texts.count(said) >= 5 and ("$" in words) == ("$" in said)
    assert drawn(figure).count(said) >= 5  # also when it is drawn again


def test_that_letters_no_font_has_stand_there_by_their_numbers(no_fonts):
    assert drawable("a 杯") == "a <U+676F>"
    assert drawable("Tüte, ä é ß Ω — “x”") == "Tüte, ä é ß Ω — “x”"


def test_that_letters_come_from_a_font_that_has_them(monkeypatch):
    monkeypatch.setattr(written, "_installed", lambda: ("STIXGeneral",))
    missing = {chr(code) for code in range(0x1D400, 0x1D500)} - written._letters(written._path("DejaVu Sans"))
    letter = next(one for one in sorted(missing) + ["\ue200"] if one in written._letters(written._path("STIXGeneral")))
    ax = as_written(lambda: plt.subplots()[1])()
    ax.set_title(f"a{letter}")
    written.write_out(ax.figure)
    assert ax.title.get_text() == f"a{letter}" and ax.title.get_fontfamily()[-1] == "STIXGeneral"
    drawn(ax.figure)
    plt.close(ax.figure)


def test_that_numbers_at_axes_of_powers_stay_formulas_of_matplotlib():
    ax = as_written(lambda: plt.subplots()[1])()
    ax.set_yscale("log")
    ax.plot([1, 1000])
    written.write_out(ax.figure)
    ax.figure.canvas.draw()
    assert any("10^{" in label.get_text() and label.get_parse_math() for label in ax.get_yticklabels())
    plt.close(ax.figure)


def test_that_names_of_answers_and_boxes_are_drawn_as_they_are_written():
    names = list(HOSTILE.values())
    ax = plot_confusion(pd.DataFrame(np.eye(len(names)), names, names), title=names[0])
    assert {drawable(name) for name in names} <= set(drawn(ax.figure))
    plt.close(ax.figure)


@pytest.mark.parametrize("words", ["杯子", "$\\frac{$", "a very long name of a thing " * 9, "杯" * 300])
def test_that_names_of_boxes_are_drawn_as_they_are_written(words, no_fonts):
    ax = plot_photo(Image.new("RGB", (80, 60)), square_grid((80, 60), 4), boxes=[Box(words, (10, 10, 40, 40))])
    assert any(text and drawable(words).startswith(text[:4]) for text in drawn(ax.figure))
    plt.close(ax.figure)


def figure_functions():
    """Every function of ours that is called as those are which draw: what they give has to be written out."""
    for package in (interp, adaptvis, probes):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".figure" in module.name or ".plots." in module.name:
                own = importlib.import_module(module.name)
                for name, function in vars(own).items():
                    if name.startswith("plot_") and inspect.isfunction(function) and function.__module__ == module.name:
                        yield f"{module.name}.{name}", function


BY_OTHERS = {"interp.plots.path.plot_masses"}
"""Which only add to axes of another function that writes them out."""


def test_that_every_function_which_draws_writes_its_texts_out():
    found = dict(figure_functions())
    assert len(found) > 50
    assert [name for name, function in found.items() if not hasattr(function, "__wrapped__")] == sorted(BY_OTHERS)
    assert set(plots.__all__) & {name.rsplit(".", 1)[1] for name in found}


@pytest.mark.parametrize("weight", ["normal", "bold"])
@pytest.mark.skipif(not written._installed(), reason="no font of another script is installed")
def test_that_a_font_of_another_script_may_have_a_weight_of_its_own_without_a_line_in_the_log(weight, caplog):
    font_manager.fontManager._findfont_cached.cache_clear()

    @as_written
    def plot():
        _, ax = plt.subplots()
        ax.set_title("杯子 왼쪽", fontweight=weight)
        ax.set_xticks([0, 1], ["ひだり", "left"], fontweight=weight)
        return ax

    figure = plot().figure
    drawn(figure)
    plt.close(figure)
    assert not [record.getMessage() for record in caplog.records if "findfont" in record.getMessage()]


def test_that_matplotlib_still_says_that_a_font_of_the_user_is_not_there(caplog):
    font_manager.findfont("a font that nobody has")
    assert "a font that nobody has" in caplog.text
