"""`headrace submit`, `stop`, `savepoint`, `watch` and `restore`: the jobs that run."""

import os
from typing import Annotated

import typer

from headrace.infra.cli import names, spool
from headrace.infra.cli.output import Json, Yes, confirm, print_json, progress, working
from headrace.infra.cli.panel import panel
from headrace.infra.errors import REFUSED, HeadraceError

app, command = panel("Stream")
Job = Annotated[str, names.argument(names.jobs, "Which: {jobs}.")]
END_WAIT_S = 60
FROM_TIME = "HEADRACE_KAFKA__FROM_TIME"


@command(context_settings={"allow_interspersed_args": True})
def submit(
    job: Job,
    parallelism: Annotated[int | None, typer.Option(min=1, help="Instead of flink.parallelism.")] = None,
    state_backend: Annotated[
        str | None, typer.Option(help="hashmap or rocksdb, instead of flink.state_backend.")
    ] = None,
    from_savepoint: Annotated[str | None, typer.Option(help="Begin from this savepoint or checkpoint.")] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin without state, also where the job has run; asks first.")
    ] = False,
    from_time: Annotated[
        str | None, typer.Option(help="Begin without state, with the records from then on: 2026-11-30T00:00Z.")
    ] = None,
    yes: Yes = False,
    arguments: Annotated[list[str] | None, typer.Argument(help="For the job itself, after --.")] = None,
) -> None:
    """Run a job on the cluster at flink.rest; returns when all its tasks run.

    It goes on from its newest checkpoint or savepoint. A job that has never run begins with the log.
    """
    from headrace.infra import environments
    from headrace.infra.launch import streaming
    from headrace.infra.operate import beginning
    from headrace.infra.settings import load

    if state_backend not in (None, "hashmap", "rocksdb"):
        raise HeadraceError(f"--state-backend must be hashmap or rocksdb, got {state_backend!r}")
    _check_beginning(job, from_savepoint, from_scratch, from_time)
    if from_time:
        os.environ[FROM_TIME] = from_time  # of the job's own main, too
    environments.enter("streaming")
    settings = load()
    wish = streaming.Submission(job, parallelism, state_backend, from_savepoint, tuple(arguments or ()))
    streaming.check(settings, wish)
    begun = beginning.begin(settings, wish, anew=from_scratch or bool(from_time))
    if begun.overwrites:
        confirm(begun.overwrites, yes=yes)
    with working(f"submitting {job} {begun.where}, until all its tasks run"):
        job_id = streaming.submit(settings, begun.submission)
    print(f"{job} runs as {job_id}, {begun.where}")


def _check_beginning(job: str, from_savepoint: str | None, from_scratch: bool, from_time: str | None) -> None:
    from headrace.infra.operate.generations import BANDIT

    if from_savepoint and (from_scratch or from_time):
        raise HeadraceError("--from-savepoint, and --from-scratch or --from-time, say two things: leave one out")
    if from_time and job == BANDIT:
        raise HeadraceError("--from-time is not for bandit: it begins where its sums in the topic `statistics` end")


@command()
def stop(
    job: Job,
    savepoint: Annotated[bool, typer.Option("--savepoint", help="Take a savepoint first, and print its path.")] = False,
) -> None:
    """End a running job. `submit` goes on from its newest checkpoint, or from the savepoint."""
    from headrace.infra.clients import flink
    from headrace.infra.operate import revive
    from headrace.infra.settings import load

    settings = load()
    running = flink.named(settings.flink, job)
    revive.end(settings, running)  # before it is gone: what is ended by hand is not to be brought back
    try:
        with working(f"{'taking a savepoint of' if savepoint else 'ending'} {job}"):
            if savepoint:
                path = flink.savepoint(settings.flink, running, END_WAIT_S, stop=True)
            else:
                flink.cancel(settings.flink, running, END_WAIT_S)
    except HeadraceError:
        revive.go_on(settings, running)
        raise
    revive.end(settings, running)  # its very last place
    print(path if savepoint else f"{job} ended")


@command()
def savepoint(job: Job) -> None:
    """Take a savepoint of a running job and print its path."""
    from headrace.infra.clients import flink
    from headrace.infra.settings import load

    settings = load().flink
    running = flink.named(settings, job)
    with working(f"taking a savepoint of {job}"):
        path = flink.savepoint(settings, running, END_WAIT_S, stop=False)
    print(path)


@command()
def watch(
    revive: Annotated[
        bool, typer.Option("--revive", help="Bring back jobs that failed or are gone, from their last checkpoint.")
    ] = False,
    savepoint: Annotated[
        bool, typer.Option("--savepoint", help="Take a savepoint of each job, and drop the oldest.")
    ] = False,
    tell: Annotated[
        bool, typer.Option("--tell", help="Send what is new since the last time to alerts.webhook.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look once whether the stream is well: each job of watch.jobs, dead letters, Redis, spools. Exit 3 if not."""
    from headrace.infra import environments, paths
    from headrace.infra.clients import webhook
    from headrace.infra.operate import revive as revival
    from headrace.infra.operate import watch as product_watch
    from headrace.infra.settings import load

    if revive:
        environments.enter("streaming")
    settings = load()
    found = revival.care(settings, revive, savepoint) + product_watch.findings(settings)
    found.append(spool.finding())
    if as_json:
        print_json("watch", found)
    for each in () if as_json else found:
        print(f"{'ok' if each.ok else 'TROUBLE':<8}{each.about:<18}{each.check:<12}{each.said}")
    if tell:
        news = {f"{each.about} {each.check}": each.said for each in found if not each.ok or each.check == "revived"}
        webhook.send_news(settings.alerts, paths.home() / "watch" / "told", news)
    raise typer.Exit(0 if all(each.ok for each in found) else REFUSED)


@command()
def restore(
    job: Annotated[
        str | None,
        names.argument(names.jobs, "Whose Redis keys, of {jobs}; without it, those of every job that runs."),
    ] = None,
) -> None:
    """Write the keys that Redis lost again, beside the running jobs. What ends the command early leaves them alone."""
    from headrace.infra import environments
    from headrace.infra.clients import kafka_topics
    from headrace.infra.operate import restore as restoration
    from headrace.infra.settings import load
    from headrace.schemas.topics import CLICKS

    environments.enter("streaming")
    settings = load()
    wanted = [job] if job else restoration.running(settings)
    gone = kafka_topics.bounds(settings.kafka)[0].get(CLICKS)
    if gone and set(wanted) & set(restoration.FROM_LOG):
        print(f"{gone:,} old clicks have left the topic (kafka.retention_h): what needs them comes back without")
    if restoration.restore_serving(settings):
        print("the version that serves is shown again")
    for name in wanted:
        with progress(f"restoring {name}", "keys in Redis") as tell:
            took_s = restoration.restore(settings, name, tell)
        print(f"{name}: the keys that Redis lacked are there, after {took_s:.0f} s")
