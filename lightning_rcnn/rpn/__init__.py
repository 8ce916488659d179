"""The region proposal branch: anchors, their scores and deltas, and the proposals that they become."""
