"""A name stands for a folder here or a model of the hub, and the hub is asked only where nothing else can be meant."""

import shutil

import pytest

from interp import HookedVLM
from interp.errors import ModelError
from interp.model.loading import load_model
from interp.model.places import may_be_a_folder, resolve


@pytest.fixture
def here(tmp_path, monkeypatch, saved):
    """A working folder with models in it; no network."""
    shutil.copytree(saved, tmp_path / "models" / "my-llava")
    (tmp_path / "models" / "my-llava.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for place in ("socket.socket.connect", "socket.getaddrinfo"):
        monkeypatch.setattr(place, lambda *given, **how: pytest.fail("the network was asked"))
    return tmp_path


def refused(name, **options):
    with pytest.raises(ModelError) as error:
        load_model(name, **options)
    return str(error.value)


@pytest.mark.parametrize("name", ["models/my-lava", "models/nothing-like-it", "model/my-llava", "modles/my-llava"])
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(here, name):
    message = refused(name)
    assert f"hf://{name}" in message and "the hub was not asked" in message
    assert ("did you mean 'models/my-llava'" in message) == ("llava" in name or "lava" in name)


@pytest.mark.parametrize(
    "name",
    [
        "models/my-llava.safetensors", "models/my llava", "models/mÿ-llava", "models/-llava", "models//my-lava",
        "models/my-lava/", "./models/my-lava", "../my-lava", "models/../my-lava", "models\\my-lava",
        "~nosuchuser/llava", "models/a--b", "hf://my-llava", "hf://a/b/c", "hf://", "https://huggingface.co/llava-hf/llava-1.5-7b-hf",
    ],
)  # fmt: skip
def test_what_can_be_no_name_of_the_hub_is_not_looked_for_there(here, name):
    assert name in refused(name) or repr(name) in refused(name)


def test_a_name_that_can_only_be_the_hubs_is_asked_for_there(here):
    assert resolve("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"
    assert not may_be_a_folder("llava-hf/llava-1.5-7b-hf")
    assert resolve("hf://models/my-lava") == "models/my-lava" and not may_be_a_folder("hf://models/my-lava")


def test_a_folder_loads_without_the_network_by_any_spelling(here):
    for name in ("models/my-llava", "models/my-llava/", "./models/my-llava", here / "models" / "my-llava"):
        assert HookedVLM.from_pretrained(name, self_check=False).cfg.n_layers == 3


def test_a_model_in_the_cache_is_found_beside_a_folder_of_its_owners_name(here, saved, tmp_path):
    place = tmp_path / "cache" / "models--models--cached"
    shutil.copytree(saved, place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    assert load_model("models/cached", cache_dir=tmp_path / "cache")[0].config.model_type == "llava"
