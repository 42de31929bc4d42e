"""Maps that are not raw attention in the page to explore, in a real browser: chosen, drawn, read out, and said of."""

import re

import numpy as np
import pytest
from exploring import place_of, readout, state
from made_up_explore import HOSTILE, made_up, with_further

from interp.page.content import colour_table
from interp.page.page import render_page

LAYERS, HEADS, SIDE = 8, 3, 6


@pytest.fixture(scope="module")
def with_maps():
    return with_further(made_up(LAYERS, HEADS, SIDE))


@pytest.fixture(scope="module")
def other_address(with_maps, tmp_path_factory):
    return render_page(with_maps).save(tmp_path_factory.mktemp("page") / "further.html").as_uri()


@pytest.fixture
def other(browser, other_address):
    """A page with further maps; it must have done nothing wrong when the test is over."""
    browser.open(other_address)
    yield browser
    assert browser.errors() == []


@pytest.mark.parametrize("place, head", [(0, 2), (0, -1), (1, 0), (1, -1), (2, -1)])
def test_what_is_read_out_of_a_further_map_is_its_share(other, other_address, with_maps, place, head):
    chosen = with_maps.further[place]
    other.open(f"{other_address}#map={chosen.name}&layer=5&head={head if head >= 0 else 'mean'}&norm=keys&run=after")
    shares = chosen.shares[5, head]
    for token in (0, 14, 35):
        other.point(*place_of(other, with_maps, token))
        found = readout(other)
        assert {key.split()[0] for key in found} == {chosen.name, "times"}
        values = {key.split()[0]: value for key, value in found.items()}
        assert values[chosen.name] == pytest.approx(shares[token], rel=6e-4, abs=1e-8)
        assert values["times"] == pytest.approx(shares[token] * len(shares), rel=6e-4, abs=1e-6)
    agreement = with_maps.agreement(chosen.shares.astype(float), "image")
    mass, cosine = (agreement[key][5, head] for key in ("mass", "cosine"))
    said = re.search(r"In the boxes: ([\d.]+)\s%.*?cosine ([\d.]+) \(an even map", other.text("#summary"))
    assert float(said[1]) == pytest.approx(100 * mass, rel=5e-3) and float(said[2]) == pytest.approx(cosine, abs=6e-3)
    assert f"cosine with the boxes, before: {said[2]}" in other.text("#chart-said")
    assert other.text("#bar-name").startswith(f"{chosen.label} ({chosen.name}); each map")


def test_the_map_is_chosen_by_keyboard_and_written_into_the_link(other):
    assert other.text("#source") == "attentiongradientrelativelens"
    assert other.run("document.querySelector('label[for=source]').textContent") == "Map"
    assert other.run("document.getElementById('source').tabIndex") == 0
    other.run("document.getElementById('source').focus()")
    other.press("ArrowDown")
    assert state(other)["map"] == "gradient" and other.text("#map-title") == "Layer 4, head mean, gradient"
    other.run("document.activeElement.blur()")
    for expected in ("relative", "lens", "attention"):
        other.press("m")
        assert state(other)["map"] == expected
        assert other.run("document.getElementById('source').value") == expected
    assert other.text("#map-title") == "Layer 4, head mean, before" and other.text("#source-said") == ""


def test_a_further_map_says_which_controls_it_does_not_follow_and_leaves_them_as_they_were(other, other_address):
    off = "[...document.querySelectorAll('button[data-choice]:disabled')].map(button => button.dataset.choice)"
    other.open(f"{other_address}#map=gradient&layer=4&head=1&norm=keys&run=after")
    assert set(other.run(off)) == {"norm", "run"}
    assert "first token of the answer alone, in the untouched run" in other.text("#source-said")
    assert "normalisation and run can be chosen for attention alone" in other.text("#source-said")
    other.press("n")
    assert "for attention alone" in other.text("#notice")
    other.press("b")
    assert state(other)["norm"] == "keys" and state(other)["run"] == "after"
    other.press("m", "m", "m")
    assert other.run(off) == [] and other.text("#map-title") == "Layer 4, head 1, after"


def test_a_map_without_heads_is_one_map_and_the_head_comes_back_with_the_others(other, other_address):
    shown = "[...heads.children].filter(head => !head.hidden).map(head => head.querySelector('.which').textContent)"
    other.open(f"{other_address}#map=lens&layer=4&head=1")
    assert other.run(shown) == ["no heads"] and other.text("#map-title") == "Layer 4, no heads, lens"
    assert other.run("document.querySelectorAll('#heads [aria-selected=true]').length") == 1
    other.press("ArrowDown")
    assert "It has no heads" in other.text("#notice") and "It has no heads" in other.text("#source-said")
    assert "attention on the image" not in other.text("#chart-said")
    other.press("s", "s", "ArrowRight", "m")
    assert len(other.run(shown)) == HEADS + 1 and other.text("#map-title") == "Layer 5, head 1, before"


def test_a_further_map_is_painted_in_the_colour_of_its_values(other, other_address, with_maps):
    other.open(f"{other_address}#map=gradient&layer=3&head=0&scale=layer")
    shares, table = with_maps.further[0].shares[3], colour_table("viridis").astype(int)
    (width, height), (x0, y0, x1, y1) = with_maps.image.size, with_maps.grid.boxes.T
    image = other.run(
        "(map => ({width: map.width, height: map.height, data: [...map.getContext('2d').getImageData(0, 0, map.width, "
        "map.height).data]}))(document.getElementById('map'))"
    )
    drawn = np.array(image["data"]).reshape(image["height"], image["width"], 4)
    rows = ((y0 + y1) / 2 / height * image["height"]).astype(int)
    columns = ((x0 + x1) / 2 / width * image["width"]).astype(int)
    for token, value in enumerate(shares[0] / shares.max()):
        index = min(255, int(256 * value))
        assert (table[max(0, index - 1) : index + 2] == drawn[rows[token], columns[token], :3]).all(axis=1).any()


def test_a_further_map_of_nothing_is_undefined_in_words(other, other_address):
    other.open(f"{other_address}#map=gradient&layer=1&head=2")
    assert other.text("#summary") == "This map is undefined: it is 0 at every token."
    assert {"NaN", "Infinity"}.isdisjoint(re.findall(r"\w+", other.text("main")))


def test_without_boxes_a_further_map_says_that_there_is_nothing_to_compare_with(browser, tmp_path):
    made = render_page(with_further(made_up(boxes=())))
    browser.open(made.save(tmp_path / "bare.html").as_uri() + "#map=lens")
    assert "no boxes were given" in browser.text("#chart-said") and "No boxes were given" in browser.text("#summary")
    assert browser.errors() == []


def test_a_page_without_further_maps_knows_attention_alone(browser, tmp_path):
    address = render_page(made_up()).save(tmp_path / "plain.html").as_uri()
    browser.open(address)
    assert browser.run("document.getElementById('source')") is None
    browser.press("m")
    assert "no maps but raw attention" in browser.text("#notice") and "map" not in state(browser)
    browser.open(f"{address}#map=gradient")
    assert "map gradient does not exist: there is attention" in browser.text("#notice")
    assert browser.errors() == []


def test_the_answer_in_a_label_is_shown_and_not_run(browser, tmp_path):
    made = render_page(with_further(made_up(), HOSTILE[0]))
    browser.open(made.save(tmp_path / "hostile.html").as_uri() + "#map=gradient")
    assert HOSTILE[0] in browser.text("#source-said") and browser.run("window.owned") is None
    assert browser.errors() == []
