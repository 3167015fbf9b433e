"""What other programs call our actions, for the mapping that a refusal or a preview proposes."""

# In small letters without blanks and marks; a plural is its singular.
SYNONYMS = {
    "view": ("pv", "pageview", "productviewed", "productview", "viewitem", "detail", "impressionclick"),
    "click": ("clicked", "productclicked", "selectitem"),
    "like": ("fav", "favorite", "favourite", "wishlist", "addtowishlist", "productaddedtowishlist", "liked"),
    "cart": ("addtocart", "productadded", "basket", "addtobasket", "added"),
    "uncart": ("removefromcart", "productremoved", "removed"),
    "purchase": ("buy", "bought", "transaction", "order", "ordercompleted", "purchased", "sale"),
    "refund": ("return", "returned", "orderrefunded", "cancelled"),
    "share": ("shared", "productshared"),
    "rate": ("rating", "rated", "review", "productreviewed"),
    "search": ("searched", "productssearched", "viewsearchresults"),
}


def ours(text: str) -> str:
    """Returns which of our actions another program's may be, or an empty text."""
    plain = "".join(character for character in text.casefold() if character.isalnum())
    words = (plain, plain.removesuffix("s"))
    return next((ours for ours, theirs in SYNONYMS.items() if {ours, *theirs} & {*words}), "")
