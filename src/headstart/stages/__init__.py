"""One module a verb: index, pretrain, extract, classify, evaluate, explain, compare, report."""
