"""Sphinx: `make docs` builds the site. Executed pages are MyST notebooks; a cell that fails ends the build."""

import os
import sys
from pathlib import Path
from typing import Any

import myst_nb.core.render

import voltaspin

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "Voltaspin"
author = "The Voltaspin developers"
copyright = "2026, The Voltaspin developers"
version = release = voltaspin.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
# A page may begin its sections where it likes, and several modules have a name that a docstring means.
suppress_warnings = ["myst.header", "ref.python"]

# Pages: links to headings by their text, and code that runs when the site is built.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars, and how a file was read
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # widgets would ask other hosts for their scripts
# What the kernels find: the command of this environment first, and the sample files of the checkout.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["CHECKOUT"] = str(DOCS.parent)

# Reference of the API, from the docstrings.
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "Voltaspin"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def as_printed(outputs: list[Any]) -> list[Any]:
    """Join the pieces in which a kernel sends what a cell prints.

    MyST-NB ends each piece with a line of its own, and a shell's output comes in pieces of a hundred bytes.
    """
    joined: list[Any] = []
    for output in outputs:
        same = [one for one in joined if one["output_type"] == "stream" and one["name"] == output.get("name")]
        if output["output_type"] == "stream" and same:
            same[0]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


myst_nb.core.render.coalesce_streams = as_printed
