"""A checkpoint loads whole or is refused in one line, and nothing in it is run."""

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from checkpoints import change_config, refused
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Dinov2Config,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    Phi3Config,
)

from interp.errors import ModelError
from interp.families import family_of
from interp.hooks.attention import SITES
from interp.model.hooked_vlm import HookedVLM
from interp.model.loading import PLACE, load_model, read_dtype, split_options
from interp.planted.lines import build_line_model
from interp.planted.llava import build_planted

pytestmark = pytest.mark.compat


def test_a_saved_folder_loads_as_it_was(saved):
    vlm = HookedVLM.from_pretrained(str(saved))
    plain = tiny.vlm()
    inputs = tiny.inputs(plain, 2)
    again = tiny.inputs(vlm, 2)
    assert torch.equal(again.input_ids, inputs.input_ids) and again.layouts == inputs.layouts
    assert torch.equal(vlm(again).logits, plain(inputs).logits)
    assert not vlm.model.training and not any(weight.requires_grad for weight in vlm.model.parameters())
    assert vlm.dtype == torch.float32 and vlm.self_checked
    assert vlm.generate(again, 3).texts == plain.generate(inputs, 3).texts


def test_type_attention_and_place_are_passed_on(saved):
    for dtype in ("bfloat16", torch.bfloat16):
        assert HookedVLM.from_pretrained(saved, dtype=dtype).dtype == torch.bfloat16
    vlm = HookedVLM.from_pretrained(saved, attn_implementation="eager", device_map="cpu", self_check=False)
    assert vlm.unwrap().config.text_config._attn_implementation == "eager"
    assert not vlm.self_checked


@pytest.mark.parametrize("dtype", ["float33", "int8", "nn", "", 7, "float32 "])
def test_an_unknown_type_is_refused(saved, dtype):
    assert "float32, bfloat16 or float16" in refused(str(saved), dtype=dtype)
    assert read_dtype("float16") == torch.float16 and read_dtype("auto") == "auto"


def test_weights_that_are_cut_off_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "could not be loaded" in refused(folder)
    weights.write_bytes(b"")
    assert "could not be loaded" in refused(folder)
    weights.write_bytes(b"\x00" * 4096)
    assert "could not be loaded" in refused(folder)


def test_weights_that_are_missing_are_refused_by_name(folder):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    gone = next(name for name in tensors if "layers.1.self_attn.q_proj" in name and "language" in name)
    del tensors[gone]
    save_file(tensors, weights, metadata={"format": "pt"})
    message = refused(folder)
    assert "do not fit its configuration (1 tensors" in message and "layers.1.self_attn.q_proj" in message
    weights.unlink()
    assert "could not be loaded" in refused(folder)


@pytest.mark.parametrize("change", [{"text_config__intermediate_size": 80}, {"vision_config__intermediate_size": 64}])
def test_weights_of_another_shape_are_refused_by_name(folder, change):
    change_config(folder, **change)
    message = refused(folder)
    assert "do not fit its configuration" in message and "mlp" in message


def test_more_layers_than_weights_are_refused(folder):
    change_config(folder, text_config__num_hidden_layers=4)
    assert "do not fit its configuration" in refused(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"model_type": "no-such-type"}', "\x00\x01", '{"model_type": 5}']
)
def test_a_garbage_configuration_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    assert str(folder) in refused(folder)


def test_a_missing_or_garbage_processor_is_refused(folder):
    (folder / "tokenizer.json").write_text("{")
    assert "could not be loaded" in refused(folder)
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    assert "could not be loaded" in refused(folder)


def remove(folder, *starts):
    for path in list(folder.iterdir()):
        if path.name.startswith(starts):
            path.unlink()


def pickle_weights(folder):
    remove(folder, "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"")


def lose_a_shard(folder):
    index = {"weight_map": dict.fromkeys(load_file(folder / "model.safetensors"), "model-2.safetensors")}
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


FLAWS = [
    (lambda folder: remove(folder, ""), "has no config.json"),
    (lambda folder: remove(folder, "config.json"), "has no config.json"),
    (lambda folder: (folder / "config.json").write_text("{"), "its config.json can not be read as JSON"),
    (lambda folder: (folder / "config.json").write_text("{}"), "its config.json names no model_type"),
    (lambda folder: (folder / "tokenizer.json").write_text("{"), "its tokenizer.json can not be read as JSON"),
    (lambda folder: change_config(folder, model_type="zork"), "its model_type 'zork' is none that the transformers"),
    (lambda folder: remove(folder, "model.safetensors"), "has no weights"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 99), "model.safetensors are broken or cut off"),
    (pickle_weights, "in pytorch_model.bin, which is not read as it can run code: convert them to safetensors"),
    (lose_a_shard, "its weights model-2.safetensors, which"),
    (lambda folder: remove(folder, "processor", "preprocessor"), "has no processor"),
    (lambda folder: remove(folder, "processor", "preprocessor", "token", "chat"), "has no processor"),
]


@pytest.mark.parametrize("breaks, said", FLAWS, ids=[said for _, said in FLAWS])
def test_what_is_missing_or_broken_in_a_folder_is_said(folder, breaks, said):
    breaks(folder)
    message = refused(folder)
    assert said in message and "give a local folder" not in message


class Marker:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "ran"))


def test_pickled_weights_are_never_opened(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    marker = tmp_path / "marker"
    for name in ("pytorch_model.bin", "model.bin", "consolidated.00.pth"):
        (folder / name).write_bytes(pickle.dumps(Marker(marker)))
    assert "could not be loaded" in refused(folder)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Marker(marker)))
    assert marker.exists()


