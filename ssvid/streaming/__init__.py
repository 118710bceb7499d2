"""A video classified frame by frame as it plays, or a camera as it looks: each frame is encoded once, and memory does not grow."""
