// The sources of Live, kept up to date by events. A card renders at most once a second and only while it is visible, so forty sources
// cost little.

import { ApiError, fetchPicture, get } from "../../api";
import { onAlert, onGap, onScores, onService, onSource } from "../../events";
import {
  type Area,
  BUCKETS,
  BUCKET_MS,
  type History,
  type LiveSource,
  afterAlert,
  afterScores,
  afterState,
  histories,
  joined,
  key,
  withScore,
} from "./model";
import { Queue, isPassing } from "./queue";

/** The least time between two renders of a card, and between two pictures of a source. */
const PAUSE_MS = 1_000;
/** Several changes in this time are one request for all sources. */
const SETTLE_MS = 300;
/** The least time between two of these requests. */
const RELOAD_MS = 2_000;
/** Stored scores of a source are not read again before this time has passed. */
const HISTORY_MS = 60_000;
/** The most requests for pictures and stored scores at once. */
const AT_ONCE = 4;
/** After a request has failed that may succeed later, the next attempt is made after this time. */
const RETRY_MS = 5_000;

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

type Change = (source: LiveSource) => LiveSource;
/** What is fetched for each source. */
type Part = "picture" | "history";

interface Entry extends LiveState {
  /** The newest change of each part, from events that arrive while a request for sources is open. */
  recent: Map<string, Change>;
  /** Cards that show it and are visible. */
  watchers: Set<() => void>;
  renderedAt: number;
  timer?: number;
  /** When its stored scores were requested; `undefined`: they must be. */
  historyAt?: number;
  /** The requests that have failed, and are sent again after a pause. */
  retries: Map<Part, number>;
  fetching: boolean;
  fetchedAt: number;
  /** A picture is fetched after the pause. */
  later?: number;
  /** The address of the picture before, which a card may still show. */
  before?: string;
}

export class LiveStore {
  #entries = new Map<string, Entry>();
  #changed: (names: string[]) => void;
  #failed: (error: unknown) => void;
  #ends: (() => void)[] = [];
  /** The open requests for sources. */
  #open = 0;
  /** The number of answers with all sources. */
  #round = 0;
  #isReloading = false;
  /** The sources have changed since the newest request for all of them. */
  #isStale = false;
  #reloadedAt = -RELOAD_MS;
  #settle: number | undefined;
  #tick: number | undefined;
  #control = new AbortController();
  #queue = new Queue(AT_ONCE);

  /** `changed` receives the names when sources appear, disappear or change their order; `failed` an error of the request for them. */
  constructor(changed: (names: string[]) => void, failed: (error: unknown) => void) {
    this.#changed = changed;
    this.#failed = failed;
  }

