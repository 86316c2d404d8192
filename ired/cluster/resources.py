"""What a job asks Slurm for: partition, time, memory and GPU, by pipeline.json and the names of a site."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ired.cluster import slurm
from ired.lab.errors import UserError
from ired.lab.queue import Experiment

# By Experiment.partition: the wrapper, and the name in site.sh of the partition on this site.
KINDS = {
    "cpu": ("sbatch/cpu.sh", "PARTITION_CPU"),
    "gpu_test": ("sbatch/gpu_short.sh", "PARTITION_GPU_SHORT"),
    "gpu": ("sbatch/gpu_long.sh", "PARTITION_GPU_LONG"),
}
SITE = {
    "PARTITION_CPU": "cpu",
    "PARTITION_GPU_SHORT": "gpu_test",
    "PARTITION_GPU_LONG": "gpu",
    "SHORT_HOURS": "4",
    "ACCOUNT": "",
    "GRES": "gpu:1",
}
LEAST_HOURS = 0.5


def site(root: Path) -> dict[str, str]:
    """Names and values of sbatch/site.sh, whose lines are name=value; nothing of it is executed."""
    names = dict(SITE)
    path = root / "sbatch" / "site.sh"
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        match = re.fullmatch(r"\s*(?:export\s+)?(\w+)=(.*)", line)
        try:
            names |= {match[1]: " ".join(shlex.split(match[2], comments=True))} if match else {}
        except ValueError as error:
            raise UserError(f"sbatch/site.sh, line {number}: {error}") from None
    try:
        float(names["SHORT_HOURS"])
    except ValueError:
        raise UserError(f"sbatch/site.sh: SHORT_HOURS is '{names['SHORT_HOURS']}', not a number") from None
    return names


def resources(exp: Experiment, names: dict[str, str], limit: str = "", memory: str = "") -> list[str]:
    """The words of sbatch that say what a job of `exp` needs, its wrapper last; `limit` and `memory`
    are what somebody has asked for instead of pipeline.json's estimates."""
    hours = slurm.hours_of(limit) if limit else max(exp.hours, LEAST_HOURS)
    short = hours < float(names["SHORT_HOURS"])
    wrapper, partition = KINDS["cpu" if not exp.gpu else "gpu_test" if short else "gpu"]
    words = [
        f"--partition={names[partition]}",
        f"--time={limit or slurm.limit_of(hours)}",
        f"--mem={memory or f'{exp.memory_gb}G'}",
    ]
    words += [f"--gres={names['GRES']}"] if exp.gpu and names["GRES"] else []
    words += [f"--account={names['ACCOUNT']}"] if names["ACCOUNT"] else []
    return [*words, wrapper]
