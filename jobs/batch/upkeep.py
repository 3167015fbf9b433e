"""Removes old versions from disk, index, Redis and MLflow; those that serve, served before or are the newest stay.

It also removes drafts that a killed step left in a night, after a day without a write.

source     {home}/models, {home}/lists, {home}/nights; night.versions_kept
transform  none
sink       infra/versions/publication.tidy, night.sweep; MLflow's model versions (their runs stay, as the history), its
           aliases

Run: headrace run upkeep                 (--aliases: only let MLflow's aliases follow the pointer)
"""

import argparse
import time

from headrace.infra.settings import load
from headrace.infra.versions import publication
from headrace.jobs.batch import night, publish
from headrace.jobs.batch.publishing import registry

DRAFT_KEPT_S = 86_400


def main(options: argparse.Namespace) -> None:
    settings = load()
    if not options.aliases:
        for version in publication.tidy(settings):
            print(f"{version} is gone")
        registry.forget(registry.client(settings.night))
        if dead := night.sweep(time.time() - DRAFT_KEPT_S):
            print(f"{len(dead)} drafts of steps that were killed are gone")
    publish.move_aliases(settings)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aliases", action="store_true", help="only let MLflow's aliases follow the pointer")
    return parser


if __name__ == "__main__":
    night.run(main, arguments())
