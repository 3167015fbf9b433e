"""Every program of jobs/ is named where it is started, and the reverse; Airflow reads DAG files alone."""

import ast

import pytest

from headrace.infra.launch import batch, streaming
from tests.layers.sources import ROOT, files, imports


def programs(folder: str) -> set[str]:
    """Returns the files directly in a folder that define main."""
    own = {file: tree for file, tree in files(("jobs",)).items() if file.rpartition("/")[0] == folder}
    mains = [file for file, tree in own.items() if "main" in functions(tree)]
    return {file.rpartition("/")[2].removesuffix(".py") for file in mains}


def functions(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_steps_are_the_programs_of_jobs_batch() -> None:
    assert {step.file for step in batch.STEPS} == programs("jobs/batch")


def test_jobs_are_the_programs_of_jobs_streaming() -> None:
    assert sorted(streaming.JOBS) == sorted(programs("jobs/streaming"))


@pytest.mark.parametrize("step", batch.STEPS, ids=batch.NAMES)
def test_a_step_uses_spark_if_it_asks_for_a_session(step: batch.Step) -> None:
    assert step.uses_spark == ("headrace.jobs.batch.spark" in imports()[f"jobs/batch/{step.file}.py"])


def test_airflow_is_told_which_files_are_no_dags() -> None:
    """It imports every other file of the folder again and again."""
    dags = {file.removeprefix("dags/"): tree for file, tree in files(("dags",)).items() if "__init__" not in file}
    made = {file for file, tree in dags.items() if any(is_dag(node) for node in ast.walk(tree))}
    assert set((ROOT / "dags" / ".airflowignore").read_text().split()) == dags.keys() - made


def is_dag(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DAG"
