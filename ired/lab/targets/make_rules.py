"""Writes the make rules for the goals of one call of make.

Each run that is not there yet becomes one rule, whose target is its stamp: named by the content
key, so that a target that exists is up to date whatever the dates of files say. make then does
what it is good at: order, -j, -k, -n. Prints 'planned FILE', or 'error: ...' for make to repeat.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # before anything that older versions cannot read
    print("error: python 3.11 or newer is needed, and this one is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])
    sys.exit(2)

import importlib.util
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from ired.lab.arguments import DEVICES, Parser, add_coordinates, one_of, seeds_of, take_coordinates
from ired.lab.command import Command
from ired.lab.content_keys import Keys, digest
from ired.lab.errors import UserError, one_line
from ired.lab.machine import cores, may_have_gpu
from ired.lab.queue import Experiment, RunCoordinates
from ired.lab.tracking.store import Stamp, Store, write_whole


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be made: its script's command line, and the stamps that it waits for."""

    exp: Experiment
    at: RunCoordinates
    needs: tuple[str, ...]
    line: tuple[str, ...]

    def alike(self) -> tuple:
        """Equal for jobs that differ in nothing but their seed."""
        return self.exp, replace(self.at, seed=0), self.needs


class MakeRules:
    """The rules for some goals at some coordinates, as text."""

    def __init__(
        self, keys: Keys, store: Store, at: RunCoordinates, device: str, args: str, seeds: tuple[int, ...] = ()
    ) -> None:
        self.keys, self.store, self.at, self.device = keys, store, at, device
        self.seeds = seeds or (at.seed,)
        try:
            self.words = shlex.split(args)
        except ValueError as error:
            raise UserError(f"ARGS: {error}") from None
        self.jobs: dict[str, PlannedRun] = {}  # by their target, a stamp
        self.phony: dict[str, str] = {}  # rules by target
        self.unbuilt: dict[str, str] = {}  # why a target cannot be made

    def goal(self, goal: str) -> None:
        """Add the rules for an experiment, phaseN or all."""
        queue = self.keys.queue
        if goal != "all" and not goal.startswith("phase"):
            self._experiment(queue[goal])
            return
        numbers = range(1, len(queue.phases))
        if goal != "all" and goal not in [f"phase{number}" for number in numbers]:
            raise UserError(f"there is no {goal}: phases are phase1 to phase{numbers[-1]}")
        if len(self.seeds) > 1:
            raise UserError(f"SEEDS is for one experiment and {goal} is several: name the experiment")
        if self.words:
            raise UserError(f"ARGS goes to one experiment and {goal} is several: name the experiment")
        members = [e for e in queue.experiments if goal in ("all", f"phase{e.phase}")]
        targets = [self._run(exp, exp.at(self.at)) for exp in members]
        # What cannot be built stops the goal before hours of work, not after them.
        targets.sort(key=lambda target: not target.startswith("not-built"))
        table = f" --phase {goal.removeprefix('phase')}" if goal != "all" else ""
        self._phony(goal, targets, f"@$(STATUS){table}")

    def _experiment(self, exp: Experiment) -> None:
        targets, there = [], []
        for seed in self.seeds:
            at = exp.at(replace(self.at, seed=seed))
            target = self._run_with_words(exp, at) if self.words else self._run(exp, at)
            if target in self.jobs or target in self.phony:
                targets.append(target)
            else:
                stamp = Stamp.read(self.keys.root / target)
                text = f"{exp.name(at)} is up to date: {stamp.headline} (run {stamp.run_id})"
                there.append(f"@printf '%s\\n' {_quote(text)}")
        self._phony(exp.id, targets, "\n\t".join(there))

    def _run(self, exp: Experiment, at: RunCoordinates) -> str:
        """The target of a run with default parameters; rules are added for what is missing."""
        missing = self.keys.missing(exp, at)
        if why := self.keys.queue.refusal(exp, at):
            raise UserError(f"VARIANT: {why}")
        if missing:
            target = f"not-built-{exp.id}"
            needs = "" if missing == exp else f"{exp.id} needs {missing.id}: "
            text = f"{needs}{missing.id} is not built yet: {missing.script} is missing"
            self.unbuilt[target] = text
            self._phony(target, [], f"@printf '%s\\n' {_quote('error: ' + text)} >&2; exit 2")
            return target
        key = self.keys.key(exp, at)
        target = self._stamp(exp, at, key)
        if target not in self.jobs and not self.store.stamp(exp, at, key):
            self._add(exp, at, target, [])
        return target

    def _run_with_words(self, exp: Experiment, at: RunCoordinates) -> str:
        """The target of a run with ARGS."""
        if self.keys.missing(exp, at):
            return self._run(exp, at)
        script = load_command(self.keys.root / exp.script)
        if {"-h", "--help"} & set(self.words):
            raise UserError(f"for help: python {exp.script} --help")
        request = script.parse([*self._coordinates(exp, at), *self.words], self.keys.queue)
        if request.at != at or request.device != "auto":
            raise UserError("PROFILE, SEED, VARIANT and DEVICE are given to make, not in ARGS")
        key = script.key(request, self.keys)
        target = self._stamp(exp, at, key)
        if request.force or not self.store.stamp(exp, at, key):
            self._add(exp, at, target, self.words)
        if request.force:
            self._phony(target, [])
        return target

    def _add(self, exp: Experiment, at: RunCoordinates, target: str, words: list[str]) -> None:
        every = [self._run(*need) for need in self.keys.queue.needed(exp, at)]
        # The others are there already.
        needs = tuple(need for need in every if need in self.jobs or need in self.phony)
        line = [exp.script, *self._coordinates(exp, at)]
        line += ["--device", self.device] if self.device != "auto" else []
        self.jobs[target] = PlannedRun(exp, at, needs, (*line, *words))

    def text(self) -> str:
        """All rules, as make reads them."""
        together: dict[tuple, list[str]] = {}
        for target, job in self.jobs.items():
            together.setdefault(job.alike(), []).append(target)
        rules = []
        for targets in together.values():
            if len(targets) > 1 and self._side_by_side() > 1:
                rules.append(self._group(targets))
            else:
                rules += [self._rule(target, self.jobs[target]) for target in targets]
        return "\n".join([*rules, *self.phony.values()])

    def _rule(self, target: str, job: PlannedRun) -> str:
        return f"{target}: | {' '.join([*job.needs, '$(READY)'])}\n\t$(RUN) {' '.join(map(_quote, job.line))}\n"

    def _group(self, targets: list[str]) -> str:
        """One rule for several seeds of an experiment, run side by side by a make of their own.

        A training of ours hardly keeps two cores busy, and more of them less: on two, five trainings
        take an eighth less time so than one after the other (docs/performance.md).
        """
        jobs = [self.jobs[target] for target in targets]
        count = min(self._side_by_side(), len(jobs))
        at = jobs[0].at
        words = [
            f"SEEDS={' '.join(str(job.at.seed) for job in jobs)}",
            f"PROFILE={at.profile}",
            f"VARIANT={at.variant}",
            f"DEVICE={self.device}",
        ]
        return (
            f"{' '.join(targets)} &: | {' '.join([*jobs[0].needs, '$(READY)'])}\n"
            f"\t@IRED_THREADS={max(1, self._side_by_side() // count)} $(MAKE) -j{count} "
            f"{jobs[0].exp.id} {' '.join(map(_quote, words))} ARGS=\n"
        )

    def _side_by_side(self) -> int:
        """How many runs of one experiment may run at once: a GPU is for one, and whoever chose a
        number of threads has decided."""
        gpu = self.device == "cuda" or (self.device == "auto" and may_have_gpu())
        return 1 if gpu or self.words or os.environ.get("IRED_THREADS") else cores()

    def _coordinates(self, exp: Experiment, at: RunCoordinates) -> list[str]:
        return [word for name in exp.varies for word in (f"--{name}", str(getattr(at, name)))]

    def _stamp(self, exp: Experiment, at: RunCoordinates, key: str) -> str:
        return str(self.store.stamp_path(exp, at, key).relative_to(self.keys.root))

    def _phony(self, target: str, needs: list[str], recipe: str = "") -> None:
        rule = f".PHONY: {target}\n{target}: {' '.join(needs)}".rstrip() + "\n"
        self.phony[target] = rule + (f"\t{recipe}\n" if recipe else "")


