"""Whatever goes wrong, a command ends in one line and no traceback, and says once what a full disk keeps."""

import errno
import os
import subprocess
import sys

import pytest

from interp.__main__ import main
from interp.commands import overlap as overlap_command
from interp.datasets.synthetic.shapes import shapes
from probes.__main__ import main as probes

SHORT = ["--model", "tiny-llava", "--prompt", "paper"]


@pytest.fixture
def photo(tmp_path):
    shapes(1)[0].image.save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.mark.parametrize(
    "error, said, code",
    [
        (ValueError("a\nb"), "unexpected ValueError: a b; ", 1),
        (RecursionError("maximum recursion depth exceeded"), "unexpected RecursionError: maximum recursion depth", 1),
        (RuntimeError("x" * 5000), "unexpected RuntimeError: xxx", 1),
        (KeyError("size"), "unexpected KeyError: 'size'; ", 1),
        (MemoryError(), "memory ran out: ", 2),
    ],
)
def test_what_nobody_foresaw_is_one_line(monkeypatch, capsys, photo, error, said, code):
    error.add_note("'out' keeps what was measured: go on with --resume")

    def breaks(options):
        raise error

    monkeypatch.setattr(overlap_command, "load", breaks)
    asked = ["overlap", "--dataset", "shapes", "--n", "4", "--out", os.path.dirname(photo) + "/out"]
    assert main(asked) == code
    line = capsys.readouterr().err
    assert line.startswith(f"error: {said}") and line.count("\n") == 1 and len(line) < 600
    assert line.rstrip().endswith("go on with --resume")
    with pytest.raises(type(error)):
        main([*asked, "--debug"])


@pytest.mark.parametrize(
    "name", ["https://example.org/mug.jpg", "HTTPS://x.org/a.png", "ftp://x/a.jpg", "data:image/png;base64,AAAA"]
)
def test_an_address_as_photo_is_shown_as_it_was_typed(name, capsys):
    assert main(["analyze", name, "Where is the mug?"]) == 2
    line = capsys.readouterr().err
    assert f"{name!r} is an address, not a file: download the photo" in line and line.count("\n") == 1


def test_a_photo_that_is_a_pipe_or_a_program_for_ghostscript_is_refused(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.jpg")
    shapes(1)[0].image.save(tmp_path / "eps.jpg", "EPS")
    mark = tmp_path / "called"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (tmp_path / "gs").chmod(0o755)
    for name, said in (("pipe.jpg", "is a pipe or a device"), ("eps.jpg", "is no image of a format")):
        place = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        run = [sys.executable, "-m", "interp", "analyze", str(tmp_path / name), "Where?"]
        done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, **place}, timeout=100)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not mark.exists()


def full_after(monkeypatch, count):
    """A disk that is full after so many files were written."""
    replace, calls = os.replace, iter(range(10_000))

    def full(source, target):
        if next(calls) >= count:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize(
    "count, said",
    [
        (0, "manifest.json' can not be written (No space left on device): free the disk or change --out\n"),
        (1, "keeps no sample yet: once there is room, go on with --resume\n"),
        (
            2,
            "can not be written (No space left on device): free the disk or change --out ; what was measured is kept: ",
        ),
    ],
)
def test_a_full_disk_tells_once_what_is_kept(tmp_path, monkeypatch, capsys, count, said):
    asked = ["norms", "--dataset", "shapes", "--n", "4", "--out", str(tmp_path / "out"), *SHORT]
    with monkeypatch.context() as disk:
        full_after(disk, count)
        assert probes(asked) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines(keepends=True) if line.startswith("error: ")]
    assert said in line and line.count("No space left") == 1
    assert probes(asked if count == 0 else [*asked, "--resume"]) == 0


@pytest.mark.parametrize("device", ["banana", "cpu:x", "cuda:9999", "", "0x0"])
@pytest.mark.parametrize("model", ["tiny-llava", "shapes-vlm"])
def test_a_device_that_is_not_there_is_one_line(photo, tmp_path, capsys, device, model):
    for command in (
        ["analyze", photo, "Where is the mug?", "--out", str(tmp_path / "out")],
        ["overlap", "--dataset", "shapes", "--n", "4", "--out", str(tmp_path / "out")],
    ):
        assert main([*command, "--model", model, "--device", device]) == 2
        line = capsys.readouterr().err
        assert line.count("error: ") == 1 and f"device {device!r}" in line and "fault of ours" not in line
