"""A directed graph in layers, as SVG.

Layers by longest path, after edges that close a cycle are set aside; order within a layer by the mean position of the
neighbours (the barycentre method of Sugiyama, Tagawa and Toda, 1981), swept down and up a few times.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.drawings.icons import icon_reference
from core.states import Tone

NODE_WIDTH = 168
NODE_HEIGHT = 44
GAP_X = 72
BEND_HEIGHT = 10
GAP_Y = 18
MARGIN = 10


@dataclass(frozen=True)
class Node:
    """A box. `state` is the word under the name; `here` marks the one that the page is about."""

    key: str
    label: str
    tone: Tone = Tone.PLAIN
    state: str = ""
    url: str = ""
    here: bool = False


@dataclass(frozen=True)
class Edge:
    """An arrow from the one that needs to the one that is needed."""

    start: str
    end: str
    title: str = ""


@dataclass(frozen=True)
class Graph:
    """Boxes and arrows, with a sentence for those who do not see them."""

    label: str
    nodes: Sequence[Node]
    edges: Sequence[Edge]


def layers_of(graph: Graph) -> list[list[str]]:
    """Return the keys in layers from left to right; every edge but those that close a cycle goes rightwards."""
    keys = [node.key for node in graph.nodes]
    targets: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        if edge.start in keys and edge.end in keys and edge.start != edge.end:
            targets[edge.start].append(edge.end)
    forward, order = _without_cycles(keys, targets)
    depth = dict.fromkeys(keys, 0)
    for key in order:
        for target in forward[key]:
            depth[target] = max(depth[target], depth[key] + 1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for key in keys:
        layers[depth[key]].append(key)
    return _untangled(layers, forward)


def _with_bends(layers: list[list[str]], edges: Sequence[Edge]) -> tuple[list[list[str]], dict[Edge, list[str]]]:
    """Give an edge that skips layers a place of its own in each, so that it runs between the boxes."""
    depth = {key: index for index, layer in enumerate(layers) for key in layer}
    wide = [list(layer) for layer in layers]
    bends: dict[Edge, list[str]] = {}
    near: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        if edge.start not in depth or edge.end not in depth:
            continue
        chain = [edge.start]
        for layer in range(depth[edge.start] + 1, depth[edge.end]):
            bend = f"{edge.start}\n{edge.end}\n{layer}"
            wide[layer].append(bend)
            chain.append(bend)
        bends[edge] = chain[1:]
        chain.append(edge.end)
        for one, other in pairwise(chain):
            if depth[edge.start] < depth[edge.end]:
                near[one].append(other)
    return _untangled(wide, near), bends


def draw_graph(graph: Graph) -> SafeString:
    """Return the graph as SVG; each box is a link where it has an address."""
    layers, bends = _with_bends(layers_of(graph), graph.edges)
    columns = [_stacked(layer) for layer in layers]
    tallest = max((column[-1][2] for column in columns), default=NODE_HEIGHT)
    places: dict[str, tuple[int, int]] = {}
    for index, column in enumerate(columns):
        offset = (tallest - column[-1][2]) // 2
        for key, top, _ in column:
            places[key] = (MARGIN + index * (NODE_WIDTH + GAP_X), MARGIN + offset + top)
    width = 2 * MARGIN + max(1, len(layers)) * (NODE_WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + tallest
    edges = [_arrow(edge, places, bends[edge]) for edge in graph.edges if edge in bends]
    boxes = [_box(node, *places[node.key]) for node in graph.nodes]
    return format_html(
        '<div class="drawing-scroll" tabindex="0" role="group" aria-label="{}">'
        '<svg class="graph" width="{}" height="{}" viewBox="0 0 {} {}" role="group" aria-label="{}">{}{}</svg></div>',
        graph.label,
        width,
        height,
        width,
        height,
        graph.label,
        format_html_join("", "{}", ((edge,) for edge in edges)),
        format_html_join("", "{}", ((box,) for box in boxes)),
    )


def _without_cycles(keys: list[str], targets: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the edges without those that close a cycle, and the keys in topological order."""
    forward: dict[str, list[str]] = defaultdict(list)
    finished: list[str] = []
    state: dict[str, str] = {}

    def visit(key: str) -> None:
        state[key] = "open"
        for target in targets[key]:
            if state.get(target) == "open":
                continue
            forward[key].append(target)
            if target not in state:
                visit(target)
        state[key] = "done"
        finished.append(key)

    pointed_at = {target for ends in targets.values() for target in ends}
    for key in sorted(keys, key=lambda one: one in pointed_at):
        if key not in state:
            visit(key)
    return forward, finished[::-1]


