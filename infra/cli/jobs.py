"""`headrace submit`, `stop` and `savepoint`."""

from typing import Annotated

import typer

from headrace.infra.errors import HeadraceError

app = typer.Typer()
Job = Annotated[str, typer.Argument(help="session_features, collaborative, covisitation, bandit or federated.")]
END_WAIT_S = 60


@app.command(context_settings={"allow_interspersed_args": True})
def submit(
    job: Job,
    parallelism: Annotated[int | None, typer.Option(min=1, help="Instead of flink.parallelism.")] = None,
    state_backend: Annotated[
        str | None, typer.Option(help="hashmap or rocksdb, instead of flink.state_backend.")
    ] = None,
    from_savepoint: Annotated[str | None, typer.Option(help="Begin from this savepoint or checkpoint.")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="For the job itself, after --.")] = None,
) -> None:
    """Run a job on the cluster at flink.rest; returns when all its tasks run."""
    from headrace.infra import environments
    from headrace.infra.launch import streaming
    from headrace.infra.settings import load

    if state_backend not in (None, "hashmap", "rocksdb"):
        raise HeadraceError(f"--state-backend must be hashmap or rocksdb, got {state_backend!r}")
    environments.enter("streaming")
    wish = streaming.Submission(job, parallelism, state_backend, from_savepoint, tuple(arguments or ()))
    print(f"{job} runs as {streaming.submit(load(), wish)}")


@app.command()
def stop(
    job: Job,
    savepoint: Annotated[
        bool, typer.Option("--savepoint", help="Take a savepoint first, and print where it lies.")
    ] = False,
) -> None:
    """End a running job. Its last checkpoint stays under $HEADRACE_HOME/flink/checkpoints."""
    from headrace.infra.clients import flink
    from headrace.infra.operate import revive
    from headrace.infra.settings import load

    settings = load().flink
    running = flink.named(settings, job)
    revive.forget(job)  # before it is gone: what is ended by hand is not to be brought back
    if savepoint:
        print(flink.savepoint(settings, running, END_WAIT_S, stop=True))
    else:
        flink.cancel(settings, running, END_WAIT_S)
        print(f"{job} ended")


@app.command()
def savepoint(job: Job) -> None:
    """Take a savepoint of a running job and print where it lies."""
    from headrace.infra.clients import flink
    from headrace.infra.settings import load

    settings = load().flink
    print(flink.savepoint(settings, flink.named(settings, job), END_WAIT_S, stop=False))
