"""Turns the main function of a script into a command: arguments, freshness, run, ending.

Only the standard library is imported until there is work to do, so that --help and "up to date"
are answered in a fraction of a second.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ired.lab.arguments import DEVICES, Param, Parser, add_coordinates, add_params, one_of, take_coordinates
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, one_line
from ired.lab.jobs import check_code
from ired.lab.lines import Audience, wrapped
from ired.lab.machine import device_for, keep_memory, set_threads
from ired.lab.profiles import PROFILES
from ired.lab.provenance import provenance_tags
from ired.lab.queue import COORDINATES, ROOT, Experiment, Queue, RunCoordinates, load
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Stamp, Store, is_alive
from ired.lab.usage import Meter, available_gib

if TYPE_CHECKING:
    from ired.lab.run import Run, Upstream
    from ired.lab.tracking.mlflow_client import Tracking


@dataclass(frozen=True)
class Request:
    """A command line that was understood."""

    at: RunCoordinates
    device: str
    force: bool
    params: dict[str, Any]
    changed: dict[str, Any] = field(default_factory=dict)  # params that are not the default


class Stopped(BaseException):
    """Somebody asked the process to end (SIGTERM, Ctrl-C, a closed terminal)."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def command(
    exp_id: str, *, criteria: dict[str, str] | None = None, **params: Param
) -> Callable[[Callable[[Run], None]], Command]:
    """Decorator: the main function of a script becomes the command of experiment `exp_id`."""
    return lambda main: Command(exp_id, params, criteria or {}, main)


