"""Secure aggregation (PROTOCOL.md), both roles side by side: bytes and arrays in, bytes and arrays out.

    step 0  joining.join, joining.check_join       run keys, signed
    step 1  plan.check_plan, member.contribute     mask a vector, share the secrets     Collector.add, close
    step 2  (active mode: not yet)
    step 3  member.unmask                          help to unmask one survivor set      Collector.request, answer
    step 4                                         rebuild the seeds (rebuild.py)       Collector.finish

No Flower, no torch, no disk, no clock.
"""
