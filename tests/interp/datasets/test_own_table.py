"""A large table of one's own is read row by row, with a bar; what rows share is looked up once."""

import csv
import io
import tracemalloc

import pytest
from PIL import Image

import interp.store.progress as bars_of
from interp.datasets import read_folder
from interp.datasets.own import folder as reading
from interp.datasets.own.table import rows_of
from interp.errors import InputError

QUESTION = "Where is the mug in relation to the table? Answer with left, right, on or under."


@pytest.fixture
def place(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (200, 100)).save(tmp_path / name)
    return tmp_path


def write(place, rows, columns="image,question,answer,options,boxes"):
    with (place / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns.split(","), *rows])


def many(count):
    boxes = "mug=10,20,50,80; table=0,60,200,95"
    return [["ab"[number % 2] + ".png", QUESTION, "on", "left|right|on|under", boxes] for number in range(count)]


def test_what_rows_share_is_looked_up_once(place, monkeypatch):
    looked, opened = [], []
    usual, size = reading.file_of, reading.upright_size
    monkeypatch.setattr(reading, "file_of", lambda folder, name: looked.append(name) or usual(folder, name))
    monkeypatch.setattr(reading, "upright_size", lambda photo: opened.append(photo) or size(photo))
    write(place, many(3000))
    samples = read_folder(place)
    assert len(samples) == 3000 and looked == ["a.png", "b.png"] == [photo.name for photo in opened]
    assert len({id(sample.objects) for sample in samples}) == 2 and len({id(one.group) for one in samples}) == 2
    assert [one.meta["row"] for one in samples] == list(range(1, 3001)) and samples[0].objects[0].box.area == 2400
    small = place / "few"
    small.mkdir()
    for name in ("a.png", "b.png"):
        (place / name).rename(small / name)
    write(small, many(2))
    for own, alone in zip(samples[:2], read_folder(small), strict=True):
        assert (own.objects, own.options, own.answer, own.group) == (
            alone.objects,
            alone.options,
            alone.answer,
            alone.group,
        )


@pytest.mark.parametrize("progress", [True, False])
def test_reading_shows_a_bar_that_ends_where_the_file_does(place, monkeypatch, progress):
    shown = io.StringIO()
    usual = bars_of.ProgressBar

    def at_once(*given, **how):
        bars.append(usual(*given, **{**how, "delay": 0, "mininterval": 0, "file": shown}))
        return bars[-1]

    bars = []
    monkeypatch.setattr(bars_of, "ProgressBar", at_once)
    write(place, many(5000))
    assert len(read_folder(place, progress=progress)) == 5000
    (bar,) = bars
    size = (place / "questions.csv").stat().st_size
    assert bar.total == size
    if progress:
        assert "reading rows" in shown.getvalue() and 0.7 * size < bar.n <= size
    else:
        assert not shown.getvalue()


def test_a_table_is_not_held_in_memory_as_a_whole(place):
    write(place, [["a.png", "x" * 2000, "on", "", ""] for _ in range(4000)])
    size = (place / "questions.csv").stat().st_size
    tracemalloc.start()
    count = sum(1 for _ in rows_of(place / "questions.csv", progress=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000 and peak < size / 4


def test_cells_with_line_breaks_and_other_line_ends_are_read_as_before(place):
    text = '\ufeffimage;question;answer\r\na.png;"Where is\r\nit?";on\r\n\r\nb.png;"Who; or what?";off\r\n'
    (place / "questions.csv").write_bytes(text.encode())
    first, second = read_folder(place)
    assert first.question == "Where is\nit?" and second.question == "Who; or what?"
    assert [row.line for row in rows_of(place / "questions.csv")] == [3, 5]
    (place / "questions.csv").write_bytes(b"image,question,answer\ra.png,Where?,on\r")
    assert [one.question for one in read_folder(place)] == ["Where?"]


def test_letters_of_another_encoding_far_into_the_file_are_refused(place):
    write(place, many(3000))
    with (place / "questions.csv").open("ab") as file:
        file.write("a.png,Wo ist die Tüte?,on,,\n".encode("latin-1"))
    with pytest.raises(InputError, match="can not be read .*utf-8.*: save it as CSV in UTF-8"):
        read_folder(place)
    assert len(read_folder(place, n=5)) == 5
