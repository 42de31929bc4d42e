"""Every report says with which weights, when and by which command it was made; a resumed run is the same result."""

import hashlib
import json
import shutil
from datetime import datetime

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from interp import HookedVLM
from interp.__main__ import main
from interp.datasets.synthetic.shapes import shapes
from interp.model import provenance
from interp.model.provenance import FROM_PYTHON, RUN, result_of, run_record, running, runs_of, weights_record
from interp.model.record import record
from interp.overlap.study.result import read_overlap_study
from interp.overlap.study.run import study_overlap
from interp.report.page import render_report
from interp.store.folder import in_words
from interp.zoo import embedded_path


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("shapes-vlm")


def folder_of(path, shards):
    """The embedded model in a folder of its own, its weights in so many files; the big hash of these files."""
    shutil.copytree(embedded_path("shapes-vlm"), path)
    if shards > 1:
        tensors = load_file(path / "model.safetensors")
        (path / "model.safetensors").unlink()
        names = [f"model-{place + 1:05}-of-{shards:05}.safetensors" for place in range(shards)]
        where = {name: names[place % shards] for place, name in enumerate(sorted(tensors))}
        for own in names:
            save_file(
                {name: tensors[name] for name, file in where.items() if file == own}, path / own, {"format": "pt"}
            )
        (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_hash_of_weights_in_one_file_is_that_of_the_file(vlm):
    content = (embedded_path("shapes-vlm") / "model.safetensors").read_bytes()
    wanted = {"sha256": sha256(content), "hashed": f"model.safetensors, {len(content)} bytes, all of them"}
    assert weights_record(vlm) == record(vlm)["weights"] == {**wanted, "commit": None}


def test_the_hash_of_weights_in_several_files_is_that_of_their_lines(tmp_path):
    folder = folder_of(tmp_path / "own", 3)
    (folder / "other.safetensors").write_bytes(b"not loaded")
    found = weights_record(HookedVLM.from_pretrained(folder))
    lines = [f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(folder.glob("model-*.safetensors"))]
    assert len(lines) == 3 and found["sha256"] == sha256("".join(lines).encode())
    assert "3 files" in found["hashed"] and found["hashed"].endswith("all of them")


def test_large_weights_are_sampled_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "WHOLE", 10**6)
    folder = folder_of(tmp_path / "own", 1)
    first = weights_record(HookedVLM.from_pretrained(folder))
    assert "a sample" in first["hashed"] and "all of them" not in first["hashed"]
    assert first["sha256"] != sha256((folder / "model.safetensors").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    largest = max(tensors, key=lambda name: tensors[name].numel())
    tensors[largest] = tensors[largest] * 1.5
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert weights_record(HookedVLM.from_pretrained(folder))["sha256"] != first["sha256"]


def test_files_of_the_hub_s_cache_are_known_by_their_names_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "WHOLE", 0)
    monkeypatch.setattr(provenance, "_file_hash", lambda *_: pytest.fail("the file was read"))
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.write_bytes(b"weights")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert provenance._of_files([link])["sha256"] == "ab" * 32


def put_another_in_its_place(linear):
    linear.weight = torch.nn.Parameter(linear.weight.detach().clone())


