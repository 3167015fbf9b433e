"""Every family that needs no cluster, trained on a checkerboard, keeps the laws and finds what is held out."""

import json
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import pytest

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.infra.versions import model_files
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch.families import roster
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Int, Rows
from headrace.udfs.factors.confidence import Events
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders.als_scorer import AlsScorer
from headrace.udfs.recommenders.contract import Recommender, TrainingData
from tests.jobs.batch.families import laws

pytestmark = pytest.mark.spark  # what runs in the batch environment

SIDE = 24
FAMILIES: dict[str, dict[str, Any]] = {
    "popularity": {}, "item_item": {}, "user_knn": {}, "ease": {"reg": 5.0}, "svd": {"factors": 4},
    "nmf": {"factors": 4},
}  # fmt: skip
PERSONAL = [name for name in FAMILIES if name != "popularity"]


class Memory(NamedTuple):
    """TrainingData of histories in memory."""

    histories: list[list[int]]
    items: list[str]
    events: Any = None

    def rows(self) -> Rows:
        return laws.past(len(self.items), self.histories).rows

    def features(self) -> Int:
        return np.empty((len(self.histories), 0), np.int64)

    def sequences(self) -> Events:
        return laws.past(len(self.items), self.histories).events


def checkerboard(side: int = SIDE) -> Memory:
    """User u took all items of their parity but two: (u + 1) and (u + 3) steps on."""
    items = [f"i{item:02}" for item in range(side)]
    histories = [
        [item for item in range(user % 2, side, 2) if (item - user) % side not in (2, 6)] for user in range(side)
    ]
    return Memory(histories, items)


def trained(folder: Path, name: str, data: Memory, **settings: Any) -> Recommender:
    folder.mkdir(parents=True, exist_ok=True)
    own = roster.settings(name, load().night.model_copy(update={"families": {name: settings}}))
    outcome = roster.family(name).train(cast(TrainingData, data), own, folder, None)
    about = Trained(
        kind=name,
        dims={"items": len(outcome.items)},
        parameters=dict(outcome.parameters) | {"half_life_ms": 1e12, "rating_max": 5.0, "history": 50},
        lineage={},
    )
    durable.write(folder / model_files.ITEMS, msgspec.json.encode(outcome.items))
    durable.write(folder / model_files.POPULAR, msgspec.json.encode([]))
    durable.write(folder / model_files.MODEL, msgspec.json.encode(about))
    return roster.load(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    home = tmp_path_factory.mktemp("models")
    return {name: trained(home / name, name, checkerboard(), **own) for name, own in FAMILIES.items()}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_law(models: dict[str, Recommender], name: str, law: Any) -> None:
    law(models[name])


def test_als_keeps_the_laws() -> None:
    board, objective = checkerboard(), als.ials()
    *_, fitted = als.train(board.rows(), als.initial(SIDE, 4, np.random.default_rng(1)), 8, objective)
    laws.check(AlsScorer(board.items, fitted.Y, objective))


@pytest.mark.parametrize("name", PERSONAL)
def test_who_lacks_two_items_of_their_colour_gets_them(models: dict[str, Recommender], name: str) -> None:
    """By day and night alike, and the reason is of the colour, too."""
    model, board = models[name], checkerboard()
    asked = laws.past(SIDE, board.histories)
    found = model.lists(asked, 2, np.arange(SIDE))
    for user in range(SIDE):
        assert {*found.items[user].tolist()} == {(user + 2) % SIDE, (user + 6) % SIDE}, user
    why = model.explain(asked, found.items)
    assert (why != NONE).all()
    assert (why % 2 == np.arange(SIDE)[:, None] % 2).all()


@pytest.mark.parametrize("name", ["item_item", "ease", "svd"])
def test_a_reason_is_the_item_without_which_the_score_is_lowest(models: dict[str, Recommender], name: str) -> None:
    model, history = models[name], [0, 2, 4, 10, 7]
    asked = laws.past(SIDE, [history])
    found = model.lists(asked, 5, np.arange(SIDE))
    why = model.explain(asked, found.items)[0].tolist()
    for item, reason in zip(found.items[0].tolist(), why, strict=True):
        without = {each: laws.past(SIDE, [[own for own in history if own != each]]) for each in history}
        left = {each: float(model.score(past, np.array([[item]]))[0, 0]) for each, past in without.items()}
        assert left[reason] == pytest.approx(min(left.values()))


@pytest.mark.parametrize("name", FAMILIES)
def test_one_item_and_two_users_are_enough(tmp_path: Path, name: str) -> None:
    model = trained(tmp_path, name, Memory([[0], [0]], ["only"]), **FAMILIES[name])
    assert model.lists(laws.past(1, [[0], []]), 3, np.arange(1)).items[0].tolist() == [NONE] * 3


@pytest.mark.parametrize("name", FAMILIES)
def test_what_happened_to_a_file_is_found(tmp_path: Path, name: str) -> None:
    """NaN, a lost row, a lost file: by name, before anything is judged."""
    trained(tmp_path, name, checkerboard(), **FAMILIES[name])
    for path in sorted(tmp_path.glob("*.npy")):
        whole = np.load(path)
        changed = {"cut": whole[:-1]} | ({"nan": whole * np.nan} if whole.dtype.kind == "f" else {})
        for kind, array in changed.items():
            np.save(path, array)
            assert faults(tmp_path), f"{name}: {path.name} {kind}"
        path.unlink()
        assert path.name.partition("_")[0] in faults(tmp_path)
        np.save(path, whole)
    assert faults(tmp_path) == ""


def faults(folder: Path) -> str:
    try:
        return "; ".join(roster.load(folder).sound())
    except HeadraceError as error:
        return str(error)


def test_a_setting_of_another_family_is_refused() -> None:
    night = load().night.model_copy(update={"families": {"item_item": {"reg": 1.0}, "ease": {"reg": -1.0}}})
    with pytest.raises(HeadraceError, match=r"night\.families\.item_item\.reg: unknown setting; .* are neighbours, "):
        roster.settings("item_item", night)
    with pytest.raises(HeadraceError, match=r"night\.families\.ease\.reg: .*greater than 0, got -1\.0"):
        roster.settings("ease", night)
    with pytest.raises(HeadraceError, match=r"night\.models must name a family .* got 'als2'"):
        roster.settings("als2", night)
    with pytest.raises(HeadraceError, match=r"night\.models must be module:NAME, got 'no.such:THING', which does not"):
        roster.family("no.such:THING")
    with pytest.raises(HeadraceError, match=r"must name an object of Family, got 'json:dumps'"):
        roster.family(f"{json.__name__}:dumps")
