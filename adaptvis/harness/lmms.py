"""The model `spatial-lens` of lmms-eval: a model under a policy, or any intervention, on any of its tasks."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from adaptvis.harness.answers import Answers
from adaptvis.harness.likelihoods import as_taken, choice_sign
from adaptvis.harness.settings import read_settings
from interp.errors import InputError

NAME = "spatial-lens"


def manifest() -> Any:
    """What lmms-eval is told of the model: its name, and where its class is."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=NAME, simple_class_path=f"{__name__}.SpatialLens", aliases=("spatial_lens",))


def __getattr__(name: str) -> Any:
    """`SpatialLens`, whose base class is lmms-eval's, which is imported when it is asked for."""
    if name == "SpatialLens":
        return _spatial_lens()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _spatial_lens() -> type:
    try:
        from lmms_eval.api.model import lmms
    except ImportError as error:
        raise ImportError("lmms-eval is not installed: pip install lmms-eval") from error
    return type("SpatialLens", (_Answering, lmms), {"__module__": __name__, "__doc__": _Answering.__doc__})


class _Answering:
    """A model under a policy, as lmms-eval asks models.

    Args of the command line are those of `adaptvis.harness.settings.read_settings`:
    `--model spatial-lens --model_args model=llava-hf/llava-1.5-7b-hf,policy=adaptvis,alpha_unsure=0.5`.
    """

    is_simple = True
    task_dict: dict[str, Any]
    cache_hook: Any

    def __init__(self, **settings: Any) -> None:
        """Load the model, and read the policy.

        Raises:
            InputError: a setting that is not known, or a run of several processes.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("spatial-lens runs in one process: start lmms-eval without accelerate launch or torchrun")
        vlm, policy, how = read_settings(settings)
        self.answers: Answers | None = Answers(vlm, policy, **how)
        self.pretrained = self.answers.name  # by which lmms-eval keeps answers
        super().__init__()

    @property
    def batch_size(self) -> int:
        """Samples that run together."""
        return self._own.batch

    @property
    def _own(self) -> Answers:
        if self.answers is None:
            raise InputError("this model was put away with clean(): make another")
        return self.answers

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Greedy answers, each up to its stops."""
        asked = [request.args for request in requests]
        answers = self._own.generate_until(asked, self.task_dict)
        for args, answer in zip(asked, answers, strict=True):
            self.cache_hook.add_partial("generate_until", (args[0], args[1]), answer)
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Log-probabilities of continuations in nats, and whether each is the greedy one.

        Of a task's choices they are given as lmms-eval picks among them: where it takes the least number for the best,
        as losses.
        """
        asked = [request.args for request in requests]
        signs = [1.0 if callable(args[1]) else choice_sign() for args in asked]
        found = self._own.loglikelihood(asked, self.task_dict)
        return [as_taken(sign * value, greedy) for sign, (value, greedy) in zip(signs, found, strict=True)]

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Not offered.

        Raises:
            InputError: always.
        """
        raise InputError("tasks of several rounds are not offered by spatial-lens: choose tasks of one question each")

    def clean(self) -> None:
        """Let go of the model."""
        self.answers = None
        super().clean()  # type: ignore[misc]
