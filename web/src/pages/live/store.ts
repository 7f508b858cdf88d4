// The sources of Live, kept up to date by events. A card renders at most once a second and only while it is visible, so forty sources
// cost little.

import { call, pictureUrl } from "../../api";
import { onAlert, onGap, onScores, onService, onSource } from "../../events";
import {
  type Area,
  BUCKETS,
  BUCKET_MS,
  type History,
  type LiveSource,
  type ScoresAnswer,
  afterAlert,
  afterScores,
  afterState,
  histories,
  joined,
  key,
  withScore,
} from "./model";

/** The least time between two renders of a card, and between two pictures of a source. */
const PAUSE_MS = 1_000;
/** Several changes in this time are one request. */
const SETTLE_MS = 300;

/** The newest picture of a source. */
export interface LivePicture {
  /** A `blob:` address. */
  src: string;
  capturedAt: string;
  /** What changed since the picture before. */
  changed?: Area;
}

/** What a card shows. */
export interface LiveState {
  source: LiveSource;
  picture?: LivePicture;
  histories: Map<string, History>;
}

interface Entry extends LiveState {
  /** Cards that show it and are visible. */
  watchers: Set<() => void>;
  renderedAt: number;
  timer?: number;
  hasHistory: boolean;
  fetching: boolean;
  fetchedAt: number;
  /** A picture is fetched after the pause. */
  later?: number;
}

export class LiveStore {
  #entries = new Map<string, Entry>();
  #order: string[] = [];
  #changed: (names: string[]) => void;
  #failed: (error: unknown) => void;
  #ends: (() => void)[] = [];
  #settle: number | undefined;
  #control = new AbortController();

  /** `changed` receives the names when sources appear, disappear or change their order; `failed` an error of the first request. */
  constructor(changed: (names: string[]) => void, failed: (error: unknown) => void) {
    this.#changed = changed;
    this.#failed = failed;
  }

  start() {
    this.#ends = [
      onScores((event) => {
        const entry = this.#entries.get(event.source);
        // The first frame of a source also brings its size and the address of its picture.
        if (!entry?.source.frame) this.#reloadSoon();
        if (!entry) return;
        entry.source = afterScores(entry.source, event);
        const at = Date.parse(event.time);
        for (const [label, score] of Object.entries(event.scores)) {
          const name = key({ label_set: event.label_set, label });
          if (typeof score === "number") entry.histories.set(name, withScore(entry.histories.get(name), at, score));
        }
        this.#touch(entry);
        if (entry.watchers.size > 0) this.#fetchPicture(entry);
      }),
      onAlert((alert) => this.#update(alert.source, (source) => afterAlert(source, alert))),
      onSource((event) => this.#update(event.source, (source) => afterState(source, event))),
      onService(() => this.#reloadSoon()),
      onGap(() => this.#reloadSoon()),
    ];
    void this.#reload();
  }

  end() {
    this.#control.abort();
    clearTimeout(this.#settle);
    this.#ends.forEach((end) => end());
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.timer);
      clearTimeout(entry.later);
      if (entry.picture) URL.revokeObjectURL(entry.picture.src);
    }
  }

  /** The state of a source. */
  get(name: string): LiveState | undefined {
    return this.#entries.get(name);
  }

  /** All sources, in the order of the configuration. */
  all(): LiveSource[] {
    return this.#order.flatMap((name) => this.#entries.get(name)?.source ?? []);
  }

  /** Calls `render` when the source has changed, at most once a second, until the result is called. Brings its picture and scores. */
  watch(name: string, render: () => void): () => void {
    const entry = this.#entries.get(name);
    if (!entry) return () => undefined;
    entry.watchers.add(render);
    render();
    this.#fetchPicture(entry);
    void this.#fetchHistory(entry);
    return () => void entry.watchers.delete(render);
  }

  /** Asks for the newest levels and gates of a source, which change without an event. */
  async refresh(name: string) {
    const { sources } = await this.#ask<{ sources: LiveSource[] }>("sources", { sources: name });
    const source = sources.find((found) => found.source === name);
    if (source) this.#update(name, () => source);
  }

  #update(name: string, change: (source: LiveSource) => LiveSource) {
    const entry = this.#entries.get(name);
    if (!entry) return this.#reloadSoon();
    entry.source = change(entry.source);
    this.#touch(entry);
  }

  /** Renders the cards of a source in the next frame, and at the earliest a second after the last time. */
  #touch(entry: Entry) {
    if (entry.timer !== undefined || entry.watchers.size === 0) return;
    const pause = Math.max(0, entry.renderedAt + PAUSE_MS - performance.now());
    entry.timer = window.setTimeout(() => {
      requestAnimationFrame(() => {
        entry.timer = undefined;
        entry.renderedAt = performance.now();
        entry.watchers.forEach((render) => render());
      });
    }, pause);
  }

