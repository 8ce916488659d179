"""Hard negative mining: SVMs for a stream of examples that keep only the hard ones.

Sources: Girshick et al., R-CNN, section 2.3 and appendix B; Felzenszwalb et al., PAMI 2010, section 4.3, which shows
that a repeated stream leads to the optimum over all examples.

Shape letters: E examples, F features, K classes.
"""

import numpy as np

from lightning_rcnn.detectors.rcnn.hinge import SupportVectorMachines, solve_hinge


class ExampleCache:
    """Cache of positives, and of negatives that violate the margin or nearly do.

    Args:
        num_features: number of features F.
        num_classes: number of classes K.
        cost, positive_weight, bias_feature: as in `solve_hinge`.
        easy_margin: score below which a negative is dropped after a solution.
        limit: limit of examples kept after a solution: all positives, and the hardest negatives.
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
        """Solve for all examples, starting from the last solution, and drop the easy ones."""
        svms = solve_hinge(
            self.features,
            self.signs,
            cost=self.cost,
            positive_weight=self.positive_weight,
            bias_feature=self.bias_feature,
            dual=self._dual,
        )
        self._dual = svms.dual
        self._drop_easy(self.features @ svms.weights.T + svms.biases)
        return svms

    def _drop_easy(self, scores: np.ndarray) -> None:
        """Drop negatives of classes with low scores [E, K], and examples that are left without a class."""
        is_easy = (self.signs < 0) & (scores < self.easy_margin)
        self.signs[is_easy] = 0
        self._dual[is_easy] = 0
        hardness = np.where(self.signs < 0, scores, -np.inf).max(axis=1, initial=-np.inf)
        hardness[(self.signs > 0).any(axis=1)] = np.inf
        kept = np.flatnonzero(hardness > -np.inf)
        if len(kept) > self.limit:
            hardest = np.argsort(-hardness[kept], kind="stable")
            num_positives = int(np.isposinf(hardness).sum())
            kept = np.sort(kept[hardest[: max(self.limit, num_positives)]])
        self.features, self.signs, self._dual = self.features[kept], self.signs[kept], self._dual[kept]
