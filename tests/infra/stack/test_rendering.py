"""The configuration that `up` writes, read by the real redis-server and supervisord."""

import configparser
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis, RedisError

from headrace.infra import paths
from headrace.infra.settings import Settings, load
from headrace.infra.stack import ports, programs, rendering

SECRET = "a b\"c\\d%e'"


def _settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    chosen, _ = ports.choose(load().stack)
    monkeypatch.setenv("HEADRACE_STACK__REDIS_PORT", str(chosen["redis_port"]))
    monkeypatch.setenv("HEADRACE_REDIS__PORT", str(chosen["redis_port"]))
    rendering.write_all(load())
    return load()


@contextmanager
def _redis() -> Iterator[None]:
    command = ["redis-server", str(paths.home() / "conf" / "redis.conf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        while "Ready to accept connections" not in server.stdout.readline():
            assert server.poll() is None
        yield
        server.terminate()


@pytest.mark.parametrize("user", ["", "shop"])
def test_a_local_redis_asks_for_the_password(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(monkeypatch, REDIS__PASSWORD=SECRET, REDIS__USERNAME=user)
    with _redis():
        assert settings.redis.client().ping()
        with pytest.raises(RedisError, match=r"[Aa]uth"):
            Redis(port=settings.redis.port).ping()


def test_secrets_are_for_this_user_only(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(monkeypatch, REDIS__PASSWORD=SECRET)
    assert stat.S_IMODE((paths.home() / "conf" / "redis.conf").stat().st_mode) == 0o600


def test_every_program_has_a_bounded_log_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(monkeypatch)
    conf = configparser.RawConfigParser()
    conf.read(paths.home() / "conf" / "supervisord.conf")
    sections = [conf[f"program:{name}"] for name in programs.LOG_NAMES]
    assert {section["autorestart"] for section in sections} == {"true"}
    assert {section["stdout_logfile_maxbytes"] for section in sections} == {"20MB"}
    assert len({section["stdout_logfile"] for section in sections}) == len(sections)


def test_no_template_is_left_with_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(monkeypatch)
    rendering.write_flink_client(settings)
    flink = (paths.home() / "flink" / "conf" / "config.yaml").read_text()
    client = (paths.flink_client_conf() / "config.yaml").read_text()
    for text in (flink, client):
        assert "$" not in text
        assert "--add-opens" in text
        assert f"execution.checkpointing.interval: {settings.flink.checkpoint_interval_s} s" in text
    assert "rest.port: 8081" in client


def test_the_socket_fits_a_deep_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", "/tmp/" + "deep/" * 40)
    assert len(str(paths.supervisor_socket())) <= paths.UNIX_SOCKET_PATH_MAX
