"""A study survives kills, interrupts and full disks, and gives one table whatever happened on the way."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from studies import IDS, SAMPLES, SETTINGS, Asked, broken_off, kept, measure, same, start, study

from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.sample import Object
from interp.study.keys import content_key
from interp.study.run import read_study, with_runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The table of a study that nothing stopped, and the batches that it asked."""
    asked = Asked()
    return study(tmp_path_factory.mktemp("whole") / "out", ask=asked), asked.batches


@pytest.mark.slow
def test_that_ten_kills_at_any_moment_change_no_number_and_ask_nothing_again(tmp_path, whole):
    table, batches = whole
    out, log, draw = tmp_path / "out-0", tmp_path / "log", random.Random(7)
    left, exits = [], []
    while exits.count(-signal.SIGKILL) < 10:
        before = kept(out)
        process = start(out, log, pause=0.05, flush=draw.choice((0.0, 0.1)))
        lines = draw.randrange(5)
        while process.is_alive() and log.read_text().count("\n") < lines:
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.06))
        process.kill()
        process.join()
        asked = [line.split() for line in log.read_text().splitlines()]
        assert all(batch in batches for batch in asked)
        assert not before & {name for batch in asked for name in batch}
        assert kept(out) >= before
        left.append(len(kept(out)))
        exits.append(process.exitcode)
        if process.exitcode == 0:  # the machine was too busy to kill it in time: the kills go on in another folder
            same(read_study(out)[0], table)
            out = tmp_path / f"out-{len(exits)}"
    assert set(exits) <= {0, -signal.SIGKILL} and any(0 < count < len(SAMPLES) for count in left)
    known, rest = kept(out), Asked()
    same(study(out, ask=rest, resume=True), table)
    assert sorted([*known, *(name for batch in rest.batches for name in batch)]) == IDS


@pytest.mark.parametrize("die, stored", [("before manifest", 0), ("before part-00002", 4), ("after part-00002", 6)])
def test_that_a_kill_beside_a_rename_leaves_the_file_whole_or_absent(tmp_path, whole, die, stored):
    out = tmp_path / "out"
    process = start(out, tmp_path / "log", die=die)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(kept(out)) == stored
    same(study(out, resume=True), whole[0])
    assert not list((out / "shards").glob(".part-*"))


def test_that_importing_a_study_loads_no_heavy_library():
    loaded = subprocess.check_output(
        [sys.executable, "-c", "import interp.study.run, sys; print(*sys.modules)"], text=True
    )
    assert not {"torch", "transformers", "pandas", "pyarrow", "matplotlib"} & set(loaded.split())


def test_that_rows_come_in_the_order_of_the_samples_then_as_measured(whole):
    table, _ = whole
    assert list(table.columns[:3]) == ["id", "key", "turn"]
    assert list(zip(table["id"], table["turn"], strict=True)) == [
        (sample.id, turn) for sample in SAMPLES for turn in range(1 + sample.meta["row"] % 3)
    ]
    assert list(table["key"].unique()) == [content_key(sample) for sample in SAMPLES]
    assert table.index.equals(pd.RangeIndex(len(table)))


def test_that_batches_hold_questions_of_like_length_longest_first_and_of_equals_in_order(whole):
    asked = [name for batch in whole[1] for name in batch]
    lengths = {sample.id: len(sample.question) for sample in SAMPLES}
    assert sorted(asked) == IDS
    assert all((-lengths[one], one) < (-lengths[other], other) for one, other in pairwise(asked))


@pytest.mark.parametrize("flush_seconds", [0.0, 1000.0])
def test_that_shards_hold_whole_batches_and_their_number_changes_no_type(tmp_path, whole, flush_seconds):
    import pyarrow.parquet as pq

    same(study(tmp_path, flush_seconds=flush_seconds), whole[0])
    parts = sorted((tmp_path / "shards").glob("*.parquet"))
    assert len(parts) == (30 if flush_seconds == 0.0 else 1)
    held = [dict.fromkeys(pq.ParquetFile(part).read().column("id").to_pylist()) for part in parts]
    assert [name for ids in held for name in ids] == [name for batch in whole[1] for name in batch]
    assert flush_seconds or [list(ids) for ids in held] == whole[1]


def test_that_types_survive_gaps_and_shards_without_any_value(whole):
    types = {name: str(kind) for name, kind in whole[0].dtypes.items()}
    assert types["word"] == types["id"]  # text, though the first shards had None only
    assert types | {"id": "", "key": "", "word": ""} == {
        "id": "",
        "key": "",
        "turn": "int64",
        "share": "float64",
        "narrow": "float32",
        "count": "Int64",
        "right": "boolean",
        "word": "",
        "never": "object",
        "profile": "object",
        "rare": "object",
    }
    row = whole[0].query("id == 's-045'")
    assert row["count"].tolist() == [10**15 + 45] and row["right"].tolist() == [True]
    assert whole[0]["never"].isna().all() and whole[0]["word"].isna().any()


