"""The independent parts of a decoding policy. Constructing a part configures it; nothing runs."""
