"""Headrace's package. Each extra is one environment; infra/requirements/<extra>.txt is its lock (`make lock`)."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIREMENTS = Path(__file__).parent / "infra" / "requirements"

TOP_LEVEL = ("dags", "jobs", "udfs", "edge", "schemas", "infra")


def extra(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines())
    return [line for line in lines if line]


setup(
    name="headrace",
    version="0.1.0",
    description="Clicks to session features and recommendations within the page view: Kafka, Flink, Spark, Redis.",
    python_requires=">=3.11",
    packages=find_packages(include=[f"{top}{below}" for top in TOP_LEVEL for below in ("", ".*")]),
    package_data={
        "schemas": ["*.avsc"],
        "infra": ["*.toml", "*.properties", "stack/templates/*"],
        "udfs": ["jvm/*"],
        "jobs": ["batch/templates/*"],
    },
    extras_require={name: extra(name) for name in ("streaming", "batch", "edge", "airflow", "dev")},
    entry_points={
        "console_scripts": ["headrace = infra.cli:app"],
        "airflow.plugins": ["headrace = dags.report:Reports"],
    },
)
