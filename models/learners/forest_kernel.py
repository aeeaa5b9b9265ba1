"""The compiled core of the forest: the log-odds of a row's trees, and what each input adds to them.

Plain loops over arrays, compiled by numba without reordering of floating-point operations, so that the same row gives the
same bits alone or among others, on any number of threads. Places are unsigned: for a signed one numba also compiles the way
of a negative index, which costs a quarter of the time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

CATEGORICAL, DEFAULT_LEFT, ZERO_IS_MISSING, NAN_IS_MISSING = 1, 2, 4, 8  # LightGBM's `decision_type`, bit by bit
LANES = 4  # points of the quadrature come in fours: what is written four times is multiplied at once
NODE = np.dtype(
    [
        ("right", np.int32),  # place of the right child in its tree; the left one is the next node; -1 in a leaf
        ("feature", np.int32),  # input that it decides on
        ("threshold", np.float64),  # values up to it go left
        ("value", np.float64),  # log-odds of a leaf
        ("fades", np.float64),  # share of its parent's training rows that reach it
        ("parent", np.int32),  # place in its tree; -1 at the root
        ("above", np.int32),  # nearest node above whose parent decides on the same input as its own parent; -1: none
        ("first", np.int32),  # first word of the categories that go left
        ("last", np.int32),  # after the last one
        ("decision", np.uint8),  # how it decides, as bits
        ("is_left", np.bool_),
    ],
    align=True,
)
"""A node of a tree: a tree's stand together, each before its children. Only its own fields are read of a leaf."""
ZERO = float(np.float32(1e-35))  # what LightGBM takes for 0
_WORD = 32  # categories in one word
_0, _1, _2, _3, _4 = (np.uint64(i) for i in range(LANES + 1))
_UNMET, _OTHER, _OWN = -1, 0, 1  # decisions on an input: missed further up, missed by the last one, met by all


