"""A bag of LightGBM models as plain arrays: their log-odds to the last bit, exact Shapley values in a fraction of the time.

The value of a set of known inputs is the tree's mean leaf where an unknown input goes both ways in proportion to the
training rows (path-dependent TreeSHAP; Lundberg et al., 2020), as in LightGBM's `pred_contrib`. For one leaf, let j run over the
inputs on its path, let o_j be 1 where the row meets all decisions on j and 0 otherwise, and r_j be the share of the training
rows that do. The Shapley value of i is

    leaf * (o_i - r_i) * integral from 0 to 1 of the product over j != i of (r_j + t (o_j - r_j)) dt,

because the Shapley weight of a set of s among d - 1 others is the integral of t^s (1 - t)^(d-1-s). The product is a polynomial
in t, which a Gauss-Legendre rule with half as many points as its factors integrates exactly. Products come down a tree and
sums of leaves go up: a row passes each node twice, and no set is enumerated. Yu et al. (2022, "Linear TreeShap") go
this way with polynomials; points instead of coefficients turn all that does not depend on the row into a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from features.errors import StorageError
from models.learners import forest_kernel
from models.learners.forest_kernel import CATEGORICAL, LANES, NODE, ZERO


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of one or more models over the same inputs.

    Attributes:
        n_inputs: Inputs of every model.
        nodes: Of all trees, of dtype `models.learners.forest_kernel.NODE`.
        categories: Bits of the categories that go left.
        roots: First node of each tree; the number of nodes at the end.
        member: Model of each tree.
        tables: Factors and weights of the quadrature (`models.learners.forest_kernel.contributions`), flat.
        starts: Where the table of each tree begins; the length of all at the end.
        base: Mean log-odds of each model over its training rows, shape (members,).
    """

    n_inputs: int
    nodes: np.ndarray
    categories: np.ndarray
    roots: np.ndarray
    member: np.ndarray
    tables: np.ndarray
    starts: np.ndarray
    base: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Forest:
        """From LightGBM's own text format.

        Raises:
            StorageError: A text is no LightGBM model of one outcome with constant leaves, or their inputs differ.
        """
        models = [_read(text) for text in texts]
        if len({n_inputs for n_inputs, _ in models}) != 1:
            raise StorageError("the models of a bag have different inputs", remedy="Train again.")
        trees = [tree for _, several in models for tree in several]
        if not trees:
            raise StorageError("a model has no trees", remedy="Train again.")
        member = np.repeat(np.arange(len(models)), [len(several) for _, several in models])
        roots = np.cumsum([0, *(len(tree.rows) for tree in trees)])
        words = np.cumsum([0, *(len(tree.categories) for tree in trees)])
        made = [_nodes(tree, int(word)) for tree, word in zip(trees, words[:-1], strict=True)]
        nodes, categories = np.concatenate(made), np.concatenate([tree.categories for tree in trees])
        if nodes["feature"].max() >= models[0][0] or nodes["last"].max() > len(categories):
            raise StorageError(
                "a tree is damaged: it decides on an input that is not there", remedy="Restore the model."
            )
        base = np.bincount(member, [tree.mean for tree in trees], minlength=len(models))
        tables = [_table(nodes) for nodes in made]
        starts = np.cumsum([0, *(len(table) for table in tables)])
        return cls(models[0][0], nodes, categories, roots, member, np.concatenate(tables), starts, base)

    def log_odds(self, inputs: np.ndarray) -> np.ndarray:
        """Raw log-odds of rows by each model, as its own `predict(raw_score=True)` to the bit, shape (n, members).

        Args:
            inputs: Shape (n, inputs); NaN where not known.
        """
        out = np.zeros((len(inputs), len(self.base)))
        rows = np.ascontiguousarray(inputs, np.float64)
        forest_kernel.log_odds(rows, self.nodes, self.categories, self.roots, self.member, out)
        return out

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """What each input adds to the mean raw log-odds of the models, shape (n, inputs).

        A row and the mean of `base` sum to the mean of its `log_odds`.

        Args:
            inputs: Shape (n, inputs); NaN where not known.
        """
        out = np.zeros((len(inputs), self.n_inputs))
        rows = np.ascontiguousarray(inputs, np.float64)
        forest_kernel.contributions(rows, self.nodes, self.categories, self.roots, self.tables, self.starts, out)
        return out / len(self.base)


