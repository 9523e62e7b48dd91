"""Channel shuffling."""
