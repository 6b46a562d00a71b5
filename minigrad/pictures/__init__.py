"""Pictures of graphs: the data flow of a computation, through layers and through time.

making      `mg.graph`                 builder, sources, origins, inner, running, numbers          from the tape to data
scopes      of nodes                   calls, repetitions, frames                                  calls and loops
graph       the data                   views, loops, plumbing, textbook                            to less of it
scene       shapes, lines and texts    places, marks, palette, labels, scripts, themes             with their places
layout      through time               boxes, items, columns, bands, routes, detours               where all stands
rendering   files                      svg, tikz, plots (PNG and PDF), dot (Graphviz's text); drawing (writes them)
html        a page to step through     viewer/, which lays out as `layout` does
film        the same as a file that plays by itself   playback
"""

from . import rendering as rendering  # binds the methods of Graph
from .drawing import draw
from .graph import Graph, GraphEdge, GraphNode
from .labels import quoted
from .making import graph

__all__ = ["Graph", "GraphEdge", "GraphNode", "draw", "graph", "quoted"]
