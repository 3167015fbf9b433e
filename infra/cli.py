"""The `headrace` command."""
import typer
app = typer.Typer()
@app.command()
def up() -> None:
    from rich.console import Console
    from infra.stack import lifecycle
    lifecycle.up(Console())
@app.command()
def down() -> None:
    from rich.console import Console
    from infra.stack import lifecycle
    lifecycle.down(Console())
