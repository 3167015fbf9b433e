"""`headrace federated`: provision a population, run its processes, simulate one. Runs in the edge environment."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra import environments
from headrace.infra.cli.panel import Command, group

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from headrace.infra.settings import Settings

app = group(
    "Models learnt from data that stays where it is: encrypted, noised rounds through Kafka.", no_args_is_help=True
)
Delta = Annotated[float, typer.Option(help="The chance with which epsilon may fail to hold; well below 1 / nodes.")]
Epsilon = Annotated[float, typer.Option(help="Privacy that may ever be spent on this population.")]
Pairs = Annotated[list[str] | None, typer.Option("--set", help="name=value for the ClientApp; may come again.")]
DEFAULT_APP = "headrace.edge.federated.factorisation:app"


def _enter(module: str) -> None:
    """Goes on in the edge environment, where this one lacks the module: Flower, or the encryption alone."""
    if not find_spec(module):
        environments.enter("edge")


def _submit(settings: "Settings") -> None:
    """The job must run; only the streaming environment can submit it."""
    from headrace.infra.clients import flink

    if not flink.alive(settings.flink, "federated"):
        submit = ["-m", "headrace", "submit", "federated", "--state-backend", "rocksdb"]
        if done := subprocess.run([str(environments.ready("streaming")), *submit]).returncode:
            raise typer.Exit(done)  # it has said why


@app.command(cls=Command)
def provision(
    nodes: Annotated[int, typer.Argument(min=2, help="How many nodes there are to be, in all.")],
    k: Annotated[int, typer.Option(min=2, help="No sum of fewer nodes is ever opened.")],
    name: Annotated[str, typer.Option(help="Of the population, to whose budget rounds are charged.")] = "everybody",
    epsilon: Epsilon = 8.0,
    delta: Delta = 1e-5,
) -> None:
    """Make the keys of nodes, of Flink and of the key holder under $HEADRACE_HOME/federated; again: more nodes."""
    _enter("tenseal")
    from headrace.edge.federated import provisioning
    from headrace.infra import federated_files

    made = provisioning.provision(nodes, name, k, epsilon, delta)
    print(f"{len(made.nodes)} nodes of population {made.name}, key {made.key_id}, in {federated_files.root()}")


@app.command(cls=Command)
def rotate() -> None:
    """A new key pair for the rounds to come; then restart the key holder, and give the nodes the new public key."""
    _enter("tenseal")
    from headrace.edge.federated import provisioning

    print(f"key {provisioning.rotate()} from now on")


@app.command(cls=Command)
def node(
    name: Annotated[str, typer.Argument(help="Its id, such as node-00001.")],
    data: Annotated[str, typer.Option(help="A CSV file or a SQLite database with user_id and item_id.")] = "",
    client_app: Annotated[str, typer.Option("--app", help="Any Flower ClientApp, as module:attribute.")] = DEFAULT_APP,
    folder: Annotated[Path, typer.Option(help="Where the app's module lies.")] = Path(),
    settings: Pairs = None,
) -> None:
    """Take part in rounds, for ever, with data that stays here."""
    _enter("flwr")
    from headrace.edge.federated import flower, provisioning
    from headrace.edge.federated import node as nodes
    from headrace.edge.federated.layers import Arrays
    from headrace.infra import federated_files
    from headrace.infra.settings import load

    told = dict(pair.split("=", 1) for pair in settings or [])
    items = federated_files.public() / federated_files.ITEMS
    of_node: dict[str, flower.Setting] = {"data": data, "items": str(items), "partition-id": _number(name)}
    trainer = flower.load(client_app, folder, of_node | told, told)
    population = provisioning.read(federated_files.public())

    def train(arrays: Arrays, round_: int) -> Arrays:
        return flower.train(trainer, arrays, round_, {})

    nodes.serve(load().kafka, nodes.Node(name, population, train, federated_files.node(name)))


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) - 1 if digits.isdigit() else 0


@app.command(cls=Command)
def coordinator(
    model: Annotated[str | None, typer.Option(help="Name of the global model.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="In all; a coordinator that is started again goes on.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="L2 norm to which a node clips its update.")] = None,
    quorum: Annotated[
        int | None, typer.Option(min=0, help="Least nodes of a cohort; 0: 4/5 of those invited, k of a bucket.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(min=0, help="To be spent by all the rounds; 0: no noise.")] = None,
    rule: Annotated[str | None, typer.Option(help="fedavg or fedadam.")] = None,
    rate: Annotated[float | None, typer.Option(help="Length of the rule's step; with another --rule: its own.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Nodes invited to a round; 0: all.")] = 0,
    buckets: Annotated[bool, typer.Option("--buckets", help="Open disjoint buckets, and fold their median.")] = False,
    deadline_s: Annotated[int | None, typer.Option(min=1, help="No node is waited for longer.")] = None,
    at_most: Annotated[
        int,
        typer.Option(
            min=0, help="Stop after so many finished rounds (0: run all that are left). Exit 1 if a round is aborted."
        ),
    ] = 0,
    first: Annotated[
        int, typer.Option(min=1, help="No new round has a lower number: one above all that a lost Kafka had.")
    ] = 1,
    initial: Annotated[
        Path | None, typer.Option(help="Version 0: a .npz of named arrays, or a .npy of item factors.")
    ] = None,
) -> None:
    """Run the rounds of a model, by the settings of [federated] where no option is given.

    Exit 3 if the budget allows no further round.
    """
    _enter("tenseal")
    from headrace.edge.federated import coordinator as rounds_of
    from headrace.edge.federated import provisioning
    from headrace.infra import federated_files
    from headrace.infra.settings import load

    settings = load()
    given = _given(model=model, rounds=rounds, clip=clip, quorum=quorum, epsilon=epsilon, deadline_s=deadline_s)
    of = settings.federated.model_copy(update=given | _given(rule=rule, rate=rate))
    step = None if rate is None and of.rule != settings.federated.rule else of.rate
    terms = (of.model, of.rounds, of.clip, of.quorum, of.rule, step, sample, buckets, of.deadline_s * 1000)
    wish = rounds_of.RoundsWish(*terms, epsilon=of.epsilon or None, at_most=at_most, first=first)
    version = rounds_of.initial(of.model, initial) if initial else None
    over = rounds_of.serve(settings.kafka, wish, provisioning.read(federated_files.public()), version)
    print(f"{over} of {of.rounds} rounds of {of.model} are over")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@app.command("key-holder", cls=Command)
def key_holder() -> None:
    """Hold the secret key: open one sum a round, if it is of enough nodes and within the budget."""
    _enter("tenseal")
    from headrace.edge.federated import key_holder as holder
    from headrace.infra.settings import load

    holder.serve(load().kafka)


@app.command(cls=Command)
def candidate(
    model: Annotated[str | None, typer.Argument(help="Name of the global model; default: federated.model.")] = None,
    date: Annotated[str | None, typer.Option(help="The night whose ALS it is fused with.")] = None,
) -> None:
    """Fuse the global model with the night's ALS: a candidate for the night's gate (`headrace run federated`)."""
    from headrace.infra.launch import batch
    from headrace.infra.settings import load

    if model:
        os.environ["HEADRACE_NIGHT__FAMILIES__FEDERATED__MODEL"] = model
    raise typer.Exit(batch.run(load().spark, "federated", ["--date", date] if date else []))


@app.command(cls=Command)
def simulate(
    nodes: Annotated[int, typer.Option(min=3, help="Nodes.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 10,
    items: Annotated[int, typer.Option(min=8, help="Items of the shop.")] = 500,
    factors: Annotated[int, typer.Option(min=2, help="Numbers of an item.")] = 16,
    epsilon: Epsilon = 8.0,
    delta: Delta = 1e-5,
) -> None:
    """A population on this machine, through the real Kafka, Flink and key holder: `headrace up` first."""
    _enter("flwr")
    from rich.console import Console

    from headrace.edge.federated import simulation
    from headrace.infra.settings import load

    settings = load()
    _submit(settings)
    size = simulation.Size(nodes, rounds, items, factors)
    simulation.run(settings, size, max(2, nodes * 3 // 5), epsilon, delta, Console())
