"""A Kafka broker of the tests' own, which a test may kill and start again."""

import signal
import socket
import subprocess
import uuid
from pathlib import Path

from headrace.infra import paths
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Kafka, load
from headrace.infra.stack.programs import java
from tests.stack.running import wait

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listener}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map={listener}:{listener},CONTROLLER:PLAINTEXT
inter.broker.listener.name={listener}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


class Broker:
    """A broker. listener: its security protocol; secrets: the properties that the protocol needs."""

    def __init__(self, folder: Path, listener: str = "PLAINTEXT", secrets: str = "") -> None:
        self._folder = folder
        self.port, controller = free_port(), free_port()
        self._properties = folder / "kafka.properties"
        properties = PROPERTIES.format(port=self.port, controller=controller, folder=folder, listener=listener)
        self._properties.write_text(properties + secrets)
        cluster = uuid.uuid4().hex[:22]
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)).wait()

    @property
    def kafka(self) -> Kafka:
        return load().kafka.model_copy(update={"bootstrap": f"127.0.0.1:{self.port}"})

    def start(self) -> None:
        self._process = self._java("kafka.Kafka", str(self._properties))
        wait(self._listens, 60, lambda: f"the broker does not listen, see {self._folder}/kafka.log")

    def create_topics(self) -> None:
        kafka_topics.create(self.kafka)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [java(), "-Xmx384m", "-cp", f"{paths.kafka_jars()}/*", *arguments]
        with open(self._folder / "kafka.log", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
