"""The official release, run from a checkout of it at a path that the user gives."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import numpy
import torch
from torch.utils import data

from ired.lab.errors import UserError


def use(path: str) -> type:
    """The release at `path` with the interface of `Plain`; raises UserError if it is not there."""
    root = Path(path)
    if not (root / "diffusion_lib" / "denoising_diffusion_pytorch_1d.py").is_file():
        raise UserError(f"--official {path}: no checkout of the official IRED release is there")
    sys.path.insert(0, str(root))
    try:
        models = importlib.import_module("models")
        diffusion = importlib.import_module("diffusion_lib.denoising_diffusion_pytorch_1d")
    except ImportError as error:
        raise UserError(
            f"--official needs {error.name}: run it by `make bench`, which installs benchmarks/requirements.txt"
        ) from None
    Official.models, Official.diffusion = models, diffusion
    Official.dataset = _dataset(root / "dataset.py")
    return Official


def _dataset(path: Path) -> data.Dataset:
    """Its class of matrix inversion problems alone: the file imports what no other part needs."""
    text = path.read_text()
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == "Inverse")
    names = {"np": numpy, "data": data}
    exec(ast.get_source_segment(text, node), names)
    return names["Inverse"]


class Official:
    """A model of the release, its optimiser and average, as its trainer uses them."""

    name = "official"

    def __init__(self, n: int, mining: str = "none", weights: dict | None = None):
        net = self.models.DiffusionWrapper(self.models.EBM(n * n, n * n))
        if weights:
            net.ebm.load_state_dict(weights)
        self.process = self.diffusion.GaussianDiffusion1D(
            net,
            seq_length=32,
            objective="pred_noise",
            timesteps=10,
            sampling_timesteps=10,
            supervise_energy_landscape=mining != "none",
            use_innerloop_opt=True,
            show_inference_tqdm=False,
            continuous=True,
        )
        self.process.out_shape = (n * n,)
        if mining == "random":  # the release has no such option: its step without the descent
            self.process.opt_step = lambda inp, img, *rest, **named: img
        parameters = self.process.parameters()
        self.optimizer = self.diffusion.Adam(parameters, lr=1e-4, betas=(0.9, 0.99))
        self.average = self.diffusion.EMA(self.process, beta=0.995, update_every=10)

    def step(self, A, Y):
        loss, _ = self.process(A.flatten(1).float(), Y.flatten(1).float(), None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.process.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()

    def sample(self, A):
        return self.process.sample(A.flatten(1), None, None, batch_size=len(A))

    @classmethod
    def draw(cls, count: int, n: int):
        source = cls.dataset("train", n, False)
        A, Y = data.default_collate([source[i] for i in range(count)])
        return A.unflatten(1, (n, n)), Y.unflatten(1, (n, n))
