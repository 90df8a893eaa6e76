"""One training in several processes: who takes which rows, and where the whole weights are."""
