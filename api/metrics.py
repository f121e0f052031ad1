"""What this process counts, for Prometheus. Labels take few values, and none of them comes from outside."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters since the process started; each application has its own."""

    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))
    notifications: Counter = field(init=False)
    requests: Histogram = field(init=False)

    def __post_init__(self) -> None:
        counter = Counter(
            "calendar_pipeline_notifications",
            "Notifications from providers, by what became of them: genuine, greeting, or why they were refused.",
            ("platform", "verdict"),
            registry=self.registry,
        )
        object.__setattr__(self, "notifications", counter)
        requests = Histogram(
            "calendar_pipeline_request_seconds",
            "Requests to the API by method, route (never a path as sent) and class of status.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        object.__setattr__(self, "requests", requests)
