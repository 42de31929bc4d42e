"""The model that lmms-eval finds is of its kind and answers a task in its format; a stand-in holds its place too."""

import importlib
import inspect
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from types import ModuleType, SimpleNamespace

import pytest

from adaptvis import AdaptVis, answer_batch
from adaptvis.harness import lmms
from adaptvis.harness.likelihoods import as_taken, choice_sign
from interp import HookedVLM
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError

SCENES = shapes(4, seed=1, kinds=("relation",))


def picks(best):
    """A task of lmms-eval's kind that picks the choice with the largest number, or the least."""

    class ConfigurableTask:
        def process_results(self, doc, results, full_docs=None):
            numbers, _ = zip(*results, strict=True)
            return {"acc": 1.0 if numbers.index(best(numbers)) == self.doc_to_target(doc) else 0.0}

    return ConfigurableTask


@dataclass
class GenerationResult:
    """What a model may give in place of a text."""

    text: object


def as_text(output):
    """What lmms-eval makes of an output: a text of all that it does not know."""
    return (output.text if isinstance(output, GenerationResult) else str(output)), None


class BaseModel:
    """What lmms-eval's base class keeps and asks for."""

    def __init__(self):
        self.task_dict, self.cache_hook, self.put_away = {}, SimpleNamespace(add_partial=lambda *given: None), False

    @classmethod
    def create_from_arg_string(cls, text, more=None):
        pairs = [part.split("=", 1) for part in text.split(",")]
        return cls(**dict(pairs), **{name: value for name, value in (more or {}).items() if value is not None})

    def clean(self):
        self.put_away = True


@dataclass
class Instance:
    """What lmms-eval hands to a model."""

    request_type: str
    arguments: tuple
    idx: int
    metadata: dict = field(default_factory=dict)

    @property
    def args(self):
        return self.arguments


@dataclass(frozen=True)
class ModelManifest:
    """What lmms-eval is told of a model."""

    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


def there():
    try:
        import lmms_eval.api.instance
        import lmms_eval.api.model
        import lmms_eval.models.registry_v2  # noqa: F401
    except ImportError:
        return False
    return True


def forget():
    lmms._spatial_lens.cache_clear()
    choice_sign.cache_clear()


@pytest.fixture(params=["stand-in", "lmms-eval"])
def harness(request, monkeypatch):
    """The parts of lmms-eval: its own, or our stand-ins."""
    forget()
    if request.param == "lmms-eval":
        if not there():
            pytest.skip("lmms-eval is not installed: pip install lmms-eval")
    else:
        parts = {
            "lmms_eval": {},
            "lmms_eval.api": {},
            "lmms_eval.api.model": {"lmms": BaseModel},
            "lmms_eval.api.instance": {"Instance": Instance},
            "lmms_eval.api.task": {"ConfigurableTask": picks(max)},
            "lmms_eval.models": {},
            "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
        }
        for name, held in parts.items():
            module = ModuleType(name)
            vars(module).update(held)
            monkeypatch.setitem(sys.modules, name, module)
    yield request.param
    forget()


def instances(kind, arguments):
    made = importlib.import_module("lmms_eval.api.instance").Instance
    told = {"task": "scenes", "split": "test", "repeats": 1}
    return [made(kind, given, 0, {**told, "doc_id": place}) for place, given in enumerate(arguments)]


def of(place, *middle):
    return (SCENES[place].question, *middle, lambda document: [document.image.convert("RGB")], place, "scenes", "test")


def test_the_manifest_names_a_class_of_the_harnesss_own_kind(harness):
    told = lmms.manifest()
    module, _, name = told.simple_class_path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    base = importlib.import_module("lmms_eval.api.model").lmms
    assert told.model_id == "spatial-lens" and issubclass(found, base) and found.is_simple
    assert not getattr(found, "__abstractmethods__", None)


def test_the_harness_finds_it_by_its_name(harness):
    if harness != "lmms-eval":
        pytest.skip("a stand-in has no registry")
    from lmms_eval.models.registry_v2 import ModelRegistryV2

    registry = ModelRegistryV2()
    registry.register_manifest(lmms.manifest())
    assert registry.get_model_class("spatial_lens") is registry.get_model_class("spatial-lens") is lmms.SpatialLens


