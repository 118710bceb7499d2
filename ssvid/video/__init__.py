"""The only room that knows decoders: read, probe, scan and write video files."""
