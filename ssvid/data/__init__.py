"""From files to batches: layouts, the index, the motion world, sampling, augmentation, the loader."""
