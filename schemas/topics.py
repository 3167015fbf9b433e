"""Every Kafka topic, spelled once."""

CLICKS = "clicks"  # key user_id, schemas/click.avsc
IMPRESSIONS = "impressions"  # key user_id, schemas/impression.avsc
SESSIONS = "sessions"  # key user_id, schemas/session.avsc
REWARDS = "rewards"  # key {user_id, impression_id, item_id}, schemas/reward.avsc; the last value of a key counts
STATISTICS = "statistics"  # key {policy, arm}, schemas/statistics.avsc; the last value of a key counts
GRADIENTS = "gradients"  # key {round}/{chunk}, udfs/federated/frame.py
ROUNDS = "rounds"  # key round, schemas/round.avsc; the last value of a key counts
RECEIPTS = "receipts"  # key round, schemas/receipt.avsc
COHORTS = "cohorts"  # key round, schemas/cohort.avsc
SUMS = "sums"  # key round, schemas/sum.avsc
AGGREGATES = "aggregates"  # key model/part, schemas/aggregate.avsc
GLOBAL_MODEL = "global_model"  # key model/part, schemas/global_model.avsc; the last value of a key counts
DEAD_LETTERS = "dead_letters"  # key of the source; raw bytes; headers topic, partition, offset, reason, detail
