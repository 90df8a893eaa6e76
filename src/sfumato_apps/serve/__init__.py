"""The server: writing, filling, editing and scoring over HTTP, text emerging as it is written.

engine/      one thread owns the model; requests share its batches
wire/        what goes over the wire: requests, answers, streams, errors
routes/      one file a family of routes
stored/      preferences and judgements, in SQLite
limits.py    what a request may cost
security.py  who may ask, and how much they may send
app.py       all of it together; launch.py runs it
"""
