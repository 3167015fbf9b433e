"""`python -m infra` is `headrace`."""

from infra.cli import app

app(prog_name="headrace")
