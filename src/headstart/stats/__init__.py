"""Statistics as pure functions over arrays: no torch, no files, no knowledge of stages.

metrics         confusion matrices and what is read off them
intervals       Wilson and percentile intervals
bootstrap       resampling of images, and of seeds and images together
mrmc            the variance components behind a difference (seeds as readers, images as cases)
hypotheses      the tests: chance, independence, majority, McNemar, Holm
power           what a test set can and cannot show
calibration     similarity of attribution maps between its floor and its ceiling
confidence      calibration of probabilities, and accuracy where some answers are withheld
focus           attribution on objects: means over images, and against an untrained network
background      what a classifier answers when foreground and background are exchanged
labels          label curves, their area, and how many labels a method saves
verdict         the fixed list of verdicts a comparison may end in
representation  how spread out an encoder's outputs are
collapse        the watch that stops a run whose outputs have collapsed
"""
