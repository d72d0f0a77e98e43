"""The live page: what flows through a pipeline, in a browser, as it happens.

One consumer reads the topics for all viewers and never joins a group; figures of stages come from
their ledgers. A few times a second one snapshot is made, and its bytes go to everybody who looks.
"""
