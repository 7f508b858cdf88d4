import { duration, sentence } from "../../format";
import { Score } from "../../parts/Score";
import { Sparkline } from "../../parts/Sparkline";
import { Time } from "../../parts/Time";
import { type LiveLabel, type LiveSource, isEnabled, isRule, key, snoozedUntil, values } from "./model";
import type { LiveState } from "./store";

/** The labels of a source: name, the last ten minutes, score. */
export function Labels({ state, labels }: { state: LiveState; labels: readonly LiveLabel[] }) {
  const now = Date.now();
  return (
    <ul class="live-labels">
      {labels.map((label) => (
        <li key={key(label)} class={label.raised ? "live-raised" : ""}>
          <span class="live-label" title={`${label.label_set}/${label.label}`}>{label.label}</span>
          {isRule(label) ? (
            <span class="live-when" title={label.when ?? ""}>{label.when}</span>
          ) : (
            <Sparkline
              label={label.label}
              values={values(state.histories.get(key(label)), now)}
              threshold={label.threshold}
              clearBelow={label.clear_below === label.threshold ? null : label.clear_below}
              raised={label.raised}
            />
          )}
          {isRule(label) ? <span class="score">{label.raised ? "yes" : "no"}</span> : <Score value={label.score} raised={label.raised} />}
        </li>
      ))}
    </ul>
  );
}

/** How the frames of a source are taken, in one line. */
export function Facts({ source }: { source: LiveSource }) {
  const { frame, details, kind } = source;
  const size = frame && frame.width > 0 ? [`${frame.width}×${frame.height}`] : [];
  const facts = [...size, ...(details.length > 0 ? details : [kind])];
  const unchanged = frame ? (Date.parse(frame.captured_at) - Date.parse(frame.scored_at)) / 1000 : 0;
  if (unchanged >= 60) facts.push(`unchanged for ${duration(unchanged)}`);
  return <p class="small muted">{facts.join(" · ")}</p>;
}

/** When the newest frame was captured, or what the source is instead of online. */
export function State({ source }: { source: LiveSource }) {
  if (!isEnabled(source)) return <span class="muted small">switched off</span>;
  if (source.status !== "online" || source.problem) {
    return <span class="problem-text">{source.status === "online" ? "problem" : source.status}</span>;
  }
  const until = snoozedUntil(source);
  if (until !== undefined) return <span class="muted small"><Time at={until} prefix="snoozed until " /></span>;
  return <span class="muted small">{source.frame && <Time at={source.frame.captured_at} />}</span>;
}

/** What is wrong with a source, and what to do. */
export function SourceTrouble({ source }: { source: LiveSource }) {
  const { problem, status } = source;
  if (!problem) return status === "online" || status === "disabled" ? null : <p class="small problem-text">{status === "stalled" ? "It is connected and sends nothing." : "It delivers no frames yet."}</p>;
  return (
    <p class="small problem-text">
      {sentence(problem.cause)}{problem.remedy && ` ${sentence(problem.remedy)}`} <Time at={problem.since} prefix="Since " />
    </p>
  );
}
