"""edge/shoppers/replay.py and its two commands."""

import io
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaError
from typer.testing import CliRunner, Result

from headrace.edge.datasets.columns import Click, Clicks
from headrace.edge.shoppers.replay import bulk_producer, paced, replay, shifted
from headrace.edge.shoppers.simulator import Shop
from headrace.infra.cli.main import app
from headrace.infra.progress import Meter
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.edge.broker import Broker, free_port
from tests.edge.datasets.test_datasets import RETAIL
from tests.stack.running import wait

START_MS = 1_700_000_000_000


def click(n: int, **fields: Any) -> Click:
    own = {"event_id": f"test:{n}", "user_id": f"user-{n % 10}", "item_id": "lamp", "action": "view"}
    return own | {"ts_ms": START_MS + 100 * n} | fields


def of(records: list[Click]) -> Clicks:
    return Clicks(
        len(records), lambda n: int(records[n]["ts_ms"]), lambda: iter([[dict(record) for record in records]])
    )


def sent(broker: Broker) -> list[Click]:
    return [json.loads(record.value) for record in topic.read(broker.kafka, CLICKS)]


def run(*arguments: str, bootstrap: str = "127.0.0.1:1") -> Result:
    return CliRunner().invoke(app, arguments, env={"HEADRACE_KAFKA__BOOTSTRAP": bootstrap})


def test_shifted_moves_every_time_alike() -> None:
    assert [c["ts_ms"] for c in shifted(iter([click(0), click(5)]), -START_MS)] == [0, 500]


class Clock:
    """A clock that moves while somebody sleeps, and 3 ms at each look."""

    now_s = 1000.0

    def time(self) -> float:
        self.now_s += 0.003
        return self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("headrace.edge.shoppers.replay.time", clock)
    return clock


def test_paced_keeps_the_clock_of_the_clicks(clock: Clock) -> None:
    arrivals_s = []
    for record in paced([click(n) for n in range(5)], speedup=2):
        arrivals_s.append(clock.now_s - 1000.0)
        assert record["ts_ms"] >= START_MS
    assert arrivals_s == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], abs=0.007)


def test_paced_and_retimed_each_click_is_now(clock: Clock) -> None:
    for record in paced([click(n) for n in range(5)], speedup=2, retime=True):
        assert record["ts_ms"] / 1000 == pytest.approx(clock.now_s, abs=0.007)


def test_the_meter_prints_plain_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    with Meter("replay", 1000, stream) as meter:
        meter.done = 1000
    assert stream.getvalue().startswith("replay: 1,000 of 1,000, 0 s left, ")


def test_a_speedup_must_be_positive() -> None:
    with pytest.raises(ValueError, match="speedup must be > 0, got -1"):
        replay(of([]), None, speedup=-1)


def test_bad_input_gets_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "retail.csv").write_text("a,b\n")
    wrong = {
        (
            "replay",
            "netflix",
            str(tmp_path),
        ): "histories or module:NAME, got 'netflix'",
        ("replay", "movielens", f"{tmp_path}/gone"): "must be a file, found none",
        ("replay", "online-retail", f"{tmp_path}/retail.csv"): "must be one of online-retail's forms",
        ("simulate", "--rate", "-3"): "rate must be > 0, got -3",
        ("simulate", "--events", "10"): "no Kafka at 127.0.0.1:1 (",
    }
    for arguments, message in wrong.items():
        result = run(*arguments)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert run("simulate").exit_code == 2


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_help_shows_examples(command: str) -> None:
    assert f"headrace {command}" in run(command, "--help").stdout


@pytest.mark.stack
def test_a_replay_sends_what_keeps_the_contract_and_counts_the_rest(broker: Broker) -> None:
    records = [click(n) for n in range(25_000)]
    records[7] |= {"price": -1.0}
    records[9] |= {"price": -2.0}
    records[11] |= {"action": "look"}
    report = replay(of(records), bulk_producer(broker.kafka.client()))
    assert report.sent == 24_997
    assert sum(report.left_out.values()) == 3
    assert report.left_out["price: Expected `float` >= 0.0"] == 2
    good = [r for n, r in enumerate(records) if n not in (7, 9, 11)]
    found = sent(broker)
    for user in (f"user-{n}" for n in range(10)):
        assert [r for r in found if r["user_id"] == user] == [r for r in good if r["user_id"] == user]


@pytest.mark.stack
def test_a_replay_to_now_ends_now(broker: Broker) -> None:
    replay(of([click(n) for n in range(100)]), bulk_producer(broker.kafka.client()), limit=50, shift_to_now=True)
    times_ms = sorted(record["ts_ms"] for record in sent(broker))
    assert len(times_ms) == 50
    assert times_ms[-1] - times_ms[0] == 4900
    assert abs(times_ms[-1] / 1000 - time.time()) < 20


@pytest.mark.stack
def test_the_commands_fill_the_topic(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "retail.csv").write_text(RETAIL)
    replayed = run("replay", "online-retail", f"{tmp_path}/retail.csv", "--now", bootstrap=broker.kafka.bootstrap)
    assert replayed.exit_code == 0, replayed.output
    assert "5 clicks in" in replayed.stdout
    assert "rows that lost a field: 1 (price (column 'UnitPrice'): must be >= 0)" in replayed.stderr
    simulated = run("simulate", "--rate", "400", "--events", "200", "--seed", "5", bootstrap=broker.kafka.bootstrap)
    assert simulated.exit_code == 0, simulated.output
    found = sent(broker)
    assert len(found) == 205
    items = [c["item_id"] for c in found if c["event_id"].startswith("simulated-5-")]
    assert sorted(items) == sorted(c["item_id"] for c in islice(Shop(5).clicks(0, 400), 200))


@pytest.mark.stack
def test_a_missing_topic_is_an_error(broker: Broker) -> None:
    from headrace.infra.clients import kafka_topics

    with kafka_topics.admin(broker.kafka) as admin:
        admin.delete_topics([CLICKS])
        wait(lambda: CLICKS not in admin.list_topics(), 30, lambda: "the topic is still there")
    with pytest.raises(KafkaError):
        bulk_producer(broker.kafka.client())


def test_a_broker_that_is_away_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        bulk_producer({"bootstrap_servers": f"127.0.0.1:{free_port()}"})