@pytest.mark.parametrize("shard", ["weights.bin", "../model.safetensors", "/model.safetensors", "a/b.safetensors", 5])
def test_an_index_of_weights_names_safetensors_files_beside_it_alone(folder, shard):
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "weights.bin")
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, "part.safetensors")}))
    load_model(folder)
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, shard)}))
    assert "only safetensors files beside it are read" in refused(folder)
    (folder.parent / "elsewhere.safetensors").write_bytes((folder / "part.safetensors").read_bytes())
    (folder / "link.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, "link.safetensors")}))
    assert "link.safetensors, a link to " in refused(folder)
    index.write_text("[]")
    assert "is no index of weights" in refused(folder)


def test_a_model_of_a_class_with_another_name_has_its_head():
    model = type("Renamed", (LlavaForConditionalGeneration,), {})(tiny.model().config).eval()
    assert family_of(model).name == "llava"
    assert HookedVLM.wrap(model, tiny.processor()).self_checked


def test_where_files_come_from_is_said_to_every_loader(saved, monkeypatch):
    told = {}
    for owner in (AutoConfig, AutoModelForImageTextToText, AutoProcessor):

        def spy(*given, _usual=owner.from_pretrained, _name=owner.__name__, **options):
            told.setdefault(_name, options)  # the first call is ours
            return _usual(*given, **options)

        monkeypatch.setattr(owner, "from_pretrained", spy)
    where = {"cache_dir": "/no/such/cache", "token": "hf_made_up", "local_files_only": True, "revision": "main"}
    load_model(saved, attn_implementation="eager", **where)
    assert set(told) == {"AutoConfig", "AutoModelForImageTextToText", "AutoProcessor"}
    for options in told.values():
        assert {**where, "trust_remote_code": False}.items() <= options.items()
    assert [name for name, options in told.items() if "attn_implementation" in options] == [
        "AutoModelForImageTextToText"
    ]


def test_a_model_in_another_cache_loads_whole(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place, commit = tmp_path / "models--some-lab--tiny-vlm", "0" * 40
    shutil.copytree(saved, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    model, processor = load_model("some-lab/tiny-vlm", cache_dir=tmp_path, local_files_only=True)
    assert model.config.model_type == "llava" and processor.image_token == "<image>"
    assert "could not be loaded" in refused("some-lab/tiny-vlm", local_files_only=True)


def test_a_model_in_a_subfolder_loads_whole(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints" / "last")
    model, processor = load_model(tmp_path, subfolder="checkpoints/last")
    assert model.config.model_type == "llava" and processor.image_token == "<image>"


def test_shards_in_the_hubs_cache_are_links_to_its_blobs_and_load(saved, tmp_path):
    place = tmp_path / "models--some-lab--tiny-vlm" / "snapshots" / ("0" * 40)
    shutil.copytree(saved, place)
    (place.parents[1] / "blobs").mkdir()
    (place / "model.safetensors").rename(place.parents[1] / "blobs" / "b10b")
    (place / "part.safetensors").symlink_to("../../blobs/b10b")
    names = dict.fromkeys(load_file(place / "part.safetensors"), "part.safetensors")
    (place / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert load_model(place)[0].config.model_type == "llava"


def test_options_are_split_into_those_of_all_files_and_those_of_the_weights():
    every = {name: name for name in PLACE}
    assert split_options({**every, "quantization_config": 1}) == (
        {"trust_remote_code": False, **every},
        {"quantization_config": 1},
    )
    assert split_options({"revision": None})[0] == {"trust_remote_code": False}


def test_names_that_stand_for_nothing_are_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "could not be loaded" in refused(empty)
    for name in ("", "./nowhere", "/no/such/folder", "~/no-such-folder-here", "a/b/c", tmp_path / "file"):
        assert "no model folder" in refused(name)
    for name in ("no-such-owner/no-such-model", "no-such-model", "what is this", "a//b"):
        assert "shapes-vlm" in refused(name)


def test_a_name_without_an_owner_is_no_name_of_the_hub_and_is_not_looked_for_there(monkeypatch):
    monkeypatch.setattr(
        "transformers.AutoConfig.from_pretrained", lambda *given, **how: pytest.fail("the hub was asked")
    )
    assert "OWNER/NAME" in refused("no-such-model") and "shapes-vlm" in refused("no-such-model")
    for name, made_by in (("planted-encoder", build_line_model), ("planted-object", build_planted)):
        assert f"{made_by.__module__}.{made_by.__name__}" in refused(name)


def test_a_model_that_reads_no_images_is_refused(tmp_path):
    config = LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    assert "'llama' model, not a vision-language model" in refused(tmp_path)


def small(**parts):
    config = tiny.model().config
    return LlavaConfig(**{"vision_config": config.vision_config, "text_config": config.text_config, **parts})


def test_a_model_of_no_known_family_is_refused():
    for kind in ("blip-2", "mllama", None):
        with pytest.raises(ModelError, match="no family that is supported: use llava"):
            family_of(SimpleNamespace(config=SimpleNamespace(model_type=kind)))
    with pytest.raises(ModelError, match="no language-model head"):
        HookedVLM.wrap(LlavaModel(small()), tiny.processor())
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    other = LlavaForConditionalGeneration(small(vision_config=Dinov2Config(**sizes, image_size=28, patch_size=14)))
    with pytest.raises(ModelError, match="vision tower 'dinov2' is not supported"):
        HookedVLM.wrap(other, tiny.processor())
    fused = Phi3Config(vocab_size=40, pad_token_id=3, **sizes)
    model = LlavaForConditionalGeneration(small(text_config=fused)).eval()
    with pytest.raises(ModelError, match="no 'q_proj'"):
        HookedVLM.wrap(model, tiny.processor())
    assert not any(module in SITES for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
