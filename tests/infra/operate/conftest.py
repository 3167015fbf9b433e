from tests.edge.conftest import broker, redis, redis_port, running_broker

__all__ = ["broker", "redis", "redis_port", "running_broker"]
