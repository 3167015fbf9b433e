"""UCI Online Retail: a British gift shop's invoice lines, December 2010 to December 2011 (CC BY 4.0).

Times are those of the shop's clock, read as UTC. A cancellation (an invoice whose number begins with C, or a negative
quantity) is a refund. A line without a customer belongs to an anonymous user, one per invoice. The file has no views:
each line is a purchase or a refund. Two corrections of bad debt have a negative price, and keep none.
"""

from pathlib import Path

from headrace.infra.files.events import Adapt
from headrace.infra.files.open_table import Row
from headrace.infra.files.values import is_nobody


def adapted(path: Path) -> Adapt | None:
    return _adapt


def _adapt(row: Row) -> Row:
    invoice = str(row.get("InvoiceNo", row.get("Invoice", "")))
    user = "CustomerID" if "CustomerID" in row else "Customer ID"
    changed = {"action": "refund"} if invoice.startswith("C") else {}
    if is_nobody(row.get(user)):
        changed[user] = f"anonymous-{invoice}"
    return row | changed
