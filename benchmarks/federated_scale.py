"""One encrypted round by the number of its nodes, on one slot: bytes on the wire, seconds of each part, state.

The model is small: one or two frames per node, epsilon 8 over 10 rounds. Nodes work one after the other here, and at
the same time on their machines, so a node's work is the mean. "kept" lasts from the first frame to the last receipt,
"summed" from there to the new model; both wait for checkpoints of a second. State is the job's largest checkpoint with
that round. A warm-up round of the smallest population is not counted.
"""

import os
from typing import Any

from benchmarks import stack
from benchmarks.federated_round import CHECKPOINT_S, EPSILON, JOB, ROUNDS, play
from benchmarks.harness import Result, console, table
from headrace.infra.clients import flink
from headrace.infra.settings import Settings

NODES, LENGTH = (10, 100, 1_000, 10_000), 10_000
MB = 1e6


def main() -> Result:
    os.environ["HEADRACE_FLINK__CHECKPOINT_INTERVAL_S"] = str(CHECKPOINT_S)
    settings = stack.up()
    measure(settings, NODES[0])
    rows = {nodes: measure(settings, nodes) for nodes in NODES}
    columns = tuple(rows[NODES[0]])
    table("a round", ("nodes", *columns), [(nodes, *row.values()) for nodes, row in rows.items()])
    fewest, most = NODES[-2:]
    growth = (most / fewest) / (rows[most]["round_s"] / rows[fewest]["round_s"])
    conditions = {"parameters": LENGTH, "epsilon": EPSILON, "of rounds": ROUNDS, "slots": 1}
    conditions["checkpoint_s"] = CHECKPOINT_S
    ours = {f"{nodes:,} nodes": row for nodes, row in rows.items()}
    against = f"seconds in step with the nodes, {fewest:,} to {most:,}"
    return Result("federated_scale", ours, {}, round(growth, 3), against, "s", conditions)


def measure(settings: Settings, nodes: int) -> dict[str, Any]:
    with stack.job(settings, "rocksdb", 1, name=JOB) as job:
        lasted = play(settings, "encrypted", nodes, LENGTH)
        state = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")["summary"]["state_size"]["max"]
    found = {
        "sent_mb": round(lasted.sent_bytes / MB, 1),
        "state_mb": round(state / MB, 1),
        "node_s": round(lasted.node_s, 3),
        "kept_s": round(lasted.kept_s, 2),
        "summed_s": round(lasted.summed_s, 2),
        "round_s": round(lasted.round_s(), 2),
    }
    console.print(nodes, found)
    return found
