"""Terms of the report in plain words: for the glossary, and where a term is first met."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "pretraining": "Learning from images without labels, before the labels are used.",
    "supervised training": "Training on the labelled images alone: what pretraining must beat.",
    "fine-tuned": "The whole pretrained network was trained on, with labels.",
    "linear head": "The pretrained network is frozen; only one linear layer on top is trained.",
    "k-NN": "The pretrained network is frozen; an image gets the class of the training images "
    "with the nearest features.",
    "random weights": "A network that learned nothing, as a reference: what the last layer can do "
    "by itself.",
    "arm": "One way to get a classifier, such as “SimCLR, fine-tuned”. All arms meet the same "
    "test.",
    "seed": "One repetition of everything random: the start, the order of the images, the "
    "labels drawn. Only several seeds can speak of a method.",
    "point": "A hundredth of the score: from 71 % to 75 % is 4 points.",
    "balanced accuracy": "The share of right answers in each class, averaged over the classes. "
    "Large classes count no more than small ones.",
    "macro-F1": "The average over classes of F1, which joins precision and recall.",
    "κ": "Cohen's kappa: agreement with the true classes beyond chance. 0 is guessing, 1 is "
    "perfect.",
    "recall": "Of the images of a class, the share that was given its name.",
    "precision": "Of the images that were given a name, the share that deserved it.",
    "95 % interval": "The range that fits the data: in 95 of 100 such studies it holds the true "
    "value.",
    "p (Holm)": "How surprising the difference would be if there were none, corrected for asking "
    "many questions at once.",
    "better, worse": "The difference is there, and it has this sign. The interval says how large "
    "it may be.",
    "no difference that matters": "Whatever difference there is, it is smaller than the margin "
    "of this study.",
    "too close to call": "The data fit a gain as well as a loss, or no difference. In tables: "
    "can't tell. It does not mean that there is no difference.",
    "no verdict": "A check failed, or an arm was lost. Nothing may be concluded.",
    "check": "A test of the comparison itself, also called a gate: were test images kept apart, "
    "was every arm trained long enough?",
    "converged": "Training for longer was seen to help no more.",
    "label saving": "How many labels supervised training needs to do as well as a pretrained model "
    "with few.",
    "calibration error": "How far the stated probability and the share of right answers lie apart.",
    "temperature": "A number that makes a network's probabilities less extreme, fitted on "
    "validation images.",
    "collapse": "Pretraining went wrong: the network gives all images nearly the same features.",
    "effective rank": "In how many directions the features of the images differ.",
    "attribution map": "A picture of which pixels move the score of a class.",
    "trivial loss": "The loss of a network that learned nothing about the images.",
}


def anchor(term: str) -> str:
    """The id of a term in the glossary."""
    return "term-" + "".join(c if c.isalnum() else "-" for c in term.lower())
