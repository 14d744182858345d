"""The verbs, one module or folder each: index, pretrain, extract, classify, evaluate, explain,
compare and report, with gates and review beside them.

A folder's other files belong to its verb; what several verbs share is in ``runtime``.
"""
