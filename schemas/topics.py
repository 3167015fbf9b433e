"""Every Kafka topic, spelled once."""

CLICKS = "clicks"  # key user_id, schemas/click.avsc
IMPRESSIONS = "impressions"  # key user_id, schemas/impression.avsc
SESSIONS = "sessions"  # key user_id, schemas/session.avsc
DEAD_LETTERS = "dead_letters"  # key as the source; raw bytes; headers topic, partition, offset, reason, detail
