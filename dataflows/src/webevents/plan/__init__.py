"""From the specification to the plan: a pure function, the only place that decides what runs."""
