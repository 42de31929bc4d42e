"""Seals: a shard of another study, or one that was changed after it was written, is never taken for ours."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from interp.errors import InputError
from interp.store.seals import KEY, check_seal, sealed
from interp.study.run import read_study
from tests.helpers.studies import SETTINGS, Asked, broken_off, same, study


def rewritten(path, change):
    """A shard changed by hand, its seal kept."""
    table = pq.read_table(path)
    other = change(table).replace_schema_metadata(table.schema.metadata)
    pq.write_table(other, path, write_page_checksum=True)


def other_numbers(table):
    place = table.column_names.index("share")
    return table.set_column(place, "share", pc.add(table.column("share"), 1e-12))


def other_gap(table):
    place = table.column_names.index("count")
    return table.set_column(place, "count", pc.if_else(pc.is_null(table.column("count")), 0, table.column("count")))


def other_array(table):
    place = table.column_names.index("profile")
    rows = [[*own[:-1], 99.0] for own in table.column("profile").to_pylist()]
    return table.set_column(place, "profile", pa.array(rows, pa.list_(pa.float32())))


def other_word(table):
    place = table.column_names.index("id")
    return table.set_column(place, "id", pa.array(["s-999"] * len(table)))


CHANGES = {
    "a number moved by a rounding": (other_numbers, "share"),
    "a gap filled with zero": (other_gap, "count"),
    "one number of an array": (other_array, "profile"),
    "another id": (other_word, "id"),
    "a row twice": (lambda table: pa.concat_tables([table, table.slice(0, 1)]), ""),
    "rows in another order": (lambda table: table.take(list(range(len(table)))[::-1]), ""),
    "a row less": (lambda table: table.slice(1), ""),
    "a column less": (lambda table: table.drop_columns("right"), "right"),
    "a column more": (lambda table: table.append_column("new", pa.array([1] * len(table))), "new"),
    "a column renamed": (
        lambda table: table.rename_columns([{"word": "term"}.get(n, n) for n in table.column_names]),
        "",
    ),
    "numbers of another kind": (
        lambda table: table.set_column(3, "turn", table.column("turn").cast(pa.float64())),
        "turn",
    ),
}


@pytest.mark.parametrize("change, column", CHANGES.values(), ids=CHANGES)
def test_that_a_shard_changed_by_hand_is_refused_by_name_and_can_be_measured_again(tmp_path, change, column):
    broken_off(tmp_path, 4)
    shard = tmp_path / "shards" / "part-00001.parquet"
    rewritten(shard, change)
    for read in (lambda: study(tmp_path, resume=True), lambda: read_study(tmp_path, partial=True)):
        with pytest.raises(InputError, match=f"part-00001.parquet' was changed .*{column}.*: delete it and resume"):
            read()
    shard.unlink()
    same(study(tmp_path, resume=True), study(None))


def test_that_a_shard_of_the_same_samples_under_another_setting_is_refused(tmp_path):
    for name in ("a", "b"):
        broken_off(tmp_path / name, 4, settings=SETTINGS | {"model": name})
    shard = "shards/part-00003.parquet"
    shutil.copy(tmp_path / "b" / shard, tmp_path / "a" / shard)
    with pytest.raises(InputError, match="part-00003.parquet' is of another study than the manifest beside it"):
        study(tmp_path / "a", settings=SETTINGS | {"model": "a"}, resume=True)


def test_that_a_manifest_put_in_the_place_of_another_is_refused(tmp_path):
    for name in ("a", "b"):
        study(tmp_path / name, settings=SETTINGS | {"model": name}, flush_seconds=0)
    shutil.copy(tmp_path / "b" / "manifest.json", tmp_path / "a" / "manifest.json")
    with pytest.raises(InputError, match="of another study than the manifest beside it"):
        read_study(tmp_path / "a")


def test_that_a_manifest_edited_by_hand_no_longer_fits_its_shards(tmp_path):
    study(tmp_path, flush_seconds=0)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"]["seed"] = 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="of another study"):
        read_study(tmp_path)


def test_that_a_part_of_the_columns_is_checked_as_far_as_it_is_read(tmp_path):
    study(tmp_path, flush_seconds=0)
    rewritten(tmp_path / "shards" / "part-00000.parquet", other_numbers)
    read_study(tmp_path, columns=["count"])
    with pytest.raises(InputError, match="column 'share'"):
        read_study(tmp_path, columns=["share"])


@pytest.mark.parametrize("seal", [b"", b"{", b"[]", b"{}", b'{"study": "a", "rows": 1, "columns": 3}', b"[" * 100000])
def test_that_a_seal_that_is_none_is_refused(tmp_path, seal):
    table = pa.table({"x": [1.0]}).replace_schema_metadata({KEY: seal})
    with pytest.raises(InputError, match="has no seal"):
        check_seal(tmp_path / "part-00000.parquet", table, ["x"], "a")


def test_that_a_seal_is_of_the_values_and_not_of_how_they_are_stored(tmp_path):
    rows = pa.table(
        {
            "text": ["a", None, "", "a"],
            "number": [1.5, None, float("nan"), -0.0],
            "flag": [True, None, False, True],
            "array": pa.array([[1.0, 2.0], None, [], [np.nan]], pa.list_(pa.float32())),
            "none": pa.nulls(4),
        }
    )
    whole = sealed(rows, "a")
    for stored in (whole, pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)])):
        path = tmp_path / "rows.parquet"
        pq.write_table(stored, path, row_group_size=2, compression="zstd")
        check_seal(path, pq.read_table(path), rows.column_names, "a")


def test_that_a_folder_deleted_while_a_study_runs_is_noticed_and_not_made_anew(tmp_path):
    out = tmp_path / "out"

    def ask(batch):
        if out.exists() and len(list((out / "shards").glob("part-*"))) == 3:
            shutil.rmtree(out)
        return Asked()(batch)

    with pytest.raises(InputError, match="was deleted, moved or replaced while it was written to") as refused:
        study(out, ask=ask, flush_seconds=0)
    assert not out.exists()
    assert not any("resume" in note for note in getattr(refused.value, "__notes__", []))


def test_that_a_folder_replaced_by_another_while_a_study_runs_is_left_as_it_is(tmp_path):
    out = tmp_path / "out"

    def ask(batch):
        if len(list((out / "shards").glob("part-*"))) == 3:
            out.rename(tmp_path / "away")
            (out / "shards").mkdir(parents=True)
        return Asked()(batch)

    with pytest.raises(InputError, match="deleted, moved or replaced"):
        study(out, ask=ask, flush_seconds=0)
    assert not list((out / "shards").iterdir())
    assert len(read_study(tmp_path / "away", partial=True)[0])
