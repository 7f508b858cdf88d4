// What the page Tune knows, and the settings that are tried.

export type Verdict = "right" | "wrong";

/** What `rejudge` asks: the label, the time, and settings that differ. */
export interface TrialRequest extends Subject, Tried {
  limit?: number;
}

/** What people said about some alerts. */
export interface Verdicts {
  right: number;
  wrong: number;
  unmarked: number;
}

export interface Alerts extends Verdicts {
  alerts: number;
  /** When the label was raised, in milliseconds since 1970. */
  spans: [number, number][];
}

export interface Settings {
  threshold: number | null;
  clear_below: number | null;
  rises: boolean;
  has_baseline: boolean;
  hold: string;
  for: string;
  cooldown: string;
  active: string[];
}

export interface TriedAlert {
  time: string;
  cleared: string | null;
  score: number | null;
  threshold: number | null;
  difference: "kept" | "new" | "lost";
  id: string | null;
  picture: string | null;
  mark: string | null;
}

/** The answer of `rejudge`. */
export interface TrialAnswer {
  scores: number;
  gaps: number;
  damaged: number;
  settings: Settings;
  tried: Settings;
  now: Alerts;
  then: Alerts;
  new: Verdicts;
  lost: Verdicts;
  alerts: TriedAlert[];
  lost_alerts: TriedAlert[];
}

export interface Graded {
  alerts: number;
  a_day: number;
  right: number | null;
  wrong: number | null;
  missed: number | null;
}

/** The answer of `suggest`. */
export interface Suggestion {
  outcome: "other" | "good" | "nothing";
  settings: { threshold: number; clear_below: number; hold: string } | null;
  reason: string;
  range: [number, number] | null;
  now: Graded;
  then: Graded | null;
  marks: number;
  scores: number;
  left_out: number;
  is_cut: boolean;
  configured: { prompts: string[]; background: string[]; is_adjusted: boolean; sources: number; has_embeddings: boolean };
}

/** A point: its time in milliseconds, the lowest, the highest and the last score. */
export type Point = [number, number, number, number];

/** The part of the answer of `scores` that is drawn. */
export interface Scores {
  labels: { label_set: string; label: string; points: Point[] }[];
  gaps: [number, number][];
}

/** The answer of `try_words`. */
export interface WordScores {
  points: Point[];
  gaps: [number, number][];
  embeddings: number;
  embeddings_of_other_models: number;
  changes_other_labels: boolean;
}

/** The answer of `config_edit`. */
export interface Edited {
  path: string;
  lines: { first: number; before: string; after: string };
  problems: { message?: string; text?: string }[];
  saved: boolean;
  why_not?: string;
  remedy?: string;
}

/** The label that is tuned, and the time. */
export interface Subject {
  source: string;
  label_set: string;
  label: string;
  since: string;
  until: string;
}

/** Settings that differ from those in force. */
export interface Tried {
  threshold?: number;
  clear_below?: number;
  rise?: number;
  clear_rise?: number;
  hold?: string;
  for?: string;
  cooldown?: string;
  /** `["always"]` removes the hours. */
  active?: string[];
}

/** Nothing is tried. */
export const NOTHING: Tried = {};

/** Whether anything is tried. */
export function isTried(tried: Tried): boolean {
  return Object.keys(tried).length > 0;
}

/** The settings with `changes`; those that are as in force are left out. */
export function withChanges(settings: Settings, tried: Tried, changes: Tried): Tried {
  const next: Tried = { ...tried, ...changes };
  // A clear level is never above the threshold.
  if (next.clear_below !== undefined) next.clear_below = Math.min(next.clear_below, next.threshold ?? settings.threshold ?? 1);
  const present: Tried = {
    [settings.rises ? "rise" : "threshold"]: settings.threshold ?? undefined,
    [settings.rises ? "clear_rise" : "clear_below"]: settings.clear_below ?? undefined,
    hold: settings.hold,
    for: settings.for,
    cooldown: settings.cooldown,
    active: settings.active.length > 0 ? settings.active : ["always"],
  };
  const isDifferent = ([key, value]: [string, unknown]) =>
    value !== undefined && JSON.stringify(value) !== JSON.stringify(present[key as keyof Tried]) && !isFollower(key, settings, next);
  return Object.fromEntries(Object.entries(next).filter(isDifferent)) as Tried;
}

/** Whether a clear level is what it would be without being named. */
function isFollower(key: string, settings: Settings, next: Tried): boolean {
  return key === "clear_below" && next.threshold !== undefined && next.clear_below === clearOf(settings, { threshold: next.threshold });
}

/** The threshold with the settings that are tried. */
export function thresholdOf(settings: Settings, tried: Tried): number | null {
  return (settings.rises ? tried.rise : tried.threshold) ?? settings.threshold ?? null;
}

/** The clear level with the settings that are tried: one that was not configured follows the threshold, as in the service. */
export function clearOf(settings: Settings, tried: Tried): number | null {
  const [threshold, named] = [thresholdOf(settings, tried), settings.rises ? tried.clear_rise : tried.clear_below];
  if (named !== undefined) return named;
  if (threshold === null || settings.threshold == null || settings.clear_below == null) return settings.clear_below ?? null;
  if (follows(settings)) return settings.rises ? threshold / 2 : threshold;
  return Math.min(settings.clear_below, threshold);
}

/** Whether the clear level is the usual one: the threshold itself, or half of the rise. */
function follows({ threshold, clear_below, rises }: Settings): boolean {
  return threshold !== null && clear_below !== null && Math.abs((rises ? threshold / 2 : threshold) - clear_below) < 1e-6;
}

/** The keys and values for the configuration. */
export function forConfiguration(settings: Settings, tried: Tried): Record<string, unknown> {
  const changes: Record<string, unknown> = { ...tried };
  const [upper, lower] = settings.rises ? [tried.rise, "clear_rise"] : [tried.threshold, "clear_below"];
  // Below a clear level that was typed, a threshold alone would be refused.
  if (upper !== undefined && settings.clear_below != null && settings.clear_below > upper && !follows(settings)) {
    changes[lower] = clearOf(settings, tried);
  }
  if (tried.active?.length === 1) changes["active"] = tried.active[0];
  return changes;
}

/** Lines for a person who edits the file: the label with these keys. */
export function linesOf(place: { source?: string | undefined; label_set: string; label: string }, changes: Record<string, unknown>): string {
  const path = place.source === undefined
    ? ["label_sets", place.label_set, "labels"]
    : ["sources", place.source, "watch", place.label_set];
  const lines = path.map((name, depth) => `${"  ".repeat(depth)}${yamlKey(name)}:`);
  lines.push(`${"  ".repeat(path.length)}${yamlKey(place.label)}:`);
  for (const [key, value] of Object.entries(changes)) {
    lines.push(`${"  ".repeat(path.length + 1)}${key}: ${yamlValue(value)}`);
  }
  return lines.join("\n");
}

/** A name as a YAML key: JSON is YAML, too. */
function yamlKey(name: string): string {
  const isPlain = /^\p{L}[\p{L}\p{N}_ -]*$/u.test(name) && !name.endsWith(" ") && !/^(null|true|false|yes|no|on|off|y|n)$/i.test(name);
  return isPlain ? name : JSON.stringify(name);
}

function yamlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
  // `2 of 3` and `5m` need no quotes; hours with a colon do.
  return typeof value === "string" && !/^[\w ]+$/.test(value) ? JSON.stringify(value) : String(value);
}
