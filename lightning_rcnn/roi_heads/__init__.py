"""The branches that work on regions of interest: classes and boxes, and masks."""
