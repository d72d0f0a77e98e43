"""What all unit tests share."""

from hypothesis import HealthCheck, settings

# A machine that does other work too is slow now and then, which is no fault of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
