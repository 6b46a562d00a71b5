"""Sphinx's settings for the site; `docs/make_site.py` runs it on the pages that `pages.py` lays out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "minigrad"
html_title = "minigrad"
root_doc = "index"
extensions = ["myst_parser", "sphinx_copybutton", "figures", "formulas", "names"]

# Pages are CommonMark, as a code host reads them, with formulas between dollars. Anchors are named as there.
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 6
myst_fence_as_directive = {"math"}

html_theme = "furo"
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#2d5f8f", "color-brand-content": "#2d5f8f"},
    "dark_css_variables": {"color-brand-primary": "#8cc4f0", "color-brand-content": "#8cc4f0"},
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"
pygments_style = "tango"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
python_maximum_signature_line_length = 88
toc_object_entries = False  # tables of names stand in the reference itself
