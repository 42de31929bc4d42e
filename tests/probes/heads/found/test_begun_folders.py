"""A folder of found heads: an error before anything is kept leaves it as it was, and none takes away what is kept."""

import multiprocessing

import pytest

from interp.errors import InputError
from interp.store.folder import OutputFolder
from probes.heads.found.saved import begun_folder

STUDY, ASKED = "found heads", {"rule": "fdr"}


def broken(place, *, resume=False, keep="", error=InputError, **asked):
    with (
        pytest.raises(error, match="scoring fails"),
        begun_folder(OutputFolder(place), STUDY, resume=resume, asked={**ASKED, **asked}),
    ):
        if keep:
            OutputFolder(place / "scores").write_json(keep, {})
        raise error("scoring fails")


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt, MemoryError])
def test_a_new_folder_in_which_nothing_was_kept_is_gone(tmp_path, error):
    broken(tmp_path / "out" / "found", error=error)
    assert not (tmp_path / "out" / "found").exists()
    broken(tmp_path / "out" / "found", rule="elbow")  # may be begun anew, and otherwise


def test_an_empty_folder_is_empty_again_and_stays(tmp_path):
    broken(tmp_path)
    assert tmp_path.is_dir() and not list(tmp_path.iterdir())


def test_scores_that_were_kept_stay_and_are_gone_on_with_alone(tmp_path):
    broken(tmp_path, keep="probe.npz")
    with pytest.raises(InputError, match="resume=True"), begun_folder(OutputFolder(tmp_path), STUDY, resume=False):
        pass
    broken(tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [".lock", "manifest.json", "probe.npz"]


def test_a_folder_that_was_begun_before_is_not_taken_back_by_what_is_refused(tmp_path):
    with begun_folder(OutputFolder(tmp_path), STUDY, resume=False, asked=ASKED):
        pass
    broken(tmp_path, resume=True)
    with (
        pytest.raises(InputError, match="was begun otherwise"),
        begun_folder(OutputFolder(tmp_path), STUDY, resume=True, asked={"rule": "elbow"}),
    ):
        pass
    assert (tmp_path / "manifest.json").is_file()


def begin(place, begun, end):
    with begun_folder(OutputFolder(place), STUDY, resume=False, asked=ASKED):
        begun.set()
        end.wait(60)


def test_a_folder_that_another_process_writes_to_is_refused_also_to_go_on_with(tmp_path):
    context = multiprocessing.get_context("forkserver")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=begin, args=(tmp_path / "out", begun, end))
    process.start()
    assert begun.wait(60)
    with (
        pytest.raises(InputError, match="another process is writing to .*out'"),
        begun_folder(OutputFolder(tmp_path / "out"), STUDY, resume=True, asked=ASKED),
    ):
        pytest.fail("two processes write at once")
    end.set()
    process.join(60)
    with begun_folder(OutputFolder(tmp_path / "out"), STUDY, resume=True, asked=ASKED):
        pass
