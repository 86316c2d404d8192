"""Models on disk: safetensors with their configuration in the header, written atomically."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ired.model.energies.architectures import ARCHITECTURES, MLP, Config, LearnedEnergy, architecture

FORMAT = "ired-energy-1"


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says which, why, and what to do."""

    exit_status = 2  # the user's to mend


def write(path: Path, tensors: dict[str, Tensor], meta: dict) -> None:
    """Write tensors and a JSON header; `path` holds the old file or the whole new one, never less."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _write_whole(path, save(tensors, metadata={"ired": json.dumps(meta, sort_keys=True)}))


def _write_whole(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide results from a group
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and header of a file that `write` made; raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("ired", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}): delete it or restore a copy"
        ) from None
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path} was not written by this project: it has no 'ired' header")
    return tensors, meta


def save_energy(path: Path, energy: LearnedEnergy) -> None:
    """Weights and configuration, with a readable copy of the configuration beside them."""
    meta = {"format": FORMAT, "config": energy.describe()}
    if (kind := architecture(energy.config)) != MLP:
        meta["architecture"] = kind
    write(path, energy.state_dict(), meta)
    text = json.dumps(meta, indent=2, sort_keys=True) + "\n"
    _write_whole(path.with_suffix(".json"), text.encode())


def _differences(config: Config, wanted: Config) -> list[str]:
    """In what two configurations differ, in words; numbers that were computed may differ by rounding."""
    if type(config) is not type(wanted):
        return [f"its energy is '{architecture(config)}', not '{architecture(wanted)}'"]
    pairs = [(name, value, asdict(wanted)[name]) for name, value in asdict(config).items()]
    return [
        f"its {name} is {a}, not {b}"
        for name, a, b in pairs
        if a != b and not (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-6))
    ]


def load_energy(
    path: Path | str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    like: Config | None = None,
) -> LearnedEnergy:
    """The energy of a checkpoint, its gradients towards weights off; raises CheckpointError.

    like: the configuration that is expected, if any in particular is.
    """
    tensors, meta = read(Path(path))
    if meta.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of format {meta.get('format')!r}, not {FORMAT!r}")
    try:
        config, kind = ARCHITECTURES[meta.get("architecture", MLP)]
        energy = kind(config(**meta["config"]))
        energy.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} does not fit its own configuration: {reason}") from None
    if like is not None and (others := _differences(energy.config, like)):
        raise CheckpointError(f"{path} is another model than is wanted here: {'; '.join(others)}")
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise CheckpointError(f"{path} holds numbers that are not finite, in {bad[0]}")
    return energy.to(device=device, dtype=dtype).requires_grad_(False)
