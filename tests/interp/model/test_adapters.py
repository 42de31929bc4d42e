"""A model that peft put an adapter into is hooked with it, whole or as a folder; what a shell holds is named."""

import json
import shutil
from types import SimpleNamespace

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from interp import HookedVLM
from interp.errors import ModelError
from interp.model.adapters import adapters_in
from interp.model.loading import load_model
from interp.model.record import record

WORDS = torch.arange(3, 12)[None]
IN_TEXT = r".*language_model.*\.(q|k|v|down)_proj"
IN_BOTH = r".*\.(q_proj|out_proj|o_proj)"


def peft():
    return pytest.importorskip("peft", reason="peft is not installed: pip install 'spatial-lens[peft]'")


def adapted(model, kind="LoraConfig", **settings):
    usual = {"r": 4, "target_modules": IN_TEXT, "init_lora_weights": False}
    torch.manual_seed(3)
    return peft().get_peft_model(model, getattr(peft(), kind)(**(settings or usual))).eval()


KINDS = {
    "LoRA": ("LoraConfig", {"r": 4, "target_modules": IN_TEXT, "init_lora_weights": False}),
    "DoRA on both towers": (
        "LoraConfig", {"r": 2, "target_modules": IN_BOTH, "init_lora_weights": False, "use_dora": True}
    ),
    "IA3": ("IA3Config", {"target_modules": IN_TEXT, "feedforward_modules": [], "init_ia3_weights": False}),
    "LoHa": ("LoHaConfig", {"r": 2, "target_modules": IN_TEXT, "init_weights": False}),
    "LoRA and a whole head": (
        "LoraConfig",
        {"r": 4, "target_modules": ["q_proj"], "init_lora_weights": False, "modules_to_save": ["lm_head"]},
    ),
    "LoRA on embeddings": ("LoraConfig", {"r": 2, "target_modules": ["embed_tokens"], "init_lora_weights": False}),
}  # fmt: skip


@pytest.mark.parametrize("kind, settings", KINDS.values(), ids=KINDS)
def test_a_peft_model_is_hooked_with_its_adapter_as_active_as_it_was(kind, settings):
    plain = tiny.model()(input_ids=WORDS).logits
    shell = adapted(tiny.model(), kind, **settings)
    vlm = HookedVLM.wrap(shell, tiny.processor())
    logits = vlm.model(input_ids=WORDS).logits
    assert vlm.self_checked and torch.equal(logits, shell(input_ids=WORDS).logits)
    assert (logits - plain).abs().max() > 1e-3
    assert list(adapters_in(vlm.model)) == ["default"] and record(vlm)["adapters"] == adapters_in(vlm.model)
    with shell.disable_adapter():
        assert torch.equal(vlm.model(input_ids=WORDS).logits, plain)
        assert adapters_in(vlm.model) == {} and "adapters" not in record(vlm)