  #reloadSoon() {
    this.#settle ??= window.setTimeout(() => {
      this.#settle = undefined;
      void this.#reload();
    }, SETTLE_MS);
  }

  async #reload() {
    try {
      const { sources } = await this.#ask<{ sources: LiveSource[] }>("sources");
      const gone = new Set(this.#order);
      for (const source of sources) {
        gone.delete(source.source);
        const known = this.#entries.get(source.source);
        if (known) {
          known.source = source;
          this.#touch(known);
          continue;
        }
        this.#entries.set(source.source, {
          source,
          histories: new Map(),
          watchers: new Set(),
          renderedAt: -PAUSE_MS,
          hasHistory: false,
          fetching: false,
          fetchedAt: -PAUSE_MS,
        });
      }
      for (const name of gone) {
        const entry = this.#entries.get(name);
        if (entry?.picture) URL.revokeObjectURL(entry.picture.src);
        this.#entries.delete(name);
      }
      this.#order = sources.map((source) => source.source);
      this.#changed(this.#order);
    } catch (error) {
      if (!this.#control.signal.aborted) this.#failed(error);
    }
  }

  /** The scores of the last ten minutes, once. Without a history the line begins now. */
  async #fetchHistory(entry: Entry) {
    if (entry.hasHistory) return;
    entry.hasHistory = true;
    const since = new Date(Date.now() - BUCKETS * BUCKET_MS).toISOString();
    try {
      const stored = await this.#ask<ScoresAnswer>("scores", { source: entry.source.source, since, points: BUCKETS * 2 });
      entry.histories = joined(histories(stored), entry.histories);
      this.#touch(entry);
    } catch {
      // `history: off`, or nothing is stored yet.
    }
  }

  /** Fetches the picture if a newer frame was scored, one at a time. */
  #fetchPicture(entry: Entry) {
    const { picture: address, frame } = entry.source;
    const newest = frame?.captured_at;
    if (!newest || entry.fetching || entry.later !== undefined || entry.picture?.capturedAt === newest) return;
    const wait = entry.fetchedAt + PAUSE_MS - performance.now();
    if (wait > 0) {
      entry.later = window.setTimeout(() => {
        entry.later = undefined;
        if (entry.watchers.size > 0) this.#fetchPicture(entry);
      }, wait);
      return;
    }
    entry.fetching = true;
    entry.fetchedAt = performance.now();
    this.#picture(address ?? `/api/v1/newest?${new URLSearchParams({ source: entry.source.source }).toString()}`)
      .then((picture) => {
        if (!picture || this.#control.signal.aborted) return;
        if (entry.picture) URL.revokeObjectURL(entry.picture.src);
        entry.picture = picture;
        this.#touch(entry);
      })
      .catch(() => undefined)
      .finally(() => (entry.fetching = false));
  }

  async #picture(address: string): Promise<LivePicture | undefined> {
    const response = await fetch(pictureUrl(address), { cache: "no-cache", credentials: "same-origin", signal: this.#control.signal });
    if (!response.ok) return undefined;
    const src = URL.createObjectURL(await response.blob());
    const capturedAt = response.headers.get("Stakeout-Captured-At") ?? "";
    const numbers = response.headers.get("Stakeout-Changed")?.split(" ").map(Number);
    if (numbers?.length !== 4 || numbers.some(Number.isNaN)) return { src, capturedAt };
    const [x = 0, y = 0, width = 0, height = 0] = numbers;
    return { src, capturedAt, changed: { x, y, width, height } };
  }

  #ask<Answer>(verb: string, request?: Record<string, unknown>): Promise<Answer> {
    return call<Answer>("GET", verb, request, this.#control.signal);
  }
}
