"""Sets of facts that no description has, to choose by."""

from __future__ import annotations

import facts


def test_new_sets_are_put_together_from_known_ones_and_are_neither_known_nor_held_out() -> None:
    known = [
        {"name": name, "food": food, "area": area}
        for name in ("Aromi", "Cotto")
        for food in ("French", "Thai")
        for area in ("riverside", "city centre")
    ][:5]
    known.append({"name": "Zizzi"})
    held = [{"name": "Cotto", "food": "Thai", "area": "riverside"}]
    found = facts.recombined(known, 3, 0, held=held)
    prompts = [facts.prompt_of(one) for one in found]
    assert len({*prompts}) == 3
    assert not {*prompts} & {facts.prompt_of(one) for one in (*known, *held)}
    for one in found:
        assert [*one] in ([*known[0]], [*known[-1]])
        for name, value in one.items():
            assert value in {old[name] for old in known if name in old}
    assert facts.recombined(known, 3, 0, held=held) == found
