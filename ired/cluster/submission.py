"""Experiments as jobs of Slurm: the plan that make follows on one machine, submitted as a whole.

Slurm is the scheduler. A job depends (afterok) on what it needs and is not finished. What was
submitted is written down (`ired.lab.jobs`).
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from ired.cluster import slurm
from ired.cluster.resources import resources, site
from ired.lab.arguments import DEVICES, Parser, add_coordinates, one_of, seeds_of, take_coordinates
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.jobs import LAST_LINES, Record, fingerprints, folder, how, last_lines, log_of, records
from ired.lab.lines import wrapped
from ired.lab.machine import git
from ired.lab.queue import COORDINATES, ROOT, Queue, RunCoordinates
from ired.lab.targets.make_rules import MakeRules
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store, Unreachable, write_whole

# Submitting


class Submission:
    """The jobs of a plan that are neither finished nor queued, given to Slurm in running order."""

    def __init__(self, plan: MakeRules, limit: str = "", memory: str = "") -> None:
        self.plan, self.keys, self.root = plan, plan.keys, plan.keys.root
        names = site(self.root)
        self.memory = slurm.memory_of(memory) if memory else ""
        self.asked = {target: resources(job.exp, names, limit, self.memory) for target, job in plan.jobs.items()}
        self.queued: dict[str, str] = {}  # jobs by target, of earlier calls
        self.stuck: list[str] = []  # jobs
        self.new: dict[str, Record] = {}  # by target

    def look(self) -> None:
        """Find out what is queued. A job that waits for another one than what it needs now, since that
        failed or was cancelled, will never run: it does not count and makes room for a new one."""
        there = {job.comment: job for job in slurm.queue(self.root)}
        for target, job in self.plan.jobs.items():  # needs come first
            queued = there.get(_comment(target))
            if not queued:
                continue
            needs = [self.queued.get(need) for need in job.needs]
            if queued.state == "queued" and not set(needs) <= set(queued.needs):
                self.stuck.append(queued.id)
            else:
                self.queued[target] = queued.id

    def command(self, target: str, needs: Iterable[str]) -> list[str]:
        words = ["sbatch", "--parsable", f"--job-name={_name(target)}", f"--comment={_comment(target)}"]
        if needs := list(needs):
            words += [f"--dependency=afterok:{':'.join(needs)}", "--kill-on-invalid-dep=yes"]
        return [*words, *self.asked[target], *self.plan.jobs[target].line]

    def commands(self) -> list[str]:
        """The sbatch commands as text; a job that has no number yet is called by its name."""
        return [
            shlex.join(self.command(target, [self.queued.get(n) or _name(n) for n in job.needs]))
            for target, job in self.plan.jobs.items()
            if target not in self.queued
        ]

    def submit(self) -> None:
        """All of it or nothing."""
        todo = [target for target in self.plan.jobs if target not in self.queued]
        self._ask_first(todo)
        code = git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
        (self.root / "logs").mkdir(exist_ok=True)
        folder(self.root).mkdir(parents=True, exist_ok=True)
        _cancel(self.stuck)
        try:
            for target in todo:
                self._submit(target, *code)
        except BaseException as error:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            raise UserError(f"{str(error) or 'interrupted'}; {self._take_back(todo)}") from error

    def _take_back(self, todo: list[str]) -> str:
        """Cancel what this submission has submitted so far, and say what that was."""
        jobs = {record.job: str(record) for record in self.new.values()}
        comments = {_comment(target) for target in todo}
        with suppress(UserError):  # an sbatch that was interrupted may have left a job all the same
            jobs |= {
                job.id: f"{job.name} (job {job.id})"
                for job in slurm.queue(self.root)
                if job.comment in comments and job.id not in self.stuck
            }
        names = ", ".join(jobs.values())
        try:
            _cancel(jobs)
        except UserError as why:
            return f"what had been submitted could not be cancelled ({why}): {names}"
        return f"cancelled again what had been submitted: {names}" if jobs else "nothing was submitted"

    def _ask_first(self, todo: list[str]) -> None:
        """Whether Slurm takes each kind of job, before it gets the first."""
        kinds = {tuple(self.asked[target]): target for target in reversed(todo)}
        for target in reversed(kinds.values()):
            words = ["sbatch", *self.asked[target], *self.plan.jobs[target].line]
            if why := slurm.refusal(words, self.root):
                asked = " ".join(self.asked[target][:-1])
                raise UserError(
                    f"{why} ({_name(target)}: {asked}); nothing was submitted: see sbatch/site.sh, TIME= and MEM="
                )

    def _submit(self, target: str, commit: str, dirty: bool) -> None:
        job = self.plan.jobs[target]
        numbers = self.queued | {done: record.job for done, record in self.new.items()}
        needs = [numbers[need] for need in job.needs]
        number = slurm.call(*self.command(target, needs), folder=self.root).strip().partition(";")[0]
        record = Record(
            job=number,
            name=_name(target),
            exp=job.exp.id,
            profile=job.at.profile,
            seed=job.at.seed,
            variant=job.at.variant,
            key=_key(target),
            words=list(job.line),
            needs=needs,
            files=fingerprints(self.keys, job.exp, job.at),
            commit=commit,
            dirty=dirty,
            submitted=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        self.new[target] = record  # first: what is known here is cancelled if the rest fails
        write_whole(folder(self.root) / f"{number}.json", json.dumps(asdict(record), indent=1) + "\n")

    def table(self) -> list[str]:
        """What was submitted, a line for each job."""
        lines = []
        for target, record in self.new.items():
            partition, limit, memory = (word.partition("=")[2] for word in self.asked[target][:3])
            after = f"after {', '.join(record.needs[:4])}" if record.needs else ""
            after += f" and {len(record.needs) - 4} more" if len(record.needs) > 4 else ""
            lines.append(
                wrapped(
                    f"{record.name:28} job {record.job:>6}  {partition:9} {limit:>9} {memory:>5}  {after}".rstrip(),
                    " " * 29,
                )
            )
        return [*lines, f"{len(self.new)} submitted, {len(self.queued)} in the queue already."]

    # A minute later

    def poll(self) -> int:
        """Ask once how the jobs of this plan do. Those that died are shown, and what needed them is
        cancelled. Returns the number of jobs that died."""
        numbers = self.queued | {target: record.job for target, record in self.new.items()}
        states = slurm.jobs(numbers.values())
        names = {target: f"{_name(target)} (job {number})" for target, number in numbers.items()}
        died: list[str] = []
        doomed: list[str] = []
        counts: dict[str, int] = {}
        for target in self.plan.jobs:  # needs come first
            state = states[numbers[target]].state if numbers[target] in states else "queued"
            if {*died, *doomed} & set(self.plan.jobs[target].needs):
                doomed.append(target)
                state = "cancelled"
            elif state not in slurm.ALIVE:
                died.append(target)
            counts[state] = counts.get(state, 0) + 1
        _cancel(numbers[target] for target in doomed)
        print(", ".join(f"{count} {state}" for state, count in counts.items()))
        for target in died:
            print(f"{names[target]}: {how(states[numbers[target]], self.root)}")
            lines = last_lines(self.root, log_of(_name(target), numbers[target]))
            print("\n".join(f"    {line}" for line in lines))
        if doomed:
            print(wrapped(f"Cancelled, for they needed it: {', '.join(names[target] for target in doomed)}"))
        return len(died)


def _name(target: str) -> str:
    """The name of a job: its stamp's without the key."""
    return Path(target).name.rpartition(".")[0]


