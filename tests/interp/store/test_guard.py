"""A folder that holds something is not written into by something else, whoever asks."""

from pathlib import Path

import pytest

from interp.errors import InputError
from interp.store.guard import MANIFEST, refuse_begun, refuse_foreign, refuse_other

THEN = {"samples": 2, "digest": "a" * 64, "batch": 4, "settings": {"model": "one", "versions": {"torch": "2"}}}


def test_that_a_begun_study_needs_resume_in_the_folder_or_in_any_of_its_parts(tmp_path, monkeypatch):
    asked = {"parts": ("validation", "test"), "what": "an evaluation", "option": "--resume"}
    refuse_begun(tmp_path, resume=False)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / MANIFEST).touch()
    refuse_begun(tmp_path, resume=False)
    refuse_begun(tmp_path, resume=True, **asked)
    with pytest.raises(InputError, match="holds an evaluation: go on with it by --resume, or name another folder"):
        refuse_begun(tmp_path, resume=False, **asked)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"holds a study: go on with it by resume=True \(--resume\), or name another"):
        refuse_begun("~/test", resume=False)


def test_that_files_of_something_else_are_left_alone(tmp_path):
    refuse_foreign(tmp_path / "missing")
    refuse_foreign(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="holds files that are no study's: name a new or an empty folder"):
        refuse_foreign(tmp_path)
    (tmp_path / MANIFEST).touch()
    refuse_foreign(tmp_path)


@pytest.mark.parametrize("part", ("", "train", "probe-horizontal/train"))
def test_that_a_study_of_another_command_is_named(tmp_path, part):
    (tmp_path / "study" / part).mkdir(parents=True)
    manifest = tmp_path / "study" / part / MANIFEST
    for text, said in (
        ('{"settings": {"command": "python -m probes interchange --pairs 6"}}', r"command \(python -m probes interch"),
        ("{", "a study of another command: name a new"),
        ("[]", "a study of another command: name a new"),
    ):
        manifest.write_text(text)
        with pytest.raises(InputError, match=said):
            refuse_foreign(tmp_path / "study", ("test",))


def test_that_another_study_is_refused_with_each_difference():
    refuse_other(Path("out"), THEN, dict(THEN))
    now = {**THEN, "digest": "b" * 64, "settings": {"model": "one", "versions": {"torch": "3"}}}
    with pytest.raises(InputError) as raised:
        refuse_other(Path("out"), THEN, now)
    assert str(raised.value) == (
        "'out' holds another study: digest: was aaaaaaaaaa..., now bbbbbbbbbb...; versions.torch: was '2', now '3' "
        "(the digest is of the samples' content and order): resume with what it was begun with, or name another folder"
    )