def test_hooks_see_and_change_what_those_of_the_merged_model_do():
    shell = adapted(tiny.model())
    vlm = HookedVLM.wrap(shell, tiny.processor())
    inputs = tiny.inputs(vlm, 2)

    def run(vlm):
        hooks = [("blocks.1.attn.hook_q", lambda q, hook: q * 0.5)]
        output, cache = vlm.run_with_cache(inputs, names_filter=lambda name: "vision" not in name, fwd_hooks=hooks)
        return {"logits": output.logits, **cache}

    with torch.no_grad():
        seen = run(vlm)
        merged = run(HookedVLM.wrap(adapted(tiny.model()).merge_and_unload().eval(), tiny.processor()))
    assert seen.keys() == merged.keys()
    for name, value in seen.items():
        torch.testing.assert_close(value, merged[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_an_adapter_that_works_outside_of_the_layers_is_refused(kind):
    sizes = {"num_virtual_tokens": 2, "num_layers": 2, "token_dim": 32, "num_attention_heads": 4}
    model = tiny.model()
    try:
        shell = adapted(model, kind, task_type="CAUSAL_LM", **sizes)
    except Exception as error:  # some versions do not make them of such models
        pytest.skip(f"peft makes none: {error}")
    with pytest.raises(ModelError, match="works outside of the model's layers"):
        HookedVLM.wrap(shell, tiny.processor())


class Valued(nn.Module):
    """A model with a head of its own beside it, as those who train with rewards make them."""

    def __init__(self, model):
        super().__init__()
        self.pretrained_model, self.v_head = model, nn.Linear(2, 1)


@pytest.mark.parametrize(
    "shell, said",
    [
        (nn.DataParallel, "its attribute module"),
        (Valued, "its attribute pretrained_model"),
        (lambda model: nn.Sequential(nn.Sequential(model)), "its attribute 0.0"),
        (lambda model: nn.Linear(2, 2), "from_pretrained"),
        (lambda model: SimpleNamespace(config=None), "from_pretrained"),
        (lambda model: "shapes-vlm", "HookedVLM.from_pretrained"),
        (lambda model: torch.compile(model, backend="eager"), "its attribute _orig_mod"),
        (lambda model: torch.compile(adapted(model), backend="eager"), "its attribute _orig_mod"),
        (lambda model: nn.DataParallel(adapted(model)), "its attribute module.base_model.model"),
    ],
)
def test_what_is_no_model_of_hugging_face_is_refused_with_the_attribute_that_is(shell, said):
    with pytest.raises(ModelError, match=said):
        HookedVLM.wrap(shell(tiny.model()), tiny.processor())


@pytest.fixture
def adapter(saved, tmp_path):
    """A folder that peft saved an adapter in, and what the adapted model says."""
    model, _ = load_model(saved)
    shell = adapted(model, "LoraConfig", r=4, target_modules=IN_TEXT, init_lora_weights=False)
    shell.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", shell(input_ids=WORDS).logits


def change(folder, **new):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | new))


def refused(folder, **options):
    with pytest.raises(ModelError) as error:
        HookedVLM.from_pretrained(folder, **options)
    return str(error.value)


def test_a_folder_with_an_adapter_is_its_base_model_with_it(adapter, saved):
    folder, logits = adapter
    vlm = HookedVLM.from_pretrained(folder)
    assert torch.equal(vlm.model(input_ids=WORDS).logits, logits)
    assert not vlm.model.training and not any(weight.requires_grad for weight in vlm.model.parameters())
    said = record(vlm)
    assert said["model"] == str(folder) and list(said["adapters"]) == ["default"]
    assert said["weights"]["sha256"] != record(HookedVLM.from_pretrained(saved))["weights"]["sha256"]
    assert HookedVLM.from_pretrained(folder, dtype="bfloat16").dtype == torch.bfloat16


def test_a_base_model_beside_the_adapter_or_below_it_is_found(adapter, saved, monkeypatch):
    folder, logits = adapter
    shutil.copytree(saved, folder / "base")
    change(folder, base_model_name_or_path="base")
    assert torch.equal(load_model(folder)[0](input_ids=WORDS).logits, logits)
    monkeypatch.chdir(folder.parent)
    shutil.move(folder / "base", folder.parent / "elsewhere")
    change(folder, base_model_name_or_path="elsewhere")
    assert torch.equal(load_model("adapter")[0](input_ids=WORDS).logits, logits)


def test_a_base_model_that_is_not_here_is_refused_and_not_fetched(adapter, monkeypatch):
    folder, _ = adapter
    monkeypatch.setattr("socket.socket.connect", lambda *given: pytest.fail("the network was asked"))
    for base in ("some-lab/some-base", "/no/such/base"):
        change(folder, base_model_name_or_path=base)
        message = refused(folder)
        assert f"the base model {base!r}" in message and "hf download" in message


