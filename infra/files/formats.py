"""Files that are known by their columns: who wrote them, and the mapping that reads them.

Each entry is one form in which the maker, or a common copy, gives the data. A form is told by the names of its columns,
or without a header by the cells of its first line.
"""

import re
from pathlib import Path
from typing import NamedTuple

from headrace.infra.files.lines import Damage
from headrace.infra.files.mapping import Mapping
from headrace.infra.files.open_table import OpenTable, table

WHOLE, REAL, ISO = r"\d+", r"\d+(\.\d+)?", r"\d{4}-\d\d-\d\dT.*Z"
NO_TIMES = "2000-01-01"  # of data without times: equal times keep the file's order
RATED = {"action": "rate"}
RETAIL = {"user_id": "CustomerID", "item_id": "StockCode", "ts_ms": "InvoiceDate", "price": "UnitPrice"}
RETAIL |= {"quantity": "Quantity", "location": "Country"}
RETAIL_II = RETAIL | {"user_id": "Customer ID", "price": "Price"}
RETAIL_COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
AMERICAN = "%m/%d/%Y %H:%M"
PRODUCTS, PROPERTIES = "properties.products[]", "properties"


def _in_products(name: str) -> str:
    return f"{PRODUCTS}.{name}|{PROPERTIES}.{name}"


class Form(NamedTuple):
    """names: columns that the file must have. cells: patterns of the first line's cells, of a file without a header."""

    title: str
    mapping: Mapping
    names: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    first: tuple[str, str] = ("", ".*")  # a column and the pattern of its first value, where names alone do not tell


