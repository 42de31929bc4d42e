"""Runs: every arm trained once a seed, side by side, in one folder that a killed command goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.store.folder import OutputFolder
from interp.store.guard import MANIFEST, refuse_foreign, refuse_other
from interp.store.shards import Shards
from probes.retraining.arms import ARMS, find_arm
from probes.retraining.budget import Budget
from probes.retraining.train import train_arm, train_tower

STUDY, FORMAT, RUNS = "retraining", 1, "runs"
FIRST = 2  # so many arms are trained for all seeds before the others begin


@dataclass(frozen=True)
class TrainingPlan:
    """What a comparison trains.

    Attributes:
        arms: some of `ARMS`; the first is what the others are set against.
        seeds: how many runs of each arm, seeds 0 and up.
        budget: what each run costs.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    seeds: int = 3
    budget: Budget = Budget()

    def models(self) -> list[tuple[str, int]]:
        """Arm and seed of each model."""
        return [(arm, seed) for arm in self.arms for seed in range(self.seeds)]

    def check(self) -> None:
        """Refuse a plan that compares nothing.

        Raises:
            InputError: an arm that there is not, one that is named twice, no arm, no seed, or a budget without steps.
        """
        for arm in self.arms:
            find_arm(arm)
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise InputError(f"arms {list(self.arms)}: name one or more of {', '.join(ARMS)}, each once")
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise InputError(f"seeds={self.seeds!r}: give the number of runs of each arm, 1 or more")
        self.budget.check()


def train_all(
    plan: TrainingPlan, out: str | Path, *, workers: int = 1, progress: bool = True
) -> dict[tuple[str, int], Path]:
    """Train what a folder lacks of a plan.

    Args:
        plan: what to train.
        out: the folder; what it holds of the same budget is kept, so that arms and seeds can be added later.
        workers: trainings that run side by side, each on one thread.
        progress: print how far each is.

    Returns:
        The folder of each trained model, by arm and seed.

    Raises:
        InputError: the plan compares nothing, the folder holds something else or another budget, or another process is
            writing to it.
    """
    plan.check()
    check_workers(workers)
    folder = OutputFolder(out)
    begin(folder, plan.budget)
    runs = folder.path / RUNS
    with Shards(runs).lock(), pool(workers) as trainers:
        towers = {trainers.submit(_train, "", plan.budget, seed, runs, progress): seed for seed in range(plan.seeds)}
        first, later = plan.arms[:FIRST], plan.arms[FIRST:]
        left: list[Future[Any]] = []
        for tower in as_completed(towers):
            tower.result()
            left += [trainers.submit(_train, arm, plan.budget, towers[tower], runs, progress) for arm in first]
        left += [
            trainers.submit(_train, arm, plan.budget, seed, runs, progress)
            for arm in later
            for seed in range(plan.seeds)
        ]
        for run in as_completed(left):
            run.result()
    return {(arm, seed): runs / f"{arm}-{seed}" for arm, seed in plan.models()}


def begin(folder: OutputFolder, budget: Budget) -> None:
    """Say in the folder what it holds, or refuse it.

    Raises:
        InputError: it holds something else, or a comparison of another budget.
    """
    now = _manifest(budget)
    refuse_foreign(folder.path)
    path = folder.path / MANIFEST
    if not path.is_file():
        folder.write_json(MANIFEST, now)
        return
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{str(path)!r} can not be read ({error}): name another folder with --out") from error
    if not isinstance(then, dict) or (then.get("study"), then.get("format")) != (STUDY, FORMAT):
        raise InputError(f"{str(folder.path)!r} holds another study: name a new or an empty folder with --out")
    refuse_other(folder.path, {**now, **then}, now)


def check_workers(workers: int) -> None:
    """Refuse a number of processes that does nothing.

    Raises:
        InputError: it is no whole number from 1 on.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers={workers!r}: give the number of processes that work side by side, 1 or more")


@contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """What does the work: this process, or several; none of them goes on after an error."""
    if workers == 1:
        yield _Here()
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as several:
        try:
            yield several
        except BaseException:
            several.shutdown(wait=False, cancel_futures=True)
            for process in [*(several._processes or {}).values()]:
                process.terminate()
            raise


def _manifest(budget: Budget) -> dict[str, Any]:
    fixed = {"samples": 0, "digest": "", "batch": budget.batch}  # as the manifest of any study
    return {"study": STUDY, "format": FORMAT, **fixed, "settings": asdict(budget)}


def _train(arm: str, budget: Budget, seed: int, runs: Path, progress: bool) -> Path:
    """Train one model, or without an arm the tower of a seed."""
    tower = train_tower(budget, seed, runs / f"tower-{seed}", progress=progress)
    return train_arm(arm, budget, seed, tower, runs / f"{arm}-{seed}", progress=progress) if arm else tower


class _Here(Executor):
    """Does what is submitted at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
