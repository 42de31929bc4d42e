"""The page to explore in a real browser: what is drawn and read out, by pointer, by keyboard and by link."""

import re
from dataclasses import replace

import numpy as np
import pytest
from exploring import place_of, readout, state
from made_up_explore import BOXES, HOSTILE, made_up

from interp import Box
from interp.maps.trajectory import PARTS
from interp.page.content import colour_table
from interp.page.page import render_page

LAYERS, HEADS, SIDE = 8, 3, 6


@pytest.fixture(scope="module")
def exploration():
    return made_up(LAYERS, HEADS, SIDE)


@pytest.fixture(scope="module")
def address(exploration, tmp_path_factory):
    """Of the page, as a file."""
    return render_page(exploration).save(tmp_path_factory.mktemp("page") / "explore.html").as_uri()


@pytest.fixture
def page(browser, address):
    """The page, just opened; it must have done nothing wrong when the test is over."""
    browser.open(address)
    yield browser
    assert browser.errors() == []


def test_it_opens_at_the_papers_layer_with_the_head_mean_and_asks_for_nothing(page):
    assert page.text("#map-title") == "Layer 4, head mean, before"
    assert page.run("document.documentElement.dataset.ready") == "true"
    assert [url for url in page.requests() if not url.startswith(("data:", "file:"))] == []
    assert page.run("document.querySelectorAll('#heads canvas').length") == HEADS + 1
    assert page.text("#heads .which") == "head mean"


@pytest.mark.parametrize("norm", ["image", "keys", "no-sinks", "relative"])
@pytest.mark.parametrize("head", [2, -1], ids=["head", "mean"])
def test_what_is_read_out_is_what_was_captured(page, address, exploration, norm, head):
    page.open(f"{address}#layer=5&head={head if head >= 0 else 'mean'}&norm={norm}&run=after")
    for token in (0, 14, 35):
        page.point(*place_of(page, exploration, token))
        found = readout(page)
        for run in exploration.runs:
            for name in ("image", "keys", norm):
                true = exploration.maps(run, name)[5, head, token]
                assert found[f"{name} {run.name}"] == pytest.approx(true, rel=6e-4)
            over = exploration.maps(run, norm)[5, head, token] / exploration.even(norm)[5, head]
            assert found[f"times {run.name}"] == pytest.approx(over, rel=6e-4)
        before, after = (exploration.maps(run, "image")[5, head, token] for run in exploration.runs)
        assert found["image difference"] == pytest.approx(after - before, abs=3e-4 * (after + before))
        corners = [float(side) for side in page.run("document.getElementById('token-box').dataset.value").split()]
        np.testing.assert_allclose(corners, exploration.grid.boxes[token], atol=1e-3)


def test_a_byte_a_weight_is_read_out_within_the_stated_bound(browser, exploration, tmp_path, monkeypatch):
    from interp.page import content

    monkeypatch.setattr(content, "MOST_FINE", 0)
    made = content.page_content(exploration)
    bound = max(run["heads"]["bound"] for run in made["runs"])
    assert bound > 0.005
    browser.open(render_page(exploration).save(tmp_path / "coarse.html").as_uri() + "#layer=2&head=1")
    worst = 0.0
    for token in range(0, SIDE * SIDE, 3):
        browser.point(*place_of(browser, exploration, token))
        true = exploration.maps(exploration.runs[0], "image")[2, 1, token]
        worst = max(worst, abs(readout(browser)["image before"] / true - 1))
    assert 0.1 * bound < worst <= bound
    assert browser.errors() == []


@pytest.mark.parametrize("scale", ["own", "layer", "all"])
def test_tokens_are_painted_over_their_own_pixels_in_the_colour_of_their_value(page, address, exploration, scale):
    page.open(f"{address}#layer=3&head=0&scale={scale}")
    both = np.stack([exploration.maps(run, "image") for run in exploration.runs])
    top = {"own": both[:, 3, 0].max(), "layer": both[:, 3].max(), "all": both.max()}[scale]
    values, (width, height) = exploration.maps(exploration.runs[0], "image")[3, 0], exploration.image.size
    table = colour_table("viridis").astype(int)
    image = page.run(
        "(map => ({width: map.width, height: map.height, data: [...map.getContext('2d').getImageData(0, 0, map.width, "
        "map.height).data]}))(document.getElementById('map'))"
    )
    drawn = np.array(image["data"]).reshape(image["height"], image["width"], 4)
    for token, (x0, y0, x1, y1) in enumerate(exploration.grid.boxes):
        index = min(255, int(256 * values[token] / top))
        near = table[max(0, index - 1) : index + 2]
        for x, y in (((x0 + x1) / 2, (y0 + y1) / 2), (x0 + 0.3, y0 + 0.3), (x1 - 0.3, y1 - 0.3)):
            pixel = drawn[int(y / height * image["height"]), int(x / width * image["width"])]
            assert pixel[3] == 255 and (near == pixel[:3]).all(axis=1).any()
    assert drawn[2, 2, 3] == 0  # what the model did not see


