"""One file a family of routes; `writing.py` is what all that write share."""