def _untangled(layers: list[list[str]], forward: dict[str, list[str]]) -> list[list[str]]:
    near: dict[str, list[str]] = defaultdict(list)
    for start, ends in forward.items():
        for end in ends:
            near[start].append(end)
            near[end].append(start)
    for sweep in range(6):
        position = {key: index / max(1, len(layer)) for layer in layers for index, key in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            layer.sort(
                key=lambda key: (
                    sum(position[other] for other in near[key]) / len(near[key]) if near[key] else position[key]
                )
            )
            position.update({key: index / max(1, len(layer)) for index, key in enumerate(layer)})
    return layers


def _stacked(layer: list[str]) -> list[tuple[str, int, int]]:
    """Return each key of a layer with its top and bottom; a bend of an edge takes little room."""
    placed, top = [], 0
    for key in layer:
        bottom = top + (BEND_HEIGHT if "\n" in key else NODE_HEIGHT)
        placed.append((key, top, bottom))
        top = bottom + GAP_Y
    return placed


def _arrow(edge: Edge, places: dict[str, tuple[int, int]], bends: list[str]) -> SafeString:
    (x1, y1), (x2, y2) = places[edge.start], places[edge.end]
    backwards = x2 <= x1
    if backwards:
        points = [(x1, y1 + NODE_HEIGHT // 2 + 8), (x2 + NODE_WIDTH + 6, y2 + NODE_HEIGHT // 2 + 8)]
    else:
        points = [(x1 + NODE_WIDTH, y1 + NODE_HEIGHT // 2)]
        for bend in bends:
            x, y = places[bend]
            points += [(x, y + BEND_HEIGHT // 2), (x + NODE_WIDTH, y + BEND_HEIGHT // 2)]
        points.append((x2 - 6, y2 + NODE_HEIGHT // 2))
    reach = -GAP_X // 2 if backwards else GAP_X // 2
    path = f"M{points[0][0]} {points[0][1]}"
    for (sx, sy), (ex, ey) in pairwise(points):
        path += f" L{ex} {ey}" if sy == ey else f" C{sx + reach} {sy} {ex - reach} {ey} {ex} {ey}"
    tip_x, tip_y = points[-1]
    tip = 6 if backwards else -6
    return format_html(
        '<path class="graph-edge{}" d="{}"><title>{}</title></path><path class="graph-tip" d="M{} {} l{} -4 v8 z"/>',
        " graph-edge-back" if backwards else "",
        path,
        edge.title or f"{edge.start} needs {edge.end}",
        tip_x - tip,
        tip_y,
        tip,
    )


def _box(node: Node, x: int, y: int) -> SafeString:
    room = (NODE_WIDTH - 42) // 7
    label = node.label if len(node.label) <= room else node.label[: room - 1] + "…"
    state = (node.state or node.tone.value).upper()
    body = format_html(
        '<g class="graph-node tone-{}{}"><title>{}: {}</title>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="6"/>'
        '<use href="{}" x="{}" y="{}" width="18" height="18"/>'
        '<text class="graph-label" x="{}" y="{}">{}</text><text class="graph-state" x="{}" y="{}">{}</text></g>',
        node.tone.value,
        " graph-here" if node.here else "",
        node.label,
        state,
        x,
        y,
        NODE_WIDTH,
        NODE_HEIGHT,
        icon_reference(node.tone.icon),
        x + 11,
        y + 13,
        x + 38,
        y + 19,
        label,
        x + 38,
        y + 34,
        state,
    )
    return (
        format_html('<a href="{}" aria-label="{}: {}">{}</a>', node.url, node.label, state, body) if node.url else body
    )
