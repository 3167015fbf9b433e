"""`headrace retrain`: the night of a date at once, in this process, without a scheduler; 3 if it was refused.

Airflow's database keeps the run like any other, so Airflow's page shows it.
"""

import argparse
import sys
from datetime import date
from typing import Any

from headrace.dags.nightly_retrain import dag


def main(conf: dict[str, Any]) -> int:
    run = dag.test(run_conf=conf)
    for instance in sorted(run.get_task_instances(), key=lambda each: str(each.end_date or "~")):
        took = f"{instance.duration:8.1f} s" if instance.duration else " " * 10
        print(f"{instance.task_id:<12} {took}  {instance.state}")
    return 0 if run.state == "success" else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=date.fromisoformat)
    parser.add_argument("--models", type=lambda text: text.split(","))
    parser.add_argument("--dry-run", action="store_true")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    sys.exit(main({name: value.isoformat() if isinstance(value, date) else value for name, value in given.items()}))
