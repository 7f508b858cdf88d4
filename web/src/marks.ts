// Verdicts of a person, for all pages. They are shown at once and stored in the background. One that could not be stored stays visible
// until it is tried again. What was marked here counts before what an answer of the service says, which may be older.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, type Schema, post } from "./api";
import { toast } from "./parts/Toast";
import { asApiError } from "./request";

export type Verdict = Exclude<Schema<"Choice">, "undo">;

/** What is judged: an alert or a near miss, by its identifier; or a moment of a label, whose `label` is `set/label`. */
export type Subject = { id: string } | { source: string; label: string; at: string };
/** What is judged, with the verdict in the answer of the service. */
export type Judged = Subject & { mark?: string | null };

interface Item {
  subject: Subject;
  /** What the person said; `null`: nothing, or it was undone. */
  wanted: Verdict | null;
  /** What the service has. */
  stored: Verdict | null;
  isSending: boolean;
  error?: ApiError;
}

/** A verdict that `undo` can take back. */
interface Done {
  subject: Subject;
  before: Verdict | null;
  after: Verdict | null;
}

/** The requests at the same time. */
const AT_ONCE = 3;
/** The verdicts that can be taken back. */
const MOST_UNDONE = 1000;

const items = new Map<string, Item>();
/** The newest is the last one. */
let done: Done[] = [];
const listeners = new Set<() => void>();
let sending = 0;
let changes = 0;
let stores = 0;

/** Identifies what is judged: an identifier, or a source, a label and a time. */
export function keyOf(subject: Subject): string {
  return "id" in subject ? subject.id : JSON.stringify([subject.source, subject.label, subject.at]);
}

/** The verdict, stored or not. */
export function verdictOf(judged: Judged): Verdict | null {
  const item = items.get(keyOf(judged));
  return item ? item.wanted : storedOf(judged);
}

/** Whether the verdict could not be stored. */
export function hasFailed(subject: Subject): boolean {
  return items.get(keyOf(subject))?.error !== undefined;
}

/** Says whether it is right; `null` takes a verdict back. */
export function mark(judged: Judged, verdict: Verdict | null) {
  const before = verdictOf(judged);
  if (before === verdict && !hasFailed(judged)) return;
  const subject = subjectOf(judged);
  // A verdict that is tried again is no second one.
  if (before !== verdict) done.push({ subject, before, after: verdict });
  if (done.length > MOST_UNDONE) done.shift();
  want(subject, storedOf(judged), verdict);
}

/** Takes back the newest verdict, and returns the key of what it was about; `undefined` if there is none. */
export function undo(): string | undefined {
  const last = done.pop();
  if (!last) return undefined;
  want(last.subject, last.after, last.before);
  return keyOf(last.subject);
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

/** How often verdicts have changed, and how many were stored. */
export interface MarkCounts {
  changes: number;
  stores: number;
}

/** Draws a component again whenever a verdict changes. For one page: what was stored before it appeared is in its answers. */
export function useMarks(): MarkCounts {
  const [, draw] = useState(0);
  useEffect(() => {
    for (const [key, item] of items) if (!item.isSending && !item.error && item.wanted === item.stored) items.delete(key);
    const changed = () => draw((before) => before + 1);
    listeners.add(changed);
    return () => void listeners.delete(changed);
  }, []);
  return { changes, stores };
}

/** The verdict in the answer of the service. */
function storedOf({ mark }: Judged): Verdict | null {
  return mark === "right" || mark === "wrong" ? mark : null;
}

/** What is judged, without anything else that an answer says about it. */
function subjectOf(judged: Subject): Subject {
  if ("id" in judged) return { id: judged.id };
  const { source, label, at } = judged;
  return { source, label, at };
}

function want(subject: Subject, stored: Verdict | null, wanted: Verdict | null) {
  const key = keyOf(subject);
  const item = items.get(key) ?? { subject, wanted, stored, isSending: false };
  items.set(key, { ...item, wanted, error: undefined });
  send();
}

/** Sends verdicts that are not stored. About one thing, only one at a time: the newest one counts. */
function send() {
  for (const [key, item] of items) {
    if (sending >= AT_ONCE) break;
    if (item.isSending || item.error || item.wanted === item.stored) continue;
    void store(key, item);
  }
  changes += 1;
  listeners.forEach((listener) => listener());
}

async function store(key: string, { subject, wanted }: Item) {
  sending += 1;
  change(key, { isSending: true });
  try {
    await post("mark", { ...subject, verdict: wanted ?? "undo" });
    change(key, { stored: wanted, isSending: false });
    stores += 1;
  } catch (thrown) {
    const error = asApiError(thrown);
    if (wanted === null && error.status === 409) nothingToUndo(key, subject);
    else if (error.status === 404) forget(key, "The service has deleted this entry, so its verdict was not stored.");
    else change(key, { error, isSending: false });
  }
  sending -= 1;
  send();
}

function change(key: string, part: Partial<Item>) {
  const item = items.get(key);
  if (item) items.set(key, { ...item, ...part });
}

/** There is nothing to undo: for an entry, that is what was wanted. A moment is shown with the verdict on its alert, which stays. */
function nothingToUndo(key: string, subject: Subject) {
  if ("id" in subject) change(key, { stored: null, isSending: false });
  else forget(key, "The verdict is on another moment of this alert, so it was not removed.");
}

/** Drops the verdicts that can never be stored, and says why. */
function forget(key: string, why: string) {
  items.delete(key);
  done = done.filter(({ subject }) => keyOf(subject) !== key);
  toast(why);
}

// A browser asks before it leaves the page with verdicts that are not stored.
window.addEventListener("beforeunload", (event) => {
  const { waiting, failed } = unstored();
  if (waiting + failed.length > 0) event.preventDefault();
});
