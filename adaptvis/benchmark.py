"""Benchmark: a data set by name, split as asked, under policies with given, published or chosen settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adaptvis.evaluation.evaluation import Evaluation, evaluate
from adaptvis.evaluation.request import EvaluateRequest, refuse_no_settings
from adaptvis.evaluation.settings import Settings
from adaptvis.paper.published import PRESETS
from adaptvis.paper.splits import PARTS, split, usual_split
from adaptvis.sweep.plan import PAPER_ALPHAS
from interp.answers.groups import PAIRS
from interp.datasets.benchmarks.files import MISSING
from interp.errors import InputError
from interp.intervene.indices import check_indices
from interp.layers import paper_layers
from interp.model.processor_options import check_image_backend, on_image_backend
from interp.model.provenance import run_record
from interp.store.guard import refuse_begun
from interp.study.requests import Request, refuse_nothing_to_resume, takes
from interp.study.sample_checks import askable, check_samples
from interp.zoo.domain import remarks_on_images

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

PAPER_TOKENS = 100
"""How long the authors let an answer become."""

PAPER_BACKEND = "pil"
"""What the authors' versions resize photos with."""

WINDOWS = 4
"""Into how many windows of equal width the layers are cut, to see which of them carry a gain."""

FOLDERS = ("validation", "test")
"""Inside the folder of an evaluation: where the sweep that chooses and the one that is reported are kept."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest(Request):
    """Which part of a data set to ask, under which policies, with whose numbers: what `evaluate_dataset` takes.

    Attributes:
        folder: where its files lie; None for synthetic sets.
        n: only the first so many samples of the data set.
        missing: what absent photos mean: `refuse`, or `skip` these samples.
        images: another folder to look for photos in.
        policies: names out of `adaptvis.evaluation.settings.POLICIES`.
        settings: the policies' numbers.
        preset: `paper` takes the authors' numbers for this data set and LLaVA-1.5-7B in their place.
        select: choose the numbers on the validation part in their place; `True` or `"val"`, which say the same.
        how: the split, `official` (the paper's random rows) or `by-pair` (whole object pairs or photos); by default
            `by-pair` where settings are chosen, as the official split tears pairs apart and chosen settings keep some
            of their luck, and otherwise `official` where the paper has one.
        part: `test`, `val` or `all` is reported.
        alphas: strengths that are swept.
        ablations: also sweep strengths, the additive control and windows of layers on the reported part; without, only
            what the policies need.
        prompt: prompt style.
        prompts: a prompt file that the authors released for this data set: each sample is asked with its row as it is.
        image_backend: what resizes photos, `pil` or `torchvision`; by default what the model has, and with the preset
            `pil`, as the authors have it.
        max_new_tokens: length of an answer at most; by default 10, and with the preset 100, as the authors have it.
        batch: samples that share one pass.
        seed: the seed of the bootstraps; the split has its own, as published.
        out: a folder for answers, tables, figures and `report.html`.
        resume: go on with what lies in `out`. A report there about policies with other settings, such as another
            threshold, is kept: in a folder beside the new one that is named by what differed.
        progress: show progress bars.

    Example:
        >>> evaluate_dataset(vlm, "shapes-a", request=BenchmarkRequest(n=200, select=True)).summary

    Raises:
        InputError: tuning on anything but the validation part, tuning and a preset at once, no token to answer with,
            no sample to a batch, or nothing to resume.
    """

    folder: str | Path | None = None
    n: int | None = None
    missing: str = "refuse"
    images: str | Path | None = None
    policies: Sequence[str] = ("baseline", "scaling", "adaptvis")
    settings: Settings = Settings()
    preset: str | None = None
    select: str | bool = False
    how: str | None = None
    part: str = "test"
    alphas: Sequence[float] = PAPER_ALPHAS
    ablations: bool = True
    prompt: str = "paper"
    prompts: str | Path | None = None
    image_backend: str | None = None
    max_new_tokens: int | None = None
    batch: int = 16
    seed: int = 0
    out: str | Path | None = None
    resume: bool = False
    progress: bool = True

    UNRECORDED: ClassVar[frozenset[str]] = frozenset(
        {"folder", "images", "prompts", "image_backend", "out", "batch", "resume", "progress"}
    )

    def __post_init__(self) -> None:
        """Refuse what neither a model nor the data set is needed to refuse."""
        self._keep_tuples("policies", "alphas")
        if self.select not in (False, True, "val"):
            raise InputError(
                f"settings can not be chosen on part {self.select!r}: it is reported; they are chosen on 'val' only"
            )
        if self.select and self.part != "test":
            raise InputError(
                f"settings are chosen on the validation part, which part {self.part!r} holds: report them on 'test'"
            )
        if self.select and self.preset is not None:
            raise InputError("select chooses the settings and preset gives them: ask for one of the two")
        if self.missing not in MISSING or self.part not in PARTS:
            raise InputError(
                f"missing={self.missing!r}, part={self.part!r}: give one of {', '.join(MISSING)}, and one of "
                f"{', '.join(PARTS)}"
            )
        self._keep_whole(n=1, max_new_tokens=1, batch=1, seed=0)
        self._check_prompt()
        check_image_backend(self.image_backend)
        if self.prompts is not None and self.prompt != "paper":
            raise InputError(
                f"a prompt file is asked as it is: leave prompt={self.prompt!r} (--prompt) out, or the file"
            )
        refuse_no_settings(self.settings)
        refuse_nothing_to_resume(self.out, resume=self.resume)

    def evaluating(self, dataset: str) -> EvaluateRequest:
        """How the samples of a data set are asked, but for what only they and the model can tell.

        Raises:
            InputError: a preset that does not exist, or what `EvaluateRequest` refuses.
        """
        usual = 10 if self.preset is None else PAPER_TOKENS
        return EvaluateRequest(
            policies=self.policies,
            settings=self.settings if self.preset is None else with_preset(self.settings, self.preset, dataset),
            alphas=self.alphas if self.ablations or self.select else (),
            sweeps=self.ablations,
            prompt=self.prompt,
            max_new_tokens=usual if self.max_new_tokens is None else self.max_new_tokens,
            batch=self.batch,
            seed=self.seed,
            out=self.out,
            resume=self.resume,
            progress=self.progress,
        )


@takes(BenchmarkRequest)
def evaluate_dataset(
    vlm: HookedVLM | Callable[[], HookedVLM], dataset: str, *, request: BenchmarkRequest
) -> Evaluation:
    """Evaluate policies on a benchmark, and write tables, figures and a report where `out` is given.

    Args:
        vlm: the model, or a function that loads it, called once all that needs no model was checked.
        dataset: a name of `interp.datasets.BENCHMARKS`.
        request: what to ask and under which policies, in the place of these fields of it as keywords.

    Example:
        >>> evaluate_dataset(vlm, "shapes-a", n=200, select=True).summary

    Raises:
        InputError: tuning on anything but the validation part, tuning and a preset at once, a preset that does not
            exist, no token to answer with, or what `read_dataset`, `split` and `evaluate` refuse.
        HookError: layers or heads that the model does not have.
    """
    from interp.datasets.benchmarks.asked import with_prompts
    from interp.datasets.benchmarks.reading import read_dataset

    record: dict[str, Any] = run_record()
    request.evaluating(dataset)  # which refuses what it does not know
    out, part = request.out, request.part
    where: dict[str, Any] = {"images": request.images, "progress": request.progress}
    samples = read_dataset(dataset, request.folder, n=request.n, missing=request.missing, **where)
    if request.prompts is not None:
        samples, told = with_prompts(samples, request.prompts, dataset)
        record |= {"prompts": told}
    usual, why = usual_split(samples, chooses=bool(request.select))
    how = request.how or usual
    if why and not request.how:
        print(f"note: {why}", file=sys.stderr)
    test, validation = split(samples, how, part), split(samples, how, "val") if request.select else None
    test = askable(test, progress=request.progress)
    validation = None if validation is None else askable(validation, progress=request.progress)
    check_samples([*test, *(validation or ())], progress=request.progress)
    if out is not None:
        refuse_begun(out, resume=request.resume, parts=FOLDERS, what="an evaluation", option="--resume")
    from interp.model.hooked_vlm import HookedVLM  # here, as it is slow to import and what is refused needs none of it

    model = vlm if isinstance(vlm, HookedVLM) else vlm()
    backend = request.image_backend or (None if request.preset is None else PAPER_BACKEND)
    record |= {"dataset": dataset, "split": how, "part": part}
    with on_image_backend(model.processor, backend):
        return _evaluated(model, test, validation, record, request=request)


def _evaluated(
    vlm: HookedVLM,
    test: Sequence[Sample],
    validation: Sequence[Sample] | None,
    record: dict[str, Any],
    *,
    request: BenchmarkRequest,
) -> Evaluation:
    """The evaluation of parts that were checked as far as no model is needed, written where a folder is given."""
    from interp.datasets.benchmarks.asked import count_differing

    dataset, out = record["dataset"], request.out
    asked = request.evaluating(dataset)
    asks: dict[str, Any] = {"prompt": asked.prompt, "progress": request.progress}
    reported = {one.id for one in test}
    every = [*test, *(one for one in validation or () if one.id not in reported)]
    kept = {one.id for one in askable(every, vlm, **asks)}
    test = [one for one in test if one.id in kept]
    validation = None if validation is None else [one for one in validation if one.id in kept]
    check_indices(asked.settings.layers, vlm.cfg.n_layers, "layer")
    check_indices(asked.settings.heads, vlm.cfg.n_heads, "head")
    windows = layer_windows(vlm.cfg.n_layers) if request.ablations else ()
    given = "given" if request.preset is None else f"preset {request.preset}"
    given = "chosen on the validation part" if request.select else given
    record = {**record, "samples": len(test), "settings": given, "seed": request.seed}
    if "prompts" in record:
        record["prompts"] = {**record["prompts"], "reported": len(test), "reported_differ": count_differing(test)}
    asked = replace(asked, validation=validation, windows=windows, record=record)
    evaluation = evaluate(vlm, test, request=asked)
    if out is not None:
        facts = {**record, "prompt": asked.prompt, "max_new_tokens": asked.max_new_tokens}
        remarks = remarks_on_images(vlm.origin.get("model", ""), [sample.image for sample in test])
        facts |= {"remarks": remarks} if remarks else {}
        _write(vlm, evaluation, test, dataset, Path(out), facts)
    return evaluation


def with_preset(settings: Settings, preset: str, dataset: str) -> Settings:
    """The settings with the authors' numbers for LLaVA-1.5-7B on a data set.

    Raises:
        InputError: there is no such preset.
    """
    if preset != "paper" or dataset not in PRESETS:
        raise InputError(
            f"there is no preset {preset!r} for {dataset!r}: the preset 'paper' has {', '.join(PRESETS)}; "
            "or choose the numbers with select"
        )
    own = PRESETS[dataset]
    return replace(
        settings,
        alpha=own.alpha,
        alpha_unsure=own.alpha_unsure,
        alpha_sure=own.alpha_sure,
        threshold=own.threshold,
    )


def layer_windows(n_layers: int, n: int = WINDOWS) -> list[tuple[int, ...]]:
    """The layers cut into `n` windows of nearly equal width, and the paper's layers.

    Example:
        >>> layer_windows(8, 2)
        [(0, 1, 2, 3), (4, 5, 6, 7), (4,)]
    """
    edges = [round(part * n_layers / n) for part in range(n + 1)]
    cut = [tuple(range(start, end)) for start, end in zip(edges, edges[1:], strict=False) if end > start]
    return list(dict.fromkeys([*cut, paper_layers(n_layers)]))


def _write(
    vlm: HookedVLM, evaluation: Evaluation, samples: Sequence[Sample], dataset: str, out: Path, settings: dict[str, Any]
) -> None:
    """Tables, figures and report of an evaluation; an earlier report with other settings is kept, and that is said."""
    from adaptvis.report.earlier import keep_earlier
    from adaptvis.report.setup import RunFacts
    from adaptvis.report.write import policies_of, write_evaluation
    from interp.model.record import record
    from interp.store.folder import OutputFolder
    from interp.study.run import with_runs

    facts = with_runs(record(vlm, **settings), *(out / name for name in FOLDERS))
    kept = keep_earlier(out, policies_of(evaluation, RunFacts(dataset, "", facts)))
    write_evaluation(OutputFolder(out), vlm, evaluation, samples, facts, pairs=PAIRS.get(dataset), dataset=dataset)
    if kept is not None:
        print(f"new report: {out.expanduser() / 'report.html'}; the earlier one is kept: {kept / 'report.html'}")
