"""Where a run comes from: its experiment, code, machine, packages and upstream runs, as tags of the run."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ired.lab.machine import git
from ired.lab.queue import ROOT, Experiment, RunCoordinates

if TYPE_CHECKING:
    from ired.lab.run import Upstream


def provenance_tags(
    exp: Experiment, at: RunCoordinates, key: str, device: str, criteria: dict[str, str], upstream: list[Upstream]
) -> dict[str, str]:
    """Tags that tell where a run comes from and by which it is found again."""
    tags = {
        "exp_id": exp.id,
        "key": key,
        "profile": at.profile,
        "seed": at.seed,
        "variant": at.variant,
        "device": device,
        "threads": os.environ["OMP_NUM_THREADS"],
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "title": exp.title,
        "mlflow.source.name": exp.script,
        "mlflow.source.type": "LOCAL",
    }
    tags |= {f"upstream.{up.exp.id}.s{up.at.seed}.{up.at.variant}": up.result.run_id for up in upstream}
    tags["packages"] = json.dumps(_packages())
    tags |= {f"criterion.{name}": sentence for name, sentence in criteria.items()}
    if job := os.environ.get("SLURM_JOB_ID"):
        tags["slurm_job"] = job
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git_dirty": str(bool(changes)).lower()}
    return {name: str(value) for name, value in tags.items()}


def _packages() -> dict[str, str]:
    """Versions of python and of what requirements.txt names."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": sys.version.split()[0]}
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
