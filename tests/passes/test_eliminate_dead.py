"""Removes nodes whose results nobody reads, and copies that change nothing."""

from __future__ import annotations

from passes.eliminate_dead import EliminateDead
from tests.support.before_and_after import after, stays


def test_unread_nodes_and_copies_go() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x) from (Relu_0)
b: float32[1, 4] = Identity(a) from (Identity_1)
c: float32[1, 4] = Cast(b) to=1 from (Cast_2)
d: float32[1, 4], mask: bool[1, 4] = Dropout(c) from (Dropout_3)
unread: float32[1, 4] = Exp(b) from (Exp_4)
y: float32[1, 4] = Neg(d) from (Neg_5)
ledger (Relu_0, Identity_1, Cast_2, Dropout_3, Exp_4, Neg_5)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x) from (Relu_0)
y: float32[1, 4] = Neg(a) from (Neg_5)
ledger (Relu_0, Identity_1 removed, Cast_2 removed, Dropout_3 removed, Exp_4 removed, Neg_5)
"""
    assert after(EliminateDead(), before) == wanted


def test_a_renamed_output_keeps_its_name() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x)
y: float32[1, 4] = Identity(a)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
y: float32[1, 4] = Relu(x) named a
"""
    assert after(EliminateDead(), before) == wanted


def test_two_outputs_of_one_value_need_one_copy() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, z)
a: float32[1, 4] = Relu(x)
y: float32[1, 4] = Identity(a)
z: float32[1, 4] = Identity(a)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y, z)
z: float32[1, 4] = Relu(x) named a
y: float32[1, 4] = Identity(z) named y.copy
"""
    assert after(EliminateDead(), before) == wanted


def test_a_copy_of_an_input_and_a_change_of_type_stay() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, z)
y: float32[1, 4] = Identity(x)
h: float64[1, 4] = Cast(x) to=11
z: float64[1, 4] = Neg(h)
"""
    assert stays(EliminateDead(), before)


def test_a_dropout_whose_mask_is_read_stays() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, mask)
d: float32[1, 4], mask: bool[1, 4] = Dropout(x)
y: float32[1, 4] = Neg(d)
"""
    assert stays(EliminateDead(), before)