@dataclass(frozen=True, eq=False)
class _Tree:
    """A tree as its text has it, in the order of `Nodes`.

    Attributes:
        lists: The text's lists by name.
        rows: Number of training rows of each node.
        own: Place of each node among the text's inner nodes, or among its leaves.
        parent: -1 at the root.
        is_left: Whether a node is a left child.
        is_leaf: Whether it is a leaf.
    """

    lists: dict[str, np.ndarray]
    rows: np.ndarray
    own: np.ndarray
    parent: np.ndarray
    is_left: np.ndarray
    is_leaf: np.ndarray

    @property
    def categories(self) -> np.ndarray:
        return self.lists.get("cat_threshold", np.empty(0)).astype(np.uint32)

    @property
    def mean(self) -> float:
        """Mean leaf over the training rows."""
        leaves = self.own[self.is_leaf]
        return float(self.lists["leaf_value"][leaves] @ (self.rows[self.is_leaf] / self.rows[0]))

    def inner(self, name: str) -> np.ndarray:
        """A list of the inner nodes; 0 at leaves."""
        out = np.zeros(len(self.own))
        out[~self.is_leaf] = self.lists[name][self.own[~self.is_leaf]]
        return out


def _read(text: str) -> tuple[int, list[_Tree]]:
    """Number of inputs and trees of a model."""
    head, *parts = text.split("\nTree=")
    known = _fields(head)
    if (
        not text.startswith("tree\n")
        or known.get("num_tree_per_iteration") != "1"
        or "average_output" in head.split("\n")
    ):
        raise StorageError("a model is no LightGBM text of one outcome", remedy="Train again.")
    return int(known["max_feature_idx"]) + 1, [_tree(_fields(part.split("\n\n")[0])) for part in parts]


def _fields(text: str) -> dict[str, str]:
    return {name: value for name, is_field, value in (line.partition("=") for line in text.split("\n")) if is_field}


def _tree(fields: dict[str, str]) -> _Tree:
    if fields.get("is_linear", "0") != "0":
        raise StorageError("a tree has linear leaves", expected="constant ones", remedy="Train without linear_tree.")
    if fields["num_leaves"] == "1":  # a constant: LightGBM writes no decisions
        fields = fields | {"leaf_count": "1", "left_child": "", "right_child": "", "internal_count": ""}
    lists = {n: np.array(v.split(), np.float64) for n, v in fields.items() if n not in ("num_leaves", "shrinkage")}
    own, parent, is_left = zip(
        *_preorder(lists["left_child"].astype(int), lists["right_child"].astype(int)), strict=True
    )
    own, is_leaf = np.array(own), np.array(own) < 0
    own = np.where(is_leaf, ~own, own)
    rows = np.empty(len(own))
    rows[is_leaf], rows[~is_leaf] = lists["leaf_count"][own[is_leaf]], lists["internal_count"][own[~is_leaf]]
    if (rows <= 0).any():
        raise StorageError("a tree is damaged: no training row reached one of its nodes", remedy="Restore the model.")
    return _Tree(lists, rows, own, np.array(parent), np.array(is_left), is_leaf)


