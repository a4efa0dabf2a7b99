"""How Hypothesis behaves here: a busy machine is no failure."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "orders", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("orders")
