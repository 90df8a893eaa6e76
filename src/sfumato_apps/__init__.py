"""Everything a person touches: the command line, its recipes, the player, the shipped model."""