class Command:
    """The command line of one experiment. Calling it runs the experiment."""

    def __init__(
        self, exp_id: str, params: dict[str, Param], criteria: dict[str, str], main: Callable[[Run], None]
    ) -> None:
        self.exp_id, self.params, self.criteria, self.main = exp_id, params, criteria, main
        self.script = Path(main.__code__.co_filename).resolve()
        self.doc = main.__globals__.get("__doc__") or ""

    # Arguments

    def parse(self, argv: Sequence[str], queue: Queue | None = None) -> Request:
        """Read a command line; whatever is wrong with it is a UserError. Coordinates that the
        experiment does not vary with come back at their default."""
        options = vars(self._parser().parse_args(list(argv)))
        queue = queue or load(ROOT)
        at = queue[self.exp_id].at(take_coordinates(options, queue))
        if why := queue.refusal(queue[self.exp_id], at):
            raise UserError(f"--variant: {why}")
        device, force = options.pop("device"), options.pop("force")
        defaults = {name: param.at(at.profile) for name, param in self.params.items()}
        params = {name: defaults[name] if options[name] is None else options[name] for name in self.params}
        changed = {name: value for name, value in params.items() if value != defaults[name]}
        return Request(at=at, device=device, force=force, params=params, changed=changed)

    def key(self, request: Request, keys: Keys) -> str:
        changed = {
            name: _content(name, value) if self.params[name].file else value for name, value in request.changed.items()
        }
        return keys.key(keys.queue[self.exp_id], request.at, changed)

    def _parser(self) -> argparse.ArgumentParser:
        parser = Parser(
            prog=f"python scripts/{self.script.name}",
            allow_abbrev=False,
            description=self.doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_coordinates(parser)
        parser.add_argument(
            "--device", type=one_of("device", DEVICES), default="auto", help=f"{', '.join(DEVICES)} (default: auto)"
        )
        parser.add_argument(
            "--force", action="store_true", help="run even if a finished run with the same content exists"
        )
        add_params(parser, self.params)
        return parser

    # The command

    def __call__(self, argv: Sequence[str] | None = None) -> None:
        """Run the command line and leave the process with its status: 0 for a finished run, 1 for
        one that FAILED, 2 for what the user can mend, 128 + n if stopped by signal n."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True, write_through=False)
        heard, sys.stdout = sys.stdout, Audience(sys.stdout)
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    signal.signal(number, _stop)
            self._run(self.parse(sys.argv[1:] if argv is None else argv))
        except Stopped as stopped:
            _leave(128 + stopped.number, f"{self.exp_id} was stopped by {stopped}")
        except Exception as error:
            message = one_line(error)
            if message is None:
                traceback.print_exc()
            _leave(getattr(error, "exit_status", 1 if message is None else 2), message)
        finally:
            sys.stdout = heard

    def _run(self, request: Request) -> None:
        if self.script.parents[1] != ROOT:
            raise UserError(
                f"{self.script} would run with the code of another copy of the project "
                f"({ROOT}): use the environment of its own folder, or make"
            )
        keys = Keys(ROOT)
        exp = keys.queue[self.exp_id]
        if exp.script != f"scripts/{self.script.name}":
            raise UserError(f"pipeline.json says that {exp.id} is {exp.script}")
        at = request.at
        key = self.key(request, keys)
        _submitted_code(keys, exp, at, key)
        store = Store(ROOT)
        if not request.force and self._fresh(store, exp, at, key):
            return
        store.check(reach=not store.stages)
        set_threads(1 if PROFILES[at.profile].sizes == "tiny" else None)
        keep_memory()
        device = device_for(request.device)
        name = exp.name(at)
        with store.lock(key, f"{name}: another process is running it, waiting for that to end"):
            if not request.force and self._fresh(store, exp, at, key):
                return
            tracking = open_tracking(store, keys, lasting=True)
            mark_dead_runs(tracking, key)
            known = None if request.force else tracking.finished(key)
            if known:
                store.write_stamp(exp, at, key, tracking.stamp(known))
                self._fresh(store, exp, at, key)
                return
            upstream = _needed(Shelf(tracking, keys), exp, at)
            if self.key(request, Keys(ROOT)) != key:  # it may have waited long for the lock
                raise UserError(f"{name}: the code was edited while this was starting: run it again")
            _check_memory(tracking, exp, at, request, device)
            try:
                self._work(tracking, keys, exp, at, key, request, device, upstream)
            finally:
                tracking.close()

    def _fresh(self, store: Store, exp: Experiment, at: RunCoordinates, key: str) -> bool:
        """Say so if there is a finished run with this key."""
        stamp = store.stamp(exp, at, key)
        if stamp:
            print(_sentence(f"{exp.name(at)} is up to date", stamp))
        return stamp is not None

    def _work(
        self,
        tracking: Tracking,
        keys: Keys,
        exp: Experiment,
        at: RunCoordinates,
        key: str,
        request: Request,
        device: str,
        upstream: list[Upstream],
    ) -> None:
        """Run `main` inside an MLflow run and record how it ended."""
        from ired.lab.run import Run

        meter = Meter()
        profile = PROFILES[at.profile]
        sections = {
            f"{section}.{name}": value
            for section, values in profile.sections().items()
            for name, value in values.items()
        }
        tags = provenance_tags(exp, at, key, device, self.criteria, upstream)
        run_id = tracking.start(
            exp.phase, exp.name(at), tags, {c: getattr(at, c) for c in COORDINATES} | sections | request.params
        )
        print(wrapped(f"{exp.name(at)} starts on {device}, {os.environ['OMP_NUM_THREADS']} threads (run {run_id})"))
        run = Run(
            tracking=tracking,
            keys=keys,
            exp=exp,
            at=at,
            key=key,
            run_id=run_id,
            params=request.params,
            profile=profile,
            device=device,
            criteria=self.criteria,
            upstream=upstream,
            force=request.force,
        )
        try:
            tracking.inherit_datasets(run_id, [up.result.run_id for up in upstream])
            self.main(run)
            run.complete()
            run.metrics(meter.read())
            tracking.tags(run_id, {"criteria": json.dumps(sorted(run.criteria))})
            tracking.end(run_id, "FINISHED")
        except BaseException as error:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # what follows takes a moment
            _record_failure(tracking, run_id, error, meter)
            raise
        run.mark_work_done()
        stamp = tracking.stamp(tracking.run(run_id))
        tracking.store.write_stamp(exp, at, key, stamp)
        print(_sentence(exp.name(at), stamp))


# Before the run


def _content(name: str, value: str) -> str:
    """What decides of a file that is a parameter."""
    from ired.lab.run import sha256

    if not value:
        return value
    try:
        return sha256(Path(value))
    except OSError as error:
        raise UserError(f"--{name.replace('_', '-')} {value}: {error.strerror}") from None


def mark_dead_runs(tracking: Tracking, key: str) -> None:
    """Runs of this key that died without a word. We hold their lock, so they cannot be alive,
    except on a server that another copy of this project on this machine uses too."""
    for run in tracking.search(f"tags.key = '{key}' and attributes.status = 'RUNNING'"):
        tags = run.data.tags
        if tags.get("host") == socket.gethostname() and (
            tracking.store.database or not is_alive(int(tags.get("pid", 0)))
        ):
            tracking.end(run.info.run_id, "KILLED")


def _submitted_code(keys: Keys, exp: Experiment, at: RunCoordinates, key: str) -> None:
    """Refuse where this is a job of Slurm and its code is not the code that was submitted."""
    if "SLURM_JOB_ID" in os.environ:
        check_code(keys, exp, at, key)


def _needed(shelf: Shelf, exp: Experiment, at: RunCoordinates) -> list[Upstream]:
    """The finished run of everything that `exp` needs, before anything long starts."""
    from ired.lab.run import Upstream

    upstream = []
    for other, where in shelf.queue.needed(exp, at):
        result = shelf.find(other, where)
        if shelf.tracking.unreachable and not (result and shelf.tracking.is_staged(result.run_id)):
            raise UserError(
                f"{exp.name(at)} needs {other.name(where)}, which does not wait in staging, and "
                f"{shelf.tracking.unreachable}"
            )
        if result is None:
            raise UserError(
                f"{exp.name(at)} needs {other.name(where)}, which has not been "
                f"run with this code: `{other.target(where)}` first"
            )
        upstream.append(Upstream(other, where, result))
    return upstream


def _check_memory(tracking: Tracking, exp: Experiment, at: RunCoordinates, request: Request, device: str) -> None:
    """Refuse what will not fit: what a run with these parameters took last is more than there is."""
    text = os.environ.get("IRED_MEMORY")
    if text and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise UserError(f"IRED_MEMORY is '{text}', not a number of GiB")
    there = float(text) if text else available_gib()
    if PROFILES[at.profile].sizes == "tiny" or there is None:
        return
    given = {name: str(value) for name, value in request.params.items()}
    same = {"exp_id": exp.id, "profile": at.profile, "variant": at.variant, "device": device}
    query = " and ".join(f"tags.{name} = '{value}'" for name, value in same.items())
    # The newest is of the code that is most like the present one.
    before = next(
        (
            run
            for run in tracking.search(f"{query} and attributes.status = 'FINISHED'", 100)
            if "peak_memory_gib" in run.data.metrics and given.items() <= run.data.params.items()
        ),
        None,
    )
    measured = load(ROOT).measured.get(at.profile, {}).get(exp.id)
    if before:
        needed, whence = before.data.metrics["peak_memory_gib"], f"run {before.info.run_id[:8]} did"
    elif measured and not request.changed and device == "cpu" and at.variant == RunCoordinates().variant:
        needed, whence = measured.memory_gib, "measured on another machine"
    else:
        return
    if needed > there:
        smaller = ", give it a smaller size by ARGS (--help names them)" if request.params else ""
        raise UserError(
            f"{exp.name(at)} needs about {needed:.1f} GiB of memory, as {whence}, and {there:.1f} GiB "
            f"are free: close other programs{smaller}, or set IRED_MEMORY={math.ceil(needed)} to "
            "try it all the same"
        )


# The end of a run


def _record_failure(tracking: Tracking, run_id: str, error: BaseException, meter: Meter) -> None:
    """Mark the run KILLED or FAILED. A store that refuses must not hide the first error."""
    import tempfile

    status = "KILLED" if isinstance(error, (Stopped, KeyboardInterrupt)) else "FAILED"
    with suppress(Exception):
        if status == "KILLED" and tracking.run(run_id).info.status == "FINISHED":  # a moment too late
            return
    with suppress(Exception):
        tracking.tags(run_id, {"error": one_line(error) or f"{type(error).__name__}: {error}"})
    with suppress(Exception):
        tracking.metrics(run_id, [(name, value, 0) for name, value in meter.read().items()])
    with suppress(Exception):
        tracking.end(run_id, status)
    if status == "FAILED":
        with suppress(Exception), tempfile.TemporaryDirectory(prefix="ired-") as folder:
            path = Path(folder) / "error.txt"
            path.write_text("".join(traceback.format_exception(error)))
            tracking.upload(run_id, path)


def _sentence(start: str, stamp: Stamp) -> str:
    memory = f" and {stamp.memory_gib:.1f} GiB" if stamp.memory_gib else ""
    parts = [
        stamp.headline,
        stamp.verdict(),
        f"{stamp.seconds:.1f} s{memory}",
        f"run {stamp.run_id}",
        "in staging until `make sync`" if stamp.staged else "",
    ]
    return wrapped(f"{start}: " + "; ".join(part for part in parts if part))


def _stop(number: int, _: object) -> None:
    raise Stopped(number)


def _leave(status: int, message: str | None) -> NoReturn:
    if message:
        print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
