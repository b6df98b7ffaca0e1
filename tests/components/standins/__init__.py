"""Stand-ins for scikit-learn and MLflow: as much of them as the sample training uses, and nothing learnt."""