FORMATS: dict[str, tuple[Form, ...]] = {
    "movielens": (
        Form(
            "MovieLens as RecBole writes it",
            Mapping(
                map={
                    "user_id": "user_id:token",
                    "item_id": "item_id:token",
                    "rating": "rating:float",
                    "ts_ms": "timestamp:float",
                },
                default=RATED,
                time="s",
            ),
            ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
        ),
        Form(
            "MovieLens ratings.csv",
            Mapping(map={"user_id": "userId", "item_id": "movieId", "ts_ms": "timestamp"}, default=RATED, time="s"),
            ("userId", "movieId", "rating", "timestamp"),
        ),
        Form(
            "MovieLens u.data or ratings.dat",
            Mapping(columns=("user_id", "item_id", "rating", "ts_ms"), default=RATED, time="s"),
            cells=(WHOLE, WHOLE, REAL, r"\d{9,10}"),
        ),
        Form(
            "MovieLens without times",
            Mapping(
                map={"user_id": "user", "item_id": "movie"}, default=RATED | {"ts_ms": NO_TIMES}
            ),
            ("user", "movie", "rating"),
        ),
        Form(
            "NCF's split of MovieLens, without times",
            Mapping(map={"user_id": "user", "item_id": "item"}, default=RATED | {"ts_ms": NO_TIMES}),
            ("user", "item", "rating"),
        ),
        Form(
            "MovieLens as sequences, without times",
            Mapping(map={"user_id": "user", "item_id": "movies[]"}, default={"action": "rate", "ts_ms": NO_TIMES}),
            ("user", "movies"),
        ),
    ),
    "online-retail": (
        Form("UCI Online Retail, American times", Mapping(map=RETAIL, default={"action": "purchase"}, time=AMERICAN),
             RETAIL_COLUMNS, first=("InvoiceDate", r"\d+/\d+/\d{4} .*")),
        Form("UCI Online Retail", Mapping(map=RETAIL, default={"action": "purchase"}, ids="int"), RETAIL_COLUMNS),
        Form("Online Retail II", Mapping(map=RETAIL_II, default={"action": "purchase"}, ids="int"),
             ("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID")),
    ),
    "yoochoose": (
        Form("YooChoose clicks", Mapping(columns=("user_id", "ts_ms", "item_id", "category"),
                                         default={"action": "click"}),
             cells=(WHOLE, ISO, WHOLE, r"\w+")),
        Form("YooChoose buys", Mapping(columns=("user_id", "ts_ms", "item_id", "price", "quantity"),
                                       default={"action": "purchase"}),
             cells=(WHOLE, ISO, WHOLE, WHOLE, WHOLE)),
    ),
    "retailrocket": (
        Form("RetailRocket events", Mapping(
            map={"user_id": "visitorid", "item_id": "itemid", "ts_ms": "timestamp", "action": "event"},
            action={"addtocart": "cart", "transaction": "purchase"}, time="ms"),
            ("timestamp", "visitorid", "event", "itemid")),
    ),
    "hm": (
        Form("H&M transactions", Mapping(map={"user_id": "customer_id", "item_id": "article_id", "ts_ms": "t_dat"},
                                         default={"action": "purchase"}),
             ("t_dat", "customer_id", "article_id")),
    ),
    "amazon-reviews": (
        Form("Amazon reviews", Mapping(
            map={"user_id": "reviewerID", "item_id": "asin", "ts_ms": "unixReviewTime", "rating": "overall"},
            default=RATED, time="s"), ("reviewerID", "asin", "overall", "unixReviewTime")),
        Form("Amazon reviews of 2023", Mapping(
            map={"item_id": "parent_asin", "ts_ms": "timestamp"}, default=RATED, time="ms"),
            ("user_id", "parent_asin", "rating", "timestamp")),
    ),
    "multi-category-store": (
        Form("Kaggle's multi-category store", Mapping(
            map={"item_id": "product_id", "ts_ms": "event_time", "action": "event_type", "category": "category_code",
                 "session_id": "user_session"},
            action={"remove_from_cart": "uncart"}),
            ("event_time", "event_type", "product_id", "user_id", "user_session")),
    ),
    "otto": (
        Form("OTTO sessions", Mapping(
            map={"user_id": "session", "item_id": "events[].aid", "ts_ms": "events[].ts", "action": "events[].type"},
            action={f"{ours}s": ours for ours in ("click", "cart")} | {"orders": "purchase"}, time="ms"),
            ("session", "events")),
    ),
    "taobao": (
        Form("Taobao user behaviour", Mapping(
            columns=("user_id", "item_id", "category", "action", "ts_ms"),
            action={"pv": "view", "fav": "like", "buy": "purchase"}, time="s"),
            cells=(WHOLE, WHOLE, WHOLE, "pv|fav|cart|buy", r"-?\d+")),
    ),
    "segment": (
        Form("Segment's track calls", Mapping(
            map={"event_id": "messageId", "user_id": "userId|anonymousId", "ts_ms": "timestamp", "action": "event",
                 "item_id": _in_products("product_id"), "price": _in_products("price"),
                 "quantity": _in_products("quantity"), "category": _in_products("category")},
            action={"Product Viewed": "view", "Product Clicked": "click", "Product Added": "cart",
                    "Product Removed": "uncart", "Order Completed": "purchase", "Order Refunded": "refund",
                    "Product Added to Wishlist": "like", "Product Shared": "share"}),
            ("messageId", "event", "properties", "timestamp")),
    ),
    "histories": (
        Form("Histories, a shopper a line, without times", Mapping(
            columns=("user_id", "item_id[]"), delimiter=" ", map={"item_id": "item_id[]"},
            default={"action": "purchase", "ts_ms": NO_TIMES}), cells=(r"\d+( \d+){3,}",)),
        Form("Histories in CSV, without times", Mapping(
            map={"item_id": "history_item_id[]"}, default={"action": "purchase", "ts_ms": NO_TIMES}),
            ("user_id", "history_item_id")),
    ),
}  # fmt: skip


def recognise(path: Path, name: str = "") -> Form | None:
    """Returns the form of a file, of one format or of any, or None. Raises HeadraceError as `table` does."""
    forms = FORMATS[name] if name else tuple(form for each in FORMATS.values() for form in each)
    with table(path) as found:
        return _recognised(found, forms)


def _recognised(found: OpenTable, forms: tuple[Form, ...]) -> Form | None:
    headless = next((form for form in forms if form.cells and _match(form.cells, found.first)), None)
    if headless:
        return headless
    row = next(found.rows, None)
    row = {} if row is None or isinstance(row, Damage) else row
    names = set(found.names if found.names is not None else row)
    for form in forms:
        column, pattern = form.first
        if form.names and names >= set(form.names) and re.fullmatch(pattern, str(row.get(column, ""))):
            return form
    return None


def _match(patterns: tuple[str, ...], cells: list[str]) -> bool:
    return len(patterns) == len(cells) and all(map(re.fullmatch, patterns, cells))


def columns_of(path: Path) -> str:
    """Returns the columns of a file, or the cells of its first line, for an error."""
    with table(path) as found:
        row = next(found.rows, None) if found.names is None else None
        names = found.names if found.names is not None else list(row) if isinstance(row, dict) else []
    return ", ".join(names) or "none"
