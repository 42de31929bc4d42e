"""A cache that was saved is the cache again, with what it is of; nothing in a file is run, and no other is taken."""

import copy
import json
import pickle
import struct

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from interp import InputError, ScaleImageLogits, load_cache
from interp.hooks.cache import VLMCache
from interp.hooks.tensor_file import KEY
from interp.zoo.tiny import TINY

PATTERN = "blocks.1.attn.hook_pattern"


@pytest.fixture(scope="module")
def asked():
    vlm = tiny.vlm()
    return vlm, tiny.inputs(vlm, 2)


def through_pickle(cache, folder):
    return pickle.loads(pickle.dumps(cache))


def through_torch(cache, folder):
    torch.save(cache, folder / "cache.pt")
    return torch.load(folder / "cache.pt", weights_only=True)


def through_a_copy(cache, folder):
    return copy.deepcopy(cache)


def through_a_file(cache, folder):
    return load_cache(cache.save(folder / "cache.safetensors"))


WAYS = (through_pickle, through_torch, through_a_copy, through_a_file)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"query_rows": "all", "names_filter": [PATTERN, "vision.blocks.0.attn.hook_pattern"]},
        {"query_rows": [3, -1], "names_filter": [PATTERN, "projector.hook_out"]},
        {"query_rows": [0, 16], "names_filter": "vision.blocks.0.attn.hook_pattern"},
        {"intervention": ScaleImageLogits(0.5), "names_filter": lambda name: name.endswith("hook_z")},
    ],
    ids=["everything", "all rows", "positions", "the tower's", "edited"],
)
def test_a_cache_comes_back_with_names_rows_positions_and_settings(asked, way, options, tmp_path):
    vlm, inputs = asked
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, **options)
    again = way(cache, tmp_path)
    assert type(again) is VLMCache and list(again) == list(cache) and again.has_batch_dim
    assert all(torch.equal(again[name], value) and again[name].dtype == value.dtype for name, value in cache.items())
    assert again.capture == cache.capture and again.model.cfg == vlm.cfg
    assert again.capture.layouts == inputs.layouts
    for one, own in zip(again.capture.layouts, inputs.layouts, strict=True):
        assert (one.image_positions == own.image_positions).all()
    edit = options.get("intervention")
    assert again.capture.settings["intervention"] == (None if edit is None else str(edit))
    assert again.capture.settings["dtype"] == "float32" and again.capture.settings["family"] == "llava"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_batch_of_one_and_other_precisions_come_back(way, dtype, tmp_path):
    vlm = tiny.vlm(dtype=dtype, self_check=False)
    with torch.no_grad():
        _, cache = vlm.run_with_cache(tiny.inputs(vlm), remove_batch_dim=True)
    again = way(cache, tmp_path)
    assert not again.has_batch_dim and again.capture.settings["self_check"] is False
    for name, value in cache.items():
        assert torch.equal(again[name].nan_to_num(), value.nan_to_num()) and again[name].dtype == value.dtype, name
    assert torch.equal(again.stack_activation("z"), cache.stack_activation("z"))


@pytest.mark.parametrize("rows, wanted", [("last", [-1]), ("all", None), ([4, -2], [4, -2]), ("generated", [-1])])
def test_positions_say_which_row_of_the_full_matrix_each_captured_row_is(asked, rows, wanted):
    vlm, inputs = asked
    with torch.no_grad():
        _, whole = vlm.run_with_cache(inputs, names_filter=PATTERN, query_rows="all")
        _, cache = vlm.run_with_cache(inputs, names_filter=PATTERN, query_rows=rows)
    length = inputs.input_ids.shape[1]
    positions = list(cache.capture.positions)
    assert positions == (list(range(length)) if wanted is None else [row % length for row in wanted])
    torch.testing.assert_close(cache[PATTERN], whole[PATTERN][:, :, positions])


def test_of_streams_alone_no_rows_are_told(asked):
    vlm, inputs = asked
    assert vlm.run_with_cache(inputs, names_filter="blocks.0.hook_resid_pre")[1].capture.positions == ()


