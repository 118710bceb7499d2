"""Search in video by example: vectors on disk, an index over them, and the page that shows what was found."""
