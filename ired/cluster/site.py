"""Writes what sbatch/site.sh says into the #SBATCH lines of the wrappers: make site."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ired.cluster.resources import KINDS, site
from ired.cluster.slurm import limit_of
from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import ROOT
from ired.lab.tracking.store import write_whole


def write_wrappers(root: Path = ROOT) -> list[str]:
    """Rewrite the wrappers and return the names of those that changed."""
    names = site(root)
    changed = []
    for kind, (wrapper, partition) in KINDS.items():
        options = {"partition": names[partition], "account": names["ACCOUNT"]}
        if kind != "cpu":
            options["gres"] = names["GRES"]
        if kind == "gpu_test":
            hours = float(names["SHORT_HOURS"])
            if not 0 <= hours < math.inf:
                raise UserError(f"sbatch/site.sh: SHORT_HOURS is '{names['SHORT_HOURS']}', no time limit")
            options["time"] = limit_of(hours)
        path = root / wrapper
        if not path.exists():
            raise UserError(f"{wrapper} is missing: take it from the project again")
        old = path.read_text()
        new = old
        for option, value in options.items():
            new = _with(new, option, value)
        if new != old:
            mode = path.stat().st_mode
            write_whole(path, new)
            path.chmod(mode)
            changed.append(wrapper)
    return changed


def _with(text: str, option: str, value: str) -> str:
    """The text of a wrapper with one #SBATCH line for an option, or none where it has no value."""
    if re.search(r"\s", value):
        raise UserError(f"sbatch/site.sh: '{value}' has a space, and Slurm's names have none")
    line = f"#SBATCH --{option}={value}\n" if value else ""
    there = re.compile(rf"^#SBATCH --{option}=.*\n", re.MULTILINE)
    if there.search(text):
        return there.sub(lambda _: line, text, count=1)
    return text.replace("#SBATCH", f"{line}#SBATCH", 1) if line else text


def main() -> None:
    with in_one_line():
        changed = write_wrappers()
        print(f"Written: {', '.join(changed)}" if changed else "The wrappers say what site.sh says.")


if __name__ == "__main__":
    main()