  start() {
    this.#ends = [
      onScores((event) => {
        const entry = this.#entries.get(event.source);
        // The first frame of a source also brings its size and the address of its picture.
        if (!entry?.source.frame?.width) this.#reloadSoon();
        if (!entry) return;
        this.#apply(entry, `scores ${event.label_set}`, (source) => afterScores(source, event));
        const at = Date.parse(event.time);
        for (const [label, score] of Object.entries(event.scores)) {
          const name = key({ label_set: event.label_set, label });
          if (typeof score === "number") entry.histories.set(name, withScore(entry.histories.get(name), at, score));
        }
        this.#fetchPicture(entry);
      }),
      onAlert((alert) => this.#update(alert.source, `alert ${key(alert)}`, (source) => afterAlert(source, alert))),
      onSource((event) => this.#update(event.source, "state", (source) => afterState(source, event))),
      onService(() => this.#reloadSoon()),
      onGap(() => this.#catchUp()),
    ];
    // Time passes on the line of a source that sends nothing, too.
    this.#tick = window.setInterval(() => this.#entries.forEach((entry) => this.#touch(entry)), BUCKET_MS);
    document.addEventListener("visibilitychange", this.#shown);
    void this.reload();
  }

  end() {
    this.#control.abort();
    clearTimeout(this.#settle);
    clearInterval(this.#tick);
    document.removeEventListener("visibilitychange", this.#shown);
    this.#ends.forEach((end) => end());
    this.#entries.forEach(release);
    this.#entries.clear();
  }

  /** The state of a source. */
  get(name: string): LiveState | undefined {
    return this.#entries.get(name);
  }

  /** Calls `render` when the source has changed, at most once a second, until the result is called. Brings its picture and scores. */
  watch(name: string, render: () => void): () => void {
    const entry = this.#entries.get(name);
    if (!entry) return () => undefined;
    entry.watchers.add(render);
    render();
    this.#fetch(entry);
    return () => void entry.watchers.delete(render);
  }

  /** Asks for the newest levels and gates of a source, which change without an event. */
  async refresh(name: string) {
    const round = this.#round;
    const sources = await this.#ask([name]);
    const [source, entry] = [sources.find((found) => found.source === name), this.#entries.get(name)];
    // An answer with all sources may be newer.
    if (!source || !entry || round !== this.#round) return;
    entry.source = source;
    this.#touch(entry);
  }

  #update(name: string, part: string, change: Change) {
    const entry = this.#entries.get(name);
    if (entry) this.#apply(entry, part, change);
    else this.#reloadSoon();
  }

  #apply(entry: Entry, part: string, change: Change) {
    entry.source = change(entry.source);
    if (this.#open > 0) {
      entry.recent.delete(part);
      entry.recent.set(part, change);
    }
    this.#touch(entry);
  }

  /** Events may have been missed. */
  #catchUp() {
    const oldest = performance.now() - HISTORY_MS;
    for (const entry of this.#entries.values()) {
      if (entry.historyAt !== undefined && entry.historyAt < oldest) entry.historyAt = undefined;
    }
    this.#reloadSoon();
  }

  /** Nothing is fetched while the page is hidden. */
  #shown = () => this.#entries.forEach((entry) => this.#fetch(entry));

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
    this.#isStale = true;
    if (this.#isReloading) return;
    const pause = Math.max(SETTLE_MS, this.#reloadedAt + RELOAD_MS - performance.now());
    this.#settle ??= window.setTimeout(() => void this.reload(), pause);
  }

  /** Asks for all sources. */
  async reload() {
    clearTimeout(this.#settle);
    this.#settle = undefined;
    this.#isStale = this.#isReloading;
    if (this.#isReloading) return;
    this.#isReloading = true;
    try {
      this.#list(await this.#ask());
    } catch (error) {
      if (!this.#control.signal.aborted) this.#failed(error);
    }
    this.#isReloading = false;
    this.#reloadedAt = performance.now();
    if (this.#isStale && !this.#control.signal.aborted) this.#reloadSoon();
  }

  /** Takes over an answer with all sources. */
  #list(sources: LiveSource[]) {
    if (this.#control.signal.aborted) return;
    this.#round += 1;
    const gone = new Set(this.#entries.keys());
    for (const source of sources) {
      gone.delete(source.source);
      const known = this.#entries.get(source.source);
      if (!known) {
        this.#entries.set(source.source, {
          source,
          histories: new Map(),
          recent: new Map(),
          watchers: new Set(),
          retries: new Map(),
          renderedAt: -PAUSE_MS,
          fetching: false,
          fetchedAt: -PAUSE_MS,
        });
        continue;
      }
      known.source = source;
      this.#touch(known);
      this.#fetch(known);
    }
    for (const name of gone) {
      const entry = this.#entries.get(name);
      if (entry) release(entry);
      this.#entries.delete(name);
    }
    this.#changed(sources.map((source) => source.source));
  }

  /** Asks for these sources, or for all. Events that arrive meanwhile may be newer than the answer, so it is changed by them, too. */
  async #ask(names?: string[]): Promise<LiveSource[]> {
    this.#open += 1;
    try {
      const { sources } = await get("sources", { sources: names }, this.#control.signal);
      return sources.map((source) => {
        const recent = this.#entries.get(source.source)?.recent.values() ?? [];
        return [...recent].reduce((changed, change) => change(changed), source);
      });
    } finally {
      this.#open -= 1;
      if (this.#open === 0) this.#entries.forEach((entry) => entry.recent.clear());
    }
  }

  /** Whether a card of the source is visible. */
  #isInView(entry: Entry): boolean {
    return entry.watchers.size > 0 && !document.hidden && this.#entries.get(entry.source.source) === entry;
  }

  /** Fetches what a visible card shows and what is not there yet. */
  #fetch(entry: Entry) {
    this.#fetchPicture(entry);
    void this.#fetchHistory(entry);
  }

  /** The scores of the last ten minutes, once. Without a history the line begins now. */
  async #fetchHistory(entry: Entry) {
    if (entry.historyAt !== undefined || entry.retries.has("history") || !this.#isInView(entry)) return;
    entry.historyAt = performance.now();
    const ask = () => {
      const since = new Date(Date.now() - BUCKETS * BUCKET_MS).toISOString();
      return get("scores", { source: entry.source.source, since, points: BUCKETS * 2 }, this.#control.signal);
    };
    try {
      const stored = await this.#queue.run(ask, () => this.#isInView(entry));
      if (!stored) {
        entry.historyAt = undefined;
        return;
      }
      entry.histories = joined(histories(stored), entry.histories);
      this.#touch(entry);
    } catch (error) {
      // Perhaps `history: off`. It is asked for again when the sources have changed or their card comes into view.
      entry.historyAt = undefined;
      this.#retryLater(entry, "history", error);
    }
  }

  /** Fetches the picture if a newer frame was scored and someone looks, one at a time. */
  #fetchPicture(entry: Entry) {
    if (entry.retries.has("picture") || !this.#isInView(entry)) return;
    const newest = entry.source.frame?.captured_at;
    if (!newest || entry.fetching || entry.later !== undefined || entry.picture?.capturedAt === newest) return;
    const wait = entry.fetchedAt + PAUSE_MS - performance.now();
    if (wait > 0) {
      entry.later = window.setTimeout(() => {
        entry.later = undefined;
        this.#fetchPicture(entry);
      }, wait);
      return;
    }
    entry.fetching = true;
    let asked: string | undefined;
    const ask = () => {
      const { picture: address, frame, source: name } = entry.source;
      asked = frame?.captured_at;
      entry.fetchedAt = performance.now();
      return this.#picture(address ?? `/api/v1/newest?${new URLSearchParams({ source: name }).toString()}`);
    };
    this.#queue
      .run(ask, () => this.#isInView(entry))
      .then((picture) => picture && this.#keep(entry, picture))
      .catch((error: unknown) => this.#retryLater(entry, "picture", error))
      .finally(() => {
        entry.fetching = false;
        // A frame that was scored meanwhile may be newer than the picture.
        if (entry.source.frame?.captured_at !== asked) this.#fetchPicture(entry);
      });
  }

  /** Sends what has failed again, if it may succeed then and someone still looks. */
  #retryLater(entry: Entry, part: Part, error: unknown) {
    const status = error instanceof ApiError ? error.status : undefined;
    if (!isPassing(status) || !this.#isInView(entry)) return;
    const attempt = () => {
      entry.retries.delete(part);
      this.#fetch(entry);
    };
    entry.retries.set(part, window.setTimeout(attempt, RETRY_MS));
  }

  #keep(entry: Entry, picture: LivePicture) {
    const isGone = this.#entries.get(entry.source.source) !== entry;
    // While the view does not change, the service has the same picture.
    if (isGone || (picture.capturedAt !== "" && picture.capturedAt === entry.picture?.capturedAt)) {
      URL.revokeObjectURL(picture.src);
      return;
    }
    if (entry.before !== undefined) URL.revokeObjectURL(entry.before);
    entry.before = entry.picture?.src;
    entry.picture = picture;
    this.#touch(entry);
  }

  async #picture(address: string): Promise<LivePicture> {
    const { content, headers } = await fetchPicture(address, this.#control.signal);
    const src = URL.createObjectURL(content);
    const capturedAt = headers.get("Stakeout-Captured-At") ?? "";
    const numbers = headers.get("Stakeout-Changed")?.split(" ").map(Number);
    if (numbers?.length !== 4 || numbers.some(Number.isNaN)) return { src, capturedAt };
    const [x = 0, y = 0, width = 0, height = 0] = numbers;
    return { src, capturedAt, changed: { x, y, width, height } };
  }
}

/** Ends the timers of a source and gives its pictures back. */
function release(entry: Entry) {
  clearTimeout(entry.timer);
  clearTimeout(entry.later);
  entry.retries.forEach((timer) => clearTimeout(timer));
  for (const src of [entry.before, entry.picture?.src]) if (src !== undefined) URL.revokeObjectURL(src);
}
