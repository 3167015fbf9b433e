"""From a file to a published version, and its quality on data whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from headrace.infra import paths
from headrace.infra.cli.main import app
from headrace.infra.versions import store
from headrace.jobs.batch.training import local
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als
from headrace.udfs.factors.confidence import histories

pytestmark = pytest.mark.usefixtures("own_home")
HOW = Training(2, 8, als.ials(), 1e12, 5.0, 50, 1)


def checkerboard(side: int = 40) -> list[dict[str, object]]:
    """User u views the items of their own parity, their own item last."""
    clicks: list[dict[str, object]] = []
    for step in range(1, side // 2 + 1):
        for user in range(side):
            item = f"i{(user + 2 * step) % side:02d}"
            clicks.append({"user_id": f"u{user}", "item_id": item, "action": "view", "ts_ms": len(clicks)})
    return clicks


@pytest.fixture(autouse=True)
def _no_redis(own_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_REDIS__PORT", "1")


def test_items_are_mapped_by_their_ids_and_searches_to_none() -> None:
    clicks: list[dict[str, object]] = [
        {"user_id": "b", "item_id": "z", "action": "rate", "rating": 2.0, "ts_ms": 1},
        {"user_id": "a", "item_id": "home", "action": "search", "ts_ms": 2},
        {"user_id": "b", "item_id": "y", "action": "view", "ts_ms": 3},
        {"user_id": None, "item_id": "x", "action": "view", "ts_ms": 4},
    ]
    log = local.read(clicks)
    assert (log.items, log.users) == (["y", "z"], 2)
    assert log.events.items.tolist() == [1, -1, 0]
    assert log.events.users.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(log.events.ratings, [2.0, np.nan, np.nan])


def test_a_file_without_items_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold clicks on items, found none"):
        local.read([])


def test_a_checkerboard_is_foreseen() -> None:
    """20 events a user, so 2 are held out, and no other item of their parity is unseen: recall and NDCG are 1.

    Popularity knows no parity: all 22 unseen items were seen by the same number of users, and come by their ids.
    """
    log = local.read(checkerboard())
    quality = local.measure(log, HOW, lambda: None)
    assert quality[:3] == (40, 1.0, 1.0)
    assert quality.popular_recall < 1
    expected = []
    for user in range(40):
        held = {(user + 38) % 40, user}
        unseen = sorted({i for i in range(40) if i % 2 != user % 2} | held)[:20]
        expected.append(sum(1 / np.log2(2 + n) for n, i in enumerate(unseen) if i in held) / (1 + 1 / np.log2(3)))
    assert quality.popular_ndcg == pytest.approx(np.mean(expected))


def test_users_of_fewer_than_ten_events_have_none_held_out() -> None:
    clicks = checkerboard(18)
    assert local.measure(local.read(clicks), HOW, lambda: None) == (0, 0.0, 0.0, 0.0, 0.0)


def test_training_ends_in_the_popular_list_and_the_gram_matrix_of_the_users() -> None:
    clicks = [click for click in checkerboard() if click["item_id"] != "i05" or click["user_id"] == "u1"]
    log, called = local.read(clicks), []
    made = local.train(log, HOW, lambda: called.append(1))
    assert len(called) == HOW.iterations
    assert made.item_factors.shape == (40, 2)
    assert (made.popular[0], made.popular[-1]) == (("i00", 20), ("i05", 1))
    *_, last = als.train(histories(log.events, 40, 40, 1e12).rows, _start(), HOW.iterations, HOW.objective)
    np.testing.assert_array_equal(made.item_factors, last.Y)
    np.testing.assert_allclose(made.user_gram, last.X.T.astype(float) @ last.X.astype(float), rtol=1e-12)


def _start() -> NDArray[np.float32]:
    return als.initial(40, HOW.factors, np.random.default_rng(HOW.seed))


def random_clicks(users: int, items: int) -> list[dict[str, object]]:
    """Returns clicks of users with 5 to 40 events, and 500 for every 100th: more than 20 items are held out."""
    rng = np.random.default_rng(2)
    owners = [user for user in range(users) for _ in range(500 if user % 100 == 0 else int(rng.integers(5, 40)))]
    actions = rng.choice(["view", "purchase", "refund", "block"], len(owners), p=[0.7, 0.2, 0.05, 0.05]).tolist()
    popular = np.minimum(rng.geometric(0.002, len(owners)), items).tolist()
    order = rng.permutation(len(owners)).tolist()
    return [
        {"user_id": f"u{owners[n]}", "item_id": f"i{popular[n]:04d}", "action": actions[n], "ts_ms": t}
        for t, n in enumerate(order)
    ]


def test_quality_equals_a_loop_over_users() -> None:
    """Of the list of each user alone: more than one batch of users, users of more than 20 items, items seen before."""
    log, how = local.read(random_clicks(700, 1500)), Training(4, 2, als.ials(), 1e12, 5.0, 7, 1)
    mine = [np.flatnonzero(log.events.users == user) for user in range(log.users)]
    size = len(log.items)
    rest = [events[: len(events) - len(events) // 10] for events in mine]
    known = histories(log.events.where(np.sort(np.concatenate(rest))), log.users, size, 1e12)
    *_, (_, Y) = als.train(known.rows, als.initial(size, 4, np.random.default_rng(1)), 2, how.objective)
    counts = np.bincount(known.rows.columns, minlength=size)
    found: list[list[float]] = []
    for kept, events in zip(rest, mine, strict=True):
        before, after = log.events.where(kept), log.events.where(events[len(kept) :])
        seen = set(before.items.tolist())
        zero = after._replace(users=np.zeros_like(after.users))
        relevant = set(histories(zero, 1, size, 1e12).rows.columns.tolist()) - seen
        if not relevant:
            continue
        recent = log.events.where(kept[-7:])
        row = histories(recent._replace(users=np.zeros_like(recent.users)), 1, size, 1e12).rows
        x = als.solve(als.basis(Y), row, how.objective)[0]
        figures = []
        for scores in (Y.astype(float) @ x, counts):
            ranked = [item for item in np.argsort(-scores, kind="stable").tolist() if item not in seen][:20]
            possible = min(20, len(relevant))
            gain = sum(1 / np.log2(n + 2) for n, item in enumerate(ranked) if item in relevant)
            ideal = sum(1 / np.log2(n + 2) for n in range(possible))
            figures += [len(relevant & set(ranked)) / possible, gain / ideal]
        found.append(figures)
    assert local.measure(log, how, lambda: None) == pytest.approx((len(found), *np.mean(found, axis=0)), rel=1e-9)


def test_the_popular_list_holds_what_somebody_wanted() -> None:
    clicks = checkerboard()
    clicks.append({"user_id": "u1", "item_id": "unwanted", "action": "block", "ts_ms": 10**6})
    popular = local.train(local.read(clicks), HOW, lambda: None).popular
    assert len(popular) == 40
    assert "unwanted" not in dict(popular)


UNWANTED = ("dislike", "block", "refund", "search", "ignore")


@pytest.mark.parametrize("actions", [UNWANTED, ("rate",)], ids=["refused", "rated 0"])
def test_events_of_which_nobody_wants_the_item_make_no_version(actions: tuple[str, ...]) -> None:
    clicks: list[dict[str, object]] = [
        {"user_id": f"u{n % 3}", "item_id": "lamp", "action": actions[n % len(actions)], "rating": 0.0, "ts_ms": n}
        for n in range(25)
    ]
    with pytest.raises(ValueError, match=rf"of which somebody wants the item, found \d+ {actions[0]}"):
        local.train(local.read(clicks), HOW, lambda: None)
    wanted = {"user_id": "u1", "item_id": "lamp", "action": "view", "ts_ms": 99}
    assert local.train(local.read([*clicks, wanted | {"user_id": "u9"}]), HOW, lambda: None).popular == [("lamp", 1)]


def test_factors_of_zeros_make_no_version() -> None:
    heavy = HOW._replace(objective=als.ials(reg=1e300))
    with pytest.raises(ValueError, match=r"the factors are all 0: reg must be smaller, got 1e\+300"):
        local.train(local.read(checkerboard()), heavy, lambda: None)


def test_what_is_left_out_is_in_the_version_but_in_no_list() -> None:
    log, left_out = local.read(checkerboard()), ("i03", "i00")
    made, whole = (local.train(log, HOW, lambda: None, some) for some in (left_out, ()))
    assert (made.left_out, whole.left_out, made.items) == (left_out, (), whole.items)
    np.testing.assert_array_equal(made.item_factors, whole.item_factors)
    assert made.popular == [each for each in whole.popular if each[0] not in left_out]
    with pytest.raises(
        ValueError, match="the rules must leave items to list, but leave out all 40 that anybody wanted"
    ):
        local.train(log, HOW, lambda: None, log.items)


def test_the_popular_list_is_full_though_the_best_are_out_of_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POPULAR", 5)
    log = local.read(checkerboard())
    assert [item for item, _ in local.train(log, HOW, lambda: None, log.items[:20]).popular] == log.items[20:25]


@pytest.fixture
def film_ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ml-100k.inter"
    lines = [f"{c['user_id']}\t{c['item_id']}\t4\t{880_000_000 + n}" for n, c in enumerate(checkerboard())]
    path.write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "\n".join(lines) + "\n")
    return path


def test_the_commands(film_ratings: Path) -> None:
    run = CliRunner()
    trained = run.invoke(app, ["train", "movielens", str(film_ratings), "--factors", "2"])
    assert trained.exit_code == 0, trained.output
    assert "800 events, 40 users, 40 items" in trained.output
    assert "not yet shown in Redis" in trained.output
    first = store.current()
    assert first is not None
    manifest = store.load(first.version).manifest
    assert manifest.dims == {"items": 40, "factors": 2, "users": 40}
    assert manifest.metrics["recall"] == 1.0
    assert manifest.lineage["file"] == str(film_ratings)
    assert manifest.parameters["objective"] == {"alpha": 1.0, "reg": 0.01, "unobserved": 0.1, "target": 0.0, "nu": 1.0}
    kept = run.invoke(app, ["train", "movielens", str(film_ratings), "--factors", "3", "--no-publish"])
    assert kept.exit_code == 0, kept.output
    assert store.current() == first
    (other,) = {each.version for each in store.versions()} - {first.version}
    assert run.invoke(app, ["publish", other]).exit_code == 0
    assert run.invoke(app, ["rollback"]).exit_code == 0
    again = store.current()
    assert again is not None
    assert (again.version, again.previous) == (first.version, other)
    listed = run.invoke(app, ["models"]).output
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["current", first.version], ["previous", other]]


def test_the_command_obeys_the_rules(film_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obeyed, command = tmp_path / "rules.toml", ["train", "movielens", str(film_ratings), "--factors", "2"]
    text = (paths.CONFIG / "rules.toml").read_text()
    monkeypatch.setenv("HEADRACE_NIGHT__RULES", str(obeyed))
    obeyed.write_text(text.replace("items = []", 'items = ["i00", "unknown"]'))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    contents = store.load(store.versions()[-1].version).contents
    assert contents.left_out == ("i00",)
    assert "i00" not in dict(contents.popular)
    (tmp_path / "blocked.txt").write_text("another-shop\n")
    obeyed.write_text(text.replace('file = ""', 'file = "blocked.txt"', 1))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "block.file must name items of the version, such as 'i00'; found 1 other ids in" in done.stderr
    assert len(store.versions()) == 1
    obeyed.write_text("[block")
    said = CliRunner().invoke(app, ["publish", store.versions()[0].version]).output
    assert "serves" in said
    assert f"not yet shown in Redis: {obeyed} must be TOML" in said.replace("\n", "")


def test_parameters_of_a_version_are_those_of_its_training(film_ratings: Path) -> None:
    arguments = ["train", "movielens", str(film_ratings), "--factors", "2", "--seed", "4", "--half-life-days", "2"]
    CliRunner().invoke(app, arguments)
    (manifest,) = store.versions()
    objective = als.ials(unobserved=0.1)  # of [night.als], as the 16 iterations
    expected = Training(2, 16, objective, 2 * 86_400_000.0, 5.0, 50, 4)._asdict()
    assert manifest.parameters == json.loads(json.dumps(expected | {"objective": objective._asdict()}))


def test_what_no_option_says_is_as_the_settings_of_the_night(
    film_ratings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FACTORS": "3", "ITERATIONS": "2", "NU": "0.5", "RATING_MAX": "10"}.items():
        monkeypatch.setenv(f"HEADRACE_NIGHT__ALS__{name}", value)
    done = CliRunner().invoke(app, ["train", "movielens", str(film_ratings), "--iterations", "1", "--json"])
    answer = json.loads(done.stdout)
    assert (answer["version"], answer["command"]) == (1, "train")
    (manifest,) = store.versions()
    assert answer["data"]["version"] == manifest.version
    assert answer["data"]["quality"] == manifest.metrics
    assert (manifest.dims["factors"], manifest.parameters["iterations"]) == (3, 1)
    assert (manifest.parameters["objective"]["nu"], manifest.parameters["rating_max"]) == (0.5, 10.0)


def test_what_is_wrong_is_said() -> None:
    run = CliRunner()
    for arguments, said in {
        ("publish", "nope"): "no version 'nope'",
        ("rollback",): "nothing to roll back to",
        ("train", "nope"): "must be one of",
    }.items():
        done = run.invoke(app, arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert said in done.stderr
    assert "none yet" in run.invoke(app, ["models"]).output
