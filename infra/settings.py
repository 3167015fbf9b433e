"""The one tree of settings, read once at the start of each program.

Order, first wins: environment HEADRACE_<SECTION>__<NAME>; the file named by HEADRACE_SETTINGS; headrace.toml of the
project; the addresses that the local stack chose, stack.toml in the home; infra/config/settings.toml, which lists
every setting and its meaning. A path that one of these files gives is relative to that file.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from headrace.infra import settings_files
from headrace.infra.connections import Beside, ExistingFile, FileName, NonNegative, Port, Positive, Section
from headrace.infra.connections import Kafka as Kafka
from headrace.infra.connections import Redis as Redis
from headrace.infra.errors import SettingsError
from headrace.infra.flink_rest import Flink as Flink


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("must be a time zone of the tz database, such as Europe/Amsterdam")
    return name


class Session(Section):
    gap_ms: Positive
    lateness_ms: NonNegative
    future_ms: NonNegative
    forget_ms: Positive
    history: Positive
    recent: Positive
    bought_hidden_ms: NonNegative
    time_zone: Annotated[str, AfterValidator(_time_zone)]
    boundary: Literal["gap", "client"]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.recent > self.history:
            raise ValueError(f"recent must be <= history, got {self.recent} > {self.history}")
        return self


class Collaborative(Section):
    top_n: Positive
    stale_after_ms: Positive


class Covisitation(Section):
    cap: Positive
    half_life_days: Annotated[float, Field(gt=0)]
    horizon_days: Annotated[int, Field(ge=1, le=8_190)]  # Together.Other has a length of 16 bits, and 8 bytes a day
    shrink: Annotated[float, Field(gt=0)]
    traded_max: Positive
    refresh_s: Annotated[int, Field(ge=1, le=99)]


class Bandit(Section):
    encoder: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    reward_delay_ms: NonNegative
    fast_ms: NonNegative
    fast_factor: Annotated[float, Field(ge=0)]
    first_factor: Annotated[float, Field(ge=0)]
    ridge: Annotated[float, Field(gt=0)]
    forget_ms: Positive
    retire_ms: Positive
    half_life_ms: NonNegative
    periods_kept: Positive
    policy: Annotated[str, Field(min_length=1, max_length=64)]
    alpha: Annotated[float, Field(ge=0)]
    v: Annotated[float, Field(ge=0)]
    draws: Positive
    exploration: Annotated[float, Field(ge=0, le=1)]
    exploration_max: Annotated[float, Field(ge=0, le=1)]
    new_below: NonNegative
    new_exposure: Annotated[float, Field(ge=0, le=1)]
    rewards: dict[str, float]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.forget_ms <= self.reward_delay_ms:
            raise ValueError(f"forget_ms must be > reward_delay_ms, got {self.forget_ms} <= {self.reward_delay_ms}")
        if self.exploration > self.exploration_max:
            raise ValueError(f"exploration must be <= exploration_max, got {self.exploration} > {self.exploration_max}")
        return self


class Federated(Section):
    hold_ms: Positive
    macs_file: str
    model: Annotated[str, Field(min_length=1, max_length=64)]
    rounds: Positive
    clip: Annotated[float, Field(gt=0)]
    quorum: Annotated[int, Field(ge=0)]
    epsilon: Annotated[float, Field(ge=0)]
    rule: Literal["fedavg", "fedadam"]
    rate: Annotated[float, Field(gt=0)]
    deadline_s: Positive
    at_most: Positive
    schedule: str


class Spark(Section):
    master: Annotated[str, Field(min_length=1)]
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$")]


class Als(Section):
    factors: Positive
    iterations: Positive
    alpha: Annotated[float, Field(gt=0)]
    reg: Annotated[float, Field(gt=0)]
    unobserved: Annotated[float, Field(ge=0)]
    nu: Annotated[float, Field(ge=0)]
    half_life_days: Annotated[float, Field(gt=0, le=1e6)]
    rating_max: Annotated[float, Field(gt=0)]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    seed: NonNegative


class TwoTower(Section):
    catalogue: FileName
    factors: Positive
    hidden: Positive
    buckets: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    id_dropout: Annotated[float, Field(ge=0, lt=1)]
    ahead: Positive
    users: Positive
    drawn: NonNegative
    hard: NonNegative
    rate: Annotated[float, Field(gt=0)]
    decay: Annotated[float, Field(ge=0)]
    epochs: Positive
    patience: Positive
    processes: Positive
    seed: NonNegative


class NightSettings(Section):
    models: Annotated[list[str], Field(min_length=1)]
    schedule: Annotated[str, Field(min_length=1)]
    upkeep_schedule: Annotated[str, Field(min_length=1)]
    lake: FileName
    land_records: Positive
    protocol: Annotated[str, Field(pattern=r"^(days:[1-9]\d*|last:0?\.\d+|leave_one_out)$")]
    k: Positive
    evaluated_users: Positive
    gates: Annotated[str, Field(min_length=1)]
    gates_file: Annotated[FileName, Field(min_length=1)]
    checks_file: Annotated[FileName, Field(min_length=1)]
    drift_file: Annotated[FileName, Field(min_length=1)]
    rules: Annotated[FileName, Field(min_length=1)]
    registry: str
    shoppers: ExistingFile
    index_flat_max: NonNegative
    index_hnsw_max: NonNegative
    index_recall: Annotated[float, Field(gt=0, le=1)]
    versions_kept: Positive
    als: Als
    two_tower: TwoTower
    families: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if "federated" in self.models and "als" not in self.models:
            raise ValueError(f"models must name als with federated, which is made from it, got {self.models}")
        return self


class Airflow(Section):
    port: Port
    parallelism: Positive
    retries: NonNegative
    retry_delay_s: Positive
    timeout_s: Positive
    spark_connection: str


class Alerts(Section):
    webhook: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]
    timeout_s: Positive


class Watch(Section):
    jobs: list[str]
    schedule: Annotated[str, Field(min_length=1)]
    savepoint_schedule: Annotated[str, Field(min_length=1)]
    savepoints_kept: Positive
    window_s: Positive
    checkpoint_age_max_s: Positive
    restarts_max: NonNegative
    lag_max: NonNegative
    dead_share_max: Annotated[float, Field(ge=0, le=1)]
    fresh_max_s: Positive


class Stack(Section):
    kafka_port: Port
    kafka_controller_port: Port
    redis_port: Port
    zookeeper_port: Port
    flink_port: Port
    jobmanager_metrics_port: Port
    taskmanager_metrics_port: Port
    slots: Positive
    kafka_heap_mb: Positive
    jobmanager_memory_mb: Positive
    taskmanager_memory_mb: Positive
    partition_max_mb: Positive
    log_max_mb: Positive
    checkpoint_kept_h: Positive
    start_timeout_s: Positive


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=settings_files.ENV_PREFIX, env_nested_delimiter="__"
    )

    kafka: Kafka
    redis: Redis
    flink: Flink
    session: Session
    bandit: Bandit
    collaborative: Collaborative
    covisitation: Covisitation
    federated: Federated
    spark: Spark
    night: NightSettings
    airflow: Airflow
    alerts: Alerts
    watch: Watch
    stack: Stack

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, *(_toml(settings_cls, path) for path in settings_files.files())


def _toml(settings_cls: type[BaseSettings], path: Path) -> InitSettingsSource:
    return InitSettingsSource(settings_cls, _resolved(settings_cls, settings_files.read(path), path.parent))


def _resolved(model: type[BaseModel], values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with each relative path below the folder; URIs stay."""
    resolved = dict(values)
    for name, field in model.model_fields.items():
        value, kind = values.get(name), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
            resolved[name] = _resolved(kind, value, folder)
        elif isinstance(value, str) and value and any(isinstance(each, Beside) for each in field.metadata):
            resolved[name] = value if re.match(r"[a-z][a-z0-9+.-]*:", value) else str(folder / Path(value).expanduser())
    return resolved


