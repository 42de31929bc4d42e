"""Loading: a checkpoint by hub name, path or embedded name, with one clear error for whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from interp.errors import InputError, ModelError, SpatialLensError
from interp.families import all_families
from interp.model.adapters import adapter_of_the_hub, holds_adapter, load_adapter
from interp.model.broken import PROCESSOR, flaw
from interp.model.places import may_be_a_folder, not_a_folder, resolve, stays_here
from interp.model.processor_options import check_image_backend, with_image_backend, with_options
from interp.model.provenance import note_loaded
from interp.options import named_in, nearest, refuse_unknown
from interp.store.checkpoint import PLACE, own_code, refuse_foreign_shards, refuse_kernels, split_options, unasked
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


OPTIONS = {"dtype", "device_map", "self_check", "trust_remote_code", "processor_options", "quantization_config"}
OPTIONS |= {"image_backend", *PLACE, *AS_THEY_ARE}
"""What can be said to `from_pretrained`, to name the nearest where something else is."""

SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""Words of accelerate that place a model on what is here."""


def load_model(
    name: str | Path,
    *,
    dtype: Any = "auto",
    device_map: Any = None,
    trust_remote_code: bool = False,
    processor_options: Mapping[str, Any] | None = None,
    image_backend: str | None = None,
    **kwargs: Any,
) -> tuple[PreTrainedModel, Any]:
    """Load a model (safetensors only) and its processor, ready to run: in eval mode, parameters frozen.

    A folder that peft saved an adapter in, here or on the hub, is loaded as its base model with the adapter in its
    layers. The base model has to be on this machine, unless `local_files_only=False` is said.

    Args:
        name: hub name, folder, or embedded name. `hf://OWNER/NAME` is one of the hub, whatever lies here.
        dtype: a torch dtype or its name.
        device_map: where the model goes, as transformers understands it.
        trust_remote_code: whether Python code that comes with the checkpoint, such as its processor's, may run; it is
            refused by default. A model of a type that transformers does not know is refused in any case.
        processor_options: settings of the processor by name, such as `max_pixels` or `do_image_splitting`.
        image_backend: what resizes photos, `pil` or `torchvision`; the checkpoint's own by default.
        **kwargs: options for transformers' `from_pretrained`: what is in `PLACE` reaches configuration, weights and
            processor, the rest the weights alone.

    Raises:
        ModelError: nothing of that name, files that are broken or do not fit, or a model that is no VLM.
        InputError: an unknown dtype, a device that is not there, or an option that the processor does not have.
        OptionError: an option that neither this function nor transformers has.
    """
    name = str(name)
    check_image_backend(image_backend)
    _check_device(device_map)
    how = {"dtype": dtype, "device_map": device_map}
    if name.startswith(TINY_PREFIX):
        model, processor = _tiny(name, **how, **kwargs)
    else:
        place = resolve(name)
        folder = Path(place, kwargs.get("subfolder") or "")
        own_files = stays_here(name, place, trust_remote_code=trust_remote_code)
        options = {**({"local_files_only": True} if own_files else {}), **kwargs}
        load = _adapted if holds_adapter(folder) else _whole
        model, processor = load(name, place, trust_remote_code=trust_remote_code, **how, **options)
    return model, with_image_backend(with_options(processor, processor_options), image_backend)


def _adapted(
    name: str, place: str, *, dtype: Any, device_map: Any, trust_remote_code: bool, **kwargs: Any
) -> tuple[PreTrainedModel, Any]:
    """The model that an adapter belongs to, with the adapter in it; the processor of the adapter, where it has one."""
    from transformers import AutoProcessor

    folder = Path(place, kwargs.pop("subfolder", None) or "")
    kwargs.pop("revision", None)  # of the adapter, whose files are here

    def load_base(base: str, revision: str | None) -> tuple[Any, Any]:
        options = {"local_files_only": True, **kwargs, "revision": revision}
        return load_model(base, dtype=dtype, device_map=device_map, trust_remote_code=trust_remote_code, **options)

    model, processor = load_adapter(folder, load_base)
    if any((folder / file).is_file() for file in PROCESSOR):
        try:
            with unasked():
                processor = AutoProcessor.from_pretrained(
                    str(folder), trust_remote_code=trust_remote_code, local_files_only=True
                )
        except Exception as error:
            raise ModelError(own_code(name, error, helps=True) or _why(name, folder, error)) from error
    note_loaded(model, None)
    return model, processor


def _whole(
    name: str, place: str, *, dtype: Any, device_map: Any, trust_remote_code: bool, **kwargs: Any
) -> tuple[PreTrainedModel, Any]:
    """Model and processor of a whole checkpoint.

    Raises:
        ModelError: as `load_model` says.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    shared, own = split_options(kwargs, trust_remote_code=trust_remote_code)
    config = None
    try:
        with unasked():
            config = AutoConfig.from_pretrained(place, **shared)
            if type(config) not in AutoModelForImageTextToText._model_mapping:
                _refuse_kind(name, config)
            if own.get("attn_implementation") is None:
                refuse_kernels(name, config)
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
        if config is None and not folder.is_dir() and (fetched := adapter_of_the_hub(place, shared)) is not None:
            own_how = {**kwargs, "subfolder": None}
            how = {"dtype": dtype, "device_map": device_map, "trust_remote_code": trust_remote_code}
            return _adapted(name, str(fetched), **how, **own_how)
        raise ModelError(own_code(name, error, helps=config is not None) or _why(name, folder, error)) from error
    unfit = sorted(report["missing_keys"]) + [
        f"{key} {tuple(there)} instead of {tuple(wanted)}" for key, there, wanted in sorted(report["mismatched_keys"])
    ]
    if unfit:
        raise ModelError(
            f"the weights of {name!r} do not fit its configuration ({len(unfit)} tensors, such as {unfit[0]}): "
            "the files are not complete, or belong to another model"
        )
    if getattr(processor, "tokenizer", None) is None:
        raise ModelError(
            f"{name!r} has a {type(processor).__name__} in the place of a processor of photos and text: save the "
            "processor that belongs to the model beside it, with its save_pretrained"
        )
    model.eval().requires_grad_(False)
    given = {option for option, value in kwargs.items() if value is not None}
    note_loaded(model, None if given - (set(PLACE) - OTHER_FILES) - AS_THEY_ARE else place)
    return model, processor


def _check_device(device_map: Any) -> None:
    """Refuse a device that is not known, or not there; what places parts of a model on several is left.

    Raises:
        InputError: so it is.
    """
    if not isinstance(device_map, (str, torch.device, int)) or device_map in SPREAD:
        return
    if str(device_map).startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {str(device_map)!r} is asked for and there is no CUDA device here: use cpu or auto")
    try:
        torch.empty(0, device=device_map)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).strip().partition("\n")[0]
        raise InputError(
            f"device {str(device_map)!r} can not be used ({why:.120}): use cpu, auto, or one that is here, such as cuda"
        ) from error


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
    if may_be_a_folder(name):
        return f"model {name!r} could not be loaded: {not_a_folder(name)}"
    hint = f"give a local folder, a hub name that can be reached, or one of {', '.join(EMBEDDED)}"
    return f"model {name!r} could not be loaded ({type(error).__name__}: {first[:200]}): {hint}"
