"""Two processes that train together take the steps of one."""

import json
import os
import socket
import subprocess
import sys

import pytest

from training_support import seed

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys, torch
from nearnext.registry import ENCODERS
from nearnext.data.sessions import Sessions
from nearnext.model.network import ItemTower
from nearnext.model.losses import NCAS
from nearnext.model.network import SessionItemNetwork
from nearnext.sampling import PositiveNegative
from nearnext.training.config import TrainingConfig
from nearnext.training.examples import Examples, sampled_recipe
from nearnext.training.loop import train
from nearnext.training.examples import Objective
from nearnext.training.validation import Validation

log = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
torch.random.manual_seed(int(sys.argv[1]))
network = SessionItemNetwork(log.n_items, ItemTower(6, 5), ENCODERS.make("gru", dim=6, hidden=6))
config = TrainingConfig(epochs=2, batch_size=9, device="cpu", learning_rate=0.01)
examples = Examples(log, PositiveNegative(), validation=Validation.of(log))
history = train(sampled_recipe(network, Objective(NCAS()), examples, config))
sums = [float(tensor.double().sum()) for tensor in network.state_dict().values()]
print(json.dumps([epoch["loss"] for epoch in history] + sums))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(rank: int, processes: int, port: int) -> subprocess.Popen[str]:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank}
    sizes = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    together = {**place, **sizes} if processes > 1 else {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in together.items()}}
    command = [sys.executable, "-c", SCRIPT, str(seed(1))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_train_as_one():
    port = free_port()
    runs = [started(0, 1, port), started(0, 2, port), started(1, 2, port)]
    alone, first, second = (json.loads(run.communicate(timeout=600)[0].splitlines()[-1]) for run in runs)
    assert first == pytest.approx(second, rel=1e-5, abs=1e-5)
    assert first == pytest.approx(alone, rel=1e-3, abs=1e-3)
