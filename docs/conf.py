"""Sphinx's configuration: the pages are MyST Markdown, and readable in the repository as well."""

from __future__ import annotations

from importlib import metadata

project = "imagefilter"
author = "the imagefilter authors"
version = release = metadata.version("nova-imagefilter")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["__pycache__"]

# #headings of other pages are linked to as code hosts name them.
myst_heading_anchors = 4
# A block without a language is a command, a configuration file, or what a program printed.
highlight_language = "text"

html_theme = "furo"
html_title = f"imagefilter {version}"
html_copy_source = False
html_show_copyright = False

# Addresses of an example, and pages that answer only people.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost|keystone|nova|broker)"]
