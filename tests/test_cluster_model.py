"""The cost model's arithmetic, against sums by hand."""

import pytest

from benchmarks.cluster_model import ASSUMED, cores_at_limits, of_all, of_gpus

ASSUMPTIONS = {name: value for name, (value, _, _) in ASSUMED.items()} | {"gpu_flops": 1e12}
COST = {"fill": 2.0, "decode": 0.01, "encode": 0.03, "start": 0.0, "bytes_in": 1e5}
COST["bytes_out"] = 4e5


def test_cores_share_the_pictures_until_a_limit_counts():
    done = of_all(COST, 10**6, 100, ASSUMPTIONS)
    assert done["hours"] == pytest.approx(2e6 / 100 / 3600)
    assert done["dollars"] == pytest.approx(2e6 / 3600 * 0.0408)
    assert done["bytes_per_second"] == pytest.approx(50 * 5e5)
    most = cores_at_limits(COST, ASSUMPTIONS)
    assert most["storage's network"] == pytest.approx(12.5e9 / 5e5 * 2)
    assert most["storage's writes"] == pytest.approx(3500 / 3 * 1000 * 2)
    beyond = of_all(COST, 10**9, 4 * 50_000, ASSUMPTIONS)
    assert beyond["hours"] == pytest.approx(10**9 * 5e5 / 12.5e9 / 3600)


def test_a_gpu_is_as_fast_as_its_cores_can_feed_it():
    fed = of_gpus(COST, flops=20e9, gpus=2, pictures=10**6, assumed=ASSUMPTIONS)
    assert fed["each"] == pytest.approx(50) and fed["cores"] == pytest.approx(2.0)
    starved = of_gpus(COST, flops=2e9, gpus=2, pictures=10**6, assumed=ASSUMPTIONS)
    assert starved["each"] == pytest.approx(4 / 0.04)
    assert starved["hours"] == pytest.approx(10**6 / 200 / 3600)
