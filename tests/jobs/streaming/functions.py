"""Functions of the jobs, opened as a Python worker opens them, without a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pyflink.fn_execution.metrics.process.metric_impl import GenericMetricGroup
from pyflink.table.udf import FunctionContext

F = TypeVar("F")


@contextmanager
def opened(function: F) -> Iterator[F]:
    worker: Any = function
    worker.open(FunctionContext(GenericMetricGroup(None, None), {}))
    yield function
    worker.close()
