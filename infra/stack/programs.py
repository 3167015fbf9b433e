"""The processes of the local stack: how each is started, and where it listens."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from headrace.infra import environments, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Stack

LOG_NAMES = {
    "zookeeper": "zookeeper.log",
    "kafka": "kafka.log",
    "redis": "redis.log",
    # Flink's scripts make these names from FLINK_IDENT_STRING and HOSTNAME; Flink's web UI shows the files.
    "taskmanager": "flink-headrace-taskexecutor-0-local.log",
    "jobmanager": "flink-headrace-standalonesession-0-local.log",
}
AIRFLOW_LOG_NAMES = {name: f"airflow-{name}.log" for name in ("api-server", "dag-processor", "scheduler")}
ZOOKEEPER_MAIN = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.quorum.QuorumPeerMain"
# Every program first empties its own temporary folder, so that killed programs do not fill the disk.
FRESH_TMPDIR = 'rm -rf "$TMPDIR" && mkdir -p "$TMPDIR" && exec "$@"'


@dataclass(frozen=True)
class Program:
    name: str
    port: int
    command: list[str]
    priority: int  # programs start from the lowest up, and end from the highest down
    environment: dict[str, str] = field(default_factory=dict)
    whole_group: bool = False  # its children end with it

    def log(self) -> Path:
        return paths.logs() / (LOG_NAMES | AIRFLOW_LOG_NAMES)[self.name]

    def tmpdir(self) -> Path:
        return paths.home() / "tmp" / self.name

    def shell(self) -> list[str]:
        return ["sh", "-c", FRESH_TMPDIR, self.name, *self.command]


def all_programs(stack: Stack) -> list[Program]:
    return [_zookeeper(stack), _kafka(stack), _redis(stack), _taskmanager(stack), _jobmanager(stack)]


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if not path:
        raise HeadraceError("Java is missing: run `headrace doctor`")
    return path


def flink_home() -> Path:
    """The Flink that PyFlink brings, here or in the streaming environment."""
    spec = importlib.util.find_spec("pyflink")
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    folders = sorted(environments.ready("streaming").parents[1].glob("lib/*/site-packages/pyflink"))
    if not folders:
        raise HeadraceError("PyFlink is missing from the streaming environment: run `headrace install streaming`")
    return folders[0]


def kafka_java(heap_mb: int, *arguments: str) -> list[str]:
    home = paths.home()
    options = [f"-Xmx{heap_mb}m", f"-Xms{heap_mb}m", f"-Djava.io.tmpdir={home}/tmp/kafka"]
    logging = f"-Dlog4j2.configurationFile={home}/conf/log4j.properties"
    return [java(), *options, logging, "-cp", f"{paths.kafka_jars()}/*", *arguments]


def _kafka(stack: Stack) -> Program:
    command = kafka_java(stack.kafka_heap_mb, "kafka.Kafka", f"{paths.home()}/conf/kafka.properties")
    return Program("kafka", stack.kafka_port, command, priority=20)


def _zookeeper(stack: Stack) -> Program:
    """The ZooKeeper inside flink-dist, with ZooKeeper's own main class: unlike Flink's, it purges old logs."""
    conf = paths.home() / "conf"
    logging = f"-Dlog4j2.configurationFile={conf}/log4j.properties"
    command = [java(), "-Xmx64m", logging, "-cp", f"{flink_home()}/lib/*", ZOOKEEPER_MAIN, f"{conf}/zookeeper.cfg"]
    return Program("zookeeper", stack.zookeeper_port, command, priority=10)


def _redis(stack: Stack) -> Program:
    server = shutil.which("redis-server")
    if not server:
        raise HeadraceError("redis-server is missing: run `headrace doctor`")
    return Program("redis", stack.redis_port, [server, f"{paths.home()}/conf/redis.conf"], priority=30)


def _jobmanager(stack: Stack) -> Program:
    script = _flink_script("jobmanager", stack.jobmanager_metrics_port)
    return Program("jobmanager", stack.flink_port, script, 50, flink_environment())


def _taskmanager(stack: Stack) -> Program:
    script = _flink_script("taskmanager", stack.taskmanager_metrics_port)
    port = stack.taskmanager_metrics_port
    return Program("taskmanager", port, script, 40, flink_environment(), whole_group=True)


def _flink_script(name: str, metrics_port: int) -> list[str]:
    tmpdir = paths.home() / "tmp" / name
    # jobmanager.sh knows `-D key=value` only with the space, so each option is two arguments.
    options = {"metrics.reporter.prom.port": metrics_port, "io.tmp.dirs": tmpdir}
    dynamic = [part for key, value in options.items() for part in ("-D", f"{key}={value}")]
    return [str(flink_home() / "bin" / f"{name}.sh"), "start-foreground", *dynamic]


def flink_environment() -> dict[str, str]:
    home = paths.home()
    return {
        "FLINK_CONF_DIR": f"{home}/flink/conf",
        "FLINK_LOG_DIR": f"{home}/logs",
        "FLINK_PID_DIR": f"{home}/run",
        "FLINK_IDENT_STRING": "headrace",
        "HOSTNAME": "local",
        "OPENBLAS_NUM_THREADS": "1",  # the slots share the cores; with a thread per core each Python worker would spin
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }
