"""`python -m headrace` is `headrace`."""

from headrace.infra.cli.main import app

app(prog_name="headrace")
