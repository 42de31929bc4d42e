"""Two processes and one folder: the second is refused in one line, the first goes on, and a killed one is resumed."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from probes.__main__ import main
from probes.position.norms_study import NormsMeasurement

ASKED = ["norms", "--dataset", "shapes", "--n", "12", "--batch", "4", "--model", "tiny-llava"]

CHILD = '''
import sys
import time
from pathlib import Path

from probes.__main__ import main
from probes.position.norms_study import NormsMeasurement
from probes.study.run import measured_samples

folder, batches, inner = Path(sys.argv[1]), [], NormsMeasurement.__call__


def held(self, samples):
    """Measure one batch, then wait in the second one until somebody says go."""
    batches.append(1)
    if len(batches) == 2:
        (folder / "held").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return inner(self, samples)


measured_samples.__wrapped__.__kwdefaults__["flush_seconds"] = 0.0
NormsMeasurement.__call__ = held
sys.exit(main(sys.argv[2:]))
'''


def files_of(out):
    """What a study has written for people, by name, but for what says when it was made."""
    return {path.name: pd.read_parquet(path) for path in sorted(out.glob("*.parquet"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tables of a study that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main([*ASKED, "--out", str(out)]) == 0
    return files_of(out)


@pytest.fixture
def first(tmp_path):
    """A process in the middle of its second batch, and its folder."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), *ASKED, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (tmp_path / "held").exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.02)
    yield process, out
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_the_second_is_refused_in_one_line_and_the_first_ends_or_is_resumed_to_the_bit(
    first, whole, killed, capsys, monkeypatch, tmp_path
):
    process, out = first
    for option, line in (("--resume", "another process is writing to"), (None, "holds a study: go on with it by")):
        capsys.readouterr()
        assert main([*ASKED, "--out", str(out), *([option] if option else [])]) == 2
        said = [own for own in capsys.readouterr().err.splitlines() if "error" in own.lower() or line in own]
        assert len(said) == 1 and line in said[0] and process.poll() is None
    if killed:
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        inner, batches = NormsMeasurement.__call__, []
        monkeypatch.setattr(
            NormsMeasurement, "__call__", lambda self, samples: batches.append(1) or inner(self, samples)
        )
        assert main([*ASKED, "--out", str(out), "--resume"]) == 0
        assert len(batches) == 2  # of three: the first one was kept
    else:
        (tmp_path / "go").touch()
        assert process.wait(120) == 0, process.communicate()[1]
    own = files_of(out)
    assert own.keys() == whole.keys() and own
    for name, table in whole.items():
        pd.testing.assert_frame_equal(own[name], table, check_exact=True)
