"""A folder holds the files of one run, all of the new one or all of the old one, with the rights that users want."""

import os
import stat

import pytest

from interp.errors import InputError
from interp.store.folder import OutputFolder


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
