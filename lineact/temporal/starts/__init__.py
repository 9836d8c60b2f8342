"""Small starts of the extractors of clips: procedural clips with labels, and their training.

`clips` draws and keeps the corpus, `training` teaches a network to tell what is done, with what and where, `build`
makes a family's folder. All families see the same clips as often.
"""
