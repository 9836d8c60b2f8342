"""When did each action happen: segments of untrimmed video, and how well they are found."""
