"""What the tests of models share: a folder that a small model was saved in, and a copy of it that may be broken."""

import shutil
from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.model().save_pretrained(folder)
    tiny.processor().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))
