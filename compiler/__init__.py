"""The core of joulec: graph, target, cost and the flow from a model to a plan.

Internal; use `joulec`.
"""
