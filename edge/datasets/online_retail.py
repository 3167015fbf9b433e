"""UCI Online Retail: a British gift shop's invoice lines, December 2010 to December 2011 (CC BY 4.0).

Times are those of the shop's clock, read as UTC. A cancellation (an invoice whose number begins with C, or a negative
quantity) is a refund. A line without a CustomerID belongs to an anonymous user, one per invoice. The file has no views:
each line is a purchase or a refund. Two corrections of bad debt have a negative price. They break the contract, so a
replay leaves them out and says so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.edge.datasets.columns import Click, Clicks
from headrace.edge.datasets.delimited_files import in_time_order, read

COLUMNS = {
    "InvoiceNo": pa.string(),
    "StockCode": pa.string(),
    "Quantity": pa.int64(),
    "InvoiceDate": pa.timestamp("s"),
    "UnitPrice": pa.float64(),
    "CustomerID": pa.string(),
    "Country": pa.string(),
}
AMERICAN = "%m/%d/%Y %H:%M"  # the spelling of the other CSV copies in circulation


def open_clicks(path: Path) -> Clicks:
    table = read(path, COLUMNS, times=(AMERICAN,))
    ms = pc.multiply(pc.cast(table["InvoiceDate"], pa.int64()), 1000)
    return in_time_order(table.drop_columns(["InvoiceDate"]), ms, _clicks)


def _clicks(*columns: list[Any]) -> Iterator[Click]:
    for row, ms, invoice, item, quantity, price, customer, country in zip(*columns, strict=True):
        yield {
            "event_id": f"online-retail:{row}",
            "user_id": _user(customer, invoice),
            "item_id": item,
            "action": "refund" if _cancels(invoice, quantity) else "purchase",
            "ts_ms": ms,
            "price": price,
            "quantity": None if quantity is None else abs(quantity),
            "location": country,
        }


def _user(customer: str | None, invoice: str | None) -> str:
    return customer.removesuffix(".0") if customer else f"anonymous-{invoice}"


def _cancels(invoice: str | None, quantity: int | None) -> bool:
    return (invoice or "").startswith("C") or (quantity or 0) < 0
