"""The page to explore is small, needs nothing from outside, and shows every text as text."""

import base64
import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny
from made_up_explore import HOSTILE, QUESTION, assert_within, content_of, from_blob, made_up, weights_of
from PIL import Image

from interp import Box
from interp.errors import InputError
from interp.page.content import AROUND, LEAST_PHOTO, MOST_PHOTO, colour_table, photo_url
from interp.page.explore import explore
from interp.page.page import render_page
from interp.quiet import spell_out


def written(url):
    """The file in a data URL."""
    return base64.b64decode(url.split(",")[1])


@pytest.mark.parametrize("runs, every, steps", [(1, False, 65535), (2, False, 255), (2, True, 255)])
def test_the_page_of_a_large_model_is_small(runs, every, steps):
    found = made_up(32, 32, 24, runs=runs, neutral=every, sinks=every, size=(1280, 960))
    page = render_page(found)
    content = content_of(page.html)
    assert len(page.html.encode()) < 3e6 and content["runs"][0]["heads"]["steps"] == steps
    weights, bound = weights_of(content, 0)
    assert_within(weights, found.runs[0].weights.astype(np.float64), bound)
    packed = [*content["runs"], *([content["neutral"]] if every else [])]
    heads = max(each["heads"]["bound"] for each in packed)
    mean = max(each[part]["bound"] for each in packed for part in ("mean", "bare") if each.get(part))
    said = [float(number) / 100 for number in re.findall(r"within ([\d.]+) %", page.html)]
    needed = [heads, mean, *([2 * heads / (1 - heads)] if every else [])]
    assert len(said) == len(needed)
    assert all(bound <= number <= 1.1 * bound for number, bound in zip(said, needed, strict=True))


def test_the_page_of_a_large_model_with_all_that_it_offers_is_small_with_a_real_photo(assets):
    path = max((assets / "coco128").rglob("*.jpg"), key=lambda file: file.stat().st_size)
    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    found = replace(made_up(32, 32, 24, runs=2, neutral=True, sinks=True, size=photo.size), image=photo)
    html = render_page(found).html
    assert len(html.encode()) < 3e6
    with Image.open(io.BytesIO(written(content_of(html)["photo"]["source"]))) as shown:
        assert max(shown.size) >= 400 and shown.format == "JPEG"


def test_the_rest_of_a_page_is_as_small_as_its_photo_counts_on():
    html = render_page(made_up()).html
    block = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1]
    assert len(html) - len(block) < AROUND - 5000  # which a long question and many settings may have


def test_a_photo_is_as_small_as_asked_for():
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    url = photo_url(Image.fromarray(noise))
    assert url.startswith("data:image/jpeg;base64,") and len(url) <= MOST_PHOTO
    assert len(photo_url(Image.fromarray(noise), LEAST_PHOTO)) <= LEAST_PHOTO < len(url)
    assert len(photo_url(Image.fromarray(noise[:256, :256]), LEAST_PHOTO)) <= LEAST_PHOTO


def test_a_small_photo_is_kept_as_it_is():
    url = photo_url(tiny.photo())
    assert url.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(written(url))) as shown:
        assert (np.asarray(shown) == np.asarray(tiny.photo())).all()


@pytest.mark.parametrize("size, kind, told", [((90, 60), "png", "icc_profile"), ((400, 300), "jpeg", "comment")])
def test_nothing_but_the_pixels_of_a_photo_is_kept(size, kind, told):
    photo = tiny.photo(size=size)
    photo.info = {"comment": b"our kitchen", "icc_profile": b"our camera" * 20}
    photo.save(saved := io.BytesIO(), format=kind)
    with Image.open(saved) as again:
        assert again.info[told] == photo.info[told]  # as Pillow would tell it
    plain = photo_url(tiny.photo(size=size))
    assert photo_url(photo) == plain and plain.startswith(f"data:image/{kind}")


@pytest.mark.parametrize(
    "answer, confidence, says",
    [
        ("Left", 0.713, "the maps before and after are the same."),
        ("Right", 0.713, "are the same, though the answer changed: it acts on something else"),
        ("Left", 0.4, "are the same, though the probability of the answer changed: it acts on something else"),
    ],
)
def test_an_intervention_that_changes_no_map_is_not_said_to_change_nothing(answer, confidence, says):
    found = made_up()
    before, after = found.runs
    same = replace(after, weights=before.weights, answer=answer, confidence=confidence)
    texts = " ".join(Reader(render_page(replace(found, runs=(before, same))).html).texts)
    assert says in texts and "changed no weight" in texts
    assert "changed no weight" not in render_page(found).html


