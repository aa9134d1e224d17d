from __future__ import annotations

import json
import re

import numpy as np

from stimgen.measure import DecodedImage, measure, prepare_source, statistics_in_order

OPTIONS = {"copying": True, "portilla_simoncelli": False}


def test_orders_and_columns_are_different():
    orders = [statistic.order for statistic in statistics_in_order()]
    assert orders == sorted(set(orders))
    names = [column.name for statistic in statistics_in_order() for column in statistic.columns]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*(\{(layer|family)\})?", name) for name in names)


def test_a_statistic_whose_option_is_false_is_left_out():
    named = {statistic.name for statistic in statistics_in_order(OPTIONS | {"copying": False})}
    everything = {statistic.name for statistic in statistics_in_order()}
    assert everything - named == {"copying", "portilla_simoncelli"}


def test_values_are_json_in_the_order_of_the_statistics():
    image, source = np.random.default_rng(0).random((2, 32, 32), np.float32)
    values = measure(DecodedImage(image), prepare_source(DecodedImage(source), OPTIONS))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    owners = [s.name for name in values for s in statistics_in_order() if name in {c.name for c in s.columns}]
    asked = [s.name for s in statistics_in_order(OPTIONS) if not s.needs_network]
    assert list(dict.fromkeys(owners)) == asked
