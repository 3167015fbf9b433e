"""Federated rounds on a schedule: each run finishes at most a few rounds of a model, until all of them are over.

`headrace federated coordinator` does it, and knows from Kafka how far the model is. It finishes a round that a killed
run left open, and does not add another; if no round is left, it does nothing. The stream's job `federated`, the key
holder and the nodes run beside it (docs/federated.md). The night fuses the model if night.models names `federated`.
"""

from typing import get_args

from airflow.sdk import DAG, Param

from headrace.dags import tasks
from headrace.dags.operators import CommandOperator
from headrace.infra.settings import Federated, load

settings = load()
terms = settings.federated
PARAMS = {
    "model": Param(terms.model, type="string", minLength=1, maxLength=64, description="Name of the global model"),
    "rounds": Param(terms.rounds, type="integer", minimum=1, description="Rounds in all, which share epsilon"),
    "at_most": Param(terms.at_most, type="integer", minimum=1, description="Most rounds of this run"),
    "clip": Param(terms.clip, type="number", exclusiveMinimum=0, description="Greatest L2 norm of a node's update"),
    "quorum": Param(terms.quorum, type="integer", minimum=0, description="Fewest nodes of a cohort; 0: 4/5"),
    "epsilon": Param(terms.epsilon, type="number", minimum=0, description="Budget of all rounds together; 0: no noise"),
    "rule": Param(terms.rule, enum=list(get_args(Federated.model_fields["rule"].annotation))),
    "rate": Param(
        terms.rate, type="number", exclusiveMinimum=0, description="Length of the rule's step: change it with the rule"
    ),
}
OPTIONS = [word for name in PARAMS for word in (f"--{name.replace('_', '-')}", f"{{{{ params.{name} }}}}")]

with DAG(
    "federated_round",
    schedule=terms.schedule or None,
    params=PARAMS,
    doc_md=__doc__,
    tags=["headrace", "federated"],
    **tasks.common(settings),
) as dag:
    CommandOperator(
        task_id="rounds",
        arguments=["federated", "coordinator", *OPTIONS],
        doc_md="**Red at once: the budget of the population allows no further round**; the model stays as it is. Red "
        "after several tries: a round was aborted, mostly because fewer nodes than the quorum sent in time, or Kafka "
        "or Flink is away. Nothing was opened; the next run tries again.",
    )
