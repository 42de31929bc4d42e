"""Films over the tokens of an answer say tokens and not layers, and need no box."""

import numpy as np
import pytest
from made_up_plots import BOXES, GRID, PHOTO
from matplotlib.text import Text
from PIL import Image

from interp import plots
from interp.errors import InputError
from interp.plots.film import PathFilm

MUG, TABLE = BOXES
TOKENS = ("The", " mug", " is", "\n", "", " <b>$x$</b>", " 左", " to", " the", " left", ".", "</s>")
STEPS = np.random.default_rng(5).dirichlet(np.full(16, 0.4), size=12).astype(np.float32)


def words(film):
    """All that stands on the frame that was drawn last."""
    return [text.get_text() for text in film.figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("boxes", [(), ([MUG],), ([MUG], [TABLE]), ([], [TABLE])], ids=["none", "one", "two", "second"])
def test_a_film_of_tokens_names_each_token_and_its_number_and_no_layer(boxes):
    film = PathFilm(PHOTO, GRID, STEPS, *boxes, tokens=TOKENS)
    for step, token in enumerate(TOKENS):
        film.frame(step)
        heading = film.figure.axes[0].get_title(loc="left")
        assert heading.startswith(f"answer token {step} of 0 to 11: ")
        assert (repr(token) if token else "part of a letter") in heading or not token.isascii()
    said = " ".join(words(film))
    assert "layer" not in said and "paper" not in said
    assert ("answer token (0-based, of 12)" in said) == any(map(len, boxes))


def test_a_film_of_layers_still_says_layers_and_shades_the_papers():
    film = PathFilm(PHOTO, GRID, STEPS, [MUG])
    film.frame(6)
    assert film.figure.axes[0].get_title(loc="left") == "layer 6 of 0 to 11, the paper's"
    assert "layer (0-based, of 12)" in words(film) and "answer token" not in " ".join(words(film))


def test_without_boxes_a_frame_is_the_photo_alone_and_each_shows_its_own_map(tmp_path):
    film = PathFilm(PHOTO, GRID, STEPS)
    one, other = (np.asarray(film.frame(place)).astype(int) for place in (0, 5))
    assert len(film.figure.axes) == 2  # the photo and its colour bar
    assert (np.abs(one - other).sum(axis=2) > 30).mean() > 0.1
    saved = Image.open(plots.save_path_gif(tmp_path / "a.gif", PHOTO, GRID, STEPS, tokens=TOKENS, question="Where?"))
    assert saved.n_frames == 12


def test_a_share_that_is_small_is_not_said_to_be_nothing():
    tokens = np.full((3, 16), 1 / 16, np.float32)
    own = GRID.membership(MUG) > 0
    for step, weight in enumerate((2e-3, 2e-5, 0.2)):
        tokens[step] = np.where(own, weight / own.sum(), (1 - weight) / (~own).sum())
    film = PathFilm(PHOTO, GRID, tokens, [MUG], tokens=("a", "b", "c"))
    captions = []
    for step in range(3):
        film.frame(step)
        captions.append(film.figure.axes[1].get_title(loc="left").rpartition(": ")[2])
    assert captions[1] == "under 0.01%" and all(float(said.strip("%")) > 0 for said in (captions[0], captions[2]))


@pytest.mark.parametrize("tokens", [(), TOKENS[:3], (*TOKENS, "more")], ids=len)
def test_tokens_that_are_not_one_a_map_are_refused(tmp_path, tokens):
    with pytest.raises(InputError, match=f"{len(tokens)} tokens were given for 12 maps"):
        plots.save_path_gif(tmp_path / "path.gif", PHOTO, GRID, STEPS, tokens=tokens)
    with pytest.raises(InputError, match="answer tokens 0 to 11"):
        PathFilm(PHOTO, GRID, STEPS, tokens=TOKENS).frame(12)
    assert not list(tmp_path.iterdir())
