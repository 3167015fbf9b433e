"""The page of an evaluation: one HTML file with its plots inside, readable without a network."""

import io
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

Figures = dict[str, Any]

COLOURS = ("#0f766e", "#d97706", "#64748b", "#7c3aed", "#db2777")
NAMES = {"als": "ALS", "two_tower": "two-tower", "federated": "federated + ALS", "item_item": "item-item"}
NAMES |= {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "gini": "Gini"}
ROWS = {
    "Accuracy": ("ndcg", "precision", "recall", "capped_recall", "hit_rate", "map", "mrr"),
    "Beyond accuracy": ("coverage", "diversity", "category_diversity", "novelty", "serendipity"),
    "Popularity bias": ("popularity_percentile", "popularity_overlap", "gini"),
}
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "headrace", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9ca3af", "axes.labelcolor": "#374151",
    "xtick.color": "#4b5563", "ytick.color": "#374151", "axes.grid": True, "grid.color": "#e5e7eb",
    "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlecolor": "#111827",
}  # fmt: skip


def page(report: Figures) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headrace.jobs.batch.judging", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"figure": figure, "label": label}
    compared = report["models"] | report["baselines"]
    plots = [accuracy(report, compared), segments(report, compared), by_k(report, compared), exposure(compared)]
    shown = list(compared.values())
    present = {kind: [row for row in rows if any(row in each for each in shown)] for kind, rows in ROWS.items()}
    template = environment.get_template("evaluation.html")
    return str(template.render(r=report, compared=compared, rows=present, plots=plots))


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def accuracy(report: Figures, compared: Figures) -> str:
    names = ("ndcg", "precision", "recall", "hit_rate")
    with mpl.rc_context(STYLE):
        plot = Figure(figsize=(10.4, 1.1 + 0.3 * len(compared)), layout="constrained")
        for axes, name in zip(plot.subplots(1, len(names), sharey=True), names, strict=True):
            axes.set_title(f"{label(name)}@{report['k']}")
            for row, (each, colour) in enumerate(coloured(compared)):
                whisker(axes, row, compared[each][name], colour)
            axes.set_yticks(range(len(compared)), [label(each) for each in compared])
            axes.invert_yaxis() if not axes.yaxis_inverted() else None
            axes.set_xlim(left=0)
        return svg(plot)


def segments(report: Figures, compared: Figures) -> str:
    with mpl.rc_context(STYLE):
        plot = Figure(figsize=(5.1, 3.2), layout="constrained")
        axes, counts = plot.subplots(), report["data"]["segments"]
        shown = [name for name, users in counts.items() if users]
        for place, (each, colour) in enumerate(coloured(compared)):
            shift = (place - (len(compared) - 1) / 2) * 0.14
            for row, name in enumerate(shown):
                whisker(axes, row + shift, compared[each]["segments"][name]["ndcg"], colour, "" if row else label(each))
        axes.set_yticks(range(len(shown)), [f"{name}\n{counts[name]:,} users" for name in shown])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_title(f"NDCG@{report['k']} by segment")
        axes.legend(frameon=False, fontsize=8)
        return svg(plot)


def by_k(report: Figures, compared: Figures) -> str:
    with mpl.rc_context(STYLE):
        plot = Figure(figsize=(5.1, 3.2), layout="constrained")
        axes = plot.subplots()
        for each, colour in coloured(compared):
            axes.plot(
                range(1, report["k"] + 1), compared[each]["by_k"]["recall"], color=colour, label=label(each), marker="."
            )
        axes.set_ylim(bottom=0)
        axes.set_title("Recall of the first places")
        axes.set_xlabel("places of the list")
        axes.legend(frameon=False, fontsize=8)
        return svg(plot)


def exposure(compared: Figures) -> str:
    """Lorenz curves: the further from the diagonal, the fewer items fill the lists."""
    with mpl.rc_context(STYLE):
        plot = Figure(figsize=(5.1, 3.2), layout="constrained")
        axes = plot.subplots()
        axes.plot([0, 1], [0, 1], color="#d1d5db", linestyle=":")
        for each, colour in coloured(compared):
            axes.plot([at / 100 for at in range(101)], compared[each]["exposure"], color=colour, label=label(each))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        axes.set_title("Who fills the lists")
        axes.set_xlabel("share of the catalogue, least listed items first")
        axes.set_ylabel("share of all places")
        axes.legend(frameon=False, fontsize=8)
        return svg(plot)


def whisker(axes: Any, row: float, interval: Figures, colour: str, name: str = "") -> None:
    axes.plot([interval["low"], interval["high"]], [row, row], color=colour, linewidth=2)
    axes.plot([interval["value"]], [row], "o", color=colour, markersize=5, label=name or None)


def coloured(compared: Figures) -> list[tuple[str, str]]:
    return [(each, COLOURS[place % len(COLOURS)]) for place, each in enumerate(compared)]


def label(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))


def svg(plot: Figure) -> str:
    out = io.StringIO()
    plot.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return out.getvalue().partition("?>")[2].partition(">")[2]  # without the XML and DOCTYPE lines
