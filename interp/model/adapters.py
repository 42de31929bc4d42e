"""Adapters: models that peft put low-rank or other adapters into, as objects or folders, and what is on in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from interp.errors import ModelError
from interp.model.broken import ADAPTER, CONFIG, PROCESSOR, TOKENIZER
from interp.store.checkpoint import own_file
from interp.store.parsing import parse_json

WEIGHTS = "adapter_model.safetensors"
TEMPLATES = ("chat_template.jinja", "chat_template.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
"""Files that a processor or a tokenizer may have beside its own."""


def inside(model: Any) -> Any:
    """The Hugging Face model in a `PeftModel`, its adapters in its layers and as active as they were; others as given.

    Raises:
        ModelError: what the adapter does is not all in that model, such as a learned prompt; or the model is wrapped
            in something else.
    """
    if "_orig_mod" in getattr(model, "_modules", {}):
        return model  # compiled, and refused for it
    if not _is_peft(model):
        _refuse_shell(model)
        return model
    kind = model.active_peft_config
    held = model.get_base_model()
    if getattr(kind, "is_prompt_learning", False) or not _says_the_same(model, held):
        named = getattr(kind.peft_type, "value", kind.peft_type)
        raise ModelError(
            f"the adapter of this PeftModel ({named}) works outside of the model's layers, where no hook sees it: hook "
            "one whose adapters lie in its layers, such as LoRA, or the model without it, its get_base_model()"
        )
    return held


def adapters_in(model: nn.Module) -> dict[str, list[float]]:
    """The adapters that are on in a model's layers, each with the scales that its layers give it; none where none is.

    Example:
        >>> adapters_in(HookedVLM.wrap(peft_model, processor).model)
        {'default': [2.0]}
    """
    found: dict[str, set[float]] = {}
    for layer in model.modules():
        active = layer.__dict__.get("_active_adapter")
        if active is None or layer.__dict__.get("_disable_adapters"):
            continue
        scales = getattr(layer, "scaling", None)
        for name in [active] if isinstance(active, str) else active:
            own = found.setdefault(str(name), set())
            if isinstance(scales, Mapping) and name in scales:
                own.add(float(scales[name]))
    return {name: sorted(scales) for name, scales in sorted(found.items())}


def holds_adapter(folder: Path) -> bool:
    """Whether a folder is that of an adapter, and not of a whole model.

    Raises:
        ModelError: it holds both, so that which of them is meant can not be told.
    """
    if not (folder / ADAPTER).is_file():
        return False
    whole = [path.name for path in sorted(folder.glob("*.safetensors")) if not path.name.startswith("adapter_")]
    if (folder / CONFIG).is_file() and whole:
        raise ModelError(
            f"{str(folder)!r} holds a whole model ({whole[0]}) and an adapter ({ADAPTER}), and which is meant can not "
            "be told: move one of them to another folder"
        )
    return True


def adapter_of_the_hub(name: str, shared: Mapping[str, Any]) -> Path | None:
    """The folder that holds an adapter which the hub has under a name, fetched if it need be; None where there is none.

    Args:
        name: its name on the hub.
        shared: what says where files come from, see `interp.store.checkpoint.PLACE`.
    """
    try:
        found = own_file(name, ADAPTER, shared)
        for file in (WEIGHTS, *PROCESSOR, *TOKENIZER, *TEMPLATES) if found else ():
            own_file(name, file, shared)
    except (OSError, ValueError):  # no name of the hub, or one that is closed to us: the model's own error tells
        return None
    return None if found is None else found.parent


ELSEWHERE = ("megatron_config", "adapters", "prompt_tuning_init_state_dict_path", "tokenizer_kwargs")
"""Entries of an adapter's configuration by which peft would import or load more than its folder holds."""


def base_name(folder: Path) -> tuple[str, str | None]:
    """The name of the model that an adapter was trained on, as its folder has it, and its revision on the hub.

    Raises:
        ModelError: it names none, its weights are not in safetensors, or it would load more than its folder holds.
    """
    try:
        told = parse_json((folder / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the {ADAPTER} of {str(folder)!r} can not be read ({error}): get that file anew") from error
    base = told.get("base_model_name_or_path") if isinstance(told, dict) else None
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"the {ADAPTER} of {str(folder)!r} names no base_model_name_or_path: write there the folder of the model "
            "that it was trained on"
        )
    if not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"the adapter {str(folder)!r} has no {WEIGHTS}, and weights of other kinds are not read as they can run "
            "code: save it with peft's save_pretrained, which writes it"
        )
    if more := [name for name in ELSEWHERE if told.get(name)]:
        raise ModelError(
            f"the {ADAPTER} of {str(folder)!r} has {more[0]}, by which peft would load more than the folder holds: "
            "merge the adapter with merge_and_unload where you trust it, and name the folder of the merged model"
        )
    beside = folder / base
    revision = told.get("revision")
    return str(beside) if not Path(base).exists() and beside.is_dir() else base, revision if revision else None