def test_colours_are_those_of_matplotlib():
    from matplotlib import colormaps

    table = from_blob(content_of(render_page(made_up(runs=1)).html)["colours"]["run"])
    assert (table == colour_table("viridis")).all()
    for share in (0.0, 0.3, 0.777, 1.0):
        exact = np.array(colormaps["viridis"](share)[:3]) * 255
        assert np.abs(table[min(255, int(share * 256))] - exact).max() <= 1


class Reader(HTMLParser):
    """Counts tags with their attributes, and keeps the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_can_leave_its_place(text):
    def of(word):
        found = made_up(boxes=(Box(word, (18, 5, 47, 33)),), question=word)
        runs = [replace(run, answer=word, change=word) for run in found.runs]
        settings = {"model": word, "detector": [word], "versions": {"torch": word}}
        return replace(found, runs=tuple(runs), settings=settings, neutral_prompt=word, missing=(word,))

    harmless, hostile = (render_page(of(word)).html for word in ("word", text))
    assert Reader(hostile).tags == Reader(harmless).tags
    assert hostile.count("</script") == harmless.count("</script") and hostile.count("<!--") == 0
    content = content_of(hostile)
    assert content["boxes"][0]["label"] == text
    shown = Reader(hostile).texts
    assert sum(text == one for one in shown) >= 6
    block = hostile[hostile.index('id="data">') :].split("</script>")[0]
    assert block.isascii() and not set("<>&") & set(block[10:])


@pytest.mark.parametrize("text", ["mug\u202egnp.exe", "a\u2066b", "\x1b[2J", "nul\x00", "right\u200f", "c1\x9b"])
def test_no_text_turns_or_breaks_what_stands_beside_it(text):
    found = made_up(boxes=(Box(text, (18, 5, 47, 33)),), question=text)
    html = render_page(replace(found, runs=tuple(replace(run, answer=text) for run in found.runs))).html
    assert html == spell_out(html)
    assert content_of(html)["boxes"][0]["label"] == spell_out(text)


def test_a_text_that_is_no_text_can_be_saved(tmp_path):
    page = render_page(made_up(question="half a \ud83d character"))
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html


def test_the_page_asks_for_nothing_from_outside():
    html = render_page(made_up()).html
    without_data = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL)
    assert set(re.findall(r"\w+://[^\s\"'`<]+", without_data)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', without_data)) == {"data:,"}
    assert set(re.findall(r"url\(([^)]*)\)", without_data)) == {"#hatch"} and "@import" not in html
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1])
    assert "default-src 'none'" in policy and "img-src data:" in policy and "connect-src" not in policy
    assert not re.search(r"fetch\(|XMLHttpRequest|importScripts|innerHTML|eval\(", html)


def test_the_header_says_question_answers_and_settings():
    html = render_page(made_up()).html
    texts = " ".join(" ".join(Reader(html).texts).split())
    for said in ("Where is the mug", "made-up", "Left", "71.3 %", "Right", "40.0 %", "ScaleImageLogits(alpha=0.5)"):
        assert said in texts
    assert "self_check yes" in texts and "n_layers 4" in texts and "revision none" in texts


def test_a_notebook_shows_the_same_page_in_a_frame_that_can_reach_nothing():
    page = render_page(made_up(question=HOSTILE[2]))
    shown = page._repr_html_()
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page.html
    assert 'sandbox="allow-scripts"' in shown and Reader(shown).tags == [
        ("iframe", "sandbox", "srcdoc", "style", "title")
    ]
    assert "MB" in repr(page) and len(repr(page)) < 200


def test_the_page_is_saved_where_it_is_asked_for(tmp_path):
    out = tmp_path / "new" / "page.html"
    page = explore(tiny.vlm(), tiny.photo(), tiny.QUESTIONS[0], out=out, max_new_tokens=1)
    assert out.read_text(encoding="utf-8") == page.html and page.save(str(out)) == out


@pytest.mark.parametrize("name", ["page.png", "page", "folder.html"])
def test_a_file_that_is_no_page_is_refused_before_the_model_runs(name, tmp_path):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match="explore.html"):
        explore(None, tiny.photo(), QUESTION, out=tmp_path / name)  # type: ignore[arg-type]


def test_a_photo_of_another_size_is_refused():
    with pytest.raises(InputError, match="same photo"):
        render_page(replace(made_up(), image=Image.new("RGB", (90, 120))))
