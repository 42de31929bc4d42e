"""A study refuses to mix what does not belong together, and rows that could not be kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import IDS, SAMPLES, SETTINGS, Asked, broken_off, kept, measure, same, study

from interp.errors import InputError
from interp.study.run import read_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The table of a study that nothing stopped, and the batches that it asked."""
    asked = Asked()
    return study(tmp_path_factory.mktemp("whole") / "out", ask=asked), asked.batches


def test_that_a_folder_with_a_study_is_not_begun_again_unless_resumed(tmp_path):
    broken_off(tmp_path, 3)
    before = kept(tmp_path)
    with pytest.raises(InputError, match=r"holds a study: .*--resume.* or name another folder"):
        study(tmp_path)
    assert kept(tmp_path) == before


def test_that_other_settings_are_refused_each_named_with_both_values(tmp_path):
    broken_off(tmp_path, 3)
    other = {**SETTINGS, "dtype": "bfloat16", "versions": {"torch": "3"}, "prompt": "paper"}
    del other["seed"]
    with pytest.raises(InputError) as raised:
        study(tmp_path, settings=other, resume=True)
    text = str(raised.value)
    for name in ("dtype: was 'float32', now 'bfloat16'", "versions.torch: was '2', now '3'"):
        assert name in text
    assert "seed: was 0, now 'absent'" in text and "prompt: was 'absent', now 'paper'" in text
    assert "model" not in text and "interventions" not in text and "batch" not in text
    with pytest.raises(InputError, match="batch: was 2, now 3.*other batches round otherwise"):
        study(tmp_path, batch=3, resume=True)


@pytest.mark.parametrize(
    "samples, said",
    [
        (SAMPLES[:-1], "samples: was 60, now 59"),
        (SAMPLES[::-1], "content and order"),
        ([*SAMPLES[:-1], replace(SAMPLES[-1], answer="right")], "content and order"),
    ],
)
def test_that_other_samples_are_refused(tmp_path, samples, said):
    broken_off(tmp_path, 3)
    with pytest.raises(InputError, match=said):
        study(tmp_path, samples, resume=True)


def test_that_settings_are_compared_as_json_keeps_them(tmp_path, whole):
    settings = {"alphas": (0.5, np.float64(1.5)), "threshold": float("nan"), "where": Path("a"), 3: True}
    broken_off(tmp_path, 3, settings=settings)
    same(study(tmp_path, settings=settings, resume=True), whole[0])
    assert read_study(tmp_path)[1]["settings"] == {
        "alphas": [0.5, 1.5],
        "threshold": None,
        "where": "a",
        "3": True,
    }


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_that_a_damaged_shard_is_refused_by_name_and_measured_again_once_deleted(tmp_path, whole, damage):
    broken_off(tmp_path, 6)
    shard = tmp_path / "shards" / "part-00002.parquet"
    content = bytearray(shard.read_bytes())
    place = content.index(b"s-0")  # inside a page of ids
    content[place] ^= 1
    shard.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    for read in (lambda: study(tmp_path, resume=True), lambda: read_study(tmp_path, partial=True)):
        with pytest.raises(InputError, match=r"part-00002.parquet' can not be read \(.+\): delete it and resume"):
            read()
    shard.unlink()
    rest = Asked()
    same(study(tmp_path, ask=rest, resume=True), whole[0])
    assert rest.batches == [whole[1][2], *whole[1][6:]]


def test_that_shards_that_do_not_belong_here_are_refused(tmp_path):
    broken_off(tmp_path / "a", 3)
    broken_off(tmp_path / "b", 3, samples=[replace(sample, answer="right") for sample in SAMPLES])
    shards = tmp_path / "a" / "shards"
    first, far = shards / "part-00000.parquet", shards / "part-00009.parquet"
    far.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="is in shards 'part-00000.parquet' and 'part-00009.parquet'"):
        study(tmp_path / "a", resume=True)
    far.unlink()
    content = first.read_bytes()
    first.write_bytes((tmp_path / "b" / "shards" / "part-00000.parquet").read_bytes())
    with pytest.raises(InputError, match="of another study"):
        study(tmp_path / "a", resume=True)
    pd.DataFrame({"x": [1]}).to_parquet(first)
    with pytest.raises(InputError, match=r"no shard, its columns are \['x'\]"):
        study(tmp_path / "a", resume=True)
    first.write_bytes(content)
    pd.read_parquet(first).to_parquet(first, index=False)  # as any other tool writes it: the same rows, without a seal
    with pytest.raises(InputError, match="no shard that a study wrote"):
        study(tmp_path / "a", resume=True)
    first.write_bytes(content)
    (tmp_path / "a" / "manifest.json").unlink()
    with pytest.raises(InputError, match="shards and no manifest"):
        study(tmp_path / "a", resume=True)


