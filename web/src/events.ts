// Alerts, scores and changes of state as they happen: one connection for the whole console. The service has room for a dozen of them, so a page that
// has been hidden for a minute gives its own up.

import { useEffect, useState } from "preact/hooks";
import { type Schema, apiUrl } from "./api";

/** An alert, as it is published over MQTT. */
export type AlertEvent = Schema<"Alert">;

/** The scores of a label set on a source, at most once a second, as they are published over MQTT. The OpenAPI document does not describe them. */
export interface ScoresEvent {
  time: string;
  source: string;
  label_set: string;
  region: string | null;
  scores: Record<string, number>;
}

/** The state of a source changed. The first one of each source arrives when the connection is made. */
export type SourceEvent = Schema<"SourceStateEvent">;

/** The state of the whole service. */
export type ServiceEvent = Schema<"ServiceState">;

/** `open`: events arrive. `lost`: the console tries to connect again. */
export type Connection = "connecting" | "open" | "lost";

const KINDS = "kinds=alert&kinds=scores&kinds=source&kinds=service&kinds=beat";
/** A connection without any event for this time is dead, whatever the browser believes: the service sends one every 15 seconds. */
const SILENT_MS = 40_000;
const HIDDEN_MS = 60_000;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

const alerts = new Set<(alert: AlertEvent) => void>();
const scores = new Set<(scores: ScoresEvent) => void>();
const sources = new Set<(source: SourceEvent) => void>();
const services = new Set<(service: ServiceEvent) => void>();
const gaps = new Set<() => void>();
const refusals = new Set<() => void>();
const states = new Set<(state: Connection) => void>();
let source: EventSource | undefined;
let state: Connection = "connecting";
let service: ServiceEvent | undefined;
let failures = 0;
let retry: number | undefined;
let silence: number | undefined;
let hidden: number | undefined;
let isWatching = false;

/** Calls `listener` for each alert. Returns the function that ends this. */
export function onAlert(listener: (alert: AlertEvent) => void): () => void {
  return add(alerts, listener);
}

/** Calls `listener` for each message with scores. Returns the function that ends this. */
export function onScores(listener: (scores: ScoresEvent) => void): () => void {
  return add(scores, listener);
}

/** Calls `listener` for each change of a source's state. Returns the function that ends this. */
export function onSource(listener: (source: SourceEvent) => void): () => void {
  return add(sources, listener);
}

/** Calls `listener` when the state or the configuration of the service changes. Returns the function that ends this. */
export function onService(listener: (service: ServiceEvent) => void): () => void {
  return add(services, listener);
}

/** The newest state of the service. */
export function useService(): ServiceEvent | undefined {
  const [now, setNow] = useState(service);
  useEffect(() => add(services, setNow), []);
  return now;
}

/** Calls `listener` when events may have been missed: when a connection is made, also the first one, and when the service reports a loss. */
export function onGap(listener: () => void): () => void {
  return add(gaps, listener);
}

/** Whether events arrive. */
export function useConnection(): Connection {
  const [now, setNow] = useState(state);
  useEffect(() => add(states, setNow), []);
  return now;
}

/** Calls `listener` when the service refuses the connection. The reason may be that the session has ended. */
export function onRefused(listener: () => void): () => void {
  refusals.add(listener);
  return () => void refusals.delete(listener);
}

/** Gives the connection up, until something listens again: this browser has signed out. */
export function pause() {
  close();
  state = "connecting";
  service = undefined;
  failures = 0;
}

function add<Listener>(listeners: Set<Listener>, listener: Listener): () => void {
  listeners.add(listener);
  start();
  return () => listeners.delete(listener);
}

function start() {
  if (!isWatching) document.addEventListener("visibilitychange", changed);
  isWatching = true;
  if (!source && retry === undefined && !document.hidden) connect();
}

function changed() {
  clearTimeout(hidden);
  if (document.hidden) hidden = window.setTimeout(close, HIDDEN_MS);
  else if (!source && isWanted()) connect();
}

function isWanted(): boolean {
  return [alerts, scores, sources, services, states].some((listeners) => listeners.size > 0);
}

function connect() {
  clearTimeout(retry);
  retry = undefined;
  source?.close();
  const opened = (source = new EventSource(apiUrl(`events?${KINDS}`)));
  heard(opened);
  opened.addEventListener("open", () => {
    failures = 0;
    set("open");
    gaps.forEach((listener) => listener());
  });
  const on = (kind: string, then: (event: MessageEvent<string>) => void) =>
    opened.addEventListener(kind, (event) => {
      heard(opened);
      then(event);
    });
  on("alert", (event) => deliver(alerts, event));
  on("scores", (event) => deliver(scores, event));
  on("source", (event) => deliver(sources, event));
  on("service", (event) => {
    service = deliver(services, event);
  });
  on("lost", () => gaps.forEach((listener) => listener()));
  on("beat", () => undefined);
  opened.addEventListener("error", () => {
    set("lost");
    // The browser itself connects again after a broken connection, and gives up after an answer that is an error.
    if (opened.readyState !== EventSource.CLOSED) return;
    source = undefined;
    retry = window.setTimeout(connect, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    failures += 1;
    refusals.forEach((listener) => listener());
  });
}

/** The connection lives. Without another event it is given up, and made again. */
function heard(opened: EventSource) {
  clearTimeout(silence);
  silence = window.setTimeout(() => {
    if (source !== opened) return;
    set("lost");
    connect();
  }, SILENT_MS);
}

function close() {
  clearTimeout(silence);
  clearTimeout(retry);
  retry = undefined;
  source?.close();
  source = undefined;
  set("lost");
}

function deliver<Event>(listeners: Set<(event: Event) => void>, message: MessageEvent<string>): Event {
  const event: Event = JSON.parse(message.data);
  listeners.forEach((listener) => listener(event));
  return event;
}

function set(next: Connection) {
  if (next === state) return;
  state = next;
  states.forEach((listener) => listener(next));
}
