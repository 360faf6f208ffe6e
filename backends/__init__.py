"""What is made of a placed graph: a Plan, and what is made of a Plan.

They never know a pass. Internal.
"""
