"""Problems and reference energies in float64 that the instruments are tried on."""

import os

import numpy as np
import pytest
import torch

from ired.instruments.core.reference_energies import References
from ired.instruments.dictionaries import rule_descriptions
from ired.model import problems as model_problems
from ired.model.coordinates import Coordinates
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import AlgebraicEnergy, DoubleWell, IdealEnergy, Quadratic
from ired.model.schedule import Schedule

torch.set_num_threads(int(os.environ["IRED_THREADS"]))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="session")
def schedule():
    return Schedule(10)


@pytest.fixture(params=[False, True], ids=["all", "symmetric"])
def coordinates(request):
    # Shift and scale away from 0 and 1, so that forgetting one of them shows.
    return Coordinates(n=4, shift=0.3, scale=0.5, symmetric=request.param)


@pytest.fixture
def problems(generator):
    """Six problems (6, 4, 4) of the training distribution."""
    R = torch.rand(6, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    return 2 * R @ R.mT + 0.5 * torch.eye(4, dtype=torch.float64)


@pytest.fixture
def ideal(coordinates, schedule):
    return IdealEnergy(coordinates, schedule)


@pytest.fixture
def algebraic(coordinates, schedule):
    return AlgebraicEnergy(coordinates, schedule)


@pytest.fixture
def well(schedule):
    """A double well over the three dimensions of symmetric 2x2 matrices: 8 minima."""
    return DoubleWell(Coordinates(n=2, symmetric=True), schedule)


@pytest.fixture
def network(coordinates):
    """A learned energy with weights large enough to bend, on the same coordinates."""
    c = coordinates
    config = EnergyConfig(c.n, hidden=32, shift=c.shift, scale=c.scale, symmetric=c.symmetric)
    energy = MLPEnergy(config, model_problems.generator(0, "network")).double()
    with torch.no_grad():
        for weight in energy.parameters():
            weight.mul_(2)
    return energy


@pytest.fixture(scope="module", params=[False, True], ids=["all", "symmetric"])
def references(request, schedule):
    coordinates = Coordinates(4, shift=0.3, scale=0.5, symmetric=request.param)
    A = model_problems.draw(4, 4, 0.5, model_problems.generator(0, "calibration"), torch.float64)
    return References(
        ideal=IdealEnergy(coordinates, schedule),
        algebraic=AlgebraicEnergy(coordinates, schedule),
        well=DoubleWell(Coordinates(2, symmetric=True), schedule),
        quadratic=lambda H, centre: Quadratic(coordinates, schedule, H, centre),
        A=A,
    )


def token_table(rng, problems=40, each=40):
    """Columns of tokens, all landscapes equally often."""
    return {
        "problem": np.repeat(np.arange(problems), each),
        "landscape": np.tile(np.arange(each) % 10, problems),
        "kind": np.tile(np.arange(each) % 2, problems),
        "distance": rng.random(problems * each),
    }


@pytest.fixture
def tokens():
    return token_table(np.random.default_rng(0))


@pytest.fixture
def described(generator):
    """Tokens of 40 problems as rules see them, and their columns."""
    n, rng = 3, np.random.default_rng(1)
    columns = {name: torch.as_tensor(value) for name, value in token_table(rng).items()}
    columns["step"] = torch.zeros(len(columns["kind"]), dtype=torch.long)
    columns["y"] = torch.randn(len(columns["kind"]), n * n, generator=generator)
    A = torch.randn(40, n, n, generator=generator)
    return rule_descriptions.described(A, columns, {"trace": rng.random(40)}, generator), columns
