"""Detection in many images and videos: sources, loading, batches, results that survive a crash, several processes."""
