"""Images of handwritten digits with what they show, as scikit-learn brings them along: 8 by 8 pixels, from 0 to 16."""

from typing import Any

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits() -> tuple[Any, Any, Any, Any]:
    """Images for training, images for testing, what the former show, what the latter show. Always the same split."""
    images, shown = load_digits(return_X_y=True)
    training, testing, training_shown, testing_shown = train_test_split(images, shown, test_size=0.2, random_state=0)
    return training / 16, testing / 16, training_shown, testing_shown
