"""A folder holds the files of one run, all of the new one or all of the old one, with the rights that users want."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import stat
from contextlib import nullcontext

import pytest

from interp.cli import Parser, run
from interp.errors import InputError
from interp.store.folder import OutputFolder
from interp.store.guard import MANIFEST


def held(path):
    return {file.name: file.read_text() for file in sorted(path.iterdir())}


def fail(path):
    raise OSError(28, "No space left on device")


def test_that_files_written_as_one_appear_together(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    with folder.as_one():
        folder.write_text("a.txt", "1")
        folder.write_text("b.txt", "2")
        assert not {"a.txt", "b.txt"} & set(held(folder.path))
    assert held(folder.path) == {"a.txt": "1", "b.txt": "2"}


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), ValueError("x"), InputError("y")])
def test_that_a_run_that_fails_leaves_the_run_before_it_as_it_was(tmp_path, error):
    folder = OutputFolder(tmp_path)
    with folder.as_one():
        folder.write_text("a.txt", "old")
        folder.write_text("b.txt", "old")

    def writer(path):
        path.write_text("half")
        raise error

    with pytest.raises((InputError, type(error))), folder.as_one():
        folder.write_text("a.txt", "new")
        folder.write("b.txt", writer)
    assert held(tmp_path) == {"a.txt": "old", "b.txt": "old"}
    folder.write_text("a.txt", "alone")
    assert held(tmp_path) == {"a.txt": "alone", "b.txt": "old"}


def test_that_a_file_written_twice_as_one_is_the_second(tmp_path):
    folder = OutputFolder(tmp_path)
    with folder.as_one(), folder.as_one():
        folder.write_text("a.txt", "first")
        folder.write_text("a.txt", "second")
    assert held(tmp_path) == {"a.txt": "second"}


def test_that_a_place_taken_by_a_folder_is_told_by_name(tmp_path):
    (tmp_path / "a.txt").mkdir()
    folder = OutputFolder(tmp_path)
    with pytest.raises(InputError, match=r"a.txt' can not be written"), folder.as_one():
        folder.write_text("a.txt", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_that_files_have_the_rights_that_the_users_mask_leaves(tmp_path, mask):
    before = os.umask(mask)
    try:
        path = OutputFolder(tmp_path).write_text("a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_that_an_analysis_that_can_not_be_written_leaves_the_earlier_one_whole(tmp_path, monkeypatch):
    from interp import HookedVLM, analyze
    from interp.datasets.synthetic.shapes import shapes

    vlm = HookedVLM.from_pretrained("shapes-vlm")
    one, other = shapes(2, split="test", seed=5, kinds=("relation",))
    analyze(one.image, one.question, model=vlm, out=tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    real = OutputFolder.write_figure

    def write_figure(self, name, figure):
        return self.write(name, fail) if "heat" in name else real(self, name, figure)

    monkeypatch.setattr(OutputFolder, "write_figure", write_figure)
    with pytest.raises(InputError, match="heatmaps.png' can not be written"):
        analyze(other.image, other.question, model=vlm, out=tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_that_a_signal_between_two_files_waits_for_the_others(tmp_path, monkeypatch, capsys, name):
    """All files of a report are there, and the command has ended by the signal."""
    folder, moved, replace = OutputFolder(tmp_path / "out"), [], os.replace
    folder.write_json("manifest.json", {})

    def move(source, target):
        replace(source, target)
        moved.append(os.path.basename(target))
        if moved == ["a.txt"]:
            os.kill(os.getpid(), getattr(signal, name))

    def report(options):
        with folder.as_one():
            for letter in "abc":
                folder.write_text(f"{letter}.txt", "new")
            monkeypatch.setattr(os, "replace", move)
        pytest.fail("it went on behind a signal")

    parser = Parser(prog="test")
    parser.set_defaults(command=report)
    assert run(parser, []) == 128 + getattr(signal, name)
    assert held(folder.path) == {"manifest.json": "{}\n", **dict.fromkeys(["a.txt", "b.txt", "c.txt"], "new")}
    assert capsys.readouterr().err == f"stopped; {str(folder.path)!r} keeps what was measured: go on with --resume\n"


def test_that_a_stop_between_measuring_and_the_report_tells_what_is_kept(tmp_path, monkeypatch, capsys):
    from interp.__main__ import main

    monkeypatch.setattr(
        "interp.overlap.study.examine.examine_overlap", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )
    out = tmp_path / "out"
    asked = ["overlap", "--dataset", "shapes", "--n", "4", "--draws", "1", "--layers", "3", "--out", str(out)]
    assert main(asked) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.endswith(f"stopped; {str(out)!r} keeps what was measured: go on with --resume\n")


def move_slowly(path, text, ready, end):
    """Write two files as one, the second of which is moved into place when it is told so."""
    replace = os.replace

    def move(source, target):
        replace(source, target)
        if str(target).endswith("a.txt"):
            ready.set()
            end.wait(60)

    os.replace = move
    folder = OutputFolder(path)
    with folder.as_one():
        folder.write_text("a.txt", text)
        folder.write_text("b.txt", text)


def test_that_two_processes_that_write_at_once_do_not_mix_their_files(tmp_path):
    context = multiprocessing.get_context("forkserver")
    ready, end, second, go = (context.Event() for _ in range(4))
    go.set()
    first = context.Process(target=move_slowly, args=(tmp_path, "first", ready, end))
    other = context.Process(target=move_slowly, args=(tmp_path, "second", second, go))
    first.start()
    assert ready.wait(60)
    other.start()
    assert not second.wait(3), "it moved its files while the first was moving"
    end.set()
    for process in (first, other):
        process.join(60)
        assert process.exitcode == 0
    assert held(tmp_path) == {"a.txt": "second", "b.txt": "second"}


def test_that_files_are_moved_where_no_folder_can_be_locked(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with (folder := OutputFolder(tmp_path)).as_one():
        folder.write_text("a.txt", "x")
    assert held(tmp_path) == {"a.txt": "x"}


@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "kept"])
def test_a_report_is_not_written_where_its_study_was_deleted_meanwhile(tmp_path, gone):
    place = tmp_path / "run"
    place.mkdir()
    (place / MANIFEST).write_text("{}")
    folder = OutputFolder(place)
    with pytest.raises(InputError, match="no longer holds the study") if gone else nullcontext():
        with folder.told_kept():
            if gone:
                shutil.rmtree(place)
            with folder.as_one():
                folder.write_text("report.html", "said")
    assert place.exists() is not gone and (place / "report.html").exists() is not gone
