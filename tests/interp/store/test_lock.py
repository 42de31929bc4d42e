"""One process writes to the folder of a study: the lock dies with its process, and is never left out in silence."""

import errno
import fcntl
import multiprocessing
import os

import pytest

from interp.errors import InputError
from interp.store.shards import Shards


def hold(path, taken, end):
    with Shards(path).lock():
        taken.set()
        end.wait(60)


@pytest.fixture
def held(tmp_path):
    """A folder that another process writes to, the process, and what ends it."""
    context = multiprocessing.get_context("forkserver")
    taken, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "shards", taken, end))
    process.start()
    assert taken.wait(60)
    yield tmp_path / "shards", process, end
    process.kill()
    process.join()


@pytest.mark.parametrize("killed", [False, True])
def test_that_another_process_is_waited_for_and_not_once_it_has_ended_or_was_killed(held, killed):
    path, process, end = held
    with pytest.raises(InputError, match="another process is writing to .*: wait for it or name another folder"):
        with Shards(path).lock():
            pass
    process.kill() if killed else end.set()
    process.join()
    with Shards(path).lock():
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_that_a_disk_without_locks_is_refused_by_name(tmp_path, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(InputError, match=rf"shards' can be locked \({os.strerror(code)}\).*on another disk"):
        with Shards(tmp_path / "shards").lock():
            pytest.fail("it went on without a lock")


def test_that_a_network_disk_which_locks_only_what_is_open_for_writing_is_locked(tmp_path, monkeypatch):
    lock = fcntl.flock

    def flock(handle, how):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Shards(tmp_path / "shards").lock():
        with pytest.raises(InputError, match="another process is writing"):
            with Shards(tmp_path / "shards").lock():
                pass


def test_that_no_handle_is_left_open(tmp_path):
    count = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else pytest.skip("no list of handles")
    with Shards(tmp_path).lock():
        for _ in range(3):
            with pytest.raises(InputError):
                with Shards(tmp_path).lock():
                    pass
    assert len(os.listdir("/proc/self/fd")) == count
