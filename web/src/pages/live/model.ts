// What Live knows of each source, and how events change it. Without a page and without a clock: times are arguments.

import type { Answer, Schema } from "../../api";
import type { AlertEvent, ScoresEvent, SourceEvent } from "../../events";

/** A source of the answer of `sources`. */
export type LiveSource = Schema<"LiveSource">;
/** A label or a rule, as `explain` describes it. */
export type LiveLabel = Schema<"ExplainedLabel">;
/** A part of the frame, in fractions. */
export type Area = Omit<Schema<"LiveRegion">, "name">;
/** The part of the answer of `scores` that a sparkline shows. */
type StoredScores = Pick<Answer<"scores">, "labels">;

/** The time of one value of a sparkline, and the number of values: ten minutes. */
export const BUCKET_MS = 10_000;
export const BUCKETS = 60;

/** The highest score in each bucket of time, the oldest first. */
export interface History {
  /** The number of the newest bucket since 1970. */
  newest: number;
  values: (number | null)[];
}

/** Identifies a label of a source. */
export function key(label: Pick<LiveLabel, "label_set" | "label">): string {
  return JSON.stringify([label.label_set, label.label]);
}

/** Whether it is a rule over labels, which has no score. */
export function isRule(label: LiveLabel): boolean {
  return label.when != null;
}

/** The history with one more score at this time. Scores from before the history change nothing. */
export function withScore(history: History | undefined, at: number, score: number): History {
  const bucket = Math.floor(at / BUCKET_MS);
  if (!history || bucket - history.newest >= BUCKETS) return { newest: bucket, values: [score] };
  const values = [...history.values];
  for (let next = history.newest + 1; next <= bucket; next += 1) values.push(null);
  const index = values.length - 1 - Math.max(0, history.newest - bucket);
  if (index < 0) return history;
  const known = values[index] ?? null;
  values[index] = known === null ? score : Math.max(known, score);
  return { newest: Math.max(history.newest, bucket), values: values.slice(-BUCKETS) };
}

/** The histories of stored scores: each point has its highest score. */
export function histories(answer: StoredScores): Map<string, History> {
  const all = new Map<string, History>();
  for (const label of answer.labels) {
    let history: History | undefined;
    for (const [at, , highest] of label.points) history = withScore(history, at, highest);
    if (history) all.set(key(label), history);
  }
  return all;
}

/** Stored scores, and the scores that arrived while they were read. */
export function joined(stored: Map<string, History>, arrived: Map<string, History>): Map<string, History> {
  const all = new Map(stored);
  for (const [label, { newest, values }] of arrived) {
    let history = all.get(label);
    values.forEach((value, index) => {
      const at = (newest - values.length + 1 + index) * BUCKET_MS;
      if (value !== null) history = withScore(history, at, value);
    });
    if (history) all.set(label, history);
  }
  return all;
}

/** The values of a sparkline that ends now. */
export function values(history: History | undefined, now: number): (number | null)[] {
  if (!history) return [];
  const missing = Math.floor(now / BUCKET_MS) - history.newest;
  const gap = Array<null>(Math.min(BUCKETS, Math.max(0, missing - 1))).fill(null);
  return [...Array<null>(BUCKETS).fill(null), ...history.values, ...gap].slice(-BUCKETS);
}

/** Scores of events are rounded to six decimals, and those of answers are not. */
const ROUNDING = 6e-7;

/** The source after new scores of one of its label sets. */
export function afterScores(source: LiveSource, event: ScoresEvent): LiveSource {
  let isSame = true;
  const labels = source.labels.map((label) => {
    const score = label.label_set === event.label_set ? event.scores[label.label] : undefined;
    if (score === undefined || isRule(label)) return label;
    isSame &&= label.score != null && Math.abs(score - label.score) <= ROUNDING;
    return { ...label, score };
  });
  const before = source.frame;
  // A picture that looks the same repeats its scores.
  const scoredAt = isSame && before ? before.scored_at : event.time;
  const frame = { width: before?.width ?? 0, height: before?.height ?? 0, captured_at: event.time, scored_at: scoredAt };
  return { ...source, labels, frame };
}

/** The source after one of its labels was raised or cleared. */
export function afterAlert(source: LiveSource, alert: AlertEvent): LiveSource {
  const isRaised = alert.state === "raised";
  const labels = source.labels.map((label) =>
    label.label_set === alert.label_set && label.label === alert.label
      ? { ...label, raised: isRaised, raised_since: isRaised ? alert.time : undefined, reason: undefined }
      : label,
  );
  return { ...source, labels };
}

/** The source after its status or its problem changed. */
export function afterState(source: LiveSource, event: SourceEvent): LiveSource {
  return { ...source, status: event.status, problem: event.problem };
}

/** Raised labels first, otherwise in the order of the configuration. */
export function sorted(labels: readonly LiveLabel[]): LiveLabel[] {
  return [...labels].sort((a, b) => Number(b.raised) - Number(a.raised));
}

/** Whether a source is switched on. */
export function isEnabled(source: LiveSource): boolean {
  return source.status !== "disabled";
}

/** Whether a label of a source that is switched on is switched off. */
export function isSwitchedOff(label: LiveLabel): boolean {
  return label.held_by?.gate === "enabled";
}

/** What is set for a label itself, and not for its source. */
export function ownOf(label: LiveLabel): NonNullable<LiveLabel["set"]> {
  return (label.set ?? []).filter((value) => value.label != null);
}

/** Until when the alerts of a source are held back. */
export function snoozedUntil(source: LiveSource): string | undefined {
  return source.set?.find((value) => value.setting === "snooze")?.until ?? undefined;
}

/** Whether a source is shown under this filter. */
export function isShown(source: LiveSource, filter: string): boolean {
  if (filter === "raised") return source.labels.some((label) => label.raised);
  if (filter === "problems") return isEnabled(source) && (source.status !== "online" || source.problem != null);
  return true;
}
