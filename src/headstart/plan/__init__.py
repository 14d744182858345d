"""What a study would cost on other machines: from its settings, counts of images and rates."""
