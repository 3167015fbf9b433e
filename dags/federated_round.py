"""Federated rounds on a schedule: each run finishes at most a few of a model's, until all of them are over.

`headrace federated coordinator` does it, and knows from Kafka where the model stands: a round that a killed run left
open is finished, not added, and when none is left a run does nothing. The stream's job `federated`, the key holder and
the nodes run beside it (docs/federated.md). The night fuses what was learnt, if night.models names `federated`.
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
    "rounds": Param(terms.rounds, type="integer", minimum=1, description="In all; epsilon is divided among them"),
    "at_most": Param(terms.at_most, type="integer", minimum=1, description="Rounds of this run"),
    "clip": Param(terms.clip, type="number", exclusiveMinimum=0, description="L2 norm of a node's update, at most"),
    "quorum": Param(terms.quorum, type="integer", minimum=0, description="Least nodes of a cohort; 0: 4/5"),
    "epsilon": Param(terms.epsilon, type="number", minimum=0, description="Spent by all the rounds; 0: no noise"),
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
        "after several tries: a round was aborted, mostly since fewer nodes than the quorum sent; or something is "
        "away. Nothing was opened; the next run tries again.",
    )