@njit(cache=True, nogil=True, forceinline=True)
def _goes_left(node, categories, seen):
    if node.decision & CATEGORICAL:
        if np.isnan(seen) or seen <= -1.0 or seen >= _WORD * (node.last - node.first):
            return False
        code = np.int64(seen)
        return (categories[node.first + code // _WORD] >> (code % _WORD)) & 1 == 1
    if np.isnan(seen):
        if node.decision & NAN_IS_MISSING:
            return node.decision & DEFAULT_LEFT != 0
        seen = 0.0
    if node.decision & ZERO_IS_MISSING and abs(seen) <= ZERO:
        return node.decision & DEFAULT_LEFT != 0
    return seen <= node.threshold


@njit(cache=True, nogil=True)
def log_odds(inputs, nodes, categories, roots, member, out) -> None:
    """Add the leaf that each row reaches in each tree to the sum of the tree's member, in the order of the trees.

    Args:
        inputs: Shape (n, inputs).
        nodes: Of all trees, of dtype `NODE`.
        categories: Bits of the categories that go left, as unsigned 32-bit words.
        roots: First node of each tree; the number of nodes at the end.
        member: Of each tree.
        out: Shape (n, members).
    """
    for row in range(len(inputs)):
        for tree in range(len(member)):
            root = roots[tree]
            node = nodes[root]
            at = 0
            while node.right >= 0:
                at = at + 1 if _goes_left(node, categories, inputs[row, node.feature]) else node.right
                node = nodes[root + at]
            out[row, member[tree]] += node.value


@njit(cache=True, nogil=True)
def contributions(inputs, nodes, categories, roots, tables, starts, out) -> None:
    """Shapley values of every input (`models.learners.forest`).

    Args:
        inputs: Shape (n, inputs).
        nodes: Of all trees, of dtype `NODE`.
        categories: Bits of the categories that go left.
        roots: First node of each tree; the number of nodes at the end.
        tables: Of each tree, shape (nodes, 2, 2, points), flat: what a node whose parent decided otherwise (0) or its way (1)
            does to the products coming down (0), and how it weighs the sums coming up (1), at each point of the quadrature.
        starts: Where the table of each tree begins; the length of all at the end.
        out: Shape (n, inputs); zeros.
    """
    n_nodes = roots[1:] - roots[:-1]
    n_points = (starts[1:] - starts[:-1]) // (4 * n_nodes)
    most, most_nodes = np.max(n_points), np.max(n_nodes)
    down, up = np.empty(most_nodes * most), np.empty(most_nodes * most)
    goes_left, way = np.empty(most_nodes, np.bool_), np.empty(most_nodes, np.int8)
    summed = np.empty(inputs.shape[1] * most)  # by input, then point: they are all summed in the end
    for row in range(len(inputs)):
        summed[:] = 0.0
        for tree in range(len(n_nodes)):
            own, table = nodes[roots[tree] : roots[tree + 1]], tables[starts[tree] : starts[tree + 1]]
            points = np.uint64(n_points[tree])
            _down(inputs[row], own, categories, table, points, goes_left, way, down, up)
            _up(own, table, points, way, up, summed, np.uint64(most))
        for i in range(inputs.shape[1]):
            for k in range(most):
                out[row, i] += summed[i * most + k]


@njit(cache=True, nogil=True, forceinline=True)
def _down(seen, nodes, categories, table, points, goes_left, way, down, up) -> None:
    """Products from the root to every node; at a leaf they take its value and turn round."""
    _fill(down, _0, points, 1.0)
    for i in range(np.uint64(len(nodes))):
        node, own = nodes[i], i * points
        if node.parent >= 0:
            before = np.uint64(node.parent)
            if node.above >= 0 and way[np.uint64(node.above)] != _OWN:
                way[i] = _UNMET
                _scale(down, own, down, before * points, points, node.fades)
            else:
                way[i] = _OWN if goes_left[before] == node.is_left else _OTHER
                _multiply(down, own, before * points, points, table, (own * _2 + np.uint64(way[i]) * points) * _2)
        if node.right >= 0:
            goes_left[i] = _goes_left(node, categories, seen[np.uint64(node.feature)])
            _fill(up, own, points, 0.0)
        else:
            _scale(up, own, down, own, points, node.value)


@njit(cache=True, nogil=True, forceinline=True)
def _up(nodes, table, points, way, up, summed, room) -> None:
    """Sums of leaves from every node to the root; each gives its share to the input its parent decided on."""
    for j in range(_1, np.uint64(len(nodes))):
        i = np.uint64(len(nodes)) - j
        before, own = np.uint64(nodes[i].parent), i * points
        if way[i] != _UNMET:
            by = np.uint64(nodes[before].feature) * room
            _add_product(summed, by, points, table, (own * _2 + np.uint64(way[i]) * points) * _2 + points, up, own)
        _add(up, before * points, own, points)


@njit(cache=True, nogil=True, forceinline=True)
def _fill(out, to, points, value) -> None:
    for k in range(_0, points, _4):
        out[to + k], out[to + k + _1], out[to + k + _2], out[to + k + _3] = value, value, value, value


@njit(cache=True, nogil=True, forceinline=True)
def _scale(out, to, rows, i, points, by) -> None:
    for k in range(_0, points, _4):
        a, b, c, d = rows[i + k] * by, rows[i + k + _1] * by, rows[i + k + _2] * by, rows[i + k + _3] * by
        out[to + k], out[to + k + _1], out[to + k + _2], out[to + k + _3] = a, b, c, d


@njit(cache=True, nogil=True, forceinline=True)
def _multiply(rows, to, i, points, by, j) -> None:
    for k in range(_0, points, _4):
        a, b = rows[i + k] * by[j + k], rows[i + k + _1] * by[j + k + _1]
        c, d = rows[i + k + _2] * by[j + k + _2], rows[i + k + _3] * by[j + k + _3]
        rows[to + k], rows[to + k + _1], rows[to + k + _2], rows[to + k + _3] = a, b, c, d


@njit(cache=True, nogil=True, forceinline=True)
def _add_product(out, to, points, by, j, rows, i) -> None:
    for k in range(_0, points, _4):
        a, b = out[to + k] + by[j + k] * rows[i + k], out[to + k + _1] + by[j + k + _1] * rows[i + k + _1]
        c = out[to + k + _2] + by[j + k + _2] * rows[i + k + _2]
        d = out[to + k + _3] + by[j + k + _3] * rows[i + k + _3]
        out[to + k], out[to + k + _1], out[to + k + _2], out[to + k + _3] = a, b, c, d


@njit(cache=True, nogil=True, forceinline=True)
def _add(rows, to, i, points) -> None:
    for k in range(_0, points, _4):
        a, b = rows[to + k] + rows[i + k], rows[to + k + _1] + rows[i + k + _1]
        c, d = rows[to + k + _2] + rows[i + k + _2], rows[to + k + _3] + rows[i + k + _3]
        rows[to + k], rows[to + k + _1], rows[to + k + _2], rows[to + k + _3] = a, b, c, d
