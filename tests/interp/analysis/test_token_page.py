"""The page of an answer's tokens is of a size to look at, and says which token each map is of."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_up import layout_of
from made_up_plots import BOXES, GRID
from PIL import Image, ImageFilter

from interp.analysis.token_page import MOST, draw_tokens
from interp.maps.trajectory import trajectory
from interp.store.folder import OutputFolder

PHOTO = Image.effect_noise((120, 80), 60).convert("RGB").filter(ImageFilter.GaussianBlur(1))
WORDS = (" a", " 左", "", "\n", " extraordinarily", "$x$", "</s>")


def answer_of(n, *, known=True):
    """A trajectory of so many answer tokens."""
    layout = layout_of(16)
    tokens = [WORDS[step % len(WORDS)] for step in range(n)]
    rows = np.zeros((3, 2, n, len(layout) + n - 1), np.float32)
    rows[..., layout.image_positions] = np.random.default_rng(0).dirichlet(np.full(16, 0.4), size=(3, 2, n))
    return trajectory(rows, layout.extended(["t"] * (n - 1)), GRID, tokens=tokens if known else None)


def panels_of(figure):
    """The maps, without the colour bar."""
    return [ax for ax in figure.axes if ax.get_title(loc="left")]


@pytest.mark.parametrize("n", [1, 2, 8, 9, MOST + 1])
def test_each_map_has_the_number_of_its_token_and_what_it_says(n):
    looked = answer_of(n)
    figure = draw_tokens(PHOTO, GRID, looked, boxes=BOXES)
    titles = [ax.get_title(loc="left") for ax in panels_of(figure)]
    steps = [int(title.partition(":")[0]) for title in titles]
    assert steps == sorted(set(steps)) and len(steps) == min(n, MOST) and (steps[0], steps[-1]) == (0, n - 1)
    for step, title in zip(steps, titles, strict=True):
        said = title.partition(": ")[2]
        token = looked.tokens[step]
        assert said == {"": "part of a letter", " extraordinarily": "' extraordinar..."}.get(token, said)
        assert token not in (" a", "\n", "$x$", "</s>") or said == repr(token)
    heading = figure.get_suptitle()
    assert "Layer 1, head mean" in heading and f"0 to {n - 1}" in heading
    assert (f"{MOST} of them" in heading) == (n > MOST)


def test_each_map_is_that_of_its_step():
    looked = answer_of(100)
    for ax in panels_of(draw_tokens(PHOTO, GRID, looked)):
        step = int(ax.get_title(loc="left").partition(":")[0])
        drawn = np.ma.filled(ax.images[1].get_array(), np.nan)
        assert np.nanmax(drawn) == pytest.approx(looked.image_map(layer=1, step=step).max(), rel=1e-5)


@pytest.mark.parametrize("n", [8, 400])
def test_a_long_answer_makes_no_picture_that_can_not_be_looked_at(n, tmp_path):
    path = OutputFolder(tmp_path).write_figure("tokens.png", draw_tokens(PHOTO, GRID, answer_of(n), boxes=BOXES))
    assert max(Image.open(path).size) < 3000 and path.stat().st_size < 6_000_000


def test_what_the_model_never_saw_is_said_once_and_unknown_tokens_have_their_numbers():
    figure = draw_tokens(PHOTO, GRID, answer_of(9, known=False))
    assert figure.get_suptitle().count("unseen by the model") == 1
    assert not any(ax.get_xlabel() for ax in panels_of(figure))
    assert [ax.get_title(loc="left") for ax in panels_of(figure)] == [str(step) for step in range(9)]


@pytest.mark.parametrize(
    "token", ["\N{REPLACEMENT CHARACTER}" * 30, "แก้วสีแดงบนโต๊ะ", "红色的杯子在桌子上面左边", "लाल कप मेज़"]
)
def test_no_token_of_any_script_runs_into_the_next_map(token):
    looked = answer_of(20)
    figure = draw_tokens(PHOTO, GRID, replace(looked, tokens=(token,) * 20))
    figure.draw_without_rendering()
    own = [ax.title if ax.title.get_text() else ax._left_title for ax in panels_of(figure)]
    extents = [title.get_window_extent() for title in own]
    bar = next(ax for ax in figure.axes if ax not in panels_of(figure)).get_window_extent()
    assert not any(one.overlaps(other) for one, other in combinations([*extents, bar], 2))