def test_that_arrays_are_arrays_again_to_the_bit_beside_gaps_too(whole):
    samples, given = {sample.id: sample for sample in SAMPLES}, {}
    for batch in whole[1]:
        for name, rows in zip(batch, measure([samples[name] for name in batch]), strict=True):
            given |= {(name, row["turn"]): row for row in rows}
    table = whole[0]
    for name, turn, profile, rare in table[["id", "turn", "profile", "rare"]].itertuples(index=False):
        row = given.pop((name, turn))
        assert profile.dtype == np.float32 and profile.tobytes() == row["profile"].tobytes()
        assert (rare is None) == (row["rare"] is None)
        assert rare is None or (rare.dtype == np.float32 and rare.tobytes() == row["rare"].tobytes())
    assert not given and table["rare"].isna().any() and table["rare"].notna().any()


@pytest.mark.parametrize(
    "values, said",
    [
        ([np.zeros(2, np.float32), np.zeros(3, np.float32)], "'x' holds float32 array of 2 and float32 array of 3"),
        ([np.zeros(2, np.float32), 1], "'x' holds float32 array of 2 and int"),
        ([np.zeros(2, np.float32), np.zeros(2)], "a ndarray is no plain"),
        ([np.zeros((1, 2), np.float32)] * 2, "a ndarray is no plain"),
        ([np.zeros(2, np.int64)] * 2, "a ndarray is no plain"),
    ],
)
def test_that_arrays_of_other_lengths_kinds_and_shapes_are_refused(tmp_path, values, said):
    def give(asked):
        return [[{"x": values[sample.meta["row"]]}] for sample in asked]

    with pytest.raises(InputError, match=said):
        study(tmp_path, SAMPLES[:2], give)
    assert kept(tmp_path) == set()


def test_that_the_length_of_an_array_is_kept_across_a_resume(tmp_path):
    def give(last):
        return lambda batch: [[{"x": np.zeros(last if len(s.question) == 3 else 4, np.float32)}] for s in batch]

    for resumed in (False, True):
        with pytest.raises(InputError, match="'x' holds float32 array of 4 and float32 array of 5"):
            study(tmp_path, ask=give(5), resume=resumed)
    assert 0 < len(kept(tmp_path)) < 60
    assert np.stack(study(tmp_path, ask=give(4), resume=True)["x"]).shape == (60, 4)


@pytest.mark.parametrize(
    "values, kind",
    [
        ((1, 2.5, None), "float64"),
        ((np.float32(0.1), 0.1, 2), "float64"),
        ((np.int8(3), 4, np.uint64(5)), "int64"),
        ((np.bool_(True), False, True), "bool"),
        ((float("nan"), float("inf"), None), "float64"),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_that_numbers_of_one_column_share_a_type_that_holds_each_exactly(tmp_path, values, kind, batch):
    def give(asked):
        return [[{"x": values[sample.meta["row"]]}] for sample in asked]

    table = study(tmp_path, SAMPLES[:3], give, batch=batch, flush_seconds=0.0)
    assert str(table["x"].dtype) == kind
    assert [None if x != x else x for x in table["x"]] == [None if x is None or x != x else x for x in values]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("out of memory")])
def test_that_an_interrupt_keeps_what_was_measured_goes_on_up_and_says_how_to_resume(tmp_path, whole, error):
    with pytest.raises(type(error)) as raised:
        study(tmp_path, ask=Asked(7, error), flush_seconds=1000.0)
    assert raised.value is error
    assert error.__notes__ == [f"{str(tmp_path)!r} keeps what was measured: go on with resume=True (--resume)"]
    assert kept(tmp_path) == {name for batch in whole[1][:7] for name in batch}
    rest = Asked()
    same(study(tmp_path, ask=rest, resume=True), whole[0])
    assert rest.batches == whole[1][7:]


def test_that_a_full_disk_is_one_clear_error_and_loses_only_what_was_not_written(tmp_path, whole, monkeypatch):
    sync, calls = os.fsync, iter(range(1000))

    def full(handle):
        if next(calls) >= 10:  # two for the manifest, then two for each shard
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"part-00004.parquet' can not be written \(No space left") as raised:
        study(tmp_path, flush_seconds=0.0)
    (note,) = raised.value.__notes__
    assert note == (
        f"{str(tmp_path)!r} keeps what was measured before, and not the {len(whole[1][4])} samples since the last "
        "writing: once there is room, go on with resume=True (--resume)"
    )
    monkeypatch.undo()
    assert kept(tmp_path) == {name for batch in whole[1][:4] for name in batch}
    same(study(tmp_path, resume=True), whole[0])


