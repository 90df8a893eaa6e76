"""Text → numbers. A metric is a record: value, n, seed, reference, settings, standard error."""