def test_the_entry_point_is_declared(repo):
    points = tomllib.loads((repo / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    module, _, name = points["spatial-lens"].partition(":")
    assert getattr(importlib.import_module(module), name) is lmms.manifest


def test_the_entry_point_is_found_as_the_harness_finds_it(harness):
    try:
        distribution("spatial-lens")
    except PackageNotFoundError:
        pytest.skip("the package is not installed, so that no metadata names entry points: pip install -e .")
    (point,) = entry_points(group="lmms_eval.models", name="spatial-lens")
    told = point.load()()
    assert type(told) is importlib.import_module("lmms_eval.models.registry_v2").ModelManifest
    assert (told.model_id, told.simple_class_path) == ("spatial-lens", "adaptvis.harness.lmms.SpatialLens")


def test_a_task_is_answered_and_scored_under_the_policy_of_its_arguments(harness):
    text = "model=shapes-vlm,policy=adaptvis,alpha_unsure=0.3,alpha_sure=1.8,threshold=0.9,dtype=float32,prompt=paper"
    model = lmms.SpatialLens.create_from_arg_string(text, {"batch_size": 2, "max_batch_size": None, "device": "cpu"})
    model.task_dict = {"scenes": {"test": SCENES}}
    kept = []
    model.cache_hook = SimpleNamespace(add_partial=lambda *given: kept.append(given))
    asked = [of(place, {"max_new_tokens": 3, "until": ["\n\n"]}) for place in range(4)]
    said = model.generate_until(instances("generate_until", asked))
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32", self_check=False)
    inputs = vlm.prepare([scene.image for scene in SCENES], [scene.question for scene in SCENES], prompt="paper")
    wanted = answer_batch(vlm, inputs, AdaptVis(0.3, 1.8, 0.9), max_new_tokens=3)
    assert said == [answer.text for answer in wanted] and [given[2] for given in kept] == said
    targets = [of(place, lambda document, own=said[place]: own) for place in range(4)]
    scored = [getattr(one, "text", one) for one in model.loglikelihood(instances("loglikelihood", targets))]
    assert all(value <= 0 and greedy for value, greedy in scored)
    assert model.batch_size == 2 and "AdaptVis(alpha_unsure=0.3" in model.pretrained
    model.clean()
    with pytest.raises(InputError, match="put away"):
        model.generate_until(instances("generate_until", asked))


@pytest.mark.parametrize("best", [max, min])
def test_the_likeliest_choice_is_the_one_that_the_harness_picks(harness, best, monkeypatch):
    if harness == "stand-in":
        monkeypatch.setattr(sys.modules["lmms_eval.api.task"], "ConfigurableTask", picks(best))
    model = lmms.SpatialLens(model="shapes-vlm", dtype="float32", prompt="paper")
    model.task_dict = {"scenes": {"test": SCENES}}
    (said,) = model.generate_until(instances("generate_until", [of(0, {"max_new_tokens": 3})]))
    words = [word for word in SCENES[0].options if word != said.lower()][:2] + [said]
    task = importlib.import_module("lmms_eval.api.task").ConfigurableTask
    results = [
        getattr(one, "text", one)
        for one in model.loglikelihood(instances("loglikelihood", [of(0, f" {word}") for word in words]))
    ]
    own = SimpleNamespace(
        OUTPUT_TYPE="multiple_choice",
        config=SimpleNamespace(process_results=None),
        doc_to_choice=lambda document: words,
        doc_to_target=lambda document: 2,
        multiple_input=0,
        multiple_target=0,
        _metric_fn_list={"acc": None},
    )
    assert inspect.unwrap(task.process_results)(own, {}, results)["acc"] == 1.0


def test_a_pair_reaches_a_task_that_would_be_given_its_text(harness, monkeypatch):
    if harness == "stand-in":
        assert as_taken(-1.5, True) == (-1.5, True)
        module = sys.modules["lmms_eval.api.instance"]
        monkeypatch.setattr(module, "GenerationResult", GenerationResult, raising=False)
        monkeypatch.setattr(module, "unwrap_generation_output", as_text, raising=False)
    unwrap = importlib.import_module("lmms_eval.api.instance").unwrap_generation_output
    assert unwrap(as_taken(-1.5, True))[0] == (-1.5, True)


def test_choices_are_refused_where_it_can_not_be_told_how_they_are_picked(harness, monkeypatch):
    if harness != "stand-in":
        pytest.skip("it can be told")
    monkeypatch.delattr(sys.modules["lmms_eval.api.task"], "ConfigurableTask")
    with pytest.raises(InputError, match="can not be told"):
        lmms.SpatialLens(model="tiny-llava").loglikelihood(instances("loglikelihood", [of(0, " left")]))


def test_what_it_does_not_offer_is_refused(harness, monkeypatch):
    model = lmms.SpatialLens(model="tiny-llava")
    with pytest.raises(InputError, match="several rounds"):
        model.generate_until_multi_round([])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        lmms.SpatialLens(model="tiny-llava")


def test_without_the_harness_the_module_is_there_and_its_class_says_what_to_install(monkeypatch):
    forget()
    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.api.model"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install lmms-eval"):
        lmms.SpatialLens  # noqa: B018
    with pytest.raises(AttributeError):
        lmms.NoSuchName  # noqa: B018