def test_that_a_finished_study_gives_its_table_without_measuring(tmp_path, whole):
    study(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    same(study(tmp_path, ask=Asked(0, AssertionError("measured again")), resume=True), whole[0])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


def test_that_resume_begins_in_a_missing_and_in_an_empty_folder(tmp_path, whole):
    same(study(tmp_path / "missing", resume=True), whole[0])
    (tmp_path / "empty").mkdir()
    same(study(tmp_path / "empty", resume=True), whole[0])


def test_that_without_a_folder_the_table_is_the_same_and_nothing_is_left(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    same(study(None), whole[0])
    with pytest.raises(ZeroDivisionError) as raised:
        study(None, ask=Asked(3, ZeroDivisionError()))
    assert not hasattr(raised.value, "__notes__") and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="name the folder"):
        study(None, resume=True)


def test_that_reading_takes_a_finished_study_and_a_partial_one_only_when_asked(tmp_path, whole):
    broken_off(tmp_path, 3)
    with pytest.raises(InputError, match="holds 6 of 60 samples: resume it"):
        read_study(tmp_path)
    table, manifest = read_study(tmp_path, partial=True)
    ids = sorted(name for batch in whole[1][:3] for name in batch)
    assert list(table["id"].unique()) == ids and manifest["samples"] == 60
    study(tmp_path, resume=True)
    table, manifest = read_study(tmp_path)
    same(table, whole[0])
    assert manifest["settings"] == SETTINGS and manifest["batch"] == 2 and manifest["created"].endswith("+00:00")
    assert manifest["format"] == 2


def test_that_a_study_that_broke_off_before_its_first_batch_can_be_read_and_resumed(tmp_path, whole):
    broken_off(tmp_path, 0)
    assert read_study(tmp_path, partial=True)[0].empty
    same(study(tmp_path, resume=True), whole[0])


def test_that_the_bar_counts_samples_and_what_was_there_before(tmp_path, capsys):
    broken_off(tmp_path, 10)
    assert capsys.readouterr().err == ""
    study(tmp_path, resume=True, progress=True, label="looking")
    frames = capsys.readouterr().err.strip().split("\r")
    assert frames[0].startswith("looking:  33%") and "20/60" in frames[0]
    assert "| 60/60 [" in frames[-1] and "sample/s" in frames[-1]


def test_that_every_part_of_a_sample_is_in_its_key_and_what_is_not_plain_is_not():
    first = SAMPLES[0]
    tall = Image.frombytes("RGB", (4, 5), first.image.tobytes())  # the same bytes in another size
    boxed = Object("mug", Box("mug", (0.0, 0.0, 1.0, 1.0)))
    others = [
        replace(first, id="other"),
        replace(first, question="where?"),
        replace(first, options=("right", "left")),
        replace(first, answer="right"),
        replace(first, relation="left"),
        replace(first, group="pair"),
        replace(first, objects=(Object("mug"),)),
        replace(first, objects=(boxed,)),
        replace(first, meta={"row": 1}),
        replace(first, image=SAMPLES[1].image),
        replace(first, image=tall),
    ]
    keys = [content_key(sample) for sample in (first, *others)]
    assert len(set(keys)) == len(keys)
    assert content_key(replace(first, image=first.image.copy(), meta={"row": np.int64(0)})) == keys[0]
    assert content_key(replace(first, meta={"row": 0, "model": object(), "deep": [object()]})) == keys[0]


def test_that_the_key_of_a_photo_in_a_file_is_of_its_bytes_wherever_it_lies(tmp_path):
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    one.write_bytes(b"photo")
    other.write_bytes(b"photo")
    key = content_key(replace(SAMPLES[0], image=one))
    assert content_key(replace(SAMPLES[0], image=other)) == key
    other.write_bytes(b"Photo")
    assert content_key(replace(SAMPLES[0], image=other)) != key


def test_that_the_manifest_is_there_before_the_first_batch(tmp_path):
    def look(batch):
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        digest = hashlib.sha256("\n".join(map(content_key, SAMPLES)).encode()).hexdigest()
        assert manifest["settings"] == SETTINGS and manifest["digest"] == digest
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        study(tmp_path, ask=look)


def test_that_runs_of_a_folder_under_the_home_folder_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    study("~/out", settings={**SETTINGS, "begun": "2026-01-01T00:00:00+00:00", "command": "first"})
    now = {"begun": "2026-02-01T00:00:00+00:00", "command": "second"}
    told = with_runs(now, "~/out")
    assert told == with_runs(now, tmp_path / "out") and told["command"] == "first"