@pytest.mark.parametrize("name", TINY[2:5])
def test_other_families_are_saved_too(name, tmp_path):
    from interp import HookedVLM
    from interp.proof.samples import one_prompt

    vlm = HookedVLM.from_pretrained(name)
    with torch.no_grad():
        _, cache = vlm.run_with_cache(one_prompt(vlm))
    again = load_cache(cache.save(tmp_path / "x.safetensors"))
    assert again.capture == cache.capture and again.capture.settings["model"] == name
    assert all(torch.equal(again[hook], value) for hook, value in cache.items())


def test_views_and_tensors_that_share_memory_are_written_whole_and_alone(asked, tmp_path):
    vlm, _ = asked
    base = torch.arange(24.0).reshape(2, 3, 4)
    cache = VLMCache({"blocks.0.hook_a": base, "blocks.0.hook_b": base[1].T, "blocks.0.hook_c": base[:1]}, vlm)
    path = cache.save(tmp_path / "views.safetensors")
    again = load_cache(path)
    assert again.capture is None and all(torch.equal(again[name], value) for name, value in cache.items())
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size - 8 - header == 24 * 4 + 12 * 4 + 12 * 4
    assert list(load_file(path)) and sorted(load_file(path)) == sorted(cache)  # by anyone who reads safetensors


def test_a_file_is_written_whole_or_not_at_all(asked, tmp_path, monkeypatch):
    vlm, inputs = asked
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERN)
    path = cache.save(tmp_path / "new" / "x.safetensors")
    before = path.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        cache.save(path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["x.safetensors"]


def test_what_can_not_be_saved_is_refused(asked, tmp_path):
    vlm, inputs = asked
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERN)
    with pytest.raises(InputError, match=r"goes into a \.safetensors file"):
        cache.save(tmp_path / "cache.pt")
    _, empty = vlm.run_with_cache(inputs, names_filter=PATTERN, device="meta")
    with pytest.raises(InputError, match="has no values"):
        empty.save(tmp_path / "x.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can not be written"):
        cache.save(tmp_path / "file" / "x.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def changed(said, **more):
    return json.dumps({**json.loads(said), **more})


BROKEN = {
    "no metadata": lambda said: None,
    "no JSON": lambda said: "{",
    "a list": lambda said: "[]",
    "nothing": lambda said: "{}",
    "other names": lambda said: changed(said, names=["blocks.0.hook_resid_pre"]),
    "another shape": lambda said: changed(said, shape={"layers": 3}),
    "a shape that is none": lambda said: changed(said, shape=7),
    "unknown rows": lambda said: changed(said, capture={**json.loads(said)["capture"], "query_rows": "first"}),
    "unknown kinds": lambda said: changed(
        said, capture={**json.loads(said)["capture"], "layouts": [{"kinds": ["x"], "tokens": ["x"]}]}
    ),
    "deep": lambda said: "[" * 100_000,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_or_foreign_file_is_refused_in_one_line(asked, what, tmp_path):
    vlm, inputs = asked
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERN)
    path = cache.save(tmp_path / "x.safetensors")
    with path.open("rb") as opened:
        (size,) = struct.unpack("<Q", opened.read(8))
        said = json.loads(opened.read(size))["__metadata__"][KEY]
    other = BROKEN[what](said)
    save_file(dict(cache.items()), path, metadata=None if other is None else {KEY: other})
    with pytest.raises(InputError, match="x.safetensors") as refusal:
        load_cache(path)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_files_that_are_no_safetensors_or_not_there_are_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="can not be read as safetensors"):
        load_cache(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="there is no file"):
        load_cache(tmp_path / "none.safetensors")
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(InputError, match="is a folder: name the .safetensors file in it"):
            load_cache(folder)


@pytest.mark.parametrize("path", [None, "", "a\0.safetensors", "~nobody_of_that_name/a.safetensors"])
def test_what_no_file_can_be_called_is_refused_by_save_and_load(asked, path):
    vlm, inputs = asked
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERN)
    for use in (cache.save, load_cache):
        with pytest.raises(InputError, match="is no path|no path can|there is no user"):
            use(path)