def load_adapter(folder: Path, load_base: Callable[[str, str | None], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The base model of an adapter with the adapter in its layers, and the base's processor.

    Args:
        folder: where peft saved it.
        load_base: loads a model and its processor by name and revision.

    Raises:
        ModelError: peft is not there, the base model is not, or the adapter does not fit it.
    """
    base, revision = base_name(folder)
    try:
        import peft
    except ImportError as error:
        raise ModelError(
            f"{str(folder)!r} holds an adapter, and peft, which reads it, is not installed: "
            "pip install 'spatial-lens[peft]'"
        ) from error
    try:
        model, processor = load_base(base, revision)
    except ModelError as error:
        raise ModelError(
            f"the base model {base!r} of the adapter {str(folder)!r} could not be loaded from this machine ({error}). "
            f"Fetch it first, for instance with 'hf download {base}', or write its folder as base_model_name_or_path "
            f"into {ADAPTER}"
        ) from error
    if adapters_in(model):
        raise ModelError(
            f"the base model {base!r} of the adapter {str(folder)!r} has an adapter itself: merge that one into it "
            "with peft's merge_and_unload, save the model, and name its folder as base_model_name_or_path"
        )
    _refuse_other_words(folder, processor)
    try:
        adapted = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the adapter {str(folder)!r} does not fit its base model {base!r} ({type(error).__name__}: {why}): give "
            "the model that it was trained on"
        ) from error
    _refuse_unfit(adapted, folder, base)
    return inside(adapted.eval().requires_grad_(False)), processor


def _is_peft(model: Any) -> bool:
    """Whether a model is one of peft's, which need not be installed."""
    return hasattr(model, "get_base_model") and hasattr(model, "peft_config") and hasattr(model, "base_model")


def _refuse_shell(model: Any) -> None:
    """Refuse what is no Hugging Face model and has one in it, such as what trains on several devices makes."""
    if isinstance(model, PreTrainedModel):
        return
    places = model.named_modules() if isinstance(model, nn.Module) else ()
    path = next((path for path, module in places if isinstance(module, PreTrainedModel)), None)
    where = (
        "load one with AutoModelForImageTextToText.from_pretrained, or by its name with HookedVLM.from_pretrained"
        if path is None
        else f"give the model in it, which is its attribute {path}"
    )
    raise ModelError(f"a {type(model).__name__} is no model of Hugging Face: {where}")


def _says_the_same(model: Any, held: Any) -> bool:
    """Whether a few tokens get the same logits through peft's model and through the one in it."""
    if model.training:
        return True  # dropout differs from run to run
    words = torch.arange(3, 9, device=held.get_input_embeddings().weight.device)[None]
    with torch.no_grad():
        return torch.equal(*(one(input_ids=words, use_cache=False).logits for one in (model, held)))


def _refuse_other_words(folder: Path, processor: Any) -> None:
    """Refuse an adapter's folder that has a tokenizer of its own, of other words, and no whole processor."""
    if any((folder / name).is_file() for name in PROCESSOR) or not any((folder / name).is_file() for name in TOKENIZER):
        return
    from transformers import AutoTokenizer

    try:
        own = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:
        why = " ".join(str(error).split())[:160]
        raise ModelError(f"the tokenizer of the adapter {str(folder)!r} can not be read ({why}): mend it") from error
    if own.get_vocab() != processor.tokenizer.get_vocab():
        raise ModelError(
            f"the adapter {str(folder)!r} has a tokenizer of other words than its base model's, and no processor: save "
            "the whole processor that it was trained with beside it"
        )


def _refuse_unfit(adapted: Any, folder: Path, base: str) -> None:
    """Refuse an adapter of which some weights went nowhere, or some layers got none."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as file:
        there = set(file.keys())
    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    more = {name for name in there - wanted if "embed_tokens" not in name and "lm_head" not in name}  # kept for safety
    told = wanted - there | more
    if told:
        raise ModelError(
            f"the adapter {str(folder)!r} does not fit its base model {base!r} ({len(told)} tensors, such as "
            f"{min(told)}): give the model that it was trained on"
        )
