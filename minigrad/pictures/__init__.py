"""Pictures of graphs: what was computed from what, through the layers and through time.

making      `mg.graph`                 builder, running, numbers       from the tape to plain data
graph       the data                   views, loops                    to less of it
dot         Graphviz's text            palette, labels                 what everything looks like
drawing     files                      layout, boxes, items, columns, bands, routes
html        a page to step through                                     where everything stands
"""

from .drawing import draw
from .graph import Graph, GraphEdge, GraphNode
from .labels import quoted
from .making import graph

__all__ = ["Graph", "GraphEdge", "GraphNode", "draw", "graph", "quoted"]