CHANGES = {
    "in place": lambda linear: linear.weight[0, 0].add_(1),
    "through its data": lambda linear: linear.weight.data.mul_(0),
    "given other data": lambda linear: setattr(linear.weight, "data", torch.zeros_like(linear.weight)),
    "replaced": lambda linear: setattr(linear, "weight", torch.nn.Parameter(torch.zeros_like(linear.weight))),
    "replaced by an equal one": put_another_in_its_place,
    "a tensor more": lambda linear: setattr(linear, "bias", torch.nn.Parameter(torch.zeros(linear.out_features))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_were_changed_after_loading_are_not_given_the_hash_of_the_files(change):
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    files = weights_record(vlm)
    with torch.no_grad():
        CHANGES[change](vlm.model.lm_head)
    changed = weights_record(vlm)
    assert changed["sha256"] != files["sha256"] and "changed since they were loaded" in changed["hashed"]


def test_a_pass_and_a_copy_in_another_model_leave_weights_as_they_were_loaded(vlm):
    files = weights_record(vlm)
    other = HookedVLM.from_pretrained("shapes-vlm")
    other.model.lm_head.weight.data.mul_(0)
    vlm.run_with_cache(vlm.prepare(shapes(1)[0].image, "Where is it?"))
    assert weights_record(vlm) == files


@pytest.mark.parametrize("options", [{"attn_implementation": "eager"}, {"low_cpu_mem_usage": True}], ids=str)
def test_options_that_leave_weights_as_the_files_have_them_leave_their_hash(vlm, options):
    assert weights_record(HookedVLM.from_pretrained("shapes-vlm", **options)) == weights_record(vlm)


def test_a_model_given_in_memory_is_hashed_by_its_tensors():
    first, same, other = (
        HookedVLM.wrap(tiny.model(seed=seed), tiny.processor(), self_check=False) for seed in (0, 0, 1)
    )
    found = weights_record(first)
    assert "in memory" in found["hashed"] and found == weights_record(same)
    assert found["sha256"] != weights_record(other)["sha256"]
    with torch.no_grad():
        same.model.lm_head.weight.data[0, 0] += 1
    assert weights_record(same)["sha256"] != found["sha256"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.int64], ids=str)
def test_tensors_of_every_kind_are_hashed_and_what_can_not_be_read_is_counted(dtype):
    one = {"a": torch.ones(3, 2, dtype=dtype).T, "b": torch.tensor(1, dtype=dtype), "c": torch.ones(0, dtype=dtype)}
    found = provenance._of_tensors(one)
    assert found["sha256"] != provenance._of_tensors({**one, "a": torch.zeros(2, 3, dtype=dtype)})["sha256"]
    away = provenance._of_tensors({**one, "d": torch.ones(2, device="meta")})
    assert "can not be read" not in found["hashed"] and "1 tensors can not be read" in away["hashed"]


def test_a_run_has_a_date_with_a_zone_and_its_command_as_typed():
    assert run_record()["command"] == FROM_PYTHON
    with running("python -m interp", ["analyze", "my photo.jpg", "--out", "~/out"]):
        found = run_record()
        assert found["command"] == "python -m interp analyze 'my photo.jpg' --out '~/out'"
        assert datetime.fromisoformat(found["begun"]).utcoffset() is not None
        assert run_record() == found
    assert run_record()["command"] == FROM_PYTHON


def test_what_is_of_the_run_alone_does_not_make_another_result(vlm):
    with running("python -m interp", ["analyze"]):
        first = record(vlm)
    assert result_of(first) == result_of(record(vlm)) and set(first) - set(result_of(first)) == {"begun", "command"}
    assert set(RUN) == {"begun", "command", "resumed"}


def test_runs_of_several_parts_are_told_once_the_first_at_the_front():
    one, two, three = ({"begun": f"2026-01-0{day}T00:00:00+00:00", "command": f"run {day}"} for day in (1, 2, 3))
    found = runs_of([{**two, "resumed": [three]}, {**one, "resumed": [two, three]}])
    assert found == {**one, "resumed": [two, three]}
    assert runs_of([one, one]) == one and runs_of([{}]) == runs_of([]) == {}


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on by a day with each look."""
    days = iter(range(1, 28))
    monkeypatch.setattr(provenance, "now", lambda: f"2026-01-{next(days):02}T00:00:00+00:00")


def test_a_resumed_study_keeps_its_first_date_adds_the_second_and_has_the_same_tables(vlm, tmp_path, clock):
    scenes, asked = shapes(12, kinds=("relation",)), {"detector": "ground-truth", "batch": 4, "progress": False}
    whole = study_overlap(vlm, scenes, **asked, out=tmp_path / "whole")
    before = (tmp_path / "whole" / "manifest.json").read_text()
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for shard in sorted((tmp_path / "part" / "shards").glob("*.parquet"))[-1:]:
        shard.unlink()
    again = study_overlap(vlm, scenes, **asked, out=tmp_path / "part", resume=True)
    first, second = ({"begun": f"2026-01-0{day}T00:00:00+00:00", "command": FROM_PYTHON} for day in (1, 3))
    assert {name: whole.settings[name] for name in first} == first and "resumed" not in whole.settings
    for settings in (again.settings, read_overlap_study(tmp_path / "part").settings):
        assert {name: settings[name] for name in first} == first and settings["resumed"] == [second]
    for name, values in whole.measures.items():
        np.testing.assert_array_equal(values, again.measures[name])
    finished = study_overlap(vlm, scenes, **asked, out=tmp_path / "whole", resume=True)  # nothing is left to do
    assert (tmp_path / "whole" / "manifest.json").read_text() == before and finished.settings == whole.settings


def test_a_study_is_not_gone_on_with_by_other_weights(vlm, tmp_path):
    from interp.errors import InputError

    scenes, asked = shapes(8, kinds=("relation",)), {"detector": "ground-truth", "progress": False, "out": tmp_path}
    study_overlap(vlm, scenes, **asked)
    other = HookedVLM.from_pretrained("shapes-vlm")
    with torch.no_grad():
        other.model.lm_head.weight[0, 0] += 1
    with pytest.raises(InputError, match="weights.sha256: was"):
        study_overlap(other, scenes, **asked, resume=True)


SAID = ("begun", "command", "weights", "self_check", "versions", "dtype")


def test_the_page_and_the_summary_of_a_photo_say_what_made_them(tmp_path):
    photo = tmp_path / "scene.png"
    shapes(1, kinds=("relation",))[0].image.save(photo)
    arguments = ["analyze", str(photo), "Where is the red circle?", "--html", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    settings = json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]
    assert set(SAID) <= set(settings) and settings["command"].startswith("python -m interp analyze ")
    page = (tmp_path / "out" / "explore.html").read_text()
    for name in SAID:
        assert f"<dt>{name}</dt>" in page
    assert settings["weights"]["sha256"] in page and settings["begun"] in page


def test_a_report_shows_every_setting_in_words(vlm):
    settings = {**record(vlm), "resumed": [{"begun": "2026-01-02", "command": "<b>again</b>"}]}
    page = render_report("a title", "a lead", [], settings)
    for name, text in in_words(settings).items():
        assert f"<dt>{name}</dt>" in page and "{" not in text
    assert settings["weights"]["sha256"] in page and "self_check</dt><dd>yes" in page
    assert "&lt;b&gt;again&lt;/b&gt;" in page and "<b>again" not in page
    assert "self_check</dt><dd>no" in render_report("", "", [], {**settings, "self_check": False})
