"""The default ClientApp: federated collaborative filtering (Ammad-ud-din et al. 2019, arXiv:1901.09888).

The app solves the users' vectors on the node, where they stay. It answers with the global item factors, one step down
the gradient of these users' loss. It is an ordinary Flower app, which `flwr run` could also run.

    node_config   data: see edge/federated/local_data.py; items: a JSON array of item ids, the rows of the model
    run_config    alpha, reg, unobserved, nu: of headrace.udfs.factors.als.ials; rate: length of the step
"""

from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from headrace.edge.federated.local_data import read
from headrace.udfs.factors import als
from headrace.udfs.federated.factor_gradient import descent

FACTORS = "item_factors"
DEFAULTS = {"alpha": 1.0, "reg": 0.01, "unobserved": 0.1, "nu": 1.0, "rate": 1.0}

app = ClientApp()


@app.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    settings = {name: float(context.run_config.get(name, default)) for name, default in DEFAULTS.items()}
    rate = settings.pop("rate")
    items = msgspec.json.decode(Path(str(context.node_config["items"])).read_bytes(), type=list[str])
    rows = read(str(context.node_config["data"]), {item: row for row, item in enumerate(items)})
    Y = message.content["arrays"][FACTORS].numpy()
    if len(Y) != len(items):
        raise ValueError(f"items must name the {len(Y)} rows of the model, got {len(items)}")
    after = (Y + rate * descent(Y, rows, als.ials(**settings))).astype(np.float32)
    content = {
        "arrays": ArrayRecord({FACTORS: Array(after)}),
        "metrics": MetricRecord({"num-examples": len(rows.columns)}),
    }
    return Message(content=RecordDict(content), reply_to=message)
