"""Loading: a checkpoint by hub name, path or embedded name, with one clear error for whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from interp.errors import InputError, ModelError, SpatialLensError
from interp.families import all_families
from interp.model.broken import flaw
from interp.model.provenance import note_loaded
from interp.options import named_in, nearest, refuse_unknown
from interp.store.checkpoint import PLACE, own_code, refuse_foreign_shards, split_options, unasked
from interp.zoo.tiny import PREFIX as TINY_PREFIX
from interp.zoo.tiny import build_tiny

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OTHER_FILES = {"cache_dir", "subfolder"}
"""Of these, what makes the files lie elsewhere than a folder or the hub's own cache has them."""

AS_THEY_ARE = {
    "attn_implementation",
    "low_cpu_mem_usage",
    "max_memory",
    "offload_buffers",
    "offload_folder",
    "offload_state_dict",
}
"""What says how weights are loaded and run, and leaves them as the files have them."""


OPTIONS = {"dtype", "device_map", "self_check", "trust_remote_code", "quantization_config", *PLACE, *AS_THEY_ARE}
"""What can be said to `from_pretrained`, to name the nearest where something else is."""


def load_model(
    name: str | Path, *, dtype: Any = "auto", device_map: Any = None, trust_remote_code: bool = False, **kwargs: Any
) -> tuple[PreTrainedModel, Any]:
    """Load a model (safetensors only) and its processor, ready to run: in eval mode, parameters frozen.

    Args:
        name: hub name, folder, or embedded name.
        dtype: a torch dtype or its name.
        device_map: where the model goes, as transformers understands it.
        trust_remote_code: whether Python code that comes with the checkpoint, such as its processor's, may run; it is
            refused by default. A model of a type that transformers does not know is refused in any case.
        **kwargs: options for transformers' `from_pretrained`: what is in `PLACE` reaches configuration, weights and
            processor, the rest the weights alone.

    Raises:
        ModelError: nothing of that name, files that are broken or do not fit, or a model that is no VLM.
        InputError: an unknown dtype, or a device that is not there.
        OptionError: an option that neither this function nor transformers has.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    name = str(name)
    if str(device_map).startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {str(device_map)!r} is asked for and there is no CUDA device here: use cpu or auto")
    if name.startswith(TINY_PREFIX):
        return _tiny(name, dtype, device_map, **kwargs)
    place = resolve(name)
    shared, own = split_options(kwargs, trust_remote_code=trust_remote_code)
    config = None
    try:
        with unasked():
            config = AutoConfig.from_pretrained(place, **shared)
            if type(config) not in AutoModelForImageTextToText._model_mapping:
                _refuse_kind(name, config)
            refuse_foreign_shards(place, config, shared, variant=own.get("variant"))
            model, report = AutoModelForImageTextToText.from_pretrained(
                place,
                dtype=read_dtype(dtype),
                device_map=device_map,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that the report names them; they are refused below
                **shared,
                **own,
            )
            processor = AutoProcessor.from_pretrained(place, **shared)
    except SpatialLensError:
        raise
    except Exception as error:
        _refuse_option(error, kwargs)
        folder = Path(place, kwargs.get("subfolder") or "")
        raise ModelError(own_code(name, error, helps=config is not None) or _why(name, folder, error)) from error
    unfit = sorted(report["missing_keys"]) + [
        f"{key} {tuple(there)} instead of {tuple(wanted)}" for key, there, wanted in sorted(report["mismatched_keys"])
    ]
    if unfit:
        raise ModelError(
            f"the weights of {name!r} do not fit its configuration ({len(unfit)} tensors, such as {unfit[0]}): "
            "the files are not complete, or belong to another model"
        )
    model.eval().requires_grad_(False)
    given = {option for option, value in kwargs.items() if value is not None}
    note_loaded(model, None if given - (set(PLACE) - OTHER_FILES) - AS_THEY_ARE else place)
    return model, processor


def _tiny(name: str, dtype: Any, device_map: Any, **options: Any) -> tuple[PreTrainedModel, Any]:
    """A tiny model, made here; what would be said to transformers about a checkpoint is refused.

    Raises:
        InputError: such an option, or several devices.
    """
    said = sorted(option for option, value in options.items() if value is not None)
    if said or not isinstance(device_map, (str, torch.device, int, type(None))):
        hint = ", ".join(filter(None, (nearest(own, ("dtype", "device_map", "self_check")) for own in said)))
        raise InputError(
            f"{name} is made in memory and takes a dtype and one device, not {', '.join(said) or device_map}"
            + (f": {hint}" if hint else "")
        )
    model, processor = build_tiny(name)
    return model.to(**_where(dtype, device_map)), processor


def _where(dtype: Any, device_map: Any) -> dict[str, Any]:
    """What `to` has to be told for a model that was made here."""
    kind = read_dtype(dtype)
    wanted = {"device": None if device_map == "auto" else device_map, "dtype": None if kind == "auto" else kind}
    return {name: value for name, value in wanted.items() if value is not None}


def resolve(name: str) -> str:
    """The path of an embedded model, or the name itself.

    Raises:
        ModelError: the name is empty, a path that does not exist, or none of the hub, whose names have an owner.
    """
    from interp.zoo import EMBEDDED, embedded_path

    if name in EMBEDDED:
        if not (embedded_path(name) / "model.safetensors").is_file():
            raise ModelError(
                f"the weights of {name!r} are not in this installation: make them with "
                f"'python -m interp.training.vlm.train --out {embedded_path(name)}', or name another model with --model"
            )
        return str(embedded_path(name))
    path = Path(name)
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    if not name or (looks_local and not path.expanduser().is_dir()):
        raise ModelError(f"no model folder {name!r}: give a folder, a hub name, or one of {', '.join(EMBEDDED)}")
    if path.expanduser().is_dir():
        return str(path.expanduser())
    if "/" not in name:
        raise ModelError(f"no model {name!r}: {_unowned(name)}")
    return name


def _unowned(name: str) -> str:
    """What to give in place of a name without an owner, which the hub has no model of."""
    from interp.zoo import EMBEDDED

    if name.startswith("planted-"):
        return (
            "planted models are made in Python, by interp.planted.lines.build_line_model or "
            "interp.planted.llava.build_planted, and hooked by HookedVLM.wrap; name a folder, a hub model as "
            f"OWNER/NAME, or one of {', '.join(EMBEDDED)}"
        )
    return f"give a folder that is there, a hub model as OWNER/NAME, or one of {', '.join(EMBEDDED)}"


def read_dtype(dtype: Any) -> Any:
    """A torch dtype from its name: `auto`, `float32`, `bfloat16`, `float16`.

    Raises:
        InputError: an unknown name.
    """
    if dtype is None or dtype == "auto" or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, str(dtype), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype {dtype!r} is not known: use auto, float32, bfloat16 or float16")
    return found


def _refuse_kind(name: str, config: Any) -> None:
    """Refuse a model that is none of transformers' vision-language models, but for own code for a known kind.

    Raises:
        ModelError: it reads no images, or is of a kind that only its own code knows.
    """
    if "AutoModelForImageTextToText" not in (getattr(config, "auto_map", None) or {}):
        raise ModelError(
            f"{name!r} holds a {config.model_type!r} model, not a vision-language model that transformers knows"
        )
    known = sorted(kind for family in all_families() for kind in family.model_types)
    if config.model_type not in known:
        raise ModelError(
            f"{name!r} holds a {config.model_type!r} model, whose class is of the checkpoint's own code, and no family "
            f"is known for it: use a model of one of the types {', '.join(known)}"
        )


def _refuse_option(error: Exception, given: Iterable[str]) -> None:
    """Refuse one of the options that were given, where that is what transformers did."""
    from transformers import PreTrainedModel

    said = str(error) if isinstance(error, TypeError) else ""
    unknown = [option for option in given if f"keyword argument '{option}'" in said]
    known = {*OPTIONS, *named_in(PreTrainedModel.from_pretrained)[1:]}
    refuse_unknown(unknown, known - {*unknown}, of="from_pretrained")


def _why(name: str, folder: Path, error: Exception) -> str:
    """One line that says what went wrong, and what to do: about the files of a folder, where one was given."""
    from interp.zoo import EMBEDDED

    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if folder.is_dir():
        return f"model {name!r} could not be loaded ({type(error).__name__}: {first[:120]}): {flaw(folder)}"
    hint = f"give a local folder, a hub name that can be reached, or one of {', '.join(EMBEDDED)}"
    return f"model {name!r} could not be loaded ({type(error).__name__}: {first[:200]}): {hint}"
