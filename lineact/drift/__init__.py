"""Whether a station sees what it saw at first: samples of video in blocks of time, held against earlier ones."""
