"""Small pictures drawn on the server as SVG: no script, no inline style, readable without colour."""

from core.drawings.bars import draw_budget_bar, draw_sparkline
from core.drawings.graph import Edge, Graph, Node, draw_graph
from core.drawings.time_axis import Interval, Lane, Mark, TimeAxis, draw_time_axis

__all__ = [
    "Edge",
    "Graph",
    "Interval",
    "Lane",
    "Mark",
    "Node",
    "TimeAxis",
    "draw_budget_bar",
    "draw_graph",
    "draw_sparkline",
    "draw_time_axis",
]
