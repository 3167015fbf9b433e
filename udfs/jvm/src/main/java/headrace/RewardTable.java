package headrace;

import java.util.Arrays;
import java.util.List;
import org.apache.flink.table.functions.FunctionContext;

/**
 * The rule of rewards as numbers (docs/bandit.md): what an action is worth if it is fast or not, first of its session
 * or not. The numbers are those of udfs/bandit/reward.py (RewardRule.table), so that the rule is spelled once.
 */
final class RewardTable {
  static final byte GIVEN_BACK = 1, BOUGHT = 0, TAKEN_OUT = -1, NOTHING = -2; // what became of the item: the highest
  private static final int FAST = 2, FIRST = 1, OF_ACTION = 4;

  final long fastMs, delayMs;
  private final double[] rewards;
  private final byte[] became;
  private final boolean[] returnable;

  /** actions: their names by code; rewards: of each action, slow and fast, each not first and first. */
  RewardTable(List<String> actions, double[] rewards, long fastMs, long delayMs) {
    if (rewards.length != OF_ACTION * actions.size())
      throw new IllegalArgumentException(
          "rewards must be " + OF_ACTION * actions.size() + ", four of each action, got " + rewards.length);
    this.rewards = rewards;
    this.fastMs = fastMs;
    this.delayMs = delayMs;
    became = new byte[actions.size()];
    returnable = new boolean[actions.size()];
    for (int code = 0; code < became.length; code++) {
      became[code] = became(actions.get(code));
      returnable[code] = List.of("purchase", "cart").contains(actions.get(code));
    }
  }

  /** From the job parameters actions, rewards, fast_ms and reward_delay_ms. */
  static RewardTable of(FunctionContext context) {
    var actions = List.of(context.getJobParameter("headrace.actions", "").split(" "));
    var rewards = Arrays.stream(context.getJobParameter("headrace.reward_table", "").split(" "));
    return new RewardTable(actions, rewards.mapToDouble(Double::parseDouble).toArray(),
        UserHistory.setting(context, "fast_ms"), UserHistory.setting(context, "reward_delay_ms"));
  }

  private static byte became(String action) {
    return switch (action) {
      case "refund" -> GIVEN_BACK;
      case "purchase" -> BOUGHT;
      case "uncart" -> TAKEN_OUT;
      default -> NOTHING;
    };
  }

  boolean counts(long elapsedMs) {
    return elapsedMs >= 0 && elapsedMs <= delayMs;
  }

  double reward(byte action, long elapsedMs, boolean first) {
    return rewards[OF_ACTION * action + (elapsedMs <= fastMs ? FAST : 0) + (first ? FIRST : 0)];
  }

  byte became(byte action) {
    return became[action];
  }

  /** Whether a refund takes the action back. */
  boolean returnable(byte action) {
    return returnable[action];
  }
}