def _check_variables() -> None:
    """A misspelt variable is an error, not a setting that silently keeps its default."""
    for variable in sorted(os.environ):
        if not variable.startswith(settings_files.ENV_PREFIX) or variable in settings_files.OTHER_VARIABLES:
            continue
        section, separator, _ = variable.removeprefix(settings_files.ENV_PREFIX).lower().partition("__")
        if not separator:
            raise SettingsError(f"{variable} is no variable of Headrace: {_spelling(section)}")
        if section not in Settings.model_fields:
            raise SettingsError(f"{variable}: no section {section!r}, known: {', '.join(Settings.model_fields)}")


def _spelling(name: str) -> str:
    section = next((each for each in Settings.model_fields if name.startswith(f"{each}_")), None)
    if section is None:
        return "set HEADRACE_<SECTION>__<NAME>, one variable a setting, with two underscores"
    return f"did you mean HEADRACE_{section.upper()}__{name.removeprefix(f'{section}_').upper()}, with two underscores?"


def load() -> Settings:
    _check_variables()
    try:
        return Settings()  # type: ignore[call-arg]  # the values come from the sources
    except ValidationError as error:
        raise SettingsError(
            "; ".join(settings_files.sentence(problem) for problem in error.errors(include_url=False))
        ) from None
    except SourceError as error:
        raise SettingsError(f"{error}: set HEADRACE_<SECTION>__<NAME>, one variable a setting") from None
