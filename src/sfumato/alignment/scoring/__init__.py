"""What makes a text good: rules, word lists, models, and a reward that is learnt from rankings."""
