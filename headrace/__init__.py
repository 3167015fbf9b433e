"""Headrace: each click reaches the models that decide what the shopper sees next.

    from headrace import Recommendations, Tracker

The folders of this package are those of the repository: streaming and nightly jobs (`jobs`), their maths (`udfs`), the
SDK and the federated nodes (`edge`), records and Redis keys (`schemas`), settings and the `headrace` command (`infra`),
Airflow's DAGs (`dags`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from headrace.edge.recommendations import Recommendations as Recommendations
    from headrace.edge.tracker import Tracker as Tracker

__all__ = ["Recommendations", "Tracker", "__version__"]
_HOMES = {"Recommendations": "headrace.edge.recommendations", "Tracker": "headrace.edge.tracker"}


def __getattr__(name: str) -> Any:
    """The SDK and the version at their first use: every program of Headrace imports this package, few need these."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("headrace")
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
