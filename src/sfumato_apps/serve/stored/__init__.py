"""What people said of texts, in one SQLite file: rankings and blind judgements.

database.py    the file: made by the first write, shared by processes
preferences.py rankings, in the form that `sfumato align --data` reads
judgements.py  votes between two ways of writing, and what they come to
"""
