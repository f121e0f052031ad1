"""What this process counts, for Prometheus. Labels take few values, and none of them comes from outside."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters since the process started; each application has its own."""

    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))
    notifications: Counter = field(init=False)

    def __post_init__(self) -> None:
        counter = Counter(
            "calendar_pipeline_notifications",
            "Notifications from providers, by what became of them: genuine, greeting, or why they were refused.",
            ("platform", "verdict"),
            registry=self.registry,
        )
        object.__setattr__(self, "notifications", counter)
