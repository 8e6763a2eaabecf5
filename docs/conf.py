"""Settings of the documentation: `make docs` builds it to build/docs, and no page asks the network for anything."""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

import bayes_her2

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))

lexers["csv"] = TextLexer()

project = "bayes_her2"
author = "The bayes_her2 developers"
copyright = f"2026, {author}"
version = release = bayes_her2.__version__
language = "en-GB"

extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb", "mathml", "from_the_code", "notebook_pages"]
exclude_patterns = ["_extensions", "_static"]
needs_sphinx = "9.1"

# Pages are Markdown. Notebooks are shown with the outputs that they were committed with, and never run here.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would come from a server
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["mystnb.unknown_mime_type"]

# Every reference to a name of the package has to resolve. Names of other packages are not looked up, since that would
# ask the network; single backticks in docstrings link where they can, and are code where they cannot.
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    (r"py:(class|data|exc|mod|attr|meth|func)", r"(?!bayes_her2\.).*"),
    # Parts of what is documented that no reader has in hand.
    ("py:class", r"bayes_her2\.(data\.(Part|Measure|ModelData)|report\.standalone\.Page)"),
    ("py:class", r"bayes_her2\.(workflow\.check\.Prepared|evidence\.audit_tables\.AuditTables)"),
]
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Equations are MathML, which browsers draw themselves: a script for them would come from a server.
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"bayes_her2 {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_sidebars = {"index": [], "reference/glossary": []}
html_theme_options = {
    "logo": {"text": "bayes_her2"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "navigation_depth": 2,
    "show_nav_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
