"""Item factors to begin a training with: of the version that serves, else of the newest earlier night, else random.

Only factors that an earlier night trained under the same protocol may be used. They have seen nothing that this night
holds out, since every protocol's training part only grows from night to night. A version of `headrace train`, of a
later night or of another protocol may have seen it, and the evaluation would then measure its memory.
"""

from pathlib import Path

import numpy as np

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.extensions import label
from headrace.infra.versions import model_files, store
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import split
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Real


def previous(night: Night, family: str, protocol: str) -> Path | None:
    """Returns the folder of the newest model of the family that this night may begin with, if there is one."""
    pointer = store.current()
    serving = [store.root() / pointer.version] if pointer else []
    nights = (paths.home() / "nights").glob(f"*/{label(family)}/{model_files.MODEL}")
    folders = [*serving, *sorted((path.parent for path in nights), reverse=True)]
    return next((folder for folder in folders if _fits(folder, family, night, protocol)), None)


def _fits(folder: Path, family: str, night: Night, protocol: str) -> bool:
    try:
        about = model_files.description(folder)
        if folder.parent == store.root():
            store.load(folder.name)
    except (HeadraceError, OSError) as error:  # whatever became of an older model, this one can be trained
        print(f"{folder} is no start: {error}")
        return False
    return about.kind == family and split.is_unseen(about.lineage, protocol, night.date)


def factors(items: list[str], how: Training, older: Path | None) -> tuple[Real, str | None]:
    """Returns (m, f) float32, and the name of their source; None if random. A new item begins with random factors.

    older: a model's folder; one of another number of factors is no start.
    """
    start = als.initial(len(items), how.factors, np.random.default_rng(how.seed))
    if older is None or model_files.description(older).dims["factors"] != how.factors:
        return start, None
    place = {item: n for n, item in enumerate(model_files.items(older))}
    known = np.array([place.get(item, -1) for item in items])
    start[known >= 0] = np.load(older / model_files.FACTORS, mmap_mode="r")[known[known >= 0]]
    return start, older.name if older.parent == store.root() else older.parent.name