def test_a_link_opens_what_it_names_and_the_page_writes_such_links(page, address):
    page.open(f"{address}#layer=7&head=2&norm=keys&scale=own&run=after&token=3")
    assert page.text("#map-title") == "Layer 7, head 2, after"
    assert "row 0, column 3" in page.text("#token-name")
    page.press("ArrowLeft")
    expected = {"layer": "6", "head": "2", "norm": "keys", "scale": "own", "run": "after", "token": "3"}
    assert state(page) == expected
    page.run("location.hash = 'layer=0&head=mean'")
    assert page.run("new Promise(done => setTimeout(() => done(document.getElementById('layer').value), 50))") == "0"


@pytest.mark.parametrize(
    "link, says",
    [
        ("layer=99", "layer 99 does not exist: there are 8"),
        ("head=-1", "head -1 does not exist"),
        ("norm=louder", "norm louder does not exist: there is image, keys, no-sinks, relative"),
        ("__proto__=1&layer=2", "__proto__"),
        ("token=1e1", "token 1e1"),
        ("run=%3Cscript%3Ewindow.owned=1%3C/script%3E", "<script>"),
    ],
)
def test_what_a_link_names_wrongly_is_said_and_left_out(page, address, link, says):
    page.open(f"{address}#{link}")
    assert says in page.text("#notice") and "left out" in page.text("#notice")
    assert page.text("#map-title") == f"Layer {2 if 'layer=2' in link else 4}, head mean, before"
    assert page.run("window.owned") is None


def test_arrows_change_layer_and_head_and_stop_at_the_ends(page):
    page.press("ArrowRight", "ArrowRight")
    assert page.text("#map-title").startswith("Layer 6, head mean")
    page.press(*["ArrowRight"] * 5)
    assert page.text("#map-title").startswith("Layer 7, head mean")
    page.press(*["ArrowLeft"] * 9)
    assert page.text("#map-title").startswith("Layer 0, head mean")
    page.press("ArrowUp")
    assert page.text("#map-title").startswith("Layer 0, head mean")
    page.press("ArrowDown", "ArrowDown")
    assert page.text("#map-title").startswith("Layer 0, head 1")
    page.press(*["ArrowDown"] * 5)
    assert page.text("#map-title").startswith("Layer 0, head 2")
    page.press("ArrowUp")
    assert state(page)["head"] == "1"
    page.press("Escape")
    assert state(page)["head"] == "mean"


def test_n_b_and_s_go_round(page):
    for key, name, expected in (
        ("n", "norm", ["keys", "no-sinks", "relative", "image"]),
        ("b", "run", ["after", "difference", "before"]),
        ("s", "scale", ["layer", "all", "own"]),
    ):
        for value in expected:
            page.press(key)
            assert state(page)[name] == value
            assert page.run(f"document.querySelector('#{name} [aria-pressed=true]').value") == value


def test_keys_work_whatever_has_the_focus(page):
    page.run("document.getElementById('layer').focus()")
    page.press("ArrowRight", "ArrowDown")
    assert page.text("#map-title").startswith("Layer 5, head 0")
    page.run("document.querySelector('#heads [aria-selected=true]').focus()")
    page.press("ArrowDown")
    assert page.run("document.activeElement.querySelector('.which').textContent") == "head 1"
    page.run("document.querySelector('#norm button').focus()")
    page.press("ArrowLeft")
    assert page.text("#map-title").startswith("Layer 4, head 1")
    page.press("v")
    assert "one view only" in page.text("#notice")


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(page):
    reached = []
    page.run("document.body.focus()")
    while reached.count("layer") < 2:  # once round
        page.press("Tab")
        reached.append(
            page.run("(now => now.id || now.dataset.choice || now.className || now.tagName)(document.activeElement)")
        )
        if reached[-1] != "BODY":
            outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
    assert {"layer", "norm", "scale", "run", "opacity", "head", "SUMMARY"} <= set(reached)
    assert reached.count("head") == 1  # one stop; arrows go on from there