def _preorder(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Each node (~leaf for a leaf), the place of its parent in this order, and whether it is a left child."""
    pending, place = [(0 if len(left) else ~0, -1, False)], 0
    while pending:
        node, parent, is_left = pending.pop()
        if place > 2 * len(left) or not -len(left) - 1 <= node < len(left):
            raise StorageError("a tree is damaged: its nodes do not lead to its leaves", remedy="Restore the model.")
        yield node, parent, is_left
        if node >= 0:
            pending += [(int(right[node]), place, False), (int(left[node]), place, True)]
        place += 1


def _nodes(tree: _Tree, word: int) -> np.ndarray:
    """The nodes of a tree, of dtype `NODE`.

    Args:
        tree: As its text has it.
        word: Where its categories begin among those of all trees.
    """
    nodes: np.ndarray = np.zeros(len(tree.own), NODE)
    nodes["parent"], nodes["is_left"] = tree.parent, tree.is_left
    nodes["right"] = -1
    is_right = (tree.parent >= 0) & ~tree.is_left
    nodes["right"][tree.parent[is_right]] = np.flatnonzero(is_right)
    nodes["feature"], nodes["threshold"] = tree.inner("split_feature"), tree.inner("threshold")
    nodes["decision"] = tree.inner("decision_type")
    categorical = nodes["decision"] & CATEGORICAL > 0
    below_zero = ~categorical & (nodes["threshold"] == -ZERO)
    nodes["threshold"][below_zero] = np.nextafter(-ZERO, -np.inf)  # LightGBM reads -ZERO as 0, which goes right
    if categorical.any():
        bounds, which = tree.lists["cat_boundaries"].astype(int), nodes["threshold"][categorical].astype(int)
        nodes["first"][categorical], nodes["last"][categorical] = word + bounds[which], word + bounds[which + 1]
    nodes["value"][tree.is_leaf] = tree.lists["leaf_value"][tree.own[tree.is_leaf]]
    nodes["above"] = _above(tree.parent, nodes["feature"])
    nodes["fades"] = np.where(tree.parent >= 0, tree.rows / tree.rows[tree.parent], 1.0)
    return nodes


def _above(parent: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """The nearest node above each whose parent decides on the same input as its own parent; -1 where there is none."""
    above = np.full(len(parent), -1)
    for node in range(1, len(parent)):
        at = int(parent[node])
        while parent[at] >= 0 and feature[parent[at]] != feature[parent[node]]:
            at = int(parent[at])
        above[node] = at if parent[at] >= 0 else -1
    return above


def _table(nodes: np.ndarray) -> np.ndarray:
    """Factors and weights of each node of a tree at each point, shape (nodes, 2, 2, points), flat.

    With r the share of the training rows that meet the decisions on the node's input so far, the factor of that input is
    r + t (1 - r) where the row meets them and r (1 - t) where not. Going from the factor of `above` to its own multiplies
    the product; (o - r) / factor, less that of `above`, weighs what comes up, because only the lowest decision counts.
    """
    share, before, depth = _followed(nodes)
    share, before = share[:, None], before[:, None]
    needed = (int(depth.max()) + 1) // 2
    t, weight = _points(LANES * max(1, -(-needed // LANES)))
    met, missed, met_before = share + t * (1 - share), share * (1 - t), before + t * (1 - before)
    gain_before = (1 - before) / met_before
    down = np.stack([missed / met_before, met / met_before], axis=1)
    up = weight * np.stack([-1 / (1 - t) - gain_before, (1 - share) / met - gain_before], axis=1)
    return np.stack([down, up], axis=2).ravel()


@cache
def _points(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the Gauss-Legendre rule from 0 to 1."""
    x, weight = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, weight / 2


def _followed(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the training rows that a node's input's decisions let through, with its own and without; inputs decided on."""
    share, before, depth = np.ones(len(nodes)), np.ones(len(nodes)), np.zeros(len(nodes), int)
    for i, (parent, above, fades) in enumerate(zip(nodes["parent"], nodes["above"], nodes["fades"], strict=True)):
        if parent >= 0:
            before[i] = share[above] if above >= 0 else 1.0
            share[i], depth[i] = before[i] * fades, depth[parent] + (above < 0)
    return share, before, depth
