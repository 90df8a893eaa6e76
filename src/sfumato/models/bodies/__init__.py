"""The bodies of encoders, computed for the tokens that are wanted and for no others."""