def test_a_small_map_is_enlarged_by_a_click(page):
    x, y = page.run(
        "(({x, y}) => [x + 20, y + 20])((b => (b.scrollIntoView(), b.getBoundingClientRect()))(heads.children[3]))"
    )
    page.click(x, y)
    assert state(page)["head"] == "2"
    assert page.run("[...heads.children].map(head => head.getAttribute('aria-selected'))") == ["false"] * 3 + ["true"]


def test_a_click_holds_a_token_until_escape(page, exploration):
    page.click(*place_of(page, exploration, 20))
    page.point(1, 1)
    assert state(page)["token"] == "20" and "row 3, column 2" in page.text("#token-name")
    page.press("Escape")
    assert "token" not in state(page) and page.run("document.getElementById('token-table').hidden")


def test_a_token_says_which_boxes_it_lies_in(page, exploration):
    for token in (7, 35):
        page.point(*place_of(page, exploration, token))
        said = page.text("#token-inside")
        for box in BOXES:
            share = exploration.grid.membership(box)[token]
            assert (f"{box.label}" in said) == (share > 0)


def test_the_strongest_tokens_are_listed_in_words(page, exploration):
    values = exploration.maps(exploration.runs[0], "image")[4, -1]
    found = page.run(
        "[...document.querySelectorAll('#strongest td[data-value]')].map(cell => Number(cell.dataset.value))"
    )
    np.testing.assert_allclose(found, np.sort(values)[::-1][:8], rtol=5e-4)
    page.run("document.querySelector('.large details').open = true")
    page.run("document.querySelector('#strongest button').focus()")
    page.press("Enter")
    assert state(page)["token"] == str(int(values.argmax()))


def test_the_layer_can_be_chosen_in_the_chart(page):
    page.run("chart.scrollIntoView()")
    box = page.run("(({x, y, width, height}) => [x, y, width, height])(chart.getBoundingClientRect())")
    page.click(box[0] + box[2] * 0.95, box[1] + box[3] / 2)
    assert state(page)["layer"] == str(LAYERS - 1)
    assert "highest" in page.run("chart.getAttribute('aria-label')")


def test_the_difference_of_equal_runs_is_zero_everywhere(browser, exploration, tmp_path):
    same = replace(exploration, runs=(exploration.runs[0], replace(exploration.runs[0], name="after")))
    browser.open(render_page(same).save(tmp_path / "same.html").as_uri() + "#run=difference")
    assert "No weight changed" in browser.text("#summary")
    browser.press("b", "b", "n", "b")
    assert browser.errors() == []


def test_a_head_that_ignores_the_image_is_undefined_in_words_too(browser, exploration, tmp_path):
    before, after = exploration.runs
    weights, shares = after.weights.copy(), after.shares.copy()
    weights[4], shares[4, :, PARTS.index("image")] = 0, 0
    made = render_page(replace(exploration, runs=(before, replace(after, weights=weights, shares=shares))))
    address = made.save(tmp_path / "blind.html").as_uri()
    most = "[...heads.querySelectorAll('.most')].map(each => each.textContent)"
    for norm in ("image", "no-sinks", "relative"):
        browser.open(f"{address}#layer=4&head=1&norm={norm}&run=after")
        assert "This map is undefined" in browser.text("#summary")
        assert browser.run(most) == ["undefined"] * (HEADS + 1)
        assert "largest value undefined" in browser.run("heads.children[2].getAttribute('aria-label')")
        assert {"NaN", "Infinity"}.isdisjoint(re.findall(r"\w+", browser.text("main")))
        browser.press("ArrowLeft")
        assert all(said.startswith("max") for said in browser.run(most))
    browser.open(f"{address}#layer=4&head=1&norm=keys&run=after")
    assert "cosine undefined (even" in browser.text("#summary") and "NaN" not in browser.text("main")
    assert browser.run(most) == ["max 0\u00a0%"] * (HEADS + 1)
    assert "Every token has 0" in browser.text("#summary")
    assert browser.errors() == []


def test_the_controls_stay_in_sight_where_there_is_room_and_hide_nothing_that_gets_the_focus(browser, address):
    placed = "getComputedStyle(document.querySelector('.controls')).position"
    browser.open(address, width=360)
    assert browser.run(placed) == "static"
    for width in (720, 1200):
        browser.open(f"{address}", width=width, height=760)
        browser.run("window.scrollTo(0, 1e6)")
        assert browser.run(placed) == "sticky"
        assert browser.run("document.querySelector('.controls').getBoundingClientRect().top") == 0
        browser.run("document.querySelector('#heads [aria-selected=true]').scrollIntoView()")
        end, top = browser.run(
            "[document.querySelector('.controls').getBoundingClientRect().bottom, "
            "document.querySelector('#heads [aria-selected=true]').getBoundingClientRect().top]"
        )
        assert end <= top


