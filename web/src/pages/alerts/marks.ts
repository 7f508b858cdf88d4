// Verdicts of a person. They are shown at once and stored in the background. One that could not be stored stays visible until it is
// tried again. What was marked on this page counts before what the list says.

import { useEffect, useState } from "preact/hooks";
import { ApiError, call } from "../../api";
import { asApiError } from "../../request";
import type { Entry } from "./list";

export type Verdict = "right" | "wrong";

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

const items = new Map<string, Item>();
/** What `undo` takes back, the newest last. */
const done: { id: string; before: Verdict | null; after: Verdict | null }[] = [];
const listeners = new Set<() => void>();
let sending = 0;

/** The verdict on an entry, stored or not. */
export function verdictOf(entry: Entry): Verdict | null {
  const item = items.get(entry.id);
  return item ? item.wanted : entry.mark;
}

/** Whether the verdict on this entry could not be stored. */
export function hasFailed(id: string): boolean {
  return items.get(id)?.error !== undefined;
}

/** Says whether an entry is right; `null` takes a verdict back. */
export function mark(entry: Entry, verdict: Verdict | null) {
  const before = verdictOf(entry);
  if (before === verdict && !hasFailed(entry.id)) return;
  done.push({ id: entry.id, before, after: verdict });
  want(entry.id, entry.mark, verdict);
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
    await call("POST", "mark", { id, verdict: wanted ?? "undo" });
    change(id, { stored: wanted, isSending: false });
  } catch (thrown) {
    const error = asApiError(thrown);
    // There is nothing to undo: that is what was wanted.
    if (wanted === null && error.status === 409) change(id, { stored: null, isSending: false });
    else change(id, { error, isSending: false });
  }
  sending -= 1;
  send();
}

function change(id: string, changes: Partial<Item>) {
  const item = items.get(id);
  if (item) items.set(id, { ...item, ...changes });
}

// A browser asks before it leaves the page with verdicts that are not stored.
window.addEventListener("beforeunload", (event) => {
  const { waiting, failed } = unstored();
  if (waiting + failed.length > 0) event.preventDefault();
});
