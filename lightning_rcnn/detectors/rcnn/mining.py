"""Support vector machines that learn from a stream of examples, of which only the hard ones are kept.

Girshick et al., R-CNN, section 2.3 and appendix B; Felzenszwalb et al., PAMI 2010, section 4.3, for why it ends at the
optimum over all examples if the stream is repeated.

Shape letters: E examples, F features, K classes.
"""

import numpy as np

from lightning_rcnn.detectors.rcnn.hinge import SupportVectorMachines, solve_hinge


class ExampleCache:
    """Positives, and negatives that violate the margin or nearly do.

    Args:
        num_features: F.
        num_classes: K.
        cost, positive_weight, bias_feature: as in `solve_hinge`.
        easy_margin: negatives with a margin below this are dropped after a solution.
        limit: the most examples that stay after a solution: all positives and the hardest negatives.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        cost: float,
        positive_weight: float,
        bias_feature: float,
        easy_margin: float,
        limit: int,
    ) -> None:
        self.cost, self.positive_weight, self.bias_feature = cost, positive_weight, bias_feature
        self.easy_margin, self.limit = easy_margin, limit
        self.features = np.zeros((0, num_features), np.float32)
        self.signs = np.zeros((0, num_classes), np.int8)
        self._dual = np.zeros((0, num_classes))

    def __len__(self) -> int:
        return len(self.signs)

    def add(self, features: np.ndarray, signs: np.ndarray) -> None:
        """Add examples: features float32 [E, F] and signs int8 [E, K], as in `solve_hinge`."""
        self.features = np.concatenate([self.features, features])
        self.signs = np.concatenate([self.signs, signs])
        self._dual = np.concatenate([self._dual, np.zeros(signs.shape)])

    def solve(self) -> SupportVectorMachines:
        """The machines for all examples, from where the last solution ended; then the easy examples are dropped."""
        machines = solve_hinge(
            self.features,
            self.signs,
            cost=self.cost,
            positive_weight=self.positive_weight,
            bias_feature=self.bias_feature,
            dual=self._dual,
        )
        self._dual = machines.dual
        self._drop_easy(self.features @ machines.weights.T + machines.biases)
        return machines

    def _drop_easy(self, margins: np.ndarray) -> None:
        """Margins [E, K]: an example leaves those classes against which it is easy, and with the last of them all."""
        is_easy = (self.signs < 0) & (margins < self.easy_margin)
        self.signs[is_easy] = 0
        self._dual[is_easy] = 0
        hardness = np.where(self.signs < 0, margins, -np.inf).max(axis=1, initial=-np.inf)
        hardness[(self.signs > 0).any(axis=1)] = np.inf
        kept = np.flatnonzero(hardness > -np.inf)
        if len(kept) > self.limit:
            hardest = np.argsort(-hardness[kept], kind="stable")
            num_positives = int(np.isposinf(hardness).sum())
            kept = np.sort(kept[hardest[: max(self.limit, num_positives)]])
        self.features, self.signs, self._dual = self.features[kept], self.signs[kept], self._dual[kept]
