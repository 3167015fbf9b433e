"""Stock Flower apps, unchanged, run in a node's process; where Flower is installed."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("flwr")
from headrace.edge.federated import flower, provisioning, simulation
from headrace.edge.federated.coordinator import Coordinator, RoundsWish, first_version
from headrace.edge.federated.layers import Arrays, flat, shaped
from headrace.edge.federated.node import Node
from headrace.edge.federated.outbox import Folder
from headrace.infra import federated_files, paths
from headrace.infra.errors import HeadraceError
from headrace.udfs.factors import als
from headrace.udfs.federated.factor_gradient import descent

MESSAGES = '''
"""Flower's quickstart with NumPy, of functions of messages."""
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(msg: Message, context: Context):
    ndarrays = msg.content["arrays"].to_numpy_ndarrays()
    lr = msg.content["config"]["server-round"] * context.run_config["lr"]
    model_record = ArrayRecord([array + lr for array in ndarrays])
    metric_record = MetricRecord({"num-examples": 1})
    return Message(content=RecordDict({"arrays": model_record, "metrics": metric_record}), reply_to=msg)
'''
NUMPY_CLIENT = '''
"""Flower's quickstart around a client_fn."""
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

class FlowerClient(NumPyClient):
    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        return [parameter + config["server_round"] + self.partition for parameter in parameters], 10, {"loss": 0.5}

def client_fn(context):
    return FlowerClient(context.node_config["partition-id"]).to_client()

