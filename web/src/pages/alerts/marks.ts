// Verdicts of a person. They are shown at once and stored in the background. One that could not be stored stays visible until it is
// tried again. What was marked on this page counts before what the list says.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, type Schema, post } from "../../api";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import type { Entry } from "./list";

export type Verdict = Exclude<Schema<"Choice">, "undo">;

interface Item {
  /** What the person said; `null`: nothing, or it was undone. */
  wanted: Verdict | null;
  /** What the service has. */
  stored: Verdict | null;
  isSending: boolean;
  error?: ApiError;
}

/** The requests at the same time. */
const AT_ONCE = 3;
/** The verdicts that can be taken back. */
const MOST_UNDONE = 1000;

const items = new Map<string, Item>();
/** What `undo` takes back, the newest last. */
const done: { id: string; before: Verdict | null; after: Verdict | null }[] = [];
const listeners = new Set<() => void>();
let sending = 0;

/** The verdict on an entry, stored or not. */
export function verdictOf(entry: Entry): Verdict | null {
  const item = items.get(entry.id);
  return item ? item.wanted : storedOf(entry);
}

/** Whether the verdict on this entry could not be stored. */
export function hasFailed(id: string): boolean {
  return items.get(id)?.error !== undefined;
}

/** Says whether an entry is right; `null` takes a verdict back. */
export function mark(entry: Entry, verdict: Verdict | null) {
  const before = verdictOf(entry);
  if (before === verdict && !hasFailed(entry.id)) return;
  // A verdict that is tried again is no second one.
  if (before !== verdict) done.push({ id: entry.id, before, after: verdict });
  if (done.length > MOST_UNDONE) done.shift();
  want(entry.id, storedOf(entry), verdict);
}

/** Takes back the newest verdict, and returns its entry's identifier; `undefined` if there is none. */
export function undo(): string | undefined {
  const last = done.pop();
  if (!last) return undefined;
  want(last.id, last.after, last.before);
  return last.id;
}

/** Tries to store what could not be stored. */
export function retry() {
  items.forEach((item) => delete item.error);
  send();
}

/** What is not stored yet: how many verdicts wait, and those that failed. */
export function unstored(): { waiting: number; failed: ApiError[] } {
  const all = [...items.values()];
  return {
    waiting: all.filter((item) => item.isSending || (item.wanted !== item.stored && !item.error)).length,
    failed: all.flatMap((item) => (item.error ? [item.error] : [])),
  };
}

/** Draws a component again whenever a verdict changes. For one page: what was stored before it appeared is in its list. */
export function useMarks() {
  const [, draw] = useState(0);
  useEffect(() => {
    for (const [id, item] of items) if (!item.isSending && !item.error && item.wanted === item.stored) items.delete(id);
    const changed = () => draw((before) => before + 1);
    listeners.add(changed);
    return () => void listeners.delete(changed);
  }, []);
}

/** The verdict in the answer of the service. */
function storedOf({ mark }: Entry): Verdict | null {
  return mark === "right" || mark === "wrong" ? mark : null;
}

function want(id: string, stored: Verdict | null, wanted: Verdict | null) {
  const item = items.get(id) ?? { wanted, stored, isSending: false };
  items.set(id, { ...item, wanted, error: undefined });
  send();
}

/** Sends verdicts that are not stored. Of one entry, only one at a time: the newest one counts. */
function send() {
  for (const [id, item] of items) {
    if (sending >= AT_ONCE) break;
    if (item.isSending || item.error || item.wanted === item.stored) continue;
    void store(id, item);
  }
  listeners.forEach((listener) => listener());
}

async function store(id: string, { wanted }: Item) {
  sending += 1;
  change(id, { isSending: true });
  try {
    await post("mark", { id, verdict: wanted ?? "undo" });
    change(id, { stored: wanted, isSending: false });
  } catch (thrown) {
    const error = asApiError(thrown);
    // There is nothing to undo: that is what was wanted.
    if (wanted === null && error.status === 409) change(id, { stored: null, isSending: false });
    else if (error.status === 404) forget(id);
    else change(id, { error, isSending: false });
  }
  sending -= 1;
  send();
}

function change(id: string, changes: Partial<Item>) {
  const item = items.get(id);
  if (item) items.set(id, { ...item, ...changes });
}

/** Drops the verdict on an entry that the service has deleted: it can never be stored. */
function forget(id: string) {
  items.delete(id);
  toast("The service has deleted this entry, so its verdict was not stored.");
}

// A browser asks before it leaves the page with verdicts that are not stored.
window.addEventListener("beforeunload", (event) => {
  const { waiting, failed } = unstored();
  if (waiting + failed.length > 0) event.preventDefault();
});
