"""`headrace replay`, `simulate`, `session` and `demo`: clicks into Kafka, and what comes of them."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli import names
from headrace.infra.cli.output import Json, print_json
from headrace.infra.cli.panel import OfAnId, UserId, panel
from headrace.infra.errors import HeadraceError

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from kafka import KafkaProducer

    from headrace.edge.shoppers.replay import ReplayReport

app, command = panel("Data")

DataSet = Annotated[str, names.argument(names.data_sets, "One of {data_sets}, or module:NAME of your own.")]
DataPath = Annotated[Path, typer.Argument(envvar="HEADRACE_DATA", help="Its file, or a folder that holds it.")]


def enter_for(dataset: str) -> None:
    """Goes on where the files of our data sets can be read: the command itself needs no pyarrow."""
    from importlib.util import find_spec

    from headrace.edge.datasets import DATASETS
    from headrace.infra import environments

    if dataset in DATASETS and not find_spec("pyarrow"):
        environments.enter("streaming")


@command()
def replay(
    dataset: DataSet,
    path: DataPath = Path("."),
    speedup: Annotated[
        float | None, typer.Option(help="Event time over real time, such as 60. Without it: as fast as possible.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Only the first clicks.")] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Move event times: the newest click (with --speedup: each click) is now.")
    ] = False,
) -> None:
    """Replay a data set that you have into the topic `clicks`.

    Replaying again sends the same event ids.

    \b
    headrace replay online-retail online_retail.csv.xz --now
    headrace replay movielens ml-100k --speedup 3600 --limit 10000
    """
    enter_for(dataset)
    from headrace.edge import datasets
    from headrace.edge.shoppers import replay as replaying

    clicks = datasets.open_dataset(dataset, path)
    if clicks.made_up:
        print(f"Made up, because this file does not say: {clicks.made_up}.")
    with _producer(in_real_time=speedup is not None) as producer:
        _show(replaying.replay(clicks, producer, speedup=speedup, limit=limit, shift_to_now=now))


@command()
def simulate(
    users: Annotated[int, typer.Option(min=1, help="Shoppers.")] = 1000,
    rate: Annotated[float | None, typer.Option(help="Clicks a second, in real time, until --events or Ctrl-C.")] = None,
    events: Annotated[int | None, typer.Option(min=1, help="How many; without --rate as fast as possible.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same shop and the same shoppers.")] = 1,
) -> None:
    """Send the clicks of simulated shoppers with hidden tastes.

    \b
    headrace simulate --users 500 --rate 50
    headrace simulate --events 100000 --seed 7
    """
    from headrace.edge.shoppers.progress import Meter
    from headrace.edge.shoppers.replay import publish
    from headrace.edge.shoppers.simulator import Shop, in_real_time, in_the_past

    if not rate and not events:
        raise typer.BadParameter("give --rate (above 0), --events or both")
    shop = Shop(seed, users)
    clicks = in_real_time(shop, rate) if rate else in_the_past(shop, events or 0)
    with _producer(in_real_time=bool(rate)) as producer, Meter("simulate", events) as meter:
        report = publish(islice(clicks, events), producer, meter)
    _show(report)


def _show(report: "ReplayReport") -> None:
    print(f"{report.sent:,} clicks in {report.seconds:,.1f} s, {report.sent / report.seconds:,.0f}/s")
    for rule, records in report.left_out.items():
        print(f"{records:,} left out: {rule}")


@contextmanager
def _producer(in_real_time: bool) -> Iterator["KafkaProducer"]:
    from kafka.errors import KafkaError

    from headrace.edge.shoppers.replay import bulk_producer
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # we say what went wrong, once
    kafka = load().kafka
    try:
        opened = bulk_producer(kafka.client(), linger_ms=5 if in_real_time else 100)
    except (KafkaError, OSError) as error:
        raise kafka_topics.unreachable(kafka, error) from None
    with closing(opened) as producer:
        try:
            yield producer
        except KafkaError as error:
            raise HeadraceError(f"Kafka at {kafka.bootstrap} has not taken all clicks ({error})") from None


@command(cls=OfAnId)
def session(user: UserId, as_json: Json = False) -> None:
    """The features of a user's live session, as Redis has them."""
    from rich.console import Console
    from rich.table import Table

    from headrace.infra.settings import load
    from headrace.schemas import redis_keys

    client = load().redis.client(decode_responses=True)
    features: Any = client.hgetall(redis_keys.session(user))
    if not features:
        raise HeadraceError(f"user {user!r} has no live session in Redis (key {redis_keys.session(user)})")
    if as_json:
        print_json("session", {"user": user, "features": features})
        return
    table = Table("feature", "value", box=None, pad_edge=False)
    for name, value in features.items():
        table.add_row(name, value)
    Console().print(table)


@command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=0, envvar="DEMO_SECONDS", help="End after this long; by DEMO_SECONDS: in plain lines."),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(envvar="HEADRACE_DATA", help="Folder of online_retail.csv.xz; without it, simulated shoppers."),
    ] = Path("."),
) -> None:
    """Start everything; simulated shoppers click and a bandit learns. Ends by Ctrl-C, and leaves the stack up."""
    from rich.console import Console

    from headrace.infra import environments

    environments.enter("streaming")
    from headrace.infra.demo import run as product_demo

    product_demo.demo(Console(), seconds, data)
