"""What others wrote into a study's folder: of wrong types, through links or pipes, it is refused by name."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interp.errors import InputError
from interp.model.places import resolve
from interp.store.folder import OutputFolder
from interp.store.names import can_be_a_path, given_path
from interp.store.parsing import read_arrays
from interp.store.seals import sealed, study_seal
from interp.study.run import _of_numbers, read_study, with_runs
from tests.helpers.studies import SETTINGS, broken_off, same, study

WRONG = {
    "samples as text": {"samples": "60"},
    "samples as a truth value": {"samples": True},
    "no samples": {"samples": None},
    "samples as a fraction": {"samples": 60.0},
    "a digest that is a number": {"digest": 5},
    "a batch that is a dict": {"batch": {}},
    "settings in a list": {"settings": [1]},
    "settings that are text": {"settings": "x"},
    "runs that are a number": {"settings": SETTINGS | {"resumed": 5}},
    "a run that is a number": {"settings": SETTINGS | {"resumed": [5]}},
    "a run begun by a list": {"settings": SETTINGS | {"begun": [5], "command": "x"}},
    "a command that is a dict": {"settings": SETTINGS | {"begun": "2026", "command": {}}},
}


def forge(folder, **changes):
    """Change a manifest, and seal the shards anew, as one can who makes a whole study up."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def put(folder, name, values, kind=None):
    """Put values of another type into a column of the first shard, under a seal that fits where one can be made."""
    shard = folder / "shards" / "part-00000.parquet"
    table = pq.read_table(shard)
    table = table.set_column(table.column_names.index(name), name, pa.array([values] * table.num_rows, kind))
    try:
        table = sealed(table, study_seal(_of_numbers(json.loads((folder / "manifest.json").read_text()))))
    except pa.ArrowException:
        pass  # no seal can be made of such a column
    pq.write_table(table, shard, write_page_checksum=True)


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_manifest_whose_parts_are_of_other_types_is_no_manifest(tmp_path, changes):
    broken_off(tmp_path, 4)
    forge(tmp_path, **changes)
    for read in (lambda: study(tmp_path, resume=True), lambda: read_study(tmp_path), lambda: with_runs({}, tmp_path)):
        with pytest.raises(InputError, match=r"manifest.json' is no manifest of a study .*: name another folder"):
            read()


@pytest.mark.parametrize(
    "name, values, kind",
    [
        ("_place", "x", None),
        ("_place", 0.5, None),
        ("_place", None, pa.int64()),
        ("id", ["a"], None),
        ("id", None, pa.string()),
        ("key", b"\xff", None),
        ("share", {"a": 1}, None),
        ("share", b"\xff", None),
        ("share", [["x"]], None),
        ("share", 10**15, pa.timestamp("us")),
    ],
)
def test_a_shard_with_columns_that_no_study_writes_is_refused_whatever_its_seal_says(tmp_path, name, values, kind):
    study(tmp_path, flush_seconds=0)
    put(tmp_path, name, values, kind)
    for read in (lambda: study(tmp_path, resume=True), lambda: read_study(tmp_path)):
        with pytest.raises(InputError, match=f"part-00000.parquet' is no shard that a study wrote, .*'{name}'"):
            read()


@pytest.mark.parametrize("place", [-1, 60, 10**9])
def test_a_shard_of_samples_that_the_study_does_not_have_is_refused(tmp_path, place):
    study(tmp_path, flush_seconds=0)
    put(tmp_path, "_place", place)
    for read in (lambda: study(tmp_path, resume=True), lambda: read_study(tmp_path)):
        with pytest.raises(InputError, match=f"at place {place}, and the study has 60 samples"):
            read()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    for part, says in (("manifest.json", "a pipe or a device"), ("shards/part-00000.parquet", "is no file")):
        folder = tmp_path / part[:5]
        broken_off(folder, 4)
        (folder / part).unlink()
        os.mkfifo(folder / part)
        with pytest.raises(InputError, match=says):
            read_study(folder, partial=True)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="no file"):
        read_arrays(tmp_path / "pipe.npz")


def test_no_link_in_a_study_leads_its_writing_elsewhere(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ".part-kept").write_text("mine")
    broken_off(tmp_path / "a", 4)
    (tmp_path / "a" / "shards").rename(tmp_path / "moved")
    (tmp_path / "a" / "shards").symlink_to(victim)
    with pytest.raises(InputError, match="shards' is a link to .*victim"):
        study(tmp_path / "a", resume=True)
    assert [path.name for path in victim.iterdir()] == [".part-kept"]
    broken_off(tmp_path / "b", 4)
    (tmp_path / "b" / "shards" / ".lock").unlink()
    (tmp_path / "b" / "shards" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="can be locked"):
        study(tmp_path / "b", resume=True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_with_the_name_of_a_file_that_was_being_written_is_left_alone(tmp_path):
    broken_off(tmp_path, 4)
    (tmp_path / "shards" / ".part-mine").mkdir()
    same(study(tmp_path, resume=True), study(None))


@pytest.mark.parametrize("to", ["loop", "nowhere"])
def test_a_folder_behind_a_link_that_leads_nowhere_is_refused_before_any_work(tmp_path, to):
    (tmp_path / "loop").symlink_to(to)
    for path in (tmp_path / "loop", tmp_path / "loop" / "x"):
        with pytest.raises(InputError, match="link that leads nowhere"):
            OutputFolder(path)


def test_text_that_is_in_no_encoding_is_written_by_number_and_json_keeps_it(tmp_path):
    path = OutputFolder(tmp_path).write_json("a.json", {"photo": "\udcff.png"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"photo": "\udcff.png"}


@pytest.mark.parametrize("path", ["x" * 256, "/".join(["y" * 200] * 30), "a\0b", "杯" * 86])
def test_a_path_that_no_system_holds_is_refused_on_a_short_line(path):
    assert not can_be_a_path(path)
    with pytest.raises(InputError, match="holds what no path can") as refused:
        given_path(path)
    assert len(str(refused.value)) < 300
    with pytest.raises(Exception, match="no model") as refused:
        resolve(f"owner/{path}")
    assert len(str(refused.value)) < 400


def test_arrays_are_read_as_they_were_saved_and_damage_is_told_in_one_way(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.arange(3.0), two=np.array("text"))
    kept = read_arrays(tmp_path / "a.npz")
    assert kept["one"].tolist() == [0, 1, 2] and str(kept["two"]) == "text"
    whole = (tmp_path / "a.npz").read_bytes()
    np.save(tmp_path / "single.npy", np.ones(2))
    np.savez(tmp_path / "objects.npz", one=np.array([{}], dtype=object))
    header = whole.replace(b"'shape': (3,)", b"'shape': (9**9,)"[:13])
    contents = {
        "empty": b"",
        "cut off": whole[: len(whole) // 2],
        "no archive": b"left",
        "a header that lies": header,
        "one array": (tmp_path / "single.npy").read_bytes(),
        "pickled": (tmp_path / "objects.npz").read_bytes(),
    }
    for what, content in contents.items():
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises((ValueError, OSError)):
            read_arrays(tmp_path / "b.npz")
            pytest.fail(what)
