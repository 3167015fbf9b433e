"""`headrace replay`, `simulate`, `session` and `demo`: clicks into Kafka, and what comes of them."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.infra.cli import names
from headrace.infra.cli.mapping_options import Given, with_mapping
from headrace.infra.cli.output import Json, print_json
from headrace.infra.cli.panel import OfAnId, UserId, panel
from headrace.infra.errors import HeadraceError

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from kafka import KafkaProducer

    from headrace.edge.datasets import Clicks
    from headrace.edge.shoppers.replay import ReplayReport

app, command = panel("Data")

DataSet = Annotated[
    str, names.argument(names.data_sets, "One of {data_sets}, module:NAME of your own, or a file of yours.")
]
DataPath = Annotated[
    Path, typer.Argument(envvar="HEADRACE_DATA", help="The data set's file, or a folder that holds it.")
]


def clicks_of(dataset: str, path: Path, given: Given) -> "Clicks":
    """The clicks of a data set, or of the files at a path. Without pyarrow here it goes on in another environment."""
    from importlib.util import find_spec

    from headrace.edge import datasets
    from headrace.infra import environments, extensions

    named = _is_named(dataset)
    if not named and not _is_a_place(dataset):
        datasets.dataset(dataset)  # raises, with the names that there are
    if not extensions.is_reference(dataset) and not find_spec("pyarrow"):
        environments.enter("streaming")
    clicks = datasets.open_dataset(dataset, path) if named else _of_files(dataset, given)
    for sentence in clicks.told:
        print(sentence, file=sys.stderr)
    for rule, rows in clicks.left_out.items():
        print(f"{rows:,} rows left out: {rule}", file=sys.stderr)
    return clicks


def file_of(dataset: str, path: Path) -> Path:
    """The file that stands for what is read, by which a version names it."""
    from headrace.edge import datasets
    from headrace.infra.files import streams

    return datasets.find(dataset, path) if _is_named(dataset) else streams.files(dataset)[0]


def _is_named(dataset: str) -> bool:
    """Whether it is a data set's name, not a place of files."""
    from headrace.edge import datasets
    from headrace.infra import extensions

    return dataset in datasets.DATASETS or extensions.is_reference(dataset)


def _is_a_place(text: str) -> bool:
    return Path(text).exists() or any(mark in text for mark in "*?/.")


def _of_files(place: str, given: Given) -> "Clicks":
    from headrace.edge.datasets import files
    from headrace.infra import durable
    from headrace.infra.files import streams

    found = streams.files(place)
    return files.read(found, given.mapping(), durable.sha256(found[0])[:12])


@command(name="import")
@with_mapping
def import_(
    path: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    given: Given,
    dataset: Annotated[str, names.option(names.data_sets, "{data_sets}, or module:NAME of your own.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Show what the file would bring; change nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Replace the rows of an earlier import of the file.")] = False,
) -> None:
    """Bring files of the shop's history into the lake: CSV, JSON, Parquet or Excel, plain or packed.

    \b
    headrace import visits.csv --preview
    headrace import visits.csv.gz --map user_id=visitor,item_id=sku,ts_ms=at --action addtocart=cart --time s
    """
    from headrace.infra.launch import batch
    from headrace.infra.settings import load

    flags = [*(["--preview"] if preview else []), *(["--again"] if again else [])]
    asked = [*flags, *([f"--dataset={dataset}"] if dataset else []), *given.arguments(), "--", *path]
    raise typer.Exit(batch.run(load().spark, "import_file", asked))


@command()
@with_mapping
def replay(
    dataset: DataSet,
    given: Given,
    path: DataPath = Path("."),
    speedup: Annotated[
        float | None, typer.Option(help="Event time over real time, such as 60. Without it: as fast as possible.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Only the first clicks.")] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Move event times: the newest click (with --speedup: each click) is now.")
    ] = False,
) -> None:
    """Replay a data set, or files of yours, into the topic `clicks`.

    Replaying again sends the same event ids.

    \b
    headrace replay online-retail online_retail.csv.xz --now
    headrace replay movielens ml-100k --speedup 3600 --limit 10000
    headrace replay visits.csv --map user_id=visitor,item_id=sku,ts_ms=at --time s --now
    """
    clicks = clicks_of(dataset, path, given)
    from headrace.edge.shoppers import replay as replaying

    if clicks.made_up:
        print(f"Made up, because this file does not say: {clicks.made_up}.")
    with _producer(in_real_time=speedup is not None) as producer:
        report = replaying.replay(clicks, producer, speedup=speedup, limit=limit, shift_to_now=now, topic=_topic())
    _show(report)


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
    from headrace.edge.shoppers.replay import publish
    from headrace.edge.shoppers.simulator import Shop, in_real_time, in_the_past
    from headrace.infra.progress import Meter

    if not rate and not events:
        raise typer.BadParameter("give --rate (above 0), --events or both")
    shop = Shop(seed, users)
    clicks = in_real_time(shop, rate) if rate else in_the_past(shop, events or 0)
    with _producer(in_real_time=bool(rate)) as producer, Meter("simulate", events) as meter:
        report = publish(islice(clicks, events), producer, meter, _topic())
    _show(report)


def _show(report: "ReplayReport") -> None:
    print(f"{report.sent:,} clicks in {report.seconds:,.1f} s, {report.sent / report.seconds:,.0f}/s")
    for rule, records in report.left_out.items():
        print(f"{records:,} left out: {rule}")


def _topic() -> str:
    from headrace.infra.settings import load
    from headrace.schemas.topics import CLICKS

    return load().kafka.name(CLICKS)


@contextmanager
def _producer(in_real_time: bool) -> Iterator["KafkaProducer"]:
    from kafka.errors import KafkaError

    from headrace.edge.shoppers.replay import bulk_producer
    from headrace.infra.clients import kafka_topics
    from headrace.infra.settings import load

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # we say what went wrong, once
    kafka = load().kafka
    try:
        opened = bulk_producer(kafka.client(), _topic(), linger_ms=5 if in_real_time else 100)
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
    from headrace.schemas import live_session, redis_keys

    value: Any = load().redis.client().get(redis_keys.session(user))
    features = live_session.decode(value)
    if not features:
        raise HeadraceError(f"user {user!r} has no live session in Redis (key {redis_keys.session(user)})")
    if as_json:
        print_json("session", {"user": user, "features": features})
        return
    table = Table("feature", "value", box=None, pad_edge=False)
    for name, value in features.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
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
