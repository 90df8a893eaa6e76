"""How many tokens a model may write in one pass, found on texts of one's own.

openings.py    validation records with the part open that is to be written
paces.py       an order and a quota, how they are written down, and the candidates
agreement.py   what a pace would write along a careful run: one run judges all of them
choice.py      the boldest pace whose quality is sure to reach a target
"""
