"""What goes beyond the guide values, each with the reason in one sentence.

At most 5 % of the functions and of the files may stand here, and an entry that is no longer
needed fails the test.
"""

from __future__ import annotations

FUNCTIONS: dict[str, str] = {}

FILES: dict[str, str] = {}

PACKAGES: dict[str, str] = {
    "sfumato.text": "Reading files and detecting their fields are apart from mixing them.",
    "sfumato.sampling.tasks": "One file a kind of task, beside what they share.",
    "sfumato_apps": "What the recipes share stands beside them, one concern a file.",
    "sfumato_apps.recipes": "One file a command.",
}

# Dataclasses that are not frozen or not keyword-only.
MUTABLE: dict[str, str] = {}

# Public names without an example in their docstring.
NO_EXAMPLE: dict[str, str] = {
    "Ancestral": "docs/choosing.md builds it.",
    "DiffusionTrainer": "It needs a model and a data set; docs/guide/your-data.md runs it.",
    "EntropyBound": "docs/choosing.md builds a policy with it.",
    "Even": "docs/choosing.md builds a policy with it.",
    "Objective": "It needs a model; docs/guide/your-data.md trains with it.",
    "Sample": "README.md and the example of the guides print its fields.",
    "Threshold": "docs/choosing.md builds a policy with it.",
    "complete": "It needs a trained model; docs/guide/fill-and-edit.md runs it.",
}
