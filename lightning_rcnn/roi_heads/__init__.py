"""The branches that look at one region of interest at a time: its box and class, and its mask."""
