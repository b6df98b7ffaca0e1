"""Stand-ins for the parts of scikit-learn and MLflow that the sample training uses. They learn nothing."""