@pytest.mark.parametrize(
    "text, said",
    [(None, "holds no study"), ("{", "no manifest of a study"), ("[]", "no manifest"), ('{"format": 3}', "format 3")],
)
def test_that_a_folder_without_a_readable_manifest_is_no_study(tmp_path, text, said):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=said):
            study(tmp_path, resume=True)
    with pytest.raises(InputError, match=said):
        read_study(tmp_path)


def test_that_two_processes_do_not_write_to_one_folder(tmp_path, whole):
    def inside(batch):
        with pytest.raises(InputError, match="another process is writing"):
            study(tmp_path, resume=True)
        return measure(batch)

    same(study(tmp_path, ask=inside, batch=2), whole[0])


@pytest.mark.parametrize(
    "rows, said",
    [
        ({}, "a dict for 2 samples"),
        ([[{"x": 1}]], "1 lists for 2 samples"),
        ([[{"x": 1}], []], "no row for sample 's-"),
        ([[{"x": 1}], {"x": 1}], "no list of dicts for sample 's-"),
        ([[{"x": 1}], [{"x": 1, "y": 2}]], r"columns \['x'\] and this one differs in \['y'\]"),
        ([[{"x": 1}], [{}]], r"differs in \['x'\]"),
        ([[{"x": 1}], [{"x": [1]}]], "column 'x': a list is no plain"),
        ([[{"x": 1}], [{"x": np.ones(1)}]], "a ndarray is no plain"),
        ([[{"x": 1}], [{"x": "a"}]], "'x' holds int and text"),
        ([[{"x": 1}], [{"x": True}]], "'x' holds bool and int"),
        ([[{"x": 1}], [{"x": 2**53 + 1}]], "9007199254740993 .* as text"),
        ([[{"x": "a"}], [{"x": "\ud800"}]], r"\\ud800.* no valid text"),
        ([[{"x": 1}], [{"x": 1, "id": "other"}]], "got a row of 'other'"),
        ([[{"x": 1, "key": 1}], [{"x": 1, "key": 1}]], "can not be named 'key'"),
        ([[{1: 1}], [{1: 1}]], "can not be named 1"),
    ],
)
def test_that_rows_that_can_not_be_stored_are_refused_with_the_sample_named(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        study(tmp_path, ask=lambda batch: rows)
    assert kept(tmp_path) == set()


def test_that_a_column_keeps_its_kind_across_batches_and_across_a_resume(tmp_path):
    def give(first, last):
        return lambda batch: [[{"id": s.id, "x": last if len(s.question) == 3 else first}] for s in batch]

    for resumed in (False, True):
        with pytest.raises(InputError, match="'x' holds int and text in the batch of sample 's-"):
            study(tmp_path, ask=give(1, "one"), resume=resumed)
    assert 0 < len(kept(tmp_path)) < 60
    table = study(tmp_path, ask=give(1, 0.5), resume=True)
    assert list(table["x"]) == [0.5 if len(sample.question) == 3 else 1.0 for sample in SAMPLES]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"samples": []}, "no samples"),
        ({"samples": iter(SAMPLES)}, "the samples are a list_iterator, which can be read but once: give list"),
        ({"batch": 0}, "batch 0"),
        ({"batch": 1.5}, "batch 1.5"),
        ({"flush_seconds": float("nan")}, "nan is no time"),
        ({"flush_seconds": -1.0}, "-1.0 is no time"),
        ({"samples": [SAMPLES[0], replace(SAMPLES[1], id=IDS[0])]}, "two samples have the id 's-000'"),
        ({"samples": [replace(SAMPLES[0], image=Path("absent.png"))]}, r"'absent.png' of 's-000' can not be read \(No"),
        ({"samples": [replace(SAMPLES[0], image=3)]}, "photo of 's-000' is a int"),
    ],
)
def test_that_what_can_not_be_measured_is_refused_before_a_folder_is_made(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        study(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_that_a_batch_may_be_any_kind_of_whole_number(tmp_path):
    assert study(tmp_path / "numpy", batch=np.int64(7)).equals(study(tmp_path / "plain", batch=7))
    assert read_study(tmp_path / "numpy")[1]["batch"] == 7


def test_that_a_finished_study_with_a_shard_of_another_is_not_read(tmp_path):
    for name, samples in (("a", SAMPLES), ("b", [replace(sample, answer="right") for sample in SAMPLES])):
        study(tmp_path / name, samples, flush_seconds=0.0)
    shard = Path("shards") / "part-00004.parquet"
    (tmp_path / "a" / shard).write_bytes((tmp_path / "b" / shard).read_bytes())
    with pytest.raises(InputError, match="is of another study than the manifest beside it"):
        read_study(tmp_path / "a")
