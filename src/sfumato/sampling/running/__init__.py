"""Many rows through one batch that is kept full.

queue.py     which row is next, and results in the order of the rows
pool.py      the batch: a row that is done leaves, and the next one takes its place
rows.py      frames taken apart and put together
recording.py what happened to each row, as a sample with its trace
"""
