"""What goes over the wire.

requests.py  what may be asked, with types and ranges
asked.py     what the fields of a request mean to the library
shapes.py    answers, chunks and snapshots, in OpenAI's form
streams.py   server-sent events
replies.py   answers as JSON
errors.py    one envelope for every error
"""