def _quote(word: str) -> str:
    """A word as bash and make read it."""
    return shlex.quote(word).replace("$", "$$")


def load_command(script: Path) -> Command:
    """The command that a script defines, without running it."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec and spec.loader, f"{script} is no file of Python"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{script.name}: {type(error).__name__}: {error}") from None
    return next(value for value in vars(module).values() if isinstance(value, Command))


def main(argv: list[str]) -> Path:
    parser = Parser(prog="rules", allow_abbrev=False)
    add_coordinates(parser)
    parser.add_argument("--device", type=one_of("device", DEVICES), default="auto")
    parser.add_argument("--args", default="")
    parser.add_argument("--seeds", type=seeds_of, default=())
    parser.add_argument("goals", nargs="+")
    options = vars(parser.parse_args(argv))
    keys, store = Keys(), Store()
    at = take_coordinates(options, keys.queue)
    plan = MakeRules(
        keys=keys, store=store, at=at, device=options["device"], args=options["args"], seeds=options["seeds"]
    )
    for goal in dict.fromkeys(options["goals"]):
        plan.goal(goal)
    # One file for each way to call make: two calls at once write either different files or
    # the same contents.
    path = store.folder / "rules" / f"{digest(argv, store.id)}.mk"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "# Written by ired/lab/targets/make_rules.py on every call of make.\n\n" + plan.text())
    return path.relative_to(keys.root)


if __name__ == "__main__":
    try:
        print("planned", main(sys.argv[1:]))
    except Exception as mistake:
        if one_line(mistake) is None:
            raise
        print("error:", one_line(mistake))
        sys.exit(2)
