"""One thread owns the model; requests are rows that share its batches.

    request ─▶ Job ─▶ waiting ─▶ Lane: a batch of one policy ─▶ Mailbox ─▶ reader
               rows    bounded     lanes take turns, a step each   the latest only

mailbox.py   what a reader has not seen yet; later steps merge into earlier ones
job.py       rows to write, what the reader looks at, what came of a row
view.py      what a reader is shown of a step
lane.py      one batch: rows come when there is room and leave when they are done or unwanted
engine.py    the thread: lanes in turn, calls between their steps, a bounded queue
"""
