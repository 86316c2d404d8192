"""Copies the model that a run of SETUP-3 trained into the project, with its provenance beside it.

So that somebody without a GPU studies the published size at once. What is kept enters the key of
SETUP-3: keeping another model makes everything that builds on it stale. The arguments are those with
which SETUP-3 was run.

Replications, of seeds 1 and more, are kept in half precision and so in half the space where that is worth it; what
reads them computes in single precision, as of any model. Small files stay whole: energies of matrix products, which
are that small, err four times as much after rounding (n = 20: 7e-5 for 1.7e-5), a network does not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import ROOT
from ired.lab.run import sha256
from ired.lab.targets.make_rules import load_command
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import Store, write_whole

WORTH_HALVING = 200_000  # bytes


def main(argv: list[str]) -> None:
    keys, store = Keys(), Store()
    exp = keys.queue["SETUP-3"]
    command = load_command(ROOT / exp.script)
    request = command.parse(argv, keys.queue)
    at, key = request.at, command.key(request, keys)
    store.check()
    tracking = open_tracking(store, keys)
    run = tracking.finished(key)
    model, record = (tracking.artifact(run, name) if run else None for name in ("model.safetensors", "training.json"))
    provenance = json.loads(record.read_text()) if model and record else {}
    # With the id of a run in it, it took a model that was kept.
    if run is None or model is None or "steps" not in provenance or "run_id" in provenance:
        raise UserError(
            f"there is no finished training of {exp.name(at)} with these arguments: "
            f"`make retrain {at.words()}` makes one"
        )
    place = exp.provenance(at)
    if place is None:
        raise UserError(f"pipeline.json names no place where results of {exp.id} are kept")
    target = ROOT / place
    target.parent.mkdir(exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.tmp")
    halved = at.seed > 0 and model.stat().st_size > WORTH_HALVING
    try:
        _copy(model, part, halved)
        os.replace(part, target.with_suffix(".safetensors"))
    finally:
        part.unlink(missing_ok=True)
    provenance |= {
        "sha256": sha256(target.with_suffix(".safetensors")),
        "stored_as": "float16" if halved else "float32",
        "run_id": run.info.run_id,
        "git_commit": run.data.tags.get("mlflow.source.git.commit", ""),
        "packages": json.loads(run.data.tags.get("packages", "{}")),
        "headline": run.data.tags.get("headline", ""),
    }
    write_whole(target, json.dumps(provenance, indent=1, sort_keys=True) + "\n")
    print(f"{exp.name(at)} is kept in {target.with_suffix('.safetensors').relative_to(ROOT)}: {provenance['headline']}")


def _copy(source: Path, target: Path, halved: bool) -> None:
    """A file of tensors, with its header, as it is or in half precision."""
    if not halved:
        shutil.copyfile(source, target)
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        meta, tensors = file.metadata(), {name: file.get_tensor(name).half() for name in file.keys()}
    save_file(tensors, target, meta)
    target.chmod(0o644)  # safetensors' 0600 would hide it from a group


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
