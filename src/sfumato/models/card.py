"""The model card that is written beside every checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TEMPLATE = """---
library_name: sfumato
license: {licence}
tags: [text-diffusion, masked-diffusion]
---

# {title}

A text diffusion model ({network}, {size:.2f}M parameters), made with sfumato.

{about}

```bash
sfumato write --model FOLDER --n 3
sfumato fill "A text with a {{}}." --model FOLDER
```

`AutoModelForMaskedLM.from_pretrained` opens it as well.

## Origin

```json
{origin}
```
"""


def card(network: str, size: int, metadata: Mapping[str, Any]) -> str:
    """Renders the card.

    Args:
        network: class of the network.
        size: number of parameters.
        metadata: `title`, `about` and `licence` have places of their own; the rest is listed.

    Example:
        >>> "1.50M" in card("BertForMaskedLM", 1_500_000, {"seed": 0})
        True
    """
    rest = {k: v for k, v in metadata.items() if k not in ("title", "about", "licence")}
    return _TEMPLATE.format(
        licence=metadata.get("licence", "unknown"),
        title=metadata.get("title", "A text diffusion model"),
        network=network,
        size=size / 1e6,
        about=metadata.get("about", "Its data and settings are listed below."),
        origin=json.dumps(rest, ensure_ascii=False, indent=1, default=str),
    )
