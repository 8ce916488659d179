"""Export of a trained detector to a file that runs without this package, checked as it is written."""
