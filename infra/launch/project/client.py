"""A service of this shop: it tells Headrace what a shopper did, and asks what to show."""

from headrace import Recommendations, Tracker

with Tracker.connect() as tracker:
    tracker.track("ann", "lamp-1", "view")
    recommendations = Recommendations.connect(tracker)
    shown = recommendations.for_user("ann", 5)
    print(f"{shown.source}: {[entry.item for entry in shown.items]}")
