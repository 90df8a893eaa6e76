"""The reverse mathematics: one policy is a product of parts, one loop walks it frame by frame.

    parts/       randomness, logits, planners, quotas, constraints, guidance, revision
    frames.py    the state shown after a step, and what remains of a run
    decoding.py  one reverse move of masked text, from the parts of a policy
    ancestral.py one reverse move of any noise process
    policies.py  policies named after the papers they restate
    loop.py      the iterator of frames
    running/     many rows through one batch that is kept full, and what happened to each
    trace.py     the compact record of a run, one JSON line a step
    tasks/       write, complete, fill, edit, detox, fim, bridge, rewrite: text in, text out

Tensors in, tensors out: only tasks/ sees text, and nothing here knows a network by its class.
"""
