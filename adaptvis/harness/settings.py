"""Settings of a harness's model: which model, under which policy or intervention, from words or from objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from adaptvis.commands.options import NUMBERS, TAKES
from adaptvis.policy.policies import Policy, is_policy
from interp.cli import numbers
from interp.errors import InputError
from interp.intervene.base import Intervention, check_intervention
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

_OF_FILES = ("revision", "trust_remote_code", "cache_dir")
LOADING = ("device", "dtype", *_OF_FILES, "attn_implementation", "processor", "image_backend")
OF_POLICY = (*NUMBERS, "confidence", "layers", "heads")
OTHERS = ("model", "pretrained", "policy", "intervention", "prompt", "batch_size", "max_batch_size")


@dataclass(frozen=True)
class Always:
    """One intervention for every sample, as a policy."""

    intervention: Intervention
    confidence: str = "probability"

    def choose(self, confidence: float) -> Intervention:
        """The intervention, whatever the confidence."""
        return self.intervention

    def branch(self, confidence: float) -> str:
        """The only branch."""
        return "always"

    def __str__(self) -> str:
        """The intervention's own name, for results."""
        return str(self.intervention)


def read_settings(given: Mapping[str, Any]) -> tuple[HookedVLM, Policy, dict[str, Any]]:
    """The model, the policy, and how to ask, from what a harness was given.

    Args:
        given: `model` (or `pretrained`): a name, a folder, or a `HookedVLM`; `policy`: `baseline`, `scaling`,
            `adaptvis`, `add`, `temper`, or a policy; with its numbers (`alpha`, `threshold`, ...), `layers` and `heads`
            (`4-7`, or `17;18`). Or `intervention`: one that was made, or `MODULE:NAME`, which is one, a policy, or a
            function that makes one of the model. `prompt` (`chat`, `paper`, `raw`), `batch_size`, and what is for
            loading: `device`, `dtype`, `revision`, `trust_remote_code`, `cache_dir`, `attn_implementation`, and
            `processor`, options of the processor by name.

    Raises:
        InputError: a setting that is not known, that the policy does not take, or that can not be read.
    """
    known = (*OTHERS, *LOADING, *OF_POLICY)
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"{', '.join(unknown)} is no setting of spatial-lens: use some of {', '.join(known)}")
    if "model" in given and "pretrained" in given:
        raise InputError("model and pretrained are the same setting: give one")
    batch = given.get("batch_size", 1)
    batch = 1 if batch is None else int(batch) if str(batch).isdecimal() else 0
    if batch < 1:
        raise InputError(f"batch_size={given['batch_size']!r}: give a whole number from 1 on")
    policy = None if "intervention" in given else _policy(given)
    vlm = _model(given)
    if policy is None:
        policy = _intervention(given, vlm)
    if policy.confidence == "options":
        raise InputError("confidence=options goes by the options of a question, which a harness does not tell")
    return vlm, policy, {"prompt": given.get("prompt", "chat"), "batch": batch}


def _model(given: Mapping[str, Any]) -> HookedVLM:
    from interp.model.hooked_vlm import HookedVLM

    name = given.get("model", given.get("pretrained", "shapes-vlm"))
    said = {key: given[key] for key in LOADING if given.get(key) is not None}
    if isinstance(name, HookedVLM):
        if said.keys() - {"device"}:
            raise InputError(f"{', '.join(said)}: this model is loaded already, leave out what is for loading")
        return name
    options = said.pop("processor", None)
    if isinstance(options, str):
        try:
            options = parse_json(options)
        except ValueError as error:
            raise InputError(f'processor={options!r:.80} is no JSON, such as {{"max_pixels": 50176}}') from error
    return HookedVLM.from_pretrained(str(name), device_map=said.pop("device", None), processor_options=options, **said)


def _policy(given: Mapping[str, Any]) -> Policy:
    from adaptvis.evaluation.settings import Settings

    named = given.get("policy", "baseline")
    numbers_given = {name: _number(name, given[name]) for name in OF_POLICY if given.get(name) is not None}
    if not isinstance(named, str):
        if numbers_given or not is_policy(named) or isinstance(named, type):
            raise InputError(f"policy={named!r:.80}: give a name, or a policy that was made with all its numbers")
        return named
    if named not in TAKES:
        raise InputError(f"policy {named!r} is not known here: use one of {', '.join(TAKES)}")
    places: dict[str, Any] = {
        name: _places(numbers_given.pop(name)) for name in ("layers", "heads") if name in numbers_given
    }
    if strange := sorted(set(numbers_given) - set(TAKES[named])) + (sorted(places) if named == "baseline" else []):
        raise InputError(f"policy {named} does not take {', '.join(strange)}: leave it out, or name another policy")
    numbers_given.update(places)
    return Settings(**numbers_given).scaling_policy(named)


def _number(name: str, given: Any) -> Any:
    """A number that was given as text, as a number; others as they are."""
    if name not in NUMBERS or not isinstance(given, str):
        return given
    try:
        return float(given)
    except ValueError:
        raise InputError(f"{name}={given!r:.40} is no number: give one such as 0.5") from None


def _places(given: Any) -> tuple[int, ...]:
    """Layers or heads: a number, a list, or text such as `4-7` or `17;18`, as commas part settings."""
    if isinstance(given, (str, int)) and not isinstance(given, bool):
        return numbers(str(given).replace(";", ","))
    return tuple(given)


def _intervention(given: Mapping[str, Any], vlm: HookedVLM) -> Policy:
    if extra := sorted({"policy", *OF_POLICY} & {name for name in given if given[name] is not None}):
        raise InputError(f"{', '.join(extra)} beside an intervention: give the one or the other")
    found = given["intervention"]
    if isinstance(found, str):
        found = _imported(found)
    if not hasattr(found, "hooks") and not is_policy(found) and callable(found):
        found = found(vlm)
    if is_policy(found) and not isinstance(found, type):
        return found
    check_intervention(found)
    return Always(found)


def _imported(spelled: str) -> Any:
    module, mark, name = spelled.partition(":")
    try:
        if mark:
            return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"intervention={spelled!r} can not be imported ({error}): write MODULE:NAME") from error
    raise InputError(f"intervention={spelled!r} names no object: write MODULE:NAME, such as my_heads:WITHOUT_BAD_ONES")