app = ClientApp(client_fn=client_fn)
'''
TORCH = '''
"""Flower's quickstart with PyTorch, cut to one layer."""
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(msg: Message, context: Context):
    model = torch.nn.Linear(3, 2)
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=content, reply_to=msg)
'''
ARRAYS = {"weight": np.zeros((2, 3), np.float32), "bias": np.ones(2, np.float32)}


def trained(folder: Path, name: str, source: str, arrays: Arrays) -> Arrays:
    (folder / f"{name}.py").write_text(source)
    trainer = flower.load(f"{name}:app", folder, {"partition-id": 2, "num-partitions": 5}, {"lr": 0.5})
    return flower.train(trainer, arrays, 3, {})


def test_an_app_of_messages(tmp_path: Path) -> None:
    after = trained(tmp_path, "of_messages", MESSAGES, ARRAYS)
    for name, before in ARRAYS.items():
        np.testing.assert_allclose(after[name], before + 1.5)


def test_an_app_around_a_client(tmp_path: Path) -> None:
    after = trained(tmp_path, "around_a_client", NUMPY_CLIENT, ARRAYS)
    for name, before in ARRAYS.items():
        np.testing.assert_allclose(after[name], before + 5)


def test_an_app_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    after = trained(tmp_path, "of_torch", TORCH, ARRAYS)
    np.testing.assert_allclose(after["weight"], -np.ones((2, 3)))
    np.testing.assert_allclose(after["bias"], np.zeros(2))


def test_what_is_no_app_or_answers_other_shapes(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text("app = 1\n")
    with pytest.raises(HeadraceError, match="nothing:app must be a Flower ClientApp, got int"):
        flower.load("nothing:app", tmp_path, {}, {})
    wrong = NUMPY_CLIENT.replace("for parameter in parameters]", "for parameter in parameters[:1]]")
    with pytest.raises(HeadraceError, match="must answer with arrays of shapes"):
        trained(tmp_path, "wrong", wrong, ARRAYS)


def test_vectors_and_arrays() -> None:
    layers = [(name, str(array.dtype), list(array.shape)) for name, array in ARRAYS.items()]
    back = shaped(flat(ARRAYS), layers)
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("kind", ["csv", "db"])
def test_the_default_app_steps_down_its_users_loss(kind: str, tmp_path: Path) -> None:
    pairs = [("u", "a"), ("u", "c"), ("u", "a"), ("v", "b"), ("v", "unknown")]
    data = tmp_path / f"shop.{kind}"
    if kind == "csv":
        data.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    else:
        with sqlite3.connect(data) as database:
            database.execute("CREATE TABLE events (user_id TEXT, item_id TEXT)")
            database.executemany("INSERT INTO events VALUES (?, ?)", pairs)
    (tmp_path / "items.json").write_bytes(msgspec.json.encode(["a", "b", "c", "d"]))
    told = {"data": str(data), "items": str(tmp_path / "items.json")}
    trainer = flower.load("headrace.edge.federated.factorisation:app", paths.PACKAGE, told, {"rate": 0.5})
    Y = np.random.default_rng(1).standard_normal((4, 2)).astype(np.float32)
    after = flower.train(trainer, {"item_factors": Y}, 1, {})["item_factors"]
    rows = als.Rows(np.array([0, 2, 3]), np.array([0, 2, 1]), np.ones(3))
    expected = Y + 0.5 * descent(Y, rows, als.ials(alpha=1.0, reg=0.01, unobserved=0.1))
    np.testing.assert_allclose(after, expected, rtol=1e-5)


ON_A_DEVICE = """
import sys
from pathlib import Path
import msgspec
import numpy as np
from headrace.edge.federated import channel, coordinator, flower, node, provisioning
from headrace.infra import federated_files, paths

folder, items, factors = Path(sys.argv[1]), 3_125, 32
population = provisioning.provision(3, "p", 2, 8.0, 1e-5)
(folder / "items.json").write_bytes(msgspec.json.encode([f"i{n}" for n in range(items)]))
(folder / "shop.csv").write_text("user_id,item_id\\n" + "".join(f"u,i{n}\\n" for n in range(100)))
told = {"data": str(folder / "shop.csv"), "items": str(folder / "items.json")}
trainer = flower.load("headrace.edge.federated.factorisation:app", paths.PACKAGE, told, {})
train = lambda arrays, number: flower.train(trainer, arrays, number, {})
member = node.Node("node-00001", population, train, federated_files.node("node-00001"))
rounds = coordinator.Coordinator(coordinator.RoundsWish("m", 1, 1.0, 2, epsilon=8.0), population)
start = np.random.default_rng(1).standard_normal((items, factors)).astype(np.float32)
layers = msgspec.json.encode([("item_factors", "float32", start.shape)]).decode()
for each in coordinator.first_version("m", start.ravel(), layers):
    rounds.rounds.hear(each)
(opened,) = rounds.next(0)
assert len(member.frames(opened.record, start.ravel(), 0)) == opened.record["chunks"]
# Not ru_maxrss, which begins with the size of the process that forked this one.
highest = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(int(highest.split()[1]) // 1024)
"""


def test_a_node_needs_little_memory(tmp_path: Path) -> None:
    """100,000 parameters, the default app: what a 64-bit Raspberry Pi has room for."""
    environment = os.environ | {"HEADRACE_HOME": str(tmp_path), "PYTHONPATH": str(paths.PACKAGE)}
    command = [sys.executable, "-c", ON_A_DEVICE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200, "MB"


def test_a_node_without_an_item_of_the_model_takes_no_part_and_spends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    population = provisioning.provision(3, "p", 2, 8.0, 1e-5)
    (tmp_path / "items.json").write_bytes(msgspec.json.encode(["12", "13", "007"]))
    data, folder = tmp_path / "shop.csv", federated_files.node("node-00001")
    told = {"data": str(data), "items": str(tmp_path / "items.json")}
    trainer = flower.load("headrace.edge.federated.factorisation:app", paths.PACKAGE, told, {})
    member = Node("node-00001", population, lambda arrays, n: flower.train(trainer, arrays, n, {}), folder)
    rounds = Coordinator(RoundsWish("m", 2, 1.0, 2, epsilon=8.0), population)
    start = np.ones((3, 2), np.float32)
    for each in first_version("m", start.ravel(), '[["item_factors", "float32", [3, 2]]]'):
        rounds.rounds.hear(each)
    (opened,) = rounds.next(0)

    data.write_text("user_id,item_id\nu1,12.0\nu2,13.0\n")
    assert member.frames(opened.record, start.ravel(), 0) == []
    assert Folder(folder).taken() == []
    assert "takes no part in round 1: app: " in caplog.text
    assert "must have rows of the model's items, such as '12', '13', '007'" in caplog.text
    data.write_text("user_id,item_id\nu1,12\n")
    assert len(member.frames(opened.record | {"round": 2}, start.ravel(), 0)) == opened.record["chunks"]
    assert [each.round for each in Folder(folder).taken()] == [2]


def test_nothing_is_left_of_a_simulation_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kafka may have been begun anew since: what nodes and key holder remember is of rounds that are gone."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    first = simulation._population(5, 3, 8.0, 1e-5)
    sealed = federated_files.node(first.nodes[0]) / "sealed" / "1"
    sealed.mkdir(parents=True)
    second = simulation._population(4, 3, 8.0, 1e-5)
    assert federated_files.nodes() == second.nodes
    assert not sealed.exists()
    assert first.key_id != second.key_id
    provisioning.provision(5, "real", 3, 8.0, 1e-5)
    with pytest.raises(HeadraceError, match="is not of a simulation"):
        simulation._population(4, 3, 8.0, 1e-5)
    shutil.rmtree(federated_files.holder())  # as on a device, which has its own folder and what is public
    with pytest.raises(HeadraceError, match="is not of a simulation"):
        simulation._population(4, 3, 8.0, 1e-5)
    assert provisioning.read(federated_files.public()).name == "real"
