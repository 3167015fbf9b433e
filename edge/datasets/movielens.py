"""MovieLens: the category of a film is its first genre in `ml-100k.item`, if that file is beside `ml-100k.inter`."""

from pathlib import Path

from headrace.infra.files.events import Adapt
from headrace.infra.files.open_table import Damage, Row, table

FILM, GENRES = "item_id:token", "class:token_seq"


def adapted(path: Path) -> Adapt | None:
    films = path.with_suffix(".item")
    if path.suffix != ".inter" or not films.is_file():
        return None
    with table(films) as found:
        rows = [row for row in found.rows if not isinstance(row, Damage)]
    genres = {row[FILM]: row[GENRES].split()[0] for row in rows if row.get(GENRES, "").split()}

    def adapt(row: Row) -> Row:
        return row | {"category": genres.get(row[FILM])}

    return adapt
