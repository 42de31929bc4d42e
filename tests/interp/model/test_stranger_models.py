"""A model folder of a stranger: what would fetch and run code, or is no processor, is refused on one line."""

import json
import shutil

import pytest

from interp.errors import ModelError
from interp.model.loading import load_model
from interp.zoo import embedded_path


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(embedded_path("shapes-vlm"), tmp_path / "model")


def change(path, **new):
    path.write_text(json.dumps(json.loads(path.read_text()) | new))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("named", ["owner/kernel", "owner/kernel:forward", "paged|owner/kernel"])
def test_attention_of_the_hub_that_a_configuration_names_is_never_fetched(folder, key, named):
    change(folder / "config.json", **{key: named})
    try:
        model, _ = load_model(folder)
    except ModelError as error:
        assert "names attention of the hub" in str(error) and "\n" not in str(error)
    else:  # a key that this transformers does not read
        assert "/" not in str(model.config._attn_implementation)


def test_the_users_own_choice_of_attention_goes_before_that_of_the_configuration(folder):
    change(folder / "config.json", attn_implementation="owner/kernel")
    assert load_model(folder, attn_implementation="eager")[0].config._attn_implementation == "eager"


def test_a_tokenizer_in_the_place_of_a_processor_is_refused(folder):
    change(folder / "processor_config.json", processor_class="os.system")
    with pytest.raises(ModelError, match="in the place of a processor|could not be loaded"):
        load_model(folder)
