"""Sphinx configuration; `make docs` builds with warnings as errors."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import sfumato

project = "sfumato"
author = "The sfumato authors"
copyright = f"2026, {author}"
release = version = sfumato.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False  # shapes such as Float[Tensor, "B L"] are no targets
default_role = "literal"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "sfumato"
html_show_sphinx = False

HERE = Path(__file__).parent
# Beside the attributes of `sfumato`: what is imported from its module.
MORE = {
    "evaluation": [
        "diversity.cased",
        "diversity.repetition",
        "diversity.unigram_entropy",
        "memorisation.memorisation",
        "likeness.overlap.rouge",
        "likeness.overlap.bleu",
        "likeness.overlap.self_bleu",
        "likeness.simplification.sari",
        "likeness.encodings.encoder",
        "likeness.semantics.bert_score",
        "likeness.distribution.mauve",
        "resampling.bootstrap",
        "resampling.compare",
    ],
}
TITLES = {
    "errors": "Errors",
    "text": "Text and canvas",
    "noise": "Noise",
    "models": "Models",
    "sampling": "Sampling",
    "evaluation": "Evaluation",
    "training": "Training",
    "presets": "Presets",
}


def write_reference() -> None:
    """Writes one page a package from the table of public names; git ignores the pages."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    names = defaultdict(list)
    for name in sfumato.__all__:
        names[sfumato._HOME[name].split(".")[1]].append(name)
    order = sorted(names, key=lambda package: (*TITLES, package).index(package))
    for package in order:
        title = TITLES.get(package, package.capitalize())
        entries = "\n\n".join(_entry(name) for name in names[package])
        page = f"# {title}\n\n```{{eval-rst}}\n{entries}\n```\n"
        if package in MORE:
            found = (f".. autofunction:: sfumato.{package}.{name}" for name in MORE[package])
            more = "\n\n".join(found)
            page += f"\n## From their modules\n\n```{{eval-rst}}\n{more}\n```\n"
        (folder / f"{package}.md").write_text(page, encoding="utf-8")
    listing = "\n".join(order)
    index = (
        "# Reference\n\nEvery name here is an attribute of `sfumato` and is imported when it is "
        f"first asked for.\n\n```{{toctree}}\n:maxdepth: 2\n\n{listing}\n```\n"
    )
    (folder / "index.md").write_text(index, encoding="utf-8")


def _entry(name: str) -> str:
    value = getattr(sfumato, name)
    kind = "autoclass" if isinstance(value, type) else "autofunction"
    kind = kind if callable(value) else "autodata"
    return f".. {kind}:: sfumato.{name}"


write_reference()
