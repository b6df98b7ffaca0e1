"""The digits dataset of scikit-learn: images of 8 by 8 pixels with values from 0 to 16, and their labels."""

from typing import Any

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits() -> tuple[Any, Any, Any, Any]:
    """Return training images, test images, training labels and test labels. The split is always the same."""
    images, labels = load_digits(return_X_y=True)
    training, testing, training_labels, testing_labels = train_test_split(images, labels, test_size=0.2, random_state=0)
    return training / 16, testing / 16, training_labels, testing_labels
