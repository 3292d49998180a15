"""What a model's graph looks like, whoever wrote it, and what in it does not belong to a classifier.

A front end (`from_onnx`, `from_torch`) turns a file's nodes into a `Graph` of roles; patterns look through it and give
`Sight`s; rules in `rules/` judge these; where they are undecided, the branch is driven (`driving`). Front ends and
patterns need no torch but for `from_torch` and `driving`.
"""
