"""Settings of the documentation; `tools/docs` builds it."""

import os
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
# Kernels as the Python functions they are written as: their docstrings are read, nothing is compiled.
os.environ["NUMBA_DISABLE_JIT"] = "1"

project = "hpc_sparse"
author = "hpc_sparse developers"
copyright = author  # noqa: A001 - Sphinx's name for it
release = metadata.version("hpc-sparse")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "api_pages",
    "command_reference",
    "floors",
    "repository_files",
]
exclude_patterns = ["_extensions"]
master_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = False  # numpydoc loads it; the pages have no such lists
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "hpc_sparse"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {page: [] for page in ("install", "first_run", "security", "changes", "results/**")}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
