"""Says a mean over whole feature maps as the global average pool that it is, which engines have."""

from __future__ import annotations

from passes.pool_means import PoolMeans
from tests.support.before_and_after import after


def test_a_mean_over_feature_maps_is_a_global_pool() -> None:
    before = """\
graph g(x: float32[1, 3, 2, 2]) -> (y, z)
axes: int64[2] = const [-1, 2]
last: int64[1] = const [3]
y: float32[1, 3] = ReduceMean(x, axes) keepdims=0 from (ReduceMean_0)
z: float32[1, 3, 2, 1] = ReduceMean(x, last) from (ReduceMean_1)
ledger (ReduceMean_0, ReduceMean_1)
"""
    wanted = """\
graph g(x: float32[1, 3, 2, 2]) -> (y, z)
ReduceMean_0.shape: int64[2] = const [1, 3]
last: int64[1] = const [3]
y.pooled: float32[1, 3, 1, 1] = GlobalAveragePool(x) from (ReduceMean_0)
y: float32[1, 3] = Reshape(y.pooled, ReduceMean_0.shape) named ReduceMean_0.flat from (ReduceMean_0)
z: float32[1, 3, 2, 1] = ReduceMean(x, last) from (ReduceMean_1)
ledger (ReduceMean_0, ReduceMean_1)
"""
    assert after(PoolMeans(), before) == wanted
