"""A mapping by options, by a file, and by both; what is typed comes back as the line to type."""

import tomllib
from pathlib import Path

import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.files import options
from headrace.infra.files.formats import FORMATS
from headrace.infra.files.mapping import Conversion, Mapping

TEXTS = {"map": "user_id=visitor,item_id=a, b", "action": "addtocart=cart", "without": "rating,device", "time": "s"}


def test_options_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "visits.toml"
    file.write_text('\ufefftime = "ms"\nzone = "Europe/Amsterdam"\n[map]\nuser_id = "who"\nquery = "q"\n')
    found = options.mapping(TEXTS, file)
    assert found.map == {"user_id": "visitor", "item_id": "a, b", "query": "q"}
    assert (found.time, found.zone, found.without) == ("s", "Europe/Amsterdam", ("rating", "device"))
    assert options.mapping({"map": "rating="}).without == ("rating",)


@pytest.mark.parametrize("form", [form for forms in FORMATS.values() for form in forms], ids=lambda form: form.title)
def test_a_mapping_survives_its_file_and_its_line(form: object, tmp_path: Path) -> None:
    import shlex

    mapping: Mapping = form.mapping  # type: ignore[attr-defined]
    (tmp_path / "m.toml").write_text(options.toml(mapping))
    assert tomllib.loads(options.toml(mapping)) or mapping == Mapping()
    assert options.mapping({}, tmp_path / "m.toml") == mapping
    words = shlex.split(options.line(mapping))
    texts = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    assert options.mapping(texts) == mapping


def test_names_that_a_shell_would_read_otherwise() -> None:
    import shlex

    mapping = Mapping(map={"user_id": "Customer's", "item_id": "a|b[] $x"}, sheet="it's")
    words = shlex.split(options.line(mapping))
    texts = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    assert options.mapping(texts) == mapping
    assert tomllib.loads(options.toml(Mapping(sheet="a\x7fb")))["sheet"] == "a\x7fb"
    assert options.mapping({"map": "user_id=a, item_id=b", "without": "price, rating"}) == Mapping(
        map={"user_id": "a", "item_id": "b"}, without=("price", "rating")
    )


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"map": "user_id"}, "--map must be A=B,C=D, got 'user_id'"),
        ({"map": "shopper=who"}, "--map must name fields of a click (event_id, "),
        ({"default": "who=me"}, "--default must name fields of a click"),
        ({"without": "user_id"}, "--without user_id: a click must have it"),
        ({"action": "buy=bought"}, "--action buy=bought: must be one of view, "),
        ({"ids": "float"}, "--ids must be text or int, got 'float'"),
        ({"decimal": ";"}, "--decimal must be . or , got ';'"),
        ({"zone": "Nowhere"}, "--zone: the zone must be a name such as Europe/Amsterdam, got 'Nowhere'"),
        ({"default": "ts_ms=1767348000"}, "--default ts_ms: must be a time by --time iso"),
    ],
)
def test_a_wrong_option_is_named(texts: dict[str, str], said: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        Conversion(options.mapping(texts), None, "f")
    assert said in str(caught.value)


def test_a_default_goes_through_the_same_reading() -> None:
    fixed = Conversion(options.mapping({"default": "ts_ms=1767348000,action=view", "time": "s"}), None, "f").fixed
    assert fixed == {"ts_ms": 1_767_348_000_000, "action": "view"}


@pytest.mark.parametrize(
    ("text", "said"), [("tim = 1", "must have the keys map, "), ("[", "must be TOML"), ("time = 1", "str")]
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(HeadraceError, match=rf"m.toml.*{said}"):
        options.mapping({}, tmp_path / "m.toml")
