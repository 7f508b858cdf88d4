// Which label is tuned, and over which time: what the address says, or else the first label.

import type { Schema } from "../../api";
import type { Query } from "../../router";

/** A source with its labels. */
export type Choice = Schema<"LiveSource">;

export type RangeName = "1h" | "1d" | "7d" | "30d";

export const RANGES: readonly { value: RangeName; text: string; words: string; short: string; hours: number }[] = [
  { value: "1h", text: "1 h", words: "last hour", short: "last hour", hours: 1 },
  { value: "1d", text: "1 d", words: "last day", short: "last day", hours: 24 },
  { value: "7d", text: "7 d", words: "last 7 days", short: "last week", hours: 7 * 24 },
  { value: "30d", text: "30 d", words: "last 30 days", short: "last month", hours: 30 * 24 },
];

export interface ChosenLabel {
  source: string;
  label_set: string;
  label: string;
  isRule: boolean;
}

/** The label of the address; the first one of the source, or of all, if the address names none that exists. */
export function choose(choices: readonly Choice[], query: Query): ChosenLabel | undefined {
  const source = choices.find((one) => one.source === query["source"] && one.labels.length > 0) ?? choices.find((one) => one.labels.length > 0);
  const set = query["set"];
  const named = source?.labels.find((one) => one.label === query["label"] && (set === undefined || one.label_set === set));
  const label = named ?? source?.labels[0];
  if (!source || !label) return undefined;
  return { source: source.source, label_set: label.label_set, label: label.label, isRule: label.when != null };
}

/** A label as the value of a choice. */
export function labelKey({ label_set, label }: { label_set: string; label: string }): string {
  return JSON.stringify([label_set, label]);
}

/** The time until now. */
export function windowOf(range: RangeName, now: Date): { since: string; until: string } {
  const hours = RANGES.find((one) => one.value === range)?.hours ?? 24;
  return { since: new Date(now.getTime() - hours * 3_600_000).toISOString(), until: now.toISOString() };
}

/** The part of the time that is shown, in seconds since 1970; `undefined`: all of it. */
export function zoomOf(typedFrom: string | undefined, typedTo: string | undefined): [number, number] | undefined {
  const [from, to] = [Number(typedFrom), Number(typedTo)];
  return Number.isFinite(from) && Number.isFinite(to) && from > 0 && to > from ? [from, to] : undefined;
}

export function secondsOf({ since, until }: { since: string; until: string }): [number, number] {
  return [Date.parse(since) / 1000, Date.parse(until) / 1000];
}
