// The time line of alerts and near misses: its types, the filters of the address, and how parts of the list are joined.

import { type Answer, type Request, type Schema, get } from "../../api";
import type { Query } from "../../router";

/** A part of the list, the newest first. */
export type Part = Answer<"timeline">;
/** An alert that raised a label, or a near miss. */
export type Entry = Schema<"Entry">;
/** What is listed. */
export type Filter = Request<"timeline">;

/** The entries of one request. */
export const PART = 50;

/** The ranges of time that can be chosen, with their days. */
export const RANGES = [
  { value: "", text: "all", days: undefined },
  { value: "1d", text: "1 d", days: 1 },
  { value: "7d", text: "7 d", days: 7 },
  { value: "30d", text: "30 d", days: 30 },
] as const;

/** What is listed besides alerts. */
export const KINDS = [
  { value: "", text: "alerts and near misses" },
  { value: "alerts", text: "alerts" },
  { value: "near_misses", text: "near misses" },
] as const;

/** The filters of the address as a request. A range counts from `now`. */
export function filters(query: Query, now: Date): Filter {
  const days = RANGES.find((range) => range.value === (query["since"] ?? ""))?.days;
  return {
    source: query["source"],
    label: query["label"],
    only: KINDS.find((kind) => kind.value === query["only"])?.value || undefined,
    unmarked: query["unmarked"] === "1" || undefined,
    since: days && new Date(now.getTime() - days * 86_400_000).toISOString(),
  };
}

/** Asks for the newest part, or for the part behind an entry. */
export function load(filter: Filter, after: Entry | undefined, signal?: AbortSignal): Promise<Part> {
  const place = after && { until: after.captured_at, after: after.id };
  return get("timeline", { ...filter, ...place, limit: PART }, signal);
}

/** The list with an older part at its end. A near miss that was moved meanwhile is listed once. */
export function extended(list: Part, older: Part): Part {
  const known = new Set(list.entries.map((entry) => entry.id));
  return { entries: [...list.entries, ...older.entries.filter((entry) => !known.has(entry.id))], more: older.more };
}

/** The list with the newest part on top. The newest part alone if nothing is older, or if entries between the two are missing. */
export function refreshed(list: Part, newest: Part): Part {
  const fresh = new Set(newest.entries.map((entry) => entry.id));
  const meets = list.entries.some((entry) => fresh.has(entry.id));
  if (!meets || !newest.more) return newest;
  return {
    entries: [...newest.entries, ...list.entries.filter((entry) => !fresh.has(entry.id) && !isInside(entry, newest))],
    more: list.more,
  };
}

/** Whether an entry would be in the newest part if it were still there: it was deleted, or does not fit the filters any more. */
function isInside(entry: Entry, newest: Part): boolean {
  const last = newest.entries.at(-1);
  return last !== undefined && entry.captured_at > last.captured_at;
}

/** Whether an alert that has just been published belongs to the list. */
export function belongs(alert: Schema<"Alert">, query: Query): boolean {
  const label = query["label"];
  return (
    alert.state === "raised" &&
    query["only"] !== "near_misses" &&
    (!query["source"] || query["source"] === alert.source) &&
    (!label || label === alert.label || label === `${alert.label_set}/${alert.label}`)
  );
}

/** The day of an entry, in the time zone of the browser. */
export function dayOf(entry: Entry): string {
  return new Date(entry.captured_at).toDateString();
}
