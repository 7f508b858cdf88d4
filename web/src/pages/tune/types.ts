// The types of the API that the page Tune uses, and the settings that are tried.

import type { Answer, Request, Schema } from "../../api";

export type Verdict = Exclude<Schema<"Choice">, "undo">;
/** What people said about some alerts. */
export type Verdicts = Schema<"Verdicts">;
export type Settings = Schema<"Settings">;
export type TriedAlert = Schema<"TriedAlert">;
export type TrialRequest = Request<"rejudge">;
export type TrialAnswer = Answer<"rejudge">;
export type Suggestion = Answer<"suggest">;
export type Scores = Answer<"scores">;
export type WordScores = Answer<"try_words">;
/** A point: its time in milliseconds, the lowest, the highest and the last score. */
export type Point = Schema<"LabelScores">["points"][number];

/** The label that is tuned, and the time. */
export interface Subject {
  source: string;
  label_set: string;
  label: string;
  since: string;
  until: string;
}

/** The keys of the settings that can be tried. */
type Key = "threshold" | "clear_below" | "rise" | "clear_rise" | "hold" | "for" | "cooldown" | "active";
/** Settings that differ from those in force. `active: ["always"]` removes the hours. */
export type Tried = { [Name in Key]?: NonNullable<TrialRequest[Name]> };

/** What is judged: settings of a label, over a time. */
export interface Asked {
  subject: Subject;
  tried: Tried;
  /** The most alerts that are listed. */
  limit: number;
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
  const [upper, lower] = levelKeys(settings);
  // A clear level is never above the threshold.
  if (next[lower] !== undefined) next[lower] = Math.min(next[lower], next[upper] ?? settings.threshold ?? 1);
  const present: Tried = {
    [upper]: settings.threshold ?? undefined,
    [lower]: settings.clear_below ?? undefined,
    hold: settings.hold,
    for: settings.for,
    cooldown: settings.cooldown,
    active: settings.active.length > 0 ? settings.active : ["always"],
  };
  const isDifferent = ([key, value]: [string, unknown]) =>
    value !== undefined && JSON.stringify(value) !== JSON.stringify(present[key as keyof Tried]) && !(key === lower && isFollower(settings, next));
  return Object.fromEntries(Object.entries(next).filter(isDifferent)) as Tried;
}

/** The keys of the two levels. */
function levelKeys({ rises }: Settings): ["rise", "clear_rise"] | ["threshold", "clear_below"] {
  return rises ? ["rise", "clear_rise"] : ["threshold", "clear_below"];
}

/** Whether the clear level is what it would be without being named. */
function isFollower(settings: Settings, next: Tried): boolean {
  const [upper, lower] = levelKeys(settings);
  return next[upper] !== undefined && next[lower] === clearOf(settings, { [upper]: next[upper] });
}

/** The threshold with the settings that are tried. */
export function thresholdOf(settings: Settings, tried: Tried): number | null {
  return tried[levelKeys(settings)[0]] ?? settings.threshold ?? null;
}

/** The clear level with the settings that are tried: one that was not configured follows the threshold, as in the service. */
export function clearOf(settings: Settings, tried: Tried): number | null {
  const [threshold, named] = [thresholdOf(settings, tried), tried[levelKeys(settings)[1]]];
  if (named !== undefined) return named;
  if (threshold === null || settings.threshold == null || settings.clear_below == null) return settings.clear_below ?? null;
  if (follows(settings)) return settings.rises ? threshold / 2 : threshold;
  return Math.min(settings.clear_below, threshold);
}

/** Whether the clear level is the usual one: the threshold itself, or half of the rise. */
function follows({ threshold, clear_below, rises }: Settings): boolean {
  return threshold != null && clear_below != null && Math.abs((rises ? threshold / 2 : threshold) - clear_below) < 1e-6;
}

/** Keys and values of a label, as in the configuration. */
export type Keys = Record<string, unknown>;

/**
 * A threshold below the clear level. The service refuses it if the configuration names a clear level, and accepts it if the clear level
 * follows the threshold. `undefined`: a save is the same in both cases. The settings do not say it, because a clear level that is named may be
 * equal to the threshold.
 */
export function probeOf(settings: Settings, tried: Tried): Keys | undefined {
  const [upper, lower] = levelKeys(settings);
  if (!follows(settings) || settings.clear_below == null || tried[upper] === undefined || tried[lower] !== undefined) return undefined;
  return { [upper]: settings.clear_below / 2 };
}

/**
 * The keys and values for the configuration. A clear level that the configuration names (`isClearNamed`) does not follow the threshold
 * there, so it is saved as the page shows it.
 */
export function forConfiguration(settings: Settings, tried: Tried, isClearNamed: boolean): Keys {
  const changes: Keys = { ...tried };
  const [upper, lower] = levelKeys(settings);
  const threshold = tried[upper];
  if (threshold !== undefined && tried[lower] === undefined && settings.clear_below != null) {
    // Below a clear level that was typed, a threshold alone would be refused.
    const mustBeSaved = follows(settings) ? isClearNamed : settings.clear_below > threshold;
    if (mustBeSaved) changes[lower] = clearOf(settings, tried);
  }
  if (tried.active?.length === 1) changes["active"] = tried.active[0];
  return changes;
}

/** Lines for a person who edits the file: the label with these keys. */
export function linesOf(place: { source?: string | undefined; label_set: string; label: string }, changes: Keys): string {
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
