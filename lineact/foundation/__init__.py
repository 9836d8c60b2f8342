"""Foundation models: full-size weights by name or folder, and the embedded tiny set with the same classes.

`weights` finds files, `blip2`, `vit` and `yolov5` build and load modules, `scenes`, `corpus` and `pretrain` made the
tiny set. Nothing is imported here, so that a stage pays only for what it loads.
"""