def _key(target: str) -> str:
    return target.rpartition(".")[2]


def _comment(target: str) -> str:
    return f"ired:{_key(target)}"


def _cancel(jobs: Iterable[str]) -> None:
    if wanted := list(jobs):
        slurm.call("scancel", "--quiet", *wanted)  # no matter if some have ended by themselves


# The command line


def _submit(argv: list[str]) -> None:
    parser = Parser(prog="cluster submit", allow_abbrev=False)
    add_coordinates(parser)
    parser.add_argument("--device", type=one_of("device", DEVICES), default="auto")
    parser.add_argument("--args", default="")
    parser.add_argument("--seeds", type=seeds_of, default=())
    parser.add_argument("--time", default="")
    parser.add_argument("--mem", default="")
    parser.add_argument("--poll", default="60")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("goals", nargs="+")
    options = vars(parser.parse_args(argv))
    if not re.fullmatch(r"\d{1,5}", options["poll"]):
        raise UserError(f"EARLY_POLL '{options['poll']}' is not a number of seconds")
    keys, store = Keys(ROOT), Store(ROOT)
    at = take_coordinates(options, keys.queue)
    plan = _plan(options, at, keys, store)
    if _stamp_what_is_there(plan):
        plan = _plan(options, at, keys, store)
    submission = Submission(plan, options["time"], options["mem"])
    if options["dry"]:
        try:
            submission.look()
        except UserError as why:  # where there is no Slurm, one can still see what would be submitted
            print(f"{why}: shown as if nothing were queued", file=sys.stderr)
        print("\n".join(submission.commands()))
        return
    if not plan.jobs:
        print("Nothing to submit: all of it is finished.")
        return
    store.check(reach=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with store.lock("submit", "another make is submitting, waiting for that to end"):
        submission.look()
        submission.submit()
    print("\n".join(submission.table()))
    if submission.new and int(options["poll"]):
        print(f"In {options['poll']} s Slurm is asked once how they do (Ctrl-C: not asked).", flush=True)
        try:
            time.sleep(int(options["poll"]))
        except KeyboardInterrupt:
            print("Not asked: `make status` says how they do.")
            return
        sys.exit(1 if submission.poll() else 0)


def _plan(options: dict, at: RunCoordinates, keys: Keys, store: Store) -> MakeRules:
    plan = MakeRules(
        keys=keys, store=store, at=at, device=options["device"], args=options["args"], seeds=options["seeds"]
    )
    for goal in dict.fromkeys(options["goals"]):
        plan.goal(goal)
    if plan.unbuilt:
        raise UserError(next(iter(plan.unbuilt.values())))
    return plan


def _stamp_what_is_there(plan: MakeRules) -> bool:
    """Whether the store has finished runs without a stamp here, as under a server's new address. They
    get one. An embedded store is looked into first, which takes milliseconds and no mlflow."""
    keys, store = plan.keys, plan.store
    jobs = {_key(target): job for target, job in plan.jobs.items() if target not in plan.phony}
    if store.database:
        there = {
            row[0]
            for row in store.query(
                "SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = 'key'"
                " AND status = 'FINISHED' AND lifecycle_stage = 'active'"
            )
        }
        jobs = {key: job for key, job in jobs.items() if key in there}
    if not jobs:
        return False
    try:
        store.reach()
    except Unreachable as why:
        if not store.server:
            raise
        print(f"{why}; jobs keep their results in staging until `make sync`", file=sys.stderr)
        return False
    shelf = Shelf(open_tracking(store, keys), keys)
    finished = [shelf.find(job.exp, job.at) for key, job in jobs.items() if key == keys.key(job.exp, job.at)]
    return any(finished)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt


def _chosen(options: dict, queue: Queue) -> list[str]:
    """Experiments that EXP or PHASE name."""
    exp, phase = options["exp"], options["phase"]
    if bool(exp) == bool(phase):
        raise UserError("say which: EXP=P2-02, or PHASE=2")
    if exp:
        return [queue[exp].id]
    if phase not in map(str, range(len(queue.phases))):
        raise UserError(f"there is no PHASE '{phase}': they are 0 to {len(queue.phases) - 1}")
    return [exp.id for exp in queue.phase(int(phase))]


def _fits(record: Record, options: dict) -> bool:
    """Whether a record is at the coordinates that were given, if any were."""
    return all(options[name] in (None, getattr(record, name)) for name in COORDINATES)


def _logs(options: dict, keys: Keys) -> None:
    wanted = _chosen(options, keys.queue)
    chosen = [record for record in records(keys.root) if record.exp in wanted and _fits(record, options)]
    if not chosen:
        raise UserError(f"no job of {' or '.join(wanted)} was submitted from here at these coordinates")
    for record in {record.exp: record for record in chosen}.values():
        print(
            "\n".join([f"{record}, submitted {record.submitted}", *last_lines(keys.root, record.log, 4 * LAST_LINES)])
        )


def _cancel_some(options: dict, keys: Keys) -> None:
    wanted = _chosen(options, keys.queue)
    known = {record.job: record for record in records(keys.root)}
    waiting = {job.id: job for job in slurm.queue(keys.root) if job.id in known}
    chosen = {i for i in waiting if known[i].exp in wanted and _fits(known[i], options)}
    if not chosen:
        print("Nothing to cancel: no such job is queued or running.")
        return
    doomed: set[str] = set()
    for i, job in sorted(waiting.items(), key=lambda item: int(item[0])):  # needs come first
        if i not in chosen and (chosen | doomed) & set(job.needs):
            doomed.add(i)
    _cancel([*chosen, *doomed])
    print(f"Cancelled: {', '.join(str(known[i]) for i in sorted(chosen, key=int))}")
    if doomed:
        print(f"and what needed them: {', '.join(str(known[i]) for i in sorted(doomed, key=int))}")


def main(argv: list[str]) -> None:
    what, *rest = argv
    if what == "submit":
        return _submit(rest)
    parser = Parser(prog=f"cluster {what}", allow_abbrev=False)
    add_coordinates(parser)
    parser.set_defaults(**dict.fromkeys(COORDINATES))
    parser.add_argument("--exp", default="")
    parser.add_argument("--phase", default="")
    options = vars(parser.parse_args(rest))
    {"logs": _logs, "cancel": _cancel_some}[what](options, Keys(ROOT))


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
