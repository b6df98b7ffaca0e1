"""What MLflow writes beside a model."""


class Model:
    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