def test_the_processor_beside_an_adapter_is_taken(adapter):
    folder, _ = adapter
    own = tiny.processor()
    own.chat_template = own.chat_template.replace("USER", "ASSISTANT")
    own.save_pretrained(folder)
    assert load_model(folder)[1].chat_template == own.chat_template
    for file in folder.glob("*processor*"):
        file.unlink()
    assert load_model(folder)[1].chat_template == tiny.processor().chat_template
    words = json.loads((folder / "tokenizer.json").read_text())
    words["added_tokens"].append({**words["added_tokens"][-1], "id": 90, "content": "<new>"})
    (folder / "tokenizer.json").write_text(json.dumps(words))
    assert "tokenizer of other words" in refused(folder)


def lose_a_tensor(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    del tensors[min(tensors)]
    save_file(tensors, folder / "adapter_model.safetensors")


def pickle_weights(folder):
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def with_a_whole_model(folder):
    tiny.model().save_pretrained(folder)


FLAWS = {
    "does not fit its base model": lose_a_tensor,
    "has no adapter_model.safetensors": pickle_weights,
    "which is meant can not be told": with_a_whole_model,
    "names no base_model_name_or_path": lambda folder: change(folder, base_model_name_or_path=None),
    "can not be read": lambda folder: (folder / "adapter_config.json").write_text("{"),
    "does not fit its base model ": lambda folder: change(folder, target_modules=["no_such_proj"]),
    "does not fit its base model  ": lambda folder: change(folder, r=8),
    "has megatron_config": lambda folder: change(folder, megatron_config={"a": 1}, megatron_core="this_module_runs"),
    "has tokenizer_kwargs": lambda folder: change(folder, tokenizer_kwargs={"trust_remote_code": True}),
    "has adapters": lambda folder: change(folder, peft_type="XLORA", adapters={"a": "/somewhere"}),
    "has an adapter itself": lambda folder: change(
        folder, base_model_name_or_path=str(shutil.copytree(folder, folder.parent / "under"))
    ),
}


@pytest.mark.parametrize("said, breaks", FLAWS.items())
def test_an_adapter_that_is_broken_or_of_another_model_is_refused(adapter, said, breaks):
    breaks(adapter[0])
    assert said.strip() in refused(adapter[0])


def test_an_adapter_is_refused_where_peft_is_not(saved, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(saved)}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert "pip install 'spatial-lens[peft]'" in refused(tmp_path)


def on_the_hub(folder, cache, name):
    """What `hf download` leaves of a folder that the hub has under a name."""
    place, commit = cache / f"models--{name.replace('/', '--')}", "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(folder, place / "snapshots" / commit)
    return {"cache_dir": str(cache), "local_files_only": True}


def test_an_adapter_of_the_hub_is_its_base_model_with_it(adapter, tmp_path):
    folder, logits = adapter
    where = on_the_hub(folder, tmp_path / "cache", "some-lab/some-adapter")
    vlm = HookedVLM.from_pretrained("some-lab/some-adapter", **where)
    assert torch.equal(vlm.model(input_ids=WORDS).logits, logits)
    assert list(record(vlm)["adapters"]) == ["default"]
    shutil.copytree(folder, tmp_path / "several" / "adapter")
    below = on_the_hub(tmp_path / "several", tmp_path / "other", "some-lab/several")
    vlm = HookedVLM.from_pretrained("some-lab/several", subfolder="adapter", **below)
    assert torch.equal(vlm.model(input_ids=WORDS).logits, logits)


def test_an_adapter_of_the_hub_is_refused_as_one_where_peft_or_its_base_is_not(saved, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some-lab/base"}))
    where = on_the_hub(tmp_path / "own", tmp_path / "cache", "some-lab/pickled")
    assert "has no adapter_model.safetensors" in refused("some-lab/pickled", **where)
    (tmp_path / "own" / "adapter_model.safetensors").write_bytes(b"")
    where = on_the_hub(tmp_path / "own", tmp_path / "cache", "some-lab/whole")
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "peft", None)
        assert "pip install 'spatial-lens[peft]'" in refused("some-lab/whole", **where)
    monkeypatch.setitem(__import__("sys").modules, "peft", object())
    assert "hf download some-lab/base" in refused("some-lab/whole", **where)
    assert "no-adapter" in refused("some-lab/no-adapter", **where)
