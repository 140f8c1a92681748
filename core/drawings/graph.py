"""A directed graph in layers, as SVG.

Layers by longest path, after edges that close a cycle are set aside; order within a layer by the mean position of the
neighbours (the barycentre method of Sugiyama, Tagawa and Toda, 1981), swept down and up a few times.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.drawings.icons import icon_reference
from core.states import Tone

NODE_WIDTH = 176
NODE_HEIGHT = 44
GAP_X = 84
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


def draw_graph(graph: Graph) -> SafeString:
    """Return the graph as SVG; each box is a link where it has an address."""
    layers = layers_of(graph)
    tallest = max((len(layer) for layer in layers), default=0)
    places: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        offset = (tallest - len(layer)) * (NODE_HEIGHT + GAP_Y) // 2
        for row, key in enumerate(layer):
            places[key] = (
                MARGIN + column * (NODE_WIDTH + GAP_X),
                MARGIN + offset + row * (NODE_HEIGHT + GAP_Y),
            )
    width = 2 * MARGIN + max(1, len(layers)) * (NODE_WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + max(1, tallest) * (NODE_HEIGHT + GAP_Y) - GAP_Y
    edges = [_arrow(edge, places) for edge in graph.edges if edge.start in places and edge.end in places]
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


def _arrow(edge: Edge, places: dict[str, tuple[int, int]]) -> SafeString:
    (x1, y1), (x2, y2) = places[edge.start], places[edge.end]
    backwards = x2 <= x1
    sx, sy = (x1, y1 + NODE_HEIGHT // 2 + 8) if backwards else (x1 + NODE_WIDTH, y1 + NODE_HEIGHT // 2)
    ex, ey = (x2 + NODE_WIDTH, y2 + NODE_HEIGHT // 2 + 8) if backwards else (x2, y2 + NODE_HEIGHT // 2)
    bend = -GAP_X // 2 if backwards else GAP_X // 2
    tip = 6 if backwards else -6
    return format_html(
        '<path class="graph-edge{}" d="M{} {} C{} {} {} {} {} {}"><title>{}</title></path>'
        '<path class="graph-tip" d="M{} {} l{} -4 v8 z"/>',
        " graph-edge-back" if backwards else "",
        sx,
        sy,
        sx + bend,
        sy,
        ex - bend + tip,
        ey,
        ex + tip,
        ey,
        edge.title or f"{edge.start} needs {edge.end}",
        ex,
        ey,
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
