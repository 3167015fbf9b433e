"""`headrace replay` and `headrace simulate`: clicks into Kafka."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import print as show

from headrace.infra.errors import HeadraceError

if TYPE_CHECKING:  # what only a running command needs is imported there: `headrace --help` must be quick
    from kafka import KafkaProducer

    from headrace.edge.shoppers.replay import Report

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.command("replay")
def replay_command(
    dataset: Annotated[str, typer.Argument(help="online-retail, yoochoose or movielens.")],
    path: Annotated[Path, typer.Argument(envvar="HEADRACE_DATA", help="Its file, or a folder that holds it.")] = Path(
        "."
    ),
    speedup: Annotated[
        float | None, typer.Option(help="Event time over real time, such as 60. Without it: as fast as possible.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Only the first clicks.")] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Move event times: the newest click (with --speedup: each click) is now.")
    ] = False,
) -> None:
    """Replay a public data set that you have into the topic `clicks`.

    Replaying again sends the same event ids.

    Examples:

    * `headrace replay online-retail online_retail.csv.xz --now`
    * `headrace replay movielens ml-100k --speedup 3600 --limit 10000`
    """
    from headrace.edge import datasets
    from headrace.edge.shoppers.replay import replay

    clicks = datasets.open_dataset(dataset, path)
    if clicks.made_up:
        show(f"Made up, because this file does not say: {clicks.made_up}.")
    with _producer(in_real_time=speedup is not None) as producer:
        _tell(replay(clicks, producer, speedup=speedup, limit=limit, shift_to_now=now))


@app.command()
def simulate(
    users: Annotated[int, typer.Option(min=1, help="Shoppers.")] = 1000,
    rate: Annotated[float | None, typer.Option(help="Clicks a second, in real time, until --events or Ctrl-C.")] = None,
    events: Annotated[int | None, typer.Option(min=1, help="How many; without --rate as fast as possible.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same shop and the same shoppers.")] = 1,
) -> None:
    """Send the clicks of simulated shoppers with hidden tastes.

    Examples:

    * `headrace simulate --users 500 --rate 50`
    * `headrace simulate --events 100000 --seed 7`
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
    _tell(report)


def _tell(report: "Report") -> None:
    show(f"{report.sent:,} clicks in {report.seconds:,.1f} s, {report.sent / report.seconds:,.0f}/s")
    for rule, records in report.left_out.items():
        show(f"{records:,} left out: {rule}")


@contextmanager
def _producer(in_real_time: bool) -> Iterator["KafkaProducer"]:
    from kafka.errors import KafkaError

    from headrace.edge.shoppers.replay import bulk_producer
    from headrace.infra.settings import load

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # we say what went wrong, once
    kafka = load().kafka
    try:
        opened = bulk_producer(kafka.client(), linger_ms=5 if in_real_time else 100)
    except (KafkaError, OSError) as error:
        raise HeadraceError(f"no Kafka at {kafka.bootstrap} ({error}): is it up? `headrace up` starts one") from None
    with closing(opened) as producer:
        try:
            yield producer
        except KafkaError as error:
            raise HeadraceError(f"Kafka at {kafka.bootstrap} has not taken all clicks ({error})") from None
