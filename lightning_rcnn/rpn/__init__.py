"""The region proposal branch: anchors, their scores and deltas, and the selection of proposals."""
