"""Names in the text lead to the reference: `nn.LSTM` or `mg.graph(loss)`, wherever it is written as code."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"@?((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(\(.*\))?", re.DOTALL)
PACKAGES = {"mg": "minigrad", "minigrad": "minigrad", "nn": "nn", "nlp": "nlp"}


class Linked(SphinxPostTransform):
    """Make references of the names of the packages; in the reference itself, of a package's own without its prefix."""

    default_priority = 400
    formats = ("html",)

    def run(self, **options: Any) -> None:
        here = self.env.docname
        known = self.env.domains.python_domain.objects
        own = here.split("/")[1].replace("-", ".") if here.startswith("reference/") else ""
        for literal in list(self.document.findall(nodes.literal)):
            found = NAME.fullmatch(literal.astext())
            if found is None or self._stands_in_a_link(literal):
                continue
            if "." not in found[1] and self._is_an_argument(literal):
                continue
            package, _, rest = found[1].partition(".")
            name = f"{PACKAGES[package]}.{rest}" if package in PACKAGES and rest else f"{own}.{found[1]}"
            entry = known.get(name)
            if entry is not None and not (entry.docname == here and entry.node_id in self._around(literal)):
                reference = make_refnode(self.app.builder, here, entry.docname, entry.node_id, literal.deepcopy(), name)
                literal.replace_self(reference)

    @staticmethod
    def _stands_in_a_link(node: nodes.Node) -> bool:
        while (node := node.parent) is not None:
            if isinstance(node, (nodes.reference, nodes.title)):
                return True
        return False

    @staticmethod
    def _is_an_argument(literal: nodes.literal) -> bool:
        """True at the beginning of an item of a list, before its description: `name`: a string."""
        paragraph = literal.parent
        return isinstance(paragraph.parent, nodes.list_item) and paragraph.astext().startswith(f"{literal.astext()}: ")

    @staticmethod
    def _around(node: nodes.Node) -> set[str]:
        """The anchors of the sections around the node: a section needs no links to itself."""
        found: set[str] = set()
        while (node := node.parent) is not None:
            for child in getattr(node, "children", [])[:1]:
                found.update(getattr(child, "attributes", {}).get("ids", []))
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(Linked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
