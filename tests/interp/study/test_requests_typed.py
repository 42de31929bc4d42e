"""Type checkers know what a job takes: its two things, by place or by name, and the fields of its request."""

import subprocess
import sys

import pytest

CALLS = """
from interp import AnalyzeRequest, analyze

analyze("photo.jpg", "Where?")
analyze(photo="photo.jpg", question="Where?")
analyze("photo.jpg", question="Where?", tokens="all")
analyze("photo.jpg", "Where?", tokens="all").answer
analyze("photo.jpg", "Where?", request=AnalyzeRequest(tokens="all"))
analyze("photo.jpg", "Where?", tokenz="all")
analyze("photo.jpg", "Where?", tokens=3)
"""
WRONG = {"9", "10"}
"""The lines that no call can be right in."""


@pytest.mark.slow
def test_a_call_is_read_as_it_would_run(repo, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "calls.py").write_text(CALLS)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "calls.py")]
    said = subprocess.run(command, cwd=repo, capture_output=True, text=True).stdout
    assert {line.split(":")[1] for line in said.splitlines() if ": error:" in line} == WRONG, said