@pytest.fixture
def two_views(browser, exploration, tmp_path):
    """A page of which half of the tokens are those of another view, and only these have another weight after."""
    before, after = exploration.runs
    tile = np.arange(SIDE * SIDE) >= SIDE * SIDE // 2
    weights = np.where(tile, 3 * before.weights, before.weights)
    grid = replace(exploration.grid, view=tile.astype(int))
    found = replace(exploration, grid=grid, runs=(before, replace(after, weights=weights)))
    browser.open(render_page(found).save(tmp_path / "views.html").as_uri() + "#norm=keys&run=difference&layer=2&head=0")
    yield browser
    assert browser.errors() == []


def test_of_one_view_only_what_is_shown_is_counted(two_views):
    half = SIDE * SIDE // 2
    assert two_views.text("#summary").startswith(f"{half} of {2 * half} tokens changed; most of all ")
    two_views.press("v")
    assert two_views.text("#summary").startswith("No weight of the whole photo changed")
    assert two_views.text("#heads .most") == "max ± 0\u00a0%"
    two_views.press("v")
    assert two_views.text("#summary").startswith(f"{half} of {half} tokens of tile 1 changed; most of all ")
    assert "of tile 1, by" in two_views.text("#summary") and "by 0" not in two_views.text("#summary")


def test_letters_and_arrows_choose_a_view_where_the_views_have_the_focus(two_views):
    two_views.run("document.getElementById('view').focus()")
    two_views.press("t", "n")
    assert state(two_views)["view"] == "1" and state(two_views)["norm"] == "keys"
    two_views.press("ArrowUp")
    assert state(two_views)["view"] == "0" and state(two_views)["head"] == "0"


def test_the_colour_bar_is_named_and_numbered(page):
    ticks = "[...document.querySelectorAll('.tick:not(.even)')].map(tick => parseFloat(tick.textContent))"
    assert page.run(ticks)[0] == 0 and page.run("document.querySelector('.tick.even').textContent") == "even"
    name = "share of the image's attention (image); each map on its own scale, before and after alike"
    assert page.text("#bar-name") == name
    page.press("b", "b", "s", "s")
    low, _, middle, _, high = page.run(ticks)
    assert low == -high < 0 == middle
    assert "after − before" in page.text("#bar-name") and "all layers" in page.text("#bar-name")


def test_hostile_texts_are_shown_and_not_run(browser, tmp_path):
    boxes = [Box(text, (18, 5, 47, 33)) for text in HOSTILE]
    browser.open(render_page(made_up(boxes=boxes, question=HOSTILE[0])).save(tmp_path / "hostile.html").as_uri())
    assert browser.text("h1") == HOSTILE[0] and browser.run("window.owned") is None
    names = browser.run("[...document.querySelectorAll('.name')].map(name => name.textContent)")
    assert [name.removesuffix(" (first)").removesuffix(" (second)") for name in names] == list(HOSTILE)
    assert browser.errors() == []


def test_it_works_in_a_notebooks_frame(browser, exploration, tmp_path):
    (tmp_path / "frame.html").write_text(f"<!doctype html><body>{render_page(exploration)._repr_html_()}</body>")
    browser.open((tmp_path / "frame.html").as_uri())
    frame = browser.run("(({x, y}) => [x, y])(document.querySelector('iframe').getBoundingClientRect())")
    browser.click(frame[0] + 300, frame[1] + 20)
    browser.press("ArrowRight", "n", "b")
    browser.point(frame[0] + 300, frame[1] + 400)
    (child,) = browser.send("Page.getFrameTree")["frameTree"]["childFrames"]
    world = browser.send("Page.createIsolatedWorld", frameId=child["frame"]["id"])["executionContextId"]
    script = "document.getElementById('map-title').textContent"
    found = browser.send("Runtime.evaluate", expression=script, contextId=world, returnByValue=True)
    assert found["result"]["value"] == "Layer 5, head mean, after"
    assert browser.errors() == []


@pytest.mark.parametrize("width", [360, 900, 1600])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_the_window_and_its_text_can_be_read(browser, address, width, dark):
    browser.open(f"{address}#token=14", width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.open(address, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    for selector in ("h1", "#summary", "#bar-name", "#token-hint", ".most", "#norm [aria-pressed=true]", "#legend li"):
        assert browser.contrast(selector) >= 4.5, selector
    assert browser.errors() == []
